package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/wneessen/go-mail/smtp"

	"github.com/10ex/flows/connectors"
)

// Codes of servers that mail cannot be given to safely, or at all.
const (
	codeNoStartTLS = "no_starttls"
	codeNoAuth     = "auth_not_offered"
)

const (
	// maxTalk bounds how long a server is talked to where nothing else does.
	maxTalk = 5 * time.Minute
	// greeting bounds how long it may take until we are signed in: one that waits for
	// TLS says nothing at all to who does not.
	greeting = 30 * time.Second
	// farewell bounds how long a server may take to say goodbye.
	farewell = 2 * time.Second
	// maxHeard bounds what a server may say.
	maxHeard = 1 << 20
)

// talk is a conversation with a mail server, which knows by now who we are.
type talk struct {
	ctx    context.Context //nolint:containedctx // it lives as long as the action
	client *smtp.Client
	conn   net.Conn
	forget func() bool
	// redactor takes secrets out of what the server says, before it is cut short.
	redactor *connectors.Redactor
}

// dial greets the server of a connection, secures the line and signs in.
func (c *Connector) dial(ctx context.Context, conn *connectors.Connection, to server, from *mail.Address) (*talk, error) {
	if err := bound(conn, to); err != nil {
		return nil, err
	}
	raw, err := c.client.Dial(ctx, net.JoinHostPort(to.Host, strconv.Itoa(to.Port)))
	if err != nil {
		return nil, connectors.NetworkError(ctx, err)
	}
	t := &talk{ctx: ctx, conn: &bounded{Conn: raw, left: maxHeard}, redactor: conn.Redactor()}
	until := time.Now().Add(maxTalk)
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	}
	_ = raw.SetDeadline(earlier(until, time.Now().Add(greeting)))
	// The conversation knows nothing of ctx: its end makes every read and write fail.
	t.forget = context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	if err := t.open(to, conn, from, &tls.Config{ServerName: to.Host, RootCAs: c.cfg.Roots, MinVersion: tls.VersionTLS12}); err != nil {
		t.close()
		return nil, t.failed("", err)
	}
	_ = raw.SetDeadline(until)
	if err := ctx.Err(); err != nil { // the deadline of its end may have come before
		t.close()
		return nil, connectors.NetworkError(ctx, err)
	}
	return t, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// bound tells whether the credentials may go to the server. The host of a connection is
// part of what was made with them; hosts, where it has some, bind them further.
func bound(conn *connectors.Connection, to server) error {
	if conn.Auth.Type == connectors.AuthNone || len(conn.Hosts) == 0 {
		return nil
	}
	for _, host := range []string{to.Host, net.JoinHostPort(to.Host, strconv.Itoa(to.Port))} {
		if conn.Allows(&url.URL{Scheme: "https", Host: host}) {
			return nil
		}
	}
	return connectors.Permanent(connectors.CodeHostNotAllowed, "connection %s may not be used at %s", conn.ID, to.Host)
}

func (t *talk) open(to server, conn *connectors.Connection, from *mail.Address, secure *tls.Config) (err error) {
	line := t.conn
	if to.Security == fromTLS {
		encrypted := tls.Client(line, secure)
		if err := encrypted.HandshakeContext(t.ctx); err != nil {
			return err
		}
		line = encrypted
	}
	if t.client, err = smtp.NewClient(line, to.Host); err != nil {
		return err
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	if err := t.client.Hello(domain); err != nil {
		return err
	}
	if to.Security == startTLS {
		if offered, _ := t.client.Extension("STARTTLS"); !offered {
			return connectors.Permanent(codeNoStartTLS, "the mail server does not offer STARTTLS: nothing was shown to it")
		}
		if err := t.client.StartTLS(secure); err != nil {
			return err
		}
	}
	return t.signIn(conn, to, from)
}

// signIn shows the credentials. It is called on a secure line, and the ways it knows
// check that once more.
func (t *talk) signIn(conn *connectors.Connection, to server, from *mail.Address) error {
	if conn.Auth.Type == connectors.AuthNone {
		return nil
	}
	_, offered := t.client.Extension("AUTH")
	ways := strings.Fields(strings.ToUpper(offered))
	has := func(way string) bool { return slices.Contains(ways, way) }
	user, secret := conn.Auth.Username, conn.Secrets[conn.Auth.Secret()]
	if user == "" {
		user = from.Address
	}
	switch {
	case conn.Auth.Type == connectors.AuthOAuth2 && has("XOAUTH2"):
		return t.client.Auth(smtp.XOAuth2Auth(user, secret))
	case conn.Auth.Type == connectors.AuthBasic && has("PLAIN"):
		return t.client.Auth(smtp.PlainAuth("", user, secret, to.Host, false))
	case conn.Auth.Type == connectors.AuthBasic && has("LOGIN"):
		return t.client.Auth(smtp.LoginAuth(user, secret, to.Host, false))
	}
	return connectors.Permanent(codeNoAuth, "the mail server offers no way to sign in with what the connection has")
}

// send hands a message over and gives what the server said last.
func (t *talk) send(m *message) (string, error) {
	w, err := t.announce(m)
	if err != nil {
		e := *connectors.AsError(err)
		e.Unsent = true // a message that is not there yet is delivered to nobody
		return "", &e
	}
	if _, err := w.Write(m.content); err != nil {
		return "", t.failed("", err)
	}
	if err := w.Close(); err != nil {
		return "", t.failed("", err)
	}
	if closer, ok := w.(*smtp.DataCloser); ok {
		return t.printable(closer.ServerResponse()), nil
	}
	return "", nil
}

// announce says from whom and to whom, and gives where to write what.
func (t *talk) announce(m *message) (io.WriteCloser, error) {
	if err := t.client.Mail("<" + m.from.Address + ">"); err != nil {
		return nil, t.failed("the sender: ", err)
	}
	for _, to := range m.recipients {
		if err := t.client.Rcpt("<" + to + ">"); err != nil {
			return nil, t.failed("recipient "+to+": ", err)
		}
	}
	w, err := t.client.Data()
	if err != nil {
		return nil, t.failed("", err)
	}
	return w, nil
}

// close ends the conversation, with a word where the line still takes one.
func (t *talk) close() {
	if t.client != nil && t.ctx.Err() == nil {
		_ = t.conn.SetDeadline(time.Now().Add(farewell))
		_ = t.client.Quit()
	}
	t.forget()
	_ = t.conn.Close()
}

// failed makes an *Error of what the server or the line said. What a server answers with
// 4 may pass, with 5 it stays.
func (t *talk) failed(about string, err error) error {
	if answer, ok := errors.AsType[*textproto.Error](err); ok && t.ctx.Err() == nil {
		return &connectors.Error{
			Code:      fmt.Sprintf("smtp_%d", answer.Code),
			Message:   fmt.Sprintf("%sthe mail server answered %d: %s", about, answer.Code, t.printable(answer.Msg)),
			Retryable: answer.Code >= 400 && answer.Code < 500,

			Unauthorized: answer.Code == 534 || answer.Code == 535, // RFC 4954
		}
	}
	if errors.Is(err, errTooLong) {
		return connectors.Permanent(connectors.CodeBadResponse, "the mail server says more than is listened to")
	}
	if _, ok := errors.AsType[textproto.ProtocolError](err); ok {
		return connectors.Permanent(connectors.CodeBadResponse, "the server does not speak SMTP")
	}
	return connectors.NetworkError(t.ctx, err)
}

// maxSaid bounds what is repeated of a server's own words.
const maxSaid = 300

// printable makes one short line of a server's words.
func (t *talk) printable(s string) string {
	s = t.redactor.Text(s)
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, ""), func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if runes := []rune(s); len(runes) > maxSaid {
		return string(runes[:maxSaid]) + "…"
	}
	return s
}

var errTooLong = errors.New("too long")

// bounded is a line of which only so much is read.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	if len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.Conn.Read(p)
	b.left -= n
	return n, err
}
