package mcp

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/10ex/flows/connectors"
)

// Direct is the connector that calls a tool of any server, which its connection
// names, without registering the server first.
type Direct struct{ kind *Kind }

var _ connectors.Tester = Direct{}

// NewDirect makes the connector.
func NewDirect(k *Kind) Direct { return Direct{k} }

// Spec describes the connector.
func (Direct) Spec() connectors.Spec {
	return connectors.Spec{
		Slug: "mcp", Name: "MCP", Description: "Calls a tool of any MCP server. A server that is registered becomes a connector with an action for each tool.",
		Actions: []connectors.Action{
			{Name: "call_tool", Description: "Calls a tool by its name.", Input: json.RawMessage(callInput), Output: json.RawMessage(callOutput)},
			{Name: "list_tools", Description: "Lists the tools of the server.", Input: json.RawMessage(listInput), Output: json.RawMessage(listOutput), Idempotent: true, NoEffect: true},
		},
		Connection: &connectors.ConnectionSpec{
			Required: true, Auth: auths, NeedsHosts: true, Address: "url",
			Config: json.RawMessage(`{"type":"object","properties":{"url":{"type":"string","minLength":1,"maxLength":2048,"description":"The address of the server."}},"required":["url"]}`),
		},
	}
}

const (
	callInput = `{"type":"object","properties":{
		"tool":{"type":"string","minLength":1,"maxLength":200},
		"arguments":{"type":["object","null"],"description":"What the tool takes."}
	},"required":["tool"],"additionalProperties":false}`
	callOutput = `{"type":"object","properties":{
		"content":{"type":"array","items":{"type":"object"}},"structured":{},"is_error":{"type":"boolean"}
	},"required":["content","structured","is_error"]}`
	listInput  = `{"type":["object","null"],"additionalProperties":false}`
	listOutput = `{"type":"object","properties":{"tools":{"type":"array","items":{"type":"object","properties":{
		"name":{"type":"string"},"description":{"type":"string"},"input_schema":{}},"required":["name","description","input_schema"]}}},"required":["tools"]}`
)

func (d Direct) target(c *connectors.Connection) (target, error) {
	if c == nil {
		return target{}, connectors.Permanent(connectors.CodeNoConnection, "the step needs a connection, which names the server")
	}
	var config struct {
		URL string `json:"url"`
	}
	if err := json.Unmarshal(c.Config, &config); err != nil || cmp.Or(config.URL, c.BaseURL) == "" {
		return target{}, connectors.Permanent(connectors.CodeInputInvalid, "the connection names no server")
	}
	return target{URL: cmp.Or(config.URL, c.BaseURL)}, nil
}

// Do performs one action.
func (d Direct) Do(ctx context.Context, r connectors.Request) (connectors.Response, error) {
	var in struct {
		Tool      string          `json:"tool"`
		Arguments json.RawMessage `json:"arguments"`
	}
	if r.Action != "call_tool" && r.Action != "list_tools" {
		return connectors.Response{}, connectors.Permanent(connectors.CodeUnknownAction, "connector %q has no action %q", "mcp", r.Action)
	}
	t, err := d.target(r.Connection)
	if err != nil {
		return connectors.Response{}, err
	}
	if len(r.Input) > 0 {
		if err := json.Unmarshal(r.Input, &in); err != nil {
			return connectors.Response{}, connectors.Permanent(connectors.CodeInputInvalid, "the input is not valid")
		}
	}
	if err := r.Begin(ctx); err != nil {
		return connectors.Response{}, err
	}
	if r.Action == "list_tools" {
		return d.list(ctx, t, r)
	}
	if string(in.Arguments) == "null" {
		in.Arguments = nil
	}
	return d.kind.call(ctx, t, r.Connection, r.IdempotencyKey, in.Tool, in.Arguments, false)
}

func (d Direct) list(ctx context.Context, t target, r connectors.Request) (connectors.Response, error) {
	type shown struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Input       json.RawMessage `json:"input_schema"`
	}
	out := struct {
		Tools []shown `json:"tools"`
	}{[]shown{}}
	err := d.kind.session(ctx, t, r.Connection, r.IdempotencyKey, func(ctx context.Context, s visit) error {
		tools, err := list(ctx, s)
		for _, tool := range tools {
			out.Tools = append(out.Tools, shown{tool.Tool, tool.Description, tool.Input})
		}
		return err
	})
	if refused, ok := err.(*connectors.RegistrationError); ok { //nolint:errorlint // it is ours and not wrapped
		err = connectors.Permanent(connectors.CodeBadResponse, "%s", refused.Message)
	}
	if err != nil {
		return connectors.Response{}, err
	}
	raw, err := json.Marshal(out)
	return connectors.Response{Output: raw}, err
}

// TestConnection asks the server for its tools.
func (d Direct) TestConnection(ctx context.Context, c *connectors.Connection) error {
	t, err := d.target(c)
	if err != nil {
		return err
	}
	return d.kind.session(ctx, t, c, "", func(ctx context.Context, s visit) error {
		_, err := s.ListTools(ctx, nil)
		return err
	})
}
