package connectors

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// Redacted stands where a secret stood.
const Redacted = "[redacted]"

// leastRedacted is the length below which a secret is not looked for: everything
// would be full of it.
const leastRedacted = 4

// Redactor takes secrets out of what a step gives back, in every spelling in which
// they usually come: as they are, within JSON, escaped for URLs, and in base64 at
// any offset. A nil Redactor changes nothing.
type Redactor struct {
	replace *strings.Replacer
	longest int
}

// NewRedactor makes a Redactor for secrets. It is nil where there are none.
func NewRedactor(secrets ...string) *Redactor {
	found := map[string]bool{}
	for _, s := range secrets {
		if len(s) < leastRedacted {
			continue
		}
		for _, form := range spellings(s) {
			if len(form) >= leastRedacted {
				found[form] = true
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	// The replacer prefers what is listed first: the longest spelling wins.
	forms := make([]string, 0, len(found))
	for form := range found {
		forms = append(forms, form)
	}
	slices.SortFunc(forms, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	pairs := make([]string, 0, 2*len(forms))
	for _, form := range forms {
		pairs = append(pairs, form, Redacted)
	}
	return &Redactor{replace: strings.NewReplacer(pairs...), longest: len(forms[0])}
}

// Redactor knows the secrets of a connection. It is nil for none.
func (c *Connection) Redactor() *Redactor {
	if c == nil {
		return nil
	}
	secrets := make([]string, 0, len(c.Secrets)+1)
	for _, s := range c.Secrets {
		secrets = append(secrets, s)
	}
	if c.Auth.Type == AuthBasic { // as it is sent, the name is part of what is encoded
		secrets = append(secrets, c.Auth.Username+":"+c.Secrets[SecretPassword])
	}
	return NewRedactor(secrets...)
}

// Text gives s without secrets.
func (r *Redactor) Text(s string) string {
	if r == nil {
		return s
	}
	return r.replace.Replace(s)
}

// JSON gives a JSON value without secrets, in keys as well as in values.
func (r *Redactor) JSON(v json.RawMessage) json.RawMessage {
	if r == nil || len(v) == 0 {
		return v
	}
	before := string(v)
	after := r.replace.Replace(before)
	if after == before {
		return v
	}
	if json.Valid([]byte(after)) {
		return json.RawMessage(after)
	}
	// A secret that is a number, or looks like syntax, stood outside of a string.
	quoted, err := json.Marshal(Redacted)
	if err != nil {
		return nil
	}
	return quoted
}

// Error gives an *Error without secrets.
func (r *Redactor) Error(err error) error {
	if r == nil || err == nil {
		return err
	}
	e := *AsError(err)
	e.Code, e.Message = r.Text(e.Code), r.Text(e.Message)
	return &e
}

// Longest is the length of the longest spelling: who redacts a stream has to hold
// back one byte less.
func (r *Redactor) Longest() int {
	if r == nil {
		return 0
	}
	return r.longest
}

// spellings lists how a secret may be written.
func spellings(s string) []string {
	forms := []string{s, url.QueryEscape(s), url.PathEscape(s), lowerEscapes(url.QueryEscape(s)), lowerEscapes(url.PathEscape(s))}
	forms = append(forms, quoted(s, true), quoted(s, false))
	for offset := range 3 {
		forms = append(forms, inBase64(base64.StdEncoding, s, offset), inBase64(base64.URLEncoding, s, offset))
	}
	return forms
}

// quoted is s as it stands within a JSON string.
func quoted(s string, html bool) string {
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(html)
	if enc.Encode(s) != nil {
		return s
	}
	return strings.Trim(strings.TrimSpace(out.String()), `"`)
}

// lowerEscapes writes %2F as %2f.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			b[i+1], b[i+2] = lower(b[i+1]), lower(b[i+2])
			i += 2
		}
	}
	return string(b)
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'F' {
		return c + 'a' - 'A'
	}
	return c
}

// inBase64 is what is certain of s in base64 where offset bytes, modulo 3, stand
// before it: the characters that hold bits of nothing else.
func inBase64(enc *base64.Encoding, s string, offset int) string {
	text := enc.WithPadding(base64.NoPadding).EncodeToString(append(make([]byte, offset), s...))
	if offset > 0 {
		text = text[offset+1:] // 1 byte before: 2 characters, 2 bytes: 3
	}
	if (offset+len(s))%3 != 0 {
		text = text[:len(text)-1]
	}
	return text
}
