package email_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/connectors/email"
	"github.com/10ex/flows/internal/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func setup(t *testing.T) *email.Connector {
	t.Helper()
	client, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	roots, _ := authority()
	return email.New(client, email.Config{Roots: roots})
}

const password = connectorstest.Canary

// at is a connection to a server; more is of its config.
func at(m *mailServer, typ connectors.AuthType, more string) func(string) *connectors.Connection {
	return func(string) *connectors.Connection {
		config := fmt.Sprintf(`{"host":"127.0.0.1","port":%d,"from":"Ada <ada@example.com>"%s}`, m.port(), more)
		return connectorstest.Connect("email", connectors.Auth{Type: typ, Username: "ada"}, config)("")
	}
}

func send(t *testing.T, conn *connectors.Connection, input string) (json.RawMessage, error) {
	t.Helper()
	resp, err := setup(t).Do(t.Context(), connectors.Request{Action: "send", Input: []byte(input), IdempotencyKey: "run_1:mail", Connection: conn})
	return resp.Output, err
}

const hello = `{"to":"bo@example.com","subject":"Hi","text":"Hello"}`

func TestContract(t *testing.T) {
	t.Parallel()
	c := setup(t)
	good := newMailServer(t, script{})
	var cases []connectorstest.Case
	add := func(name string, s script, code string, retryable bool) {
		cases = append(cases, connectorstest.Case{
			Name: name, Action: "send", Input: hello, WantCode: code, WantRetryable: retryable, Connect: at(newMailServer(t, s), connectors.AuthBasic, ""),
		})
	}
	says := func(command, text string) script { return script{answers: map[string]string{command: text}} }
	add("sends", script{}, "", false)
	add("greylisted", says("RCPT", "451 4.7.1 later"), "smtp_451", true)
	add("no such person", says("RCPT", "550 5.1.1 who?"), "smtp_550", false)
	add("no such sender", says("MAIL", "553 no"), "smtp_553", false)
	add("no data", says("DATA", "554 no"), "smtp_554", false)
	add("spam", says(".", "554 5.7.1 looks like spam"), "smtp_554", false)
	add("busy", says("greeting", "421 busy"), "smtp_421", true)
	add("not a mail server", says("greeting", "HTTP/1.1 400 Bad Request"), "bad_response", false)
	add("talks without end", says("greeting", "220-"+strings.Repeat("x", 1<<20)), "bad_response", false)
	add("wrong password, repeated", says("AUTH", "535 5.7.8 "+password+" is wrong"), "smtp_535", false)
	add("no STARTTLS", script{noStartTLS: true}, "no_starttls", false)
	add("no AUTH", script{auth: "-"}, "auth_not_offered", false)
	add("another AUTH", script{auth: "CRAM-MD5 GSSAPI"}, "auth_not_offered", false)
	add("hangs up", script{cut: "MAIL"}, "network", true)
	add("hangs up after the message", script{cut: "."}, "network", true)
	cases = append(cases, connectorstest.Case{
		Name: "no TLS there", Action: "send", Input: hello, WantCode: "network", WantRetryable: true, Connect: at(good, connectors.AuthBasic, `,"security":"tls"`),
	})
	for name, input := range map[string]string{
		"no text":             `{"to":"bo@example.com","subject":"Hi"}`,
		"no address":          `{"to":"bo","subject":"Hi","text":"x"}`,
		"two in one":          `{"to":"bo@example.com, eve@example.com","subject":"Hi","text":"x"}`,
		"nobody":              `{"to":[],"subject":"Hi","text":"x"}`,
		"null":                `{"to":null,"subject":"Hi","text":"x"}`,
		"break in an address": `{"to":"bo@example.com\r\nBcc: eve@example.com","subject":"Hi","text":"x"}`,
		"break in a name":     `{"to":"\"Bo\r\nBcc: eve@example.com\" <bo@example.com>","subject":"Hi","text":"x"}`,
		"break in a subject":  `{"to":"bo@example.com","subject":"Hi\r\nBcc: eve@example.com","text":"x"}`,
		"break in the middle": `{"to":"bo@example.com","subject":"Hi","text":"x","in_reply_to":"<a@b>\r\nBcc: eve@example.com"}`,
		"break in from":       `{"to":"bo@example.com","subject":"Hi","text":"x","from":"ada@example.com\nBcc: eve@example.com"}`,
		"break in reply_to":   `{"to":"bo@example.com","subject":"Hi","text":"x","reply_to":"ada@example.com\nBcc: eve@example.com"}`,
		"a command":           `{"to":"\"> RSET\"@example.com","subject":"Hi","text":"x"}`,
		"a route":             `{"to":"<@evil.example:bo@example.com>","subject":"Hi","text":"x"}`,
		"unknown field":       `{"to":"bo@example.com","subject":"Hi","text":"x","headers":{}}`,
	} {
		cases = append(cases, connectorstest.Case{Name: name, Action: "send", Input: input, WantCode: "input_invalid", Connect: at(good, connectors.AuthBasic, "")})
	}
	hanging := newMailServer(t, script{hang: "MAIL", arrived: make(chan struct{})})
	connectorstest.Run(t, c, cases, connectorstest.Hanging{
		Action: "send", Input: hello, Arrived: hanging.arrived, Connection: at(hanging, connectors.AuthBasic, "")(""),
	})
	_, mails := good.said()
	require.Empty(t, mails)

	connectorstest.RunTester(t, c, []connectorstest.TestCase{
		{Name: "works", Connect: at(good, connectors.AuthBasic, "")},
		{Name: "wrong password", Connect: at(newMailServer(t, says("AUTH", "535 no")), connectors.AuthBasic, ""), WantCode: "smtp_535"},
		{Name: "no host", Connect: connectorstest.Connect("email", connectors.Auth{Type: connectors.AuthBasic}, `{}`), WantCode: "input_invalid"},
		{Name: "a bad from", Connect: at(good, connectors.AuthBasic, `,"from":"ada"`), WantCode: "input_invalid"},
	})
	_, mails = good.said()
	require.Empty(t, mails, "trying a connection sends nothing")
}

func TestMessage(t *testing.T) {
	t.Parallel()
	m := newMailServer(t, script{})
	conn := at(m, connectors.AuthBasic, `,"reply_to":"team@example.com"`)("")
	input := `{"to":["Bö <bo@example.com>","cy@example.com"],"cc":"di@example.com","bcc":["eve@example.com","BO@example.com"],"subject":"Grüße ✓",
		"text":"Line one\n.\n.dots and ümlauts","html":"<p>Hi</p>","in_reply_to":"<a.b@example.com>"}`
	var first map[string]any
	for range 2 { // a repeat can be told
		out, err := send(t, conn, input)
		require.NoError(t, err)
		var got map[string]any
		require.NoError(t, json.Unmarshal(out, &got))
		if first == nil {
			first = got
		}
		require.Empty(t, cmp.Diff(first, got))
	}
	require.Equal(t, "2.0.0 queued as 7", first["response"])
	require.Equal(t, []any{"bo@example.com", "cy@example.com", "di@example.com", "eve@example.com"}, first["accepted"])
	require.Regexp(t, `^<[0-9a-f]{32}@example\.com>$`, first["message_id"])

	commands, mails := m.said()
	require.Len(t, mails, 2)
	require.Equal(t, []string{
		"clear: EHLO example.com", "clear: STARTTLS", "EHLO example.com", "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00ada\x00"+password)),
		"MAIL FROM:<ada@example.com> BODY=8BITMIME", "RCPT TO:<bo@example.com>", "RCPT TO:<cy@example.com>", "RCPT TO:<di@example.com>", "RCPT TO:<eve@example.com>", "DATA", "QUIT",
	}, commands[:len(commands)/2])

	msg, err := mail.ReadMessage(strings.NewReader(mails[0]))
	require.NoError(t, err)
	header := func(name string) string {
		text, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get(name))
		require.NoError(t, err)
		return text
	}
	require.Equal(t, "Grüße ✓", header("Subject"))
	require.Equal(t, first["message_id"], header("Message-Id"))
	require.Equal(t, `"Ada" <ada@example.com>`, header("From"))
	require.Contains(t, header("To"), "cy@example.com")
	require.Equal(t, "<di@example.com>", header("Cc"))
	require.Equal(t, "<team@example.com>", header("Reply-To"))
	require.Equal(t, "<a.b@example.com>", header("In-Reply-To"))
	require.NotContains(t, mails[0], "eve@example.com", "bcc is nobody's business")
	require.NotContains(t, mails[0], "go-mail")
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", kind)
	parts := multipart.NewReader(msg.Body, params["boundary"])
	for _, want := range []string{"Line one\n.\n.dots and ümlauts", "<p>Hi</p>"} {
		part, err := parts.NextRawPart()
		require.NoError(t, err)
		require.Equal(t, "quoted-printable", part.Header.Get("Content-Transfer-Encoding"))
		text, err := io.ReadAll(quotedprintable.NewReader(part))
		require.NoError(t, err)
		require.Equal(t, want, strings.ReplaceAll(strings.TrimSpace(string(text)), "\r\n", "\n"))
	}
}

func TestWaysToSignIn(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		script script
		auth   connectors.AuthType
		more   string
		want   []string
		code   string
	}{
		"login":        {script{auth: "LOGIN"}, connectors.AuthBasic, "", []string{"AUTH LOGIN", "LOGIN " + base64.StdEncoding.EncodeToString([]byte(password))}, ""},
		"oauth":        {script{auth: "PLAIN XOAUTH2"}, connectors.AuthOAuth2, "", []string{"AUTH XOAUTH2 " + base64.StdEncoding.EncodeToString([]byte("user=ada\x01auth=Bearer "+password+"\x01\x01"))}, ""},
		"oauth alone":  {script{}, connectors.AuthOAuth2, "", nil, "auth_not_offered"},
		"implicit TLS": {script{implicitTLS: true}, connectors.AuthBasic, `,"security":"tls"`, []string{"AUTH PLAIN"}, ""},
		"a relay":      {script{noStartTLS: true}, connectors.AuthNone, `,"security":"none"`, []string{"clear: MAIL FROM:<ada@example.com> BODY=8BITMIME"}, ""},
		"in the clear": {script{}, connectors.AuthBasic, `,"security":"none"`, nil, "input_invalid"},
		"nonsense":     {script{}, connectors.AuthBasic, `,"security":"ssl"`, nil, "input_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMailServer(t, tc.script)
			_, err := send(t, at(m, tc.auth, tc.more)(""), hello)
			commands, mails := m.said()
			for _, c := range commands {
				require.False(t, strings.HasPrefix(c, "clear: AUTH"), "credentials went over an open line")
			}
			if tc.code != "" {
				require.Equal(t, tc.code, connectors.AsError(err).Code)
				require.Empty(t, mails)
				return
			}
			require.NoError(t, err)
			require.Len(t, mails, 1)
			for _, want := range tc.want {
				require.Contains(t, strings.Join(commands, "\n"), want)
			}
		})
	}
}

func TestCredentialsStayWithTheirHost(t *testing.T) {
	t.Parallel()
	m := newMailServer(t, script{})
	conn := at(m, connectors.AuthBasic, "")("")
	conn.Hosts = []string{"smtp.example.com"}
	_, err := send(t, conn, hello)
	require.Equal(t, connectors.CodeHostNotAllowed, connectors.AsError(err).Code)
	conn.Hosts = []string{fmt.Sprintf("127.0.0.1:%d", m.port())}
	_, err = send(t, conn, hello)
	require.NoError(t, err)
	conn.Hosts = []string{"127.0.0.1"}
	_, err = send(t, conn, hello)
	require.NoError(t, err)
	conn.Secrets = nil
	_, err = send(t, conn, hello)
	require.Equal(t, connectors.CodeNotConnected, connectors.AsError(err).Code)

	// A certificate that is not trusted, and an address that is not allowed.
	client, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	strict, err := egress.New(egress.Config{})
	require.NoError(t, err)
	before, _ := m.said()
	req := connectors.Request{Action: "send", Input: []byte(hello), Connection: at(m, connectors.AuthBasic, "")("")}
	_, err = email.New(client, email.Config{}).Do(t.Context(), req)
	require.Equal(t, "the server's certificate is not trusted", err.Error())
	_, err = email.New(strict, email.Config{}).Do(t.Context(), req)
	require.Equal(t, connectors.CodeBlocked, connectors.AsError(err).Code)
	after, _ := m.said()
	require.Equal(t, append(before, "clear: EHLO example.com", "clear: STARTTLS"), after)
}

func TestNothingIsSentWithoutLeave(t *testing.T) {
	t.Parallel()
	m := newMailServer(t, script{})
	lost := errors.New("the lease is lost")
	_, err := setup(t).Do(t.Context(), connectors.Request{
		Action: "send", Input: []byte(hello), Connection: at(m, connectors.AuthBasic, "")(""), BeforeEffect: func(context.Context) error { return lost },
	})
	require.ErrorIs(t, err, lost)
	commands, mails := m.said()
	require.Empty(t, mails)
	require.NotContains(t, strings.Join(commands, "\n"), "MAIL")
}

func TestWhetherAMessageWasTakenIsUnknownOnlyAfterIt(t *testing.T) {
	t.Parallel()
	for cut, unknown := range map[string]bool{"MAIL": false, "RCPT": false, "DATA": false, ".": true} {
		_, err := send(t, at(newMailServer(t, script{cut: cut}), connectors.AuthBasic, "")(""), hello)
		require.Equal(t, connectors.CodeNetwork, connectors.AsError(err).Code, cut)
		require.Equal(t, unknown, connectors.AsError(err).OutcomeUnknown(), cut)
	}
	_, err := send(t, at(newMailServer(t, script{answers: map[string]string{".": "451 later"}}), connectors.AuthBasic, "")(""), hello)
	require.False(t, connectors.AsError(err).OutcomeUnknown(), "it has said no")
}
