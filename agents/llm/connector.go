package llm

import (
	"context"
	"encoding/json"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
)

// Slugs of the connectors for vendors of models.
const (
	SlugOpenAI    = "openai"
	SlugAnthropic = "anthropic"
)

// Connector is a vendor of models as a connector: its connections are those that
// agents of kind llm use, and its actions ask a model once, without tools.
type Connector struct {
	slug, name, description string
	connection              connectors.ConnectionSpec
	vendor                  Vendor
	prices                  Prices
}

var (
	_ connectors.Tester = (*Connector)(nil)
	_ connectors.Priced = (*Connector)(nil)
)

// NewOpenAIConnector makes the connector for servers of chat completions.
func NewOpenAIConnector(client *egress.Client, prices Prices) *Connector {
	return &Connector{
		slug: SlugOpenAI, name: "OpenAI",
		description: "Models of OpenAI, and of every server that speaks its chat completions protocol, at the base_url of the connection.",
		connection: connectors.ConnectionSpec{
			Required: true, Auth: []connectors.AuthType{connectors.AuthBearer, connectors.AuthHeader, connectors.AuthNone},
			BaseURL: "https://api.openai.com/v1",
		},
		vendor: NewOpenAI(client), prices: prices,
	}
}

// NewAnthropicConnector makes the connector for Anthropic.
func NewAnthropicConnector(client *egress.Client, prices Prices) *Connector {
	return &Connector{
		slug: SlugAnthropic, name: "Anthropic",
		description: "Models of Anthropic, by its messages protocol.",
		connection: connectors.ConnectionSpec{
			Required: true, Auth: []connectors.AuthType{connectors.AuthBearer, connectors.AuthHeader},
			BaseURL: "https://api.anthropic.com",
		},
		vendor: NewAnthropic(client), prices: prices,
	}
}

// Vendor is the protocol behind the connector.
func (c *Connector) Vendor() Vendor { return c.vendor }

// Spec describes the connector.
func (c *Connector) Spec() connectors.Spec {
	return connectors.Spec{
		Slug: c.slug, Name: c.name, Description: c.description, Connection: &c.connection,
		Actions: []connectors.Action{
			{
				Name:        "chat",
				Description: "Asks a model once and gives its answer. For tools and checked output use an agent of kind llm.",
				Input:       json.RawMessage(chatInput), Output: json.RawMessage(chatOutput),
				Idempotent: true, // to ask twice costs twice and changes nothing
			},
			{
				Name:        "list_models",
				Description: "Lists the models that the connection may use.",
				Input:       json.RawMessage(`{"type": ["object", "null"], "additionalProperties": false}`),
				Output: json.RawMessage(`{
					"type": "object", "properties": {"models": {"type": "array", "items": {"type": "string"}}},
					"required": ["models"], "additionalProperties": false
				}`),
				Idempotent: true, NoEffect: true,
			},
		},
	}
}

const chatInput = `{
	"type": "object",
	"properties": {
		"model":       {"type": "string", "minLength": 1, "maxLength": 200},
		"prompt":      {"type": "string", "minLength": 1, "description": "What to ask."},
		"system":      {"type": "string", "description": "Instructions that stand before it."},
		"max_tokens":  {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 4096, "description": "The most the answer may have."},
		"temperature": {"type": "number", "minimum": 0, "maximum": 2}
	},
	"required": ["model", "prompt"],
	"additionalProperties": false
}`

const chatOutput = `{
	"type": "object",
	"properties": {
		"text":  {"type": "string"},
		"model": {"type": "string"},
		"stop":  {"type": "string", "enum": ["done", "length", "refused"]}
	},
	"required": ["text", "model", "stop"],
	"additionalProperties": false
}`

// Do performs one action.
func (c *Connector) Do(ctx context.Context, r connectors.Request) (connectors.Response, error) {
	switch r.Action {
	case "chat":
		return c.chat(ctx, r)
	case "list_models":
		models, err := c.vendor.Models(ctx, r.Connection)
		if err != nil {
			return connectors.Response{}, err
		}
		return output(map[string]any{"models": models})
	}
	return connectors.Response{}, connectors.Permanent(connectors.CodeUnknownAction, "connector %q has no action %q", c.slug, r.Action)
}

// chatRequest is the input of chat.
type chatRequest struct {
	Model       string   `json:"model"`
	Prompt      string   `json:"prompt"`
	System      string   `json:"system"`
	MaxTokens   int      `json:"max_tokens"`
	Temperature *float64 `json:"temperature"`
}

func readChat(raw json.RawMessage) (chatRequest, error) {
	in := chatRequest{MaxTokens: 4096}
	if err := json.Unmarshal(raw, &in); err != nil {
		return in, connectors.Permanent(connectors.CodeInputInvalid, "the input is not valid")
	}
	return in, nil
}

// Most tells what chat may use: of all it sends a token has at least a byte, and hardly
// ever less than two, and the answer may be as long as was asked for.
func (c *Connector) Most(r connectors.Request) *connectors.Usage {
	in, err := readChat(r.Input)
	if r.Action != "chat" || err != nil {
		return nil
	}
	u := Usage{Input: int64(len(r.Input)/2 + 64), Output: int64(in.MaxTokens)}
	price, known := c.prices.Of(in.Model)
	return &connectors.Usage{InputTokens: u.Input, OutputTokens: u.Output, Cost: Dollars(price.Cost(u)), Model: in.Model, CostUnknown: !known}
}

func (c *Connector) chat(ctx context.Context, r connectors.Request) (connectors.Response, error) {
	in, err := readChat(r.Input)
	if err != nil {
		return connectors.Response{}, err
	}
	if err := r.Begin(ctx); err != nil {
		return connectors.Response{}, err
	}
	a, err := c.vendor.Ask(ctx, r.Connection, r.IdempotencyKey, Question{
		Model: in.Model, System: in.System, MaxTokens: in.MaxTokens, Temperature: in.Temperature,
		Messages: []Message{{Role: RoleUser, Text: in.Prompt}},
	}, nil)
	if err != nil {
		return connectors.Response{}, err
	}
	price, known := c.prices.Of(a.Model)
	if !known { // servers call models as they like
		price, known = c.prices.Of(in.Model)
	}
	resp, err := output(map[string]any{"text": a.Text, "model": a.Model, "stop": a.Stop})
	resp.Usage = &connectors.Usage{
		InputTokens: a.Usage.Input, OutputTokens: a.Usage.Output, Cost: Dollars(price.Cost(a.Usage)), Turns: 1, Model: a.Model,
		CostUnknown: !known, Estimated: a.Usage.Estimated,
	}
	return resp, err
}

func output(v any) (connectors.Response, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return connectors.Response{}, connectors.Permanent(connectors.CodeBadResponse, "the answer cannot be written as JSON")
	}
	return connectors.Response{Output: raw}, nil
}

// TestConnection asks for the list of models.
func (c *Connector) TestConnection(ctx context.Context, conn *connectors.Connection) error {
	_, err := c.vendor.Models(ctx, conn)
	return err
}
