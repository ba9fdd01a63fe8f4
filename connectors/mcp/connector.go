package mcp

import (
	"context"
	"encoding/json"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/10ex/flows/connectors"
)

// connector is a registered server.
type connector struct {
	*connectors.Described
	kind *Kind
	data kept
}

var (
	_ connectors.Registered = (*connector)(nil)
	_ connectors.Tester     = (*connector)(nil)
)

func newConnector(k *Kind, stored connectors.Stored, data kept) *connector {
	actions, theirs := make([]connectors.Action, len(data.Tools)), make([]string, len(data.Tools))
	for i, t := range data.Tools {
		actions[i] = connectors.Action{Name: t.Name, Description: t.Description, Idempotent: t.Idempotent, NoEffect: t.NoEffect}
		theirs[i] = t.Tool
	}
	var connection *connectors.ConnectionSpec // a program gets none
	if data.Target.URL != "" {
		connection = &connectors.ConnectionSpec{Auth: auths, BaseURL: data.Target.URL, Hosts: []string{strings.ToLower(hostOf(data.Target.URL))}}
	}
	schemas := func(i int) (input, output json.RawMessage) { return data.Tools[i].Input, data.Tools[i].Output }
	return &connector{connectors.Describe(stored, connection, actions, theirs, schemas), k, data}
}

// auths are the ways to prove who one is that servers of MCP know.
var auths = []connectors.AuthType{
	connectors.AuthBearer, connectors.AuthOAuth2, connectors.AuthHeader, connectors.AuthBasic, connectors.AuthQuery, connectors.AuthNone,
}

// Do calls a tool.
func (c *connector) Do(ctx context.Context, r connectors.Request) (connectors.Response, error) {
	i, err := c.Place(r.Action)
	if err != nil {
		return connectors.Response{}, err
	}
	t := c.data.Tools[i]
	if err := r.Begin(ctx); err != nil {
		return connectors.Response{}, err
	}
	return c.kind.call(ctx, c.data.Target, r.Connection, r.IdempotencyKey, t.Tool, r.Input, t.Idempotent)
}

// TestConnection asks the server for its tools.
func (c *connector) TestConnection(ctx context.Context, conn *connectors.Connection) error {
	return c.kind.session(ctx, c.data.Target, conn, "", func(ctx context.Context, s visit) error {
		_, err := s.ListTools(ctx, nil)
		return err
	})
}

// call calls a tool in a session of its own. A tool that says it failed may be tried
// again if repeating it is harmless.
func (k *Kind) call(ctx context.Context, t target, conn *connectors.Connection, key, name string, input json.RawMessage, repeatable bool) (connectors.Response, error) {
	var out connectors.Response
	if len(input) == 0 {
		input = json.RawMessage("{}")
	}
	err := k.session(ctx, t, conn, key, func(ctx context.Context, s visit) error {
		result, err := s.CallTool(ctx, &sdk.CallToolParams{Name: name, Arguments: input})
		if err != nil {
			return err
		}
		if result.IsError {
			message := "the tool failed: " + clip(textOf(result.Content), 1000)
			if repeatable {
				return connectors.Retryable(codeTool, "%s", message)
			}
			return connectors.Permanent(codeTool, "%s", message)
		}
		out.Output, err = outputOf(result, s.wire.structured())
		return err
	})
	if err != nil {
		return connectors.Response{}, err
	}
	return out, nil
}

func outputOf(result *sdk.CallToolResult, exact json.RawMessage) (json.RawMessage, error) {
	content, structured := result.Content, result.StructuredContent
	if content == nil {
		content = []sdk.Content{}
	}
	if structured != nil && exact != nil {
		structured = exact
	}
	return json.Marshal(struct {
		Content    []sdk.Content `json:"content"`
		Structured any           `json:"structured"`
		IsError    bool          `json:"is_error"`
	}{content, structured, false})
}

// textOf is what a tool says in words.
func textOf(content []sdk.Content) string {
	var words []string
	for _, c := range content {
		if text, ok := c.(*sdk.TextContent); ok && text.Text != "" {
			words = append(words, text.Text)
		}
	}
	if len(words) == 0 {
		return "it does not say why"
	}
	return strings.Join(words, " ")
}
