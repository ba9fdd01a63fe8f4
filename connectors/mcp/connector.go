package mcp

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/10ex/flows/connectors"
)

// connector is a registered server.
type connector struct {
	kind   *Kind
	data   kept
	spec   connectors.Spec
	byName map[string]int // tools, by name and by what the server calls them
	inputs sync.Map       // of *connectors.Schema, by place in data.Tools
}

var (
	_ connectors.Registered = (*connector)(nil)
	_ connectors.Tester     = (*connector)(nil)
)

func newConnector(k *Kind, stored connectors.Stored, data kept) *connector {
	c := &connector{kind: k, data: data, byName: make(map[string]int, 2*len(data.Tools))}
	c.spec = connectors.Spec{
		Slug: stored.Slug, Name: stored.Name, Description: stored.Description, Actions: make([]connectors.Action, len(data.Tools)),
	}
	if data.Target.URL != "" {
		c.spec.Connection = &connectors.ConnectionSpec{Auth: auths, BaseURL: data.Target.URL, Hosts: []string{strings.ToLower(hostOf(data.Target.URL))}}
	}
	for i, t := range data.Tools {
		c.spec.Actions[i] = connectors.Action{Name: t.Name, Description: t.Description, Idempotent: t.Idempotent, NoEffect: t.NoEffect}
		c.byName[t.Name] = i
	}
	for i, t := range data.Tools {
		if _, taken := c.byName[t.Tool]; !taken {
			c.byName[t.Tool] = i
		}
	}
	return c
}

// auths are the ways to prove who one is that servers of MCP know.
var auths = []connectors.AuthType{
	connectors.AuthBearer, connectors.AuthOAuth2, connectors.AuthHeader, connectors.AuthBasic, connectors.AuthQuery, connectors.AuthNone,
}

// Spec describes the connector, without the schemas of its actions.
func (c *connector) Spec() connectors.Spec { return c.spec }

// Action finds an action by its name, or by what the server calls the tool.
func (c *connector) Action(name string) (connectors.Action, bool) {
	i, ok := c.byName[name]
	if !ok {
		return connectors.Action{}, false
	}
	a := c.spec.Actions[i]
	a.Input, a.Output = c.data.Tools[i].Input, c.data.Tools[i].Output
	return a, true
}

// CheckInput returns a permanent *Error naming each field in which input does not fit.
func (c *connector) CheckInput(action string, input json.RawMessage) error {
	i, ok := c.byName[action]
	if !ok {
		return c.unknown(action)
	}
	schema, ok := c.inputs.Load(i)
	if !ok {
		compiled, err := connectors.CompileForeignSchema(c.data.Tools[i].Input)
		if err != nil {
			return err
		}
		schema, _ = c.inputs.LoadOrStore(i, compiled)
	}
	return schema.(*connectors.Schema).CheckInput(input) //nolint:forcetypeassert // nothing else is put there
}

func (c *connector) unknown(action string) error {
	return connectors.Permanent(connectors.CodeUnknownAction, "connector %q has no action %q", c.spec.Slug, action)
}

// Do calls a tool.
func (c *connector) Do(ctx context.Context, r connectors.Request) (connectors.Response, error) {
	i, ok := c.byName[r.Action]
	if !ok {
		return connectors.Response{}, c.unknown(r.Action)
	}
	t := c.data.Tools[i]
	if err := r.Begin(ctx); err != nil {
		return connectors.Response{}, err
	}
	return c.kind.call(ctx, c.data.Target, r.Connection, r.IdempotencyKey, t.Tool, r.Input, t.Idempotent)
}

// TestConnection asks the server for its tools.
func (c *connector) TestConnection(ctx context.Context, conn *connectors.Connection) error {
	return c.kind.session(ctx, c.data.Target, conn, "", func(ctx context.Context, s *sdk.ClientSession) error {
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
	err := k.session(ctx, t, conn, key, func(ctx context.Context, s *sdk.ClientSession) error {
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
		out.Output, err = outputOf(result)
		return err
	})
	if err != nil {
		return connectors.Response{}, err
	}
	return out, nil
}

func outputOf(result *sdk.CallToolResult) (json.RawMessage, error) {
	content := result.Content
	if content == nil {
		content = []sdk.Content{}
	}
	return json.Marshal(struct {
		Content    []sdk.Content `json:"content"`
		Structured any           `json:"structured"`
		IsError    bool          `json:"is_error"`
	}{content, result.StructuredContent, false})
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
