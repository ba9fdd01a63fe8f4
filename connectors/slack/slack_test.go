package slack_test

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/connectors/rest"
	"github.com/10ex/flows/connectors/slack"
	"github.com/10ex/flows/internal/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func setup(t *testing.T) *rest.Connector {
	t.Helper()
	client, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return slack.New(client)
}

var (
	bot    = connectorstest.Connect("slack", connectors.Auth{Type: connectors.AuthBearer}, `{"channel":"C1"}`)
	nobody = connectorstest.Connect("slack", connectors.Auth{Type: connectors.AuthBearer}, "")
)

// hook is a connection to an incoming webhook, whose address is the secret.
func hook(url string) *connectors.Connection {
	c := connectorstest.Connect("slack", connectors.Auth{Type: connectors.AuthNone}, "")(url)
	c.Secrets[slack.SecretWebhookURL] = url + "/services/T0/B0/c4nary"
	return c
}

func TestContract(t *testing.T) {
	t.Parallel()
	c := setup(t)
	answers := func(body string) *connectorstest.Peer { return connectorstest.NewJSON(t, 200, body) }
	says := func(word string) *connectorstest.Peer { return answers(`{"ok":false,"error":"` + word + `"}`) }
	posted := `{"ok":true,"channel":"C1","ts":"1700000000.000100","message":{"text":"hi"}}`
	webhook := connectorstest.NewPeer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "ok")
	})
	message := func(name, code string, retryable bool, p *connectorstest.Peer) connectorstest.Case {
		return connectorstest.Case{
			Name: name, Action: "post_message", Input: `{"text":"hi"}`, Peer: p, Connect: bot, WantCode: code, WantRetryable: retryable,
		}
	}
	refused := func(name, action, input string, connect func(string) *connectors.Connection, code string) connectorstest.Case {
		return connectorstest.Case{Name: name, Action: action, Input: input, Connect: connect, Peer: webhook, WantCode: code}
	}
	at := `"channel":"C1","ts":"1700000000.000100"`

	arrived := make(chan struct{})
	hanging := connectorstest.NewPeer(t, connectorstest.Hang(arrived))
	connectorstest.Run(t, c, []connectorstest.Case{
		{Name: "post", Action: "post_message", Input: `{"text":"hi","channel":"#deals","thread_ts":"1.2","blocks":[{"type":"divider"}]}`,
			Peer: answers(posted), Connect: nobody, Want: `{"channel":"C1","ts":"1700000000.000100"}`},
		{Name: "post where the connection says", Action: "post_message", Input: `{"text":"hi"}`, Peer: answers(posted), Connect: bot},
		{Name: "post through a webhook", Action: "post_message", Input: `{"text":"hi"}`, Peer: webhook, Connect: hook, Want: `{"channel":null,"ts":null}`},
		{Name: "update", Action: "update_message", Input: `{` + at + `,"text":"new"}`, Peer: answers(posted), Connect: bot,
			Want: `{"channel":"C1","ts":"1700000000.000100"}`},
		{Name: "delete", Action: "delete_message", Input: `{` + at + `}`, Peer: answers(`{"ok":true}`), Connect: bot, Want: `{"deleted":true}`},
		{Name: "delete what is gone", Action: "delete_message", Input: `{` + at + `}`, Peer: says("message_not_found"), Connect: bot, Want: `{"deleted":false}`},
		{Name: "react", Action: "add_reaction", Input: `{"channel":"C1","timestamp":"1.2","name":"+1"}`, Peer: answers(`{"ok":true}`), Connect: bot, Want: `{"added":true}`},
		{Name: "react twice", Action: "add_reaction", Input: `{"channel":"C1","timestamp":"1.2","name":"tada"}`, Peer: says("already_reacted"), Connect: bot, Want: `{"added":false}`},
		{Name: "look up", Action: "lookup_user_by_email", Input: `{"email":"ada@example.com"}`, Connect: bot,
			Peer: answers(`{"ok":true,"user":{"id":"U1","name":"ada","real_name":"Ada L","tz":"Europe/London","profile":{"email":"ada@example.com"}}}`),
			Want: `{"found":true,"id":"U1","name":"ada","real_name":"Ada L","email":"ada@example.com","timezone":"Europe/London"}`},
		{Name: "look up nobody", Action: "lookup_user_by_email", Input: `{"email":"ada@example.com"}`, Peer: says("users_not_found"), Connect: bot,
			Want: `{"found":false,"id":null,"name":null,"real_name":null,"email":null,"timezone":null}`},
		{Name: "open", Action: "open_conversation", Input: `{"users":["U1","U2"]}`, Peer: answers(`{"ok":true,"channel":{"id":"D1"}}`), Connect: bot, Want: `{"channel":"D1"}`},

		message("no such channel", "slack_channel_not_found", false, says("channel_not_found")),
		message("too fast", "slack_ratelimited", true, says("ratelimited")),
		message("their fault", "slack_internal_error", true, says("internal_error")),
		message("an error that is none", "slack_error", false, says(`x\ny`)),
		message("no ts", "bad_response", false, answers(`{"ok":true}`)),
		message("no JSON", "bad_response", false, answers(`{`)),
		message("repeats the secret", "slack_invalid_arguments", false,
			answers(`{"ok":false,"error":"invalid_arguments","response_metadata":{"messages":["c4nary/+\"s3cret\"&<x>"]}}`)),
		refused("nothing to say", "post_message", `{"channel":"C1"}`, bot, "input_invalid"),
		refused("no channel", "post_message", `{"text":"hi"}`, nobody, "input_invalid"),
		refused("a channel for a webhook", "post_message", `{"text":"hi","channel":"C1"}`, hook, "input_invalid"),
		refused("update through a webhook", "update_message", `{`+at+`,"text":"x"}`, hook, "not_connected"),
		refused("delete through a webhook", "delete_message", `{`+at+`}`, hook, "not_connected"),
		refused("look up through a webhook", "lookup_user_by_email", `{"email":"a@b.example"}`, hook, "not_connected"),
		refused("open through a webhook", "open_conversation", `{"users":["U1"]}`, hook, "not_connected"),
		refused("unknown field", "post_message", `{"text":"hi","chanel":"C1"}`, bot, "input_invalid"),
		{Name: "a webhook elsewhere", Action: "post_message", Input: `{"text":"hi"}`, WantCode: "host_not_allowed",
			Connect: func(string) *connectors.Connection {
				c := hook("https://hooks.slack.com.example")
				c.Hosts = nil
				return c
			}},
		{Name: "a webhook without TLS", Action: "post_message", Input: `{"text":"hi"}`, WantCode: "host_not_allowed",
			Connect: func(string) *connectors.Connection { c := hook("http://hooks.slack.com"); c.Hosts = nil; return c }},
	}, connectorstest.Hanging{Action: "post_message", Input: `{"text":"hi"}`, Arrived: arrived, Connection: bot(hanging.URL)})

	connectorstest.RunTester(t, c, []connectorstest.TestCase{
		{Name: "works", Peer: answers(`{"ok":true,"team":"T"}`), Connect: bot},
		{Name: "somebody else", Peer: answers(`{"team":"T"}`), Connect: bot, WantCode: "bad_response"},
		{Name: "revoked", Peer: says("token_revoked"), Connect: bot, WantCode: "slack_token_revoked"},
		{Name: "webhook", Peer: webhook, Connect: hook},
	})
	require.Empty(t, webhook.Received(), "a webhook cannot be tried without posting")
}

func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	c := setup(t)
	p := connectorstest.NewJSON(t, 200, `{"ok":true,"channel":"C1","ts":"1.2","user":{"id":"U1"}}`)
	do := func(action, input string) connectorstest.Received {
		p.Reset()
		_, err := c.Do(t.Context(), connectors.Request{Action: action, Input: []byte(input), Connection: bot(p.URL), IdempotencyKey: "run_1:alert"})
		require.NoError(t, err)
		require.Len(t, p.Received(), 1)
		got := p.Received()[0]
		require.Equal(t, "Bearer "+connectorstest.Canary, got.Header.Get("Authorization"))
		require.Equal(t, "run_1:alert", got.Header.Get("Idempotency-Key"))
		return got
	}
	got := do("post_message", `{"text":"hi","thread_ts":"1.2","unfurl_links":false}`)
	require.Equal(t, "/chat.postMessage", got.Path)
	require.JSONEq(t, `{"channel":"C1","text":"hi","thread_ts":"1.2","unfurl_links":false}`, got.Body)
	require.Equal(t, "application/json; charset=utf-8", got.Header.Get("Content-Type"))
	got = do("lookup_user_by_email", `{"email":"ada+x@example.com"}`)
	require.Equal(t, "GET /users.lookupByEmail email=ada%2Bx%40example.com", got.Method+" "+got.Path+" "+got.Query)
}

func TestRateLimitInTheBodyIsObeyed(t *testing.T) {
	t.Parallel()
	p := connectorstest.NewPeer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
		connectorstest.WriteJSON(w, 200, `{"ok":false,"error":"ratelimited"}`)
	})
	_, err := setup(t).Do(t.Context(), connectors.Request{Action: "post_message", Input: []byte(`{"text":"hi"}`), Connection: bot(p.URL)})
	require.Equal(t, 30*time.Second, connectors.AsError(err).RetryAfter)
}

// A peer that reads the request and hangs up may have done what it was asked for; one that
// cannot be reached has not.
func TestWhetherAMessageWasPostedMayBeUnknown(t *testing.T) {
	t.Parallel()
	p := connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		line, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = line.Close()
		}
	})
	post := func(url string) *connectors.Error {
		_, err := setup(t).Do(t.Context(), connectors.Request{Action: "post_message", Input: []byte(`{"text":"hi"}`), Connection: bot(url)})
		return connectors.AsError(err)
	}
	e := post(p.URL)
	require.Equal(t, connectors.CodeNetwork, e.Code)
	require.True(t, e.OutcomeUnknown())
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	e = post("http://" + gone.Addr().String())
	require.Equal(t, connectors.CodeNetwork, e.Code)
	require.False(t, e.OutcomeUnknown(), "nothing was sent")
}
