package slack

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/rest"
	"github.com/10ex/flows/internal/egress"
)

// message is what is said, in the words of the Web API, which webhooks understand as
// well.
type message struct {
	Channel        string          `json:"channel,omitempty"`
	TS             string          `json:"ts,omitempty"`
	Text           string          `json:"text,omitempty"`
	Blocks         json.RawMessage `json:"blocks,omitempty"`
	ThreadTS       string          `json:"thread_ts,omitempty"`
	ReplyBroadcast bool            `json:"reply_broadcast,omitempty"`
	UnfurlLinks    *bool           `json:"unfurl_links,omitempty"`
	Username       string          `json:"username,omitempty"`
	IconEmoji      string          `json:"icon_emoji,omitempty"`
}

func (m message) check() error {
	if m.Text == "" && (len(m.Blocks) == 0 || string(m.Blocks) == "null" || string(m.Blocks) == "[]") {
		return rest.Invalid("text or blocks is required")
	}
	return nil
}

// postMessage posts a message, through the bot or the webhook of the connection.
func postMessage(ctx context.Context, s *rest.Session) (json.RawMessage, error) {
	var m message
	if err := s.Input(&m); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	if byWebhook(s.Request.Connection) {
		return postToWebhook(ctx, s, m)
	}
	if m.Channel == "" {
		var cfg config
		if err := s.Config(&cfg); err != nil {
			return nil, err
		}
		m.Channel = cfg.Channel
	}
	if m.Channel == "" {
		return nil, rest.Invalid("channel is required: neither the step nor the connection names one")
	}
	return said(s.Send(ctx, rest.Call{Method: "POST", Path: "/chat.postMessage", Body: m}))
}

// updateMessage changes a message that the bot has posted.
func updateMessage(ctx context.Context, s *rest.Session) (json.RawMessage, error) {
	var m message
	if err := s.Input(&m); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	if byWebhook(s.Request.Connection) {
		return nil, needsToken()
	}
	return said(s.Send(ctx, rest.Call{Method: "POST", Path: "/chat.update", Body: m}))
}

// said gives where a message stands.
func said(a rest.Answer, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	var out struct {
		Channel string `json:"channel"`
		TS      string `json:"ts"`
	}
	if err := a.Decode(&out); err != nil {
		return nil, err
	}
	if out.TS == "" {
		return nil, rest.Unexpected("ts")
	}
	return rest.Marshal(map[string]any{"channel": out.Channel, "ts": out.TS})
}

// byWebhook tells whether a connection is one to a webhook.
func byWebhook(c *connectors.Connection) bool {
	return c.Auth.Type == connectors.AuthNone && c.Secrets[SecretWebhookURL] != ""
}

// webhookHost is where the incoming webhooks of Slack are.
const webhookHost = "hooks.slack.com"

// webhookOf gives the address of a connection's webhook. It is at Slack's own host, or
// at one that the connection is bound to.
func webhookOf(c *connectors.Connection) (*url.URL, error) {
	u, err := egress.ParseURL(c.Secrets[SecretWebhookURL])
	if err != nil {
		return nil, connectors.Permanent(connectors.CodeInputInvalid, "the webhook_url of the connection is not a valid address")
	}
	if u.Scheme == "https" && connectors.MatchesHost(webhookHost, u) || c.Allows(u) {
		return u, nil
	}
	return nil, connectors.Permanent(connectors.CodeHostNotAllowed, "the webhook_url of the connection does not lead to %s", webhookHost)
}

// postToWebhook posts to the channel that the webhook was made for. Slack answers with
// one word, so where the message stands is not known.
func postToWebhook(ctx context.Context, s *rest.Session, m message) (json.RawMessage, error) {
	u, err := webhookOf(s.Request.Connection)
	if err != nil {
		return nil, err
	}
	if m.Channel != "" || m.Username != "" || m.IconEmoji != "" {
		return nil, rest.Invalid("a webhook posts to its own channel under its own name: leave channel, username and icon_emoji out")
	}
	a, err := s.Send(ctx, rest.Call{Method: "POST", To: u, Body: m})
	if err != nil {
		return nil, err
	}
	var answer string
	if json.Unmarshal(a.Body, &answer) != nil || strings.TrimSpace(answer) != "ok" {
		return nil, rest.Unexpected("ok in it")
	}
	return rest.Marshal(map[string]any{"channel": nil, "ts": nil})
}
