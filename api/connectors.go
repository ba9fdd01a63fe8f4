package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/registered"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// kindBuiltIn is the kind of a connector that is part of the program.
const kindBuiltIn = "built_in"

// Connector is an entry of the catalogue.
type Connector struct {
	Slug        string `json:"slug"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Kind        string `json:"kind" enum:"built_in,openapi,mcp"`
	// Actions is null in lists, for one that is registered.
	Actions     []connectors.Action               `json:"actions" nullable:"true" doc:"Null in a list, for a connector that is registered. Without schemas where they would be too much: then each action has its own address"`
	ActionCount int                               `json:"action_count"`
	Connection  orNull[connectors.ConnectionSpec] `json:"connection" doc:"What a connection of it takes; null for one that takes none, and in a list for one that is registered"`
	// ConnectionID stands beside Connection, which tells what there may be.
	ConnectionID *string         `json:"connection_id" doc:"Id of the connection that is used where a step names none, or null"`
	Config       json.RawMessage `json:"config" doc:"What it was registered with; null if it is built in"`
	Version      int             `json:"version" doc:"Counts the changes of a registered one; 0 if it is built in"`
	CreatedAt    orNull[stamp]   `json:"created_at" doc:"Null if it is built in"`
	UpdatedAt    orNull[stamp]   `json:"updated_at" doc:"Null if it is built in"`
}

func showBuiltIn(s connectors.Spec) Connector {
	return Connector{
		Slug: s.Slug, Name: s.Name, Description: s.Description, Kind: kindBuiltIn, Actions: s.Actions, ActionCount: len(s.Actions),
		Connection: maybe(s.Connection),
	}
}

func showRegistered(c *models.Connector) Connector {
	return Connector{
		Slug: c.Slug, Name: c.Name, Description: c.Description, Kind: string(c.Kind), ActionCount: c.ActionCount,
		ConnectionID: unlessEmpty(c.Connection), Config: c.Config, Version: c.Version, CreatedAt: maybe(new(stamp(c.CreatedAt))), UpdatedAt: maybe(new(stamp(c.UpdatedAt))),
	}
}

// What slugs of connectors and names of actions look like, built in or registered.
var (
	connectorSlug = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)
	actionName    = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$`)
)

type connectorsAnswer struct{ Body page[Connector] }

// listConnectors gives those that are built in and those of the workspace in one
// order, that of their slugs.
func (a *API) listConnectors(ctx context.Context, in *struct{ ListQuery }) (*connectorsAnswer, error) {
	after, err := in.after(workspace(ctx), "connectors", connectorSlug.MatchString)
	if err != nil {
		return nil, err
	}
	own, err := a.store.For(workspace(ctx)).Connectors(ctx, store.Page{Limit: in.Limit + 1, After: after})
	if err != nil {
		return nil, err
	}
	out := page[Connector]{Items: []Connector{}}
	for _, spec := range a.connectors.BuiltIn().Specs() {
		if spec.Slug > after {
			out.Items = append(out.Items, showBuiltIn(spec))
		}
	}
	for _, c := range own {
		if _, taken := a.connectors.BuiltIn().Lookup(c.Slug); !taken { // by one that came with a new version of the program
			out.Items = append(out.Items, showRegistered(c))
		}
	}
	slices.SortFunc(out.Items, func(a, b Connector) int { return strings.Compare(a.Slug, b.Slug) })
	if len(out.Items) > in.Limit {
		out.Items = out.Items[:in.Limit]
		next := encodeCursor(workspace(ctx), "connectors", out.Items[in.Limit-1].Slug)
		out.NextCursor = &next
	}
	return &connectorsAnswer{out}, nil
}

// ConnectorPath is the path of everything about one connector.
type ConnectorPath struct {
	Slug string `path:"slug" doc:"Slug of a connector"`
}

type connectorAnswer struct {
	Location string `header:"Location"`
	Body     Connector
}

// mostSchemas bounds the bytes of schemas in an answer about a connector.
const mostSchemas = 1 << 20

func (a *API) getConnector(ctx context.Context, in *ConnectorPath) (*connectorAnswer, error) {
	if c, ok := a.connectors.BuiltIn().Lookup(in.Slug); ok {
		return &connectorAnswer{Body: showBuiltIn(c.Spec())}, nil
	}
	row, err := a.store.For(workspace(ctx)).ConnectorSummary(ctx, in.Slug)
	if err != nil {
		return nil, err
	}
	return a.describe(ctx, row)
}

// describe shows a registered connector with its actions.
func (a *API) describe(ctx context.Context, row *models.Connector) (*connectorAnswer, error) {
	c, ok, err := a.connectors.Find(ctx, string(row.WorkspaceID), row.Slug)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, models.ErrNotFound
	}
	out := &connectorAnswer{Body: showRegistered(row)}
	spec := c.Spec()
	out.Body.Connection, out.Body.Actions = maybe(spec.Connection), spec.Actions
	one, ok := c.(connectors.Registered)
	if !ok {
		return out, nil
	}
	full, size := make([]connectors.Action, 0, len(spec.Actions)), 0
	for _, action := range spec.Actions {
		whole, _ := one.Action(action.Name)
		if size += len(whole.Input) + len(whole.Output); size > mostSchemas {
			return out, nil
		}
		full = append(full, whole)
	}
	out.Body.Actions = full
	return out, nil
}

type listActionsRequest struct {
	ConnectorPath
	ListQuery
	Q string `query:"q" maxLength:"200" doc:"Only those with this in the name or description"`
}

type actionsAnswer struct{ Body page[connectors.Action] }

// listActions gives actions with their schemas, a page at a time.
func (a *API) listActions(ctx context.Context, in *listActionsRequest) (*actionsAnswer, error) {
	after, err := in.after(workspace(ctx), "actions of "+in.Slug, actionName.MatchString)
	if err != nil {
		return nil, err
	}
	c, ok, err := a.connectors.Find(ctx, string(workspace(ctx)), in.Slug)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, models.ErrNotFound
	}
	actions := slices.SortedFunc(slices.Values(c.Spec().Actions), func(a, b connectors.Action) int { return strings.Compare(a.Name, b.Name) })
	out, size := page[connectors.Action]{Items: []connectors.Action{}}, 0
	q := strings.ToLower(in.Q)
	for _, action := range actions {
		if action.Name <= after || !strings.Contains(strings.ToLower(action.Name+"\n"+action.Description), q) {
			continue
		}
		if len(out.Items) == in.Limit || size > mostSchemas {
			next := encodeCursor(workspace(ctx), "actions of "+in.Slug, out.Items[len(out.Items)-1].Name)
			out.NextCursor = &next
			break
		}
		if one, ok := c.(connectors.Registered); ok {
			action, _ = one.Action(action.Name)
		}
		size += len(action.Input) + len(action.Output)
		out.Items = append(out.Items, action)
	}
	return &actionsAnswer{out}, nil
}

// ActionPath is the path of everything about one action.
type ActionPath struct {
	ConnectorPath
	Action string `path:"action" doc:"Name of an action"`
}

type actionAnswer struct{ Body connectors.Action }

func (a *API) getAction(ctx context.Context, in *ActionPath) (*actionAnswer, error) {
	action, ok, err := a.connectors.Action(ctx, string(workspace(ctx)), in.Slug, in.Action)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, models.ErrNotFound
	}
	return &actionAnswer{action}, nil
}

// Source is where the description of a connector comes from.
type Source struct {
	Document    json.RawMessage `json:"document,omitempty" doc:"openapi: the document, as an object or as the text of JSON or YAML"`
	DocumentURL *string         `json:"document_url,omitempty" minLength:"1" maxLength:"2048" doc:"openapi: where the document is"`
	Server      *string         `json:"server,omitempty" minLength:"1" maxLength:"2048" doc:"openapi: where requests go, instead of the servers of the document"`
	URL         *string         `json:"url,omitempty" minLength:"1" maxLength:"2048" doc:"mcp: the address of the server"`
	Command     []string        `json:"command,omitempty" minItems:"1" maxItems:"50" doc:"mcp: the program of a server on standard streams, with its arguments; only where a setting allows it"`
}

// config is what of a source is kept.
func (s Source) config() map[string]any {
	out := map[string]any{}
	for name, v := range map[string]*string{"document_url": s.DocumentURL, "server": s.Server, "url": s.URL} {
		if v != nil {
			out[name] = *v
		}
	}
	if len(s.Command) > 0 {
		out["command"] = s.Command
	}
	return out
}

// document is the text of a document, which may be given as JSON itself.
func (s Source) document() []byte {
	raw := bytes.TrimSpace(s.Document)
	if len(raw) == 0 || raw[0] != '"' {
		return orNil(raw)
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return raw // whoever reads it says that it is none
	}
	return []byte(text)
}

// of refuses what goes with another kind.
func (s Source) of(kind models.ConnectorKind) error {
	var found []models.FieldError
	for name, f := range map[string]struct {
		given bool
		kind  models.ConnectorKind
	}{
		"document":     {len(orNil(s.Document)) > 0, models.ConnectorOpenAPI},
		"document_url": {s.DocumentURL != nil, models.ConnectorOpenAPI},
		"server":       {s.Server != nil, models.ConnectorOpenAPI},
		"url":          {s.URL != nil, models.ConnectorMCP},
		"command":      {len(s.Command) > 0, models.ConnectorMCP},
	} {
		if f.given && f.kind != kind {
			found = append(found, models.FieldError{Loc: []any{"body", name}, Msg: "goes with connectors of kind " + string(f.kind) + " only", Type: "invalid"})
		}
	}
	if len(found) > 0 {
		return invalid(found...)
	}
	return nil
}

type createConnectorRequest struct {
	Body struct {
		Slug        string  `json:"slug" pattern:"^[a-z][a-z0-9_-]{0,63}$" doc:"How steps name it"`
		Name        *string `json:"name,omitempty" minLength:"1" pattern:"^$|\\S" maxLength:"200" doc:"As the description has it if not given"`
		Description *string `json:"description,omitempty" maxLength:"1000" doc:"As the description has it if not given"`
		Kind        string  `json:"kind" enum:"openapi,mcp"`
		Connection  string  `json:"connection,omitempty" doc:"Id of a connection of the connector that its kind is called after: to ask for the description with, now and later, and for steps that name none"`
		Source
	}
}

var errNoRegistering = errors.New("connectors cannot be registered in this process")

func (a *API) createConnector(ctx context.Context, in *createConnectorRequest) (*connectorAnswer, error) {
	b := in.Body
	kind := models.ConnectorKind(b.Kind)
	if err := b.of(kind); err != nil {
		return nil, err
	}
	if a.deps.Registered == nil {
		return nil, errNoRegistering
	}
	row, err := a.deps.Registered.Create(ctx, workspace(ctx), registered.Registration{
		ID: models.ConnectorID(ids.Make(ctx, models.ConnectorPrefix)), Slug: b.Slug, Kind: kind, Name: b.Name, Description: b.Description,
		Config: b.config(), Document: b.document(), Connection: b.Connection,
	})
	if err != nil {
		return nil, under(err, "body")
	}
	out, err := a.describe(ctx, row)
	if err != nil {
		return nil, err
	}
	out.Location = base + "/connectors/" + row.Slug
	return out, nil
}

type patchConnectorRequest struct {
	ConnectorPath
	Body struct {
		Name        *string         `json:"name,omitempty" minLength:"1" pattern:"^$|\\S" maxLength:"200"`
		Description *string         `json:"description,omitempty" maxLength:"1000"`
		Connection  json.RawMessage `json:"connection,omitempty" doc:"Id of a connection of this connector or of the one that its kind is called after, for steps that name none; null takes it away"`
		Source
	}
}

func (a *API) patchConnector(ctx context.Context, in *patchConnectorRequest) (*connectorAnswer, error) {
	row, err := a.store.For(workspace(ctx)).ConnectorSummary(ctx, in.Slug)
	if err != nil {
		return nil, err
	}
	b := in.Body
	if err := b.of(row.Kind); err != nil {
		return nil, err
	}
	connection, err := idOrNull(b.Connection)
	if err != nil {
		return nil, err
	}
	return a.updateConnector(ctx, in.Slug, registered.Change{
		Name: b.Name, Description: b.Description, Config: b.config(), Document: b.document(), Connection: connection,
	})
}

type refreshConnectorRequest struct {
	ConnectorPath
	Body *struct {
		Connection string `json:"connection,omitempty" doc:"Id of a connection to ask with this once, instead of the one it was registered with"`
	}
}

func (a *API) refreshConnector(ctx context.Context, in *refreshConnectorRequest) (*connectorAnswer, error) {
	ch := registered.Change{Refresh: true}
	if in.Body != nil {
		ch.AskWith = in.Body.Connection
	}
	return a.updateConnector(ctx, in.Slug, ch)
}

func (a *API) updateConnector(ctx context.Context, slug string, ch registered.Change) (*connectorAnswer, error) {
	if a.deps.Registered == nil {
		return nil, models.ErrNotFound
	}
	row, err := a.deps.Registered.Update(ctx, workspace(ctx), slug, ch)
	if err != nil {
		return nil, under(err, "body")
	}
	return a.describe(ctx, row)
}

func (a *API) deleteConnector(ctx context.Context, in *ConnectorPath) (*struct{}, error) {
	return nil, a.store.For(workspace(ctx)).DeleteConnector(ctx, in.Slug)
}

type testActionRequest struct {
	ActionPath
	Body *struct {
		Input      json.RawMessage `json:"input,omitempty"`
		Connection string          `json:"connection,omitempty" doc:"Id of a connection of the connector; the one it was registered with if not given"`
	}
}

func (a *API) testAction(ctx context.Context, in *testActionRequest) (*testAnswer, error) {
	_, ok, err := a.connectors.Action(ctx, string(workspace(ctx)), in.Slug, in.Action)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, models.ErrNotFound
	}
	c, ok, err := a.connectors.Find(ctx, string(workspace(ctx)), in.Slug)
	switch {
	case err != nil:
		return nil, err
	case !ok: // it was deleted meanwhile
		return nil, models.ErrNotFound
	}
	req := a.testCall(ctx)
	req.Action = in.Action
	named := ""
	if in.Body != nil {
		req.Input, named = in.Body.Input, in.Body.Connection
	}
	var guard connectors.Guard
	began := time.Now()
	if req.Connection, err = a.openFor(ctx, named, c.Spec()); err != nil {
		return untested(err, time.Since(began))
	}
	guard.Watch(req.Connection)
	resp, err := a.connectors.Do(ctx, in.Slug, req)
	resp, err = guard.Outcome(resp, err, a.cfg.MaxOutput)
	return tested(resp, err, time.Since(began)), nil
}
