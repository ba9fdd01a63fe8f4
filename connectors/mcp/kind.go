package mcp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/dialect"
	"github.com/10ex/flows/internal/egress"
)

// Kind makes connectors of MCP servers.
type Kind struct {
	client *egress.Client
	stdio  bool
	env    []string
}

var _ connectors.Kind = (*Kind)(nil)

// NewKind makes the kind; client reaches the servers.
func NewKind(client *egress.Client) *Kind { return &Kind{client: client} }

// WithPrograms returns a kind that also starts servers as programs, on this machine
// and with the rights of this process. env is all of the environment they see.
func (k *Kind) WithPrograms(env []string) *Kind {
	derived := *k
	derived.stdio, derived.env = true, env
	return &derived
}

// kept is what is kept of a server.
type kept struct {
	Target target `json:"target"`
	Tools  []tool `json:"tools"`
}

// tool is one action.
type tool struct {
	Name        string          `json:"name"`
	Tool        string          `json:"tool"` // as the server calls it
	Description string          `json:"description"`
	Input       json.RawMessage `json:"input"`
	Output      json.RawMessage `json:"output"`
	NoEffect    bool            `json:"no_effect,omitempty"`
	Idempotent  bool            `json:"idempotent,omitempty"`
}

// maxKept bounds what is kept of a server.
const maxKept = 8 << 20

// Compile asks a server for its tools.
func (k *Kind) Compile(ctx context.Context, r connectors.Registration) (connectors.Compiled, error) {
	var out connectors.Compiled
	t, err := k.target(r.Config)
	if err != nil {
		return out, err
	}
	if len(t.Command) > 0 && r.Connection != nil {
		return out, connectors.Refuse("connection", "a server on standard streams takes none")
	}
	data := kept{Target: t}
	err = k.session(ctx, t, r.Connection, "", func(ctx context.Context, s visit) error {
		if about := s.InitializeResult(); about != nil {
			if about.ServerInfo != nil {
				out.Name = clip(s.secrets.Text(cmp.Or(about.ServerInfo.Title, about.ServerInfo.Name)), 200)
			}
			out.Description = clip(s.secrets.Text(about.Instructions), 1000)
		}
		data.Tools, err = list(ctx, s)
		return err
	})
	if err != nil {
		return out, err
	}
	out.Actions = len(data.Tools)
	out.Data, err = json.Marshal(data)
	if len(out.Data) > maxKept {
		return out, refuse("describes its tools in %d bytes, more than the %d allowed", len(out.Data), maxKept)
	}
	return out, err
}

// target reads where a server is.
func (k *Kind) target(config json.RawMessage) (target, error) {
	var t target
	if err := json.Unmarshal(config, &t); err != nil {
		return t, connectors.Refuse("config", "cannot be read")
	}
	switch {
	case t.URL == "" && len(t.Command) == 0:
		return t, connectors.Refuse("url", "is required")
	case t.URL != "" && len(t.Command) > 0:
		return t, connectors.Refuse("command", "does not go with a url")
	case len(t.Command) > 0 && !k.stdio:
		return t, connectors.Refuse("command", "servers on standard streams are not allowed here")
	case len(t.Command) > 0:
		return t, nil
	}
	u, err := egress.ParseURL(t.URL)
	if err != nil {
		return t, connectors.Refuse("url", "%s", err.Error())
	}
	u.Fragment = ""
	t.URL = u.String()
	return t, nil
}

// list reads all tools, page by page.
func list(ctx context.Context, s visit) ([]tool, error) {
	var all []*sdk.Tool
	for params := (&sdk.ListToolsParams{}); ; {
		page, err := s.ListTools(ctx, params)
		if err != nil {
			return nil, err
		}
		for _, theirs := range page.Tools {
			if theirs, err = without(s.secrets, theirs); err != nil {
				return nil, err
			}
			all = append(all, theirs)
		}
		if len(all) > connectors.MaxActions {
			return nil, refuse("has more than %d tools", connectors.MaxActions)
		}
		if page.NextCursor == "" || page.NextCursor == params.Cursor || len(page.Tools) == 0 {
			break
		}
		params.Cursor = page.NextCursor
	}
	if len(all) == 0 {
		return nil, refuse("has no tools")
	}
	slices.SortFunc(all, func(a, b *sdk.Tool) int { return strings.Compare(a.Name, b.Name) })
	var names connectors.ActionNames
	out := make([]tool, 0, len(all))
	for _, theirs := range all {
		t := tool{Name: names.Take(theirs.Name), Tool: theirs.Name, Description: clip(cmp.Or(theirs.Description, theirs.Title, theirs.Name), 1000)}
		if a := theirs.Annotations; a != nil {
			t.NoEffect, t.Idempotent = a.ReadOnlyHint, a.ReadOnlyHint || a.IdempotentHint
		}
		var err error
		if t.Input, err = schemaOf(theirs.InputSchema, nil); err == nil {
			t.Output, err = schemaOf(theirs.OutputSchema, output)
		}
		if err != nil {
			return nil, refuse("has a tool %q with a schema that cannot be used: %s", clip(theirs.Name, 100), err.Error())
		}
		out = append(out, t)
	}
	return out, nil
}

// without gives a tool without the secrets that its server was shown.
func without(secrets *connectors.Redactor, t *sdk.Tool) (*sdk.Tool, error) {
	if secrets == nil {
		return t, nil
	}
	raw, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	clean := &sdk.Tool{}
	return clean, json.Unmarshal(secrets.JSON(raw), clean)
}

// output is what an action gives, around what a tool says of its structured result.
func output(structured any) any {
	return map[string]any{
		"type": "object",
		"properties": map[string]any{
			"content":    map[string]any{"type": "array", "items": map[string]any{"type": "object"}, "description": "What the tool answers, for people and models."},
			"structured": structured,
			"is_error":   map[string]any{"type": "boolean"},
		},
		"required": []any{"content", "structured", "is_error"},
	}
}

// schemaOf makes a schema of a tool stand by itself.
func schemaOf(theirs any, around func(any) any) (json.RawMessage, error) {
	raw, err := json.Marshal(theirs)
	if err != nil {
		return nil, err
	}
	var root any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&root); err != nil {
		return nil, err
	}
	c := dialect.NewConverter(dialect.Rules{Resolve: func(pointer string) (any, string, error) {
		v, err := dialect.At(root, pointer)
		return v, dialect.Last(pointer), err
	}})
	schema, err := c.Schema(root)
	if err != nil {
		return nil, err
	}
	if around != nil {
		schema = around(schema)
	}
	if allowed, ok := schema.(bool); ok && allowed {
		schema = map[string]any{"type": "object"}
	}
	library, err := dialect.NewLibrary(c.Defs())
	if err != nil {
		return nil, err
	}
	d2, err := dialect.Define(schema)
	if err != nil {
		return nil, err
	}
	bundle := library.Bundle(d2, connectors.MaxSchema)
	if len(bundle) > 2*connectors.MaxSchema {
		return nil, fmt.Errorf("it is %d bytes", len(bundle))
	}
	if _, err := connectors.CompileForeignSchema(bundle); err != nil {
		return nil, fmt.Errorf("it is not valid")
	}
	return bundle, nil
}

// Open makes a connector of a server whose tools were read.
func (k *Kind) Open(stored connectors.Stored) (connectors.Registered, error) {
	var data kept
	if err := json.Unmarshal(stored.Data, &data); err != nil {
		return nil, fmt.Errorf("mcp: what was stored cannot be read: %w", err)
	}
	return newConnector(k, stored, data), nil
}

func refuse(format string, args ...any) error {
	return connectors.Refuse("url", "the server %s", fmt.Sprintf(format, args...))
}
