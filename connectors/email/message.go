package email

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/mail"
	"strings"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"github.com/10ex/flows/connectors"
)

// maxRecipients bounds whom one message goes to.
const maxRecipients = 100

// message is what goes to the server.
type message struct {
	id         string
	from       *mail.Address
	recipients []string // all of them, each once
	content    []byte
}

// compose makes the message of a request. Nothing that is written in it can become a
// header or a recipient of its own.
func compose(r connectors.Request, to server) (*message, error) {
	var in struct {
		To        recipients `json:"to"`
		CC        recipients `json:"cc"`
		BCC       recipients `json:"bcc"`
		From      string     `json:"from"`
		ReplyTo   string     `json:"reply_to"`
		Subject   string     `json:"subject"`
		Text      string     `json:"text"`
		HTML      string     `json:"html"`
		InReplyTo string     `json:"in_reply_to"`
	}
	if json.Unmarshal(r.Input, &in) != nil {
		return nil, invalid("the input is not valid")
	}
	if in.Text == "" && in.HTML == "" {
		return nil, invalid("text or html is required")
	}
	if hasControl(in.Subject) || hasControl(in.InReplyTo) {
		return nil, invalid("subject: has a control character in it")
	}
	sender := cmp.Or(in.From, to.From)
	if sender == "" {
		return nil, invalid("from is required: neither the step nor the connection names one")
	}
	from, err := address("from", sender)
	if err != nil {
		return nil, err
	}
	m := &message{from: from, id: messageID(r.IdempotencyKey, from)}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(from)
	seen := map[string]bool{}
	for _, field := range []struct {
		name string
		to   recipients
		put  func(...*mail.Address)
	}{{"to", in.To, msg.ToMailAddress}, {"cc", in.CC, msg.CcMailAddress}, {"bcc", in.BCC, func(...*mail.Address) {}}} {
		var all []*mail.Address
		for _, text := range field.to {
			a, err := address(field.name, text)
			if err != nil {
				return nil, err
			}
			all = append(all, a)
			if key := strings.ToLower(a.Address); !seen[key] {
				seen[key] = true
				m.recipients = append(m.recipients, a.Address)
			}
		}
		if len(all) > 0 {
			field.put(all...)
		}
	}
	switch {
	case len(in.To) == 0:
		return nil, invalid("to: is empty")
	case len(m.recipients) > maxRecipients:
		return nil, invalid("to, cc and bcc: name more than %d addresses", maxRecipients)
	}
	if text := cmp.Or(in.ReplyTo, to.ReplyTo); text != "" {
		a, err := address("reply_to", text)
		if err != nil {
			return nil, err
		}
		msg.ReplyToMailAddress(a)
	}
	msg.Subject(in.Subject)
	msg.SetMessageIDWithValue(strings.Trim(m.id, "<>"))
	msg.SetDateWithValue(time.Now())
	if in.InReplyTo != "" {
		msg.SetGenHeaderPreformatted(gomail.HeaderInReplyTo, in.InReplyTo)
		msg.SetGenHeaderPreformatted(gomail.HeaderReferences, in.InReplyTo)
	}
	switch {
	case in.HTML == "":
		msg.SetBodyString(gomail.TypeTextPlain, in.Text)
	case in.Text == "":
		msg.SetBodyString(gomail.TypeTextHTML, in.HTML)
	default:
		msg.SetBodyString(gomail.TypeTextPlain, in.Text)
		msg.AddAlternativeString(gomail.TypeTextHTML, in.HTML)
	}
	var content bytes.Buffer
	if _, err := msg.WriteTo(&content); err != nil {
		return nil, invalid("the message cannot be written")
	}
	m.content = content.Bytes()
	return m, nil
}

// recipients are one address or a list of them.
type recipients []string

// UnmarshalJSON reads a text, a list of texts, or null.
func (r *recipients) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		if one != "" {
			*r = recipients{one}
		}
		return nil
	}
	var many []string
	if err := json.Unmarshal(raw, &many); err != nil {
		return err
	}
	*r = many
	return nil
}

// address reads one address that somebody wrote. It never repeats it whole in an error,
// for nobody knows what it is.
func address(field, text string) (*mail.Address, error) {
	a, err := mail.ParseAddress(text)
	if err != nil || hasControl(text) || hasControl(a.Name) || hasControl(a.Address) || strings.ContainsAny(a.Address, " \t\"<>(),;:\\") {
		return nil, invalid("%s: is not an email address such as ada@example.com or Ada <ada@example.com>", field)
	}
	return a, nil
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

// messageID is the same for all attempts of a step, so that a repeat can be told.
func messageID(key string, from *mail.Address) string {
	sum := sha256.Sum256([]byte(key + "\x00" + from.Address))
	_, domain, _ := strings.Cut(from.Address, "@")
	return "<" + hex.EncodeToString(sum[:16]) + "@" + domain + ">"
}
