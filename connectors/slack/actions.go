package slack

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/rest"
)

const (
	schemaChannel = `{"type": "string", "minLength": 1, "maxLength": 255, "description": "An id such as C0123456789 or U0123456789."}`
	schemaTS      = `{"type": "string", "pattern": "^[0-9]+\\.[0-9]+$", "description": "The ts that names a message in its channel, as post_message gives it."}`
	schemaText    = `{"type": "string", "maxLength": 40000, "description": "In Slack's mrkdwn: *bold*, <https://example.com|a link>. With blocks it is what notifications show."}`
	schemaBlocks  = `{"type": ["array", "null"], "maxItems": 50, "items": {"type": "object"}, "description": "Block Kit blocks."}`
	schemaPosted  = `{
		"type": "object",
		"properties": {
			"channel": {"type": ["string", "null"], "description": "The id of the channel; null for a webhook, which does not tell."},
			"ts":      {"type": ["string", "null"], "description": "What names the message in its channel: thread_ts to answer it, ts to change it."}
		},
		"required": ["channel", "ts"], "additionalProperties": false
	}`
)

var actions = []rest.Action{
	{
		Action: connectors.Action{
			Name:    "post_message",
			Guarded: []string{"channel"},
			Description: "Posts a message to a channel, a person or a thread. Slack cannot tell a repeat: where an attempt is lost " +
				"after it was sent, on_unknown of the step decides.",
			Input: json.RawMessage(`{
				"type": "object",
				"properties": {
					"channel":         {"type": ["string", "null"], "minLength": 1, "maxLength": 255, "description": "A channel's id or #name, or a person's id. Default: the connection's. Not for webhooks."},
					"text":            ` + schemaText + `,
					"blocks":          ` + schemaBlocks + `,
					"thread_ts":       ` + schemaTS + `,
					"reply_broadcast": {"type": "boolean", "default": false, "description": "Shows an answer in a thread to the whole channel as well."},
					"unfurl_links":    {"type": "boolean", "description": "Shows previews of links."},
					"username":        {"type": "string", "maxLength": 80, "description": "The name to post under (scope chat:write.customize)."},
					"icon_emoji":      {"type": "string", "maxLength": 100, "description": "Such as :wave: (scope chat:write.customize)."}
				},
				"additionalProperties": false
			}`),
			Output: json.RawMessage(schemaPosted),
		},
		Do: postMessage,
	},
	{
		Action: connectors.Action{
			Name:        "update_message",
			Guarded:     []string{"channel"},
			Description: "Replaces the text and blocks of a message that the bot has posted.",
			Input: json.RawMessage(`{
				"type": "object",
				"properties": {"channel": ` + schemaChannel + `, "ts": ` + schemaTS + `, "text": ` + schemaText + `, "blocks": ` + schemaBlocks + `},
				"required": ["channel", "ts"], "additionalProperties": false
			}`),
			Output:     json.RawMessage(schemaPosted),
			Idempotent: true,
		},
		Do: updateMessage,
	},
	{
		Action: connectors.Action{
			Name:        "delete_message",
			Guarded:     []string{"channel"},
			Description: "Deletes a message that the bot has posted. One that is gone already is deleted well.",
			Input: json.RawMessage(`{
				"type": "object",
				"properties": {"channel": ` + schemaChannel + `, "ts": ` + schemaTS + `},
				"required": ["channel", "ts"], "additionalProperties": false
			}`),
			Output:     json.RawMessage(`{"type": "object", "properties": {"deleted": {"type": "boolean", "description": "False where it was gone already."}}, "required": ["deleted"], "additionalProperties": false}`),
			Idempotent: true,
		},
		Do: func(ctx context.Context, s *rest.Session) (json.RawMessage, error) {
			return settled(ctx, s, "/chat.delete", "slack_message_not_found", "deleted")
		},
	},
	{
		Action: connectors.Action{
			Name:        "add_reaction",
			Guarded:     []string{"channel"},
			Description: "Adds an emoji to a message. One that is there already is added well.",
			Input: json.RawMessage(`{
				"type": "object",
				"properties": {
					"channel":   ` + schemaChannel + `,
					"timestamp": ` + schemaTS + `,
					"name":      {"type": "string", "pattern": "^[a-z0-9_+'-]+(::skin-tone-[2-6])?$", "description": "The emoji without colons, such as white_check_mark."}
				},
				"required": ["channel", "timestamp", "name"], "additionalProperties": false
			}`),
			Output:     json.RawMessage(`{"type": "object", "properties": {"added": {"type": "boolean", "description": "False where it was there already."}}, "required": ["added"], "additionalProperties": false}`),
			Idempotent: true,
		},
		Do: func(ctx context.Context, s *rest.Session) (json.RawMessage, error) {
			return settled(ctx, s, "/reactions.add", "slack_already_reacted", "added")
		},
	},
	{
		Action: connectors.Action{
			Name:        "lookup_user_by_email",
			Description: "Finds the member of the Slack workspace who has an email address, such as to mention or message them.",
			Input:       json.RawMessage(`{"type": "object", "properties": {"email": {"type": "string", "format": "email", "maxLength": 320}}, "required": ["email"], "additionalProperties": false}`),
			Output: json.RawMessage(`{
				"type": "object",
				"properties": {
					"found":     {"type": "boolean"},
					"id":        {"type": ["string", "null"], "description": "Posts to it go to the person; <@id> mentions them."},
					"name":      {"type": ["string", "null"]},
					"real_name": {"type": ["string", "null"]},
					"email":     {"type": ["string", "null"]},
					"timezone":  {"type": ["string", "null"]}
				},
				"required": ["found", "id", "name", "real_name", "email", "timezone"], "additionalProperties": false
			}`),
			Idempotent: true, NoEffect: true,
		},
		Do: lookupUser,
	},
	{
		Action: connectors.Action{
			Name:        "open_conversation",
			Guarded:     []string{"users"},
			Description: "Opens the direct message with one person or the group message with several, and gives its channel.",
			Input: json.RawMessage(`{
				"type": "object",
				"properties": {"users": {"type": "array", "minItems": 1, "maxItems": 8, "items": {"type": "string", "pattern": "^[A-Z0-9]{2,32}$"}, "description": "Ids of people."}},
				"required": ["users"], "additionalProperties": false
			}`),
			Output:     json.RawMessage(`{"type": "object", "properties": {"channel": {"type": "string"}}, "required": ["channel"], "additionalProperties": false}`),
			Idempotent: true,
		},
		Do: openConversation,
	},
}

// settled asks for a state of things. Slack counts it a failure that it is so already.
func settled(ctx context.Context, s *rest.Session, path, already, name string) (json.RawMessage, error) {
	if byWebhook(s.Request.Connection) {
		return nil, needsToken()
	}
	_, err := s.Send(ctx, rest.Call{Method: "POST", Path: path, Body: s.Request.Input})
	changed := true
	if e, ok := errors.AsType[*connectors.Error](err); ok && e.Code == already {
		changed, err = false, nil
	}
	if err != nil {
		return nil, err
	}
	return rest.Marshal(map[string]bool{name: changed})
}

func lookupUser(ctx context.Context, s *rest.Session) (json.RawMessage, error) {
	var in struct {
		Email string `json:"email"`
	}
	if err := s.Input(&in); err != nil {
		return nil, err
	}
	if byWebhook(s.Request.Connection) {
		return nil, needsToken()
	}
	a, err := s.Send(ctx, rest.Call{Method: "GET", Path: "/users.lookupByEmail", Query: url.Values{"email": {in.Email}}, Read: true})
	if e, ok := errors.AsType[*connectors.Error](err); ok && e.Code == "slack_users_not_found" {
		return rest.Marshal(map[string]any{"found": false, "id": nil, "name": nil, "real_name": nil, "email": nil, "timezone": nil})
	}
	if err != nil {
		return nil, err
	}
	var out struct {
		User struct {
			ID       string  `json:"id"`
			Name     *string `json:"name"`
			RealName *string `json:"real_name"`
			Timezone *string `json:"tz"`
			Profile  struct {
				Email *string `json:"email"`
			} `json:"profile"`
		} `json:"user"`
	}
	if err := a.Decode(&out); err != nil {
		return nil, err
	}
	u := out.User
	if u.ID == "" {
		return nil, rest.Unexpected("user")
	}
	return rest.Marshal(map[string]any{
		"found": true, "id": u.ID, "name": u.Name, "real_name": u.RealName, "email": u.Profile.Email, "timezone": u.Timezone,
	})
}

func openConversation(ctx context.Context, s *rest.Session) (json.RawMessage, error) {
	var in struct {
		Users []string `json:"users"`
	}
	if err := s.Input(&in); err != nil {
		return nil, err
	}
	if byWebhook(s.Request.Connection) {
		return nil, needsToken()
	}
	a, err := s.Send(ctx, rest.Call{Method: "POST", Path: "/conversations.open", Body: map[string]any{"users": strings.Join(in.Users, ",")}})
	if err != nil {
		return nil, err
	}
	var out struct {
		Channel struct {
			ID string `json:"id"`
		} `json:"channel"`
	}
	if err := a.Decode(&out); err != nil {
		return nil, err
	}
	if out.Channel.ID == "" {
		return nil, rest.Unexpected("channel")
	}
	return rest.Marshal(map[string]any{"channel": out.Channel.ID})
}

func needsToken() error {
	return connectors.Permanent(connectors.CodeNotConnected, "a webhook can only post messages: this takes a connection with the token of a bot")
}
