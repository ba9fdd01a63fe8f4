// Package slack is the connector of Slack: its Web API with the token of a bot, and
// incoming webhooks. It knows how Slack wants to be asked and how it says no; how
// requests get there is the matter of connectors/rest. It imports connectors,
// connectors/rest and internal/egress.
package slack

import (
	"context"
	"encoding/json"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/rest"
	"github.com/10ex/flows/internal/egress"
)

// SecretWebhookURL is the address of an incoming webhook, whoever has which may post
// to its channel: so it is a secret.
const SecretWebhookURL = "webhook_url" //nolint:gosec // G101: its name, and not itself

// New makes the connector; client sends its requests.
func New(client *egress.Client) *rest.Connector {
	return rest.New(client, rest.Definition{
		Spec: connectors.Spec{
			Slug:        "slack",
			Name:        "Slack",
			Description: "Posts and changes messages, reacts to them, and finds people.",
			Connection: &connectors.ConnectionSpec{
				Required: true,
				Auth:     []connectors.AuthType{connectors.AuthBearer, connectors.AuthOAuth2, connectors.AuthNone},
				BaseURL:  "https://slack.com/api",
				Config:   json.RawMessage(configSchema),
				OAuth: &connectors.Auth{ //nolint:gosec // G101: addresses, and no secret
					Grant: "authorization_code", AuthorizationURL: "https://slack.com/oauth/v2/authorize", TokenURL: "https://slack.com/api/oauth.v2.access",
					Scopes: []string{"chat:write", "reactions:write", "users:read", "users:read.email", "im:write", "mpim:write"},
				},
				Secrets: map[string]string{
					SecretWebhookURL: "The address of an incoming webhook, in place of the token of a bot (auth none). It can post messages and nothing else.",
				},
			},
		},
		Actions: actions,
		Test:    test,
		Check:   check,
	})
}

const configSchema = `{
	"type": "object",
	"properties": {
		"channel": {"type": "string", "minLength": 1, "maxLength": 255, "description": "Where messages go whose step names no channel: an id such as C0123456789, or #name."}
	}
}`

// config is what a connection may say.
type config struct {
	Channel string `json:"channel"`
}

// test asks Slack who the token belongs to. A webhook cannot be tried without posting,
// so of that only the form is looked at.
func test(ctx context.Context, s *rest.Session) error {
	if byWebhook(s.Request.Connection) {
		_, err := webhookOf(s.Request.Connection)
		return err
	}
	a, err := s.Send(ctx, rest.Call{Method: "POST", Path: "/auth.test", Read: true})
	if err != nil {
		return err
	}
	var says struct {
		OK bool `json:"ok"`
	}
	if err := a.Decode(&says); err != nil || !says.OK { // what says nothing is not Slack
		return rest.Unexpected("ok")
	}
	return nil
}
