package api

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/10ex/flows/connections"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// Connections is what the operations ask of the connections of workspaces.
type Connections interface {
	Create(ctx context.Context, ws models.WorkspaceID, d connections.Draft) (*models.Connection, error)
	Get(ctx context.Context, ws models.WorkspaceID, id models.ConnectionID) (*models.Connection, error)
	List(ctx context.Context, ws models.WorkspaceID, f store.ConnectionFilter, p store.Page) ([]*models.Connection, error)
	Update(ctx context.Context, ws models.WorkspaceID, id models.ConnectionID, c connections.Change) (*models.Connection, error)
	Delete(ctx context.Context, ws models.WorkspaceID, id models.ConnectionID) error
	Test(ctx context.Context, ws models.WorkspaceID, id models.ConnectionID) (*connections.Result, error)
	Open(ctx context.Context, ws models.WorkspaceID, id string) (*connectors.Connection, error)
	Authorize(ctx context.Context, ws models.WorkspaceID, id models.ConnectionID, redirect string) (*connections.Authorization, error)
	Return(ctx context.Context, state, code, denied string) (*models.Connection, error)
}

var _ Connections = (*connections.Service)(nil)

// Connection is an account of the workspace at another side.
type Connection struct {
	ID            models.ConnectionID     `json:"id"`
	Connector     string                  `json:"connector"`
	Name          string                  `json:"name"`
	Config        json.RawMessage         `json:"config" doc:"All that is not secret: auth, base_url, hosts, and what the connector takes besides"`
	Secrets       []string                `json:"secrets" nullable:"false" doc:"Names of the secrets it has; their values are never shown"`
	Status        models.ConnectionStatus `json:"status" enum:"unknown,ok,failing,unauthorized"`
	LastCheckedAt maybeStamp              `json:"last_checked_at"`
	LastError     *string                 `json:"last_error" doc:"Code of what went wrong when it was last tried, or used by a step, or null"`
	ExpiresAt     maybeStamp              `json:"expires_at" doc:"Of oauth2: when its token has to be renewed, which happens by itself; null: it has none, or one without an end"`
	Connected     bool                    `json:"connected" doc:"Of oauth2: whether there is a token; of all others true"`
	CreatedAt     stamp                   `json:"created_at"`
	UpdatedAt     stamp                   `json:"updated_at"`
}

func showConnection(c *models.Connection) Connection {
	names := c.SecretNames
	if names == nil {
		names = []string{}
	}
	return Connection{
		ID: c.ID, Connector: c.Connector, Name: c.Name, Config: c.Config, Secrets: names, Status: c.Status,
		LastCheckedAt: maybeStamp{c.LastCheckedAt}, LastError: unlessEmpty(c.LastError), ExpiresAt: maybeStamp{c.TokenExpiresAt},
		Connected: connections.Connected(c), CreatedAt: stamp(c.CreatedAt), UpdatedAt: stamp(c.UpdatedAt),
	}
}

type connectionAnswer struct {
	Location string `header:"Location"`
	Body     Connection
}

type createConnectionRequest struct {
	Body struct {
		Connector string            `json:"connector" maxLength:"64" doc:"Slug of a connector"`
		Name      string            `json:"name" minLength:"1" pattern:"^$|\\S" maxLength:"200" doc:"For people; unique in the workspace"`
		Config    json.RawMessage   `json:"config,omitempty" doc:"auth, base_url, hosts, and what the connector takes besides"`
		Secrets   map[string]string `json:"secrets,omitempty" doc:"By name; which depends on auth. They are never shown again"`
	}
}

func (a *API) createConnection(ctx context.Context, in *createConnectionRequest) (*connectionAnswer, error) {
	b := in.Body
	c, err := a.connections.Create(ctx, workspace(ctx), connections.Draft{
		Connector: b.Connector, Name: b.Name, Config: orNil(b.Config), Secrets: b.Secrets,
	})
	if err != nil {
		return nil, under(err, "body")
	}
	return &connectionAnswer{Location: base + "/connections/" + string(c.ID), Body: showConnection(c)}, nil
}

type listConnectionsRequest struct {
	ListQuery
	Connector string `query:"connector" maxLength:"64"`
	Status    string `query:"status" enum:"unknown,ok,failing,unauthorized"`
}

type connectionsAnswer struct{ Body page[Connection] }

func (a *API) listConnections(ctx context.Context, in *listConnectionsRequest) (*connectionsAnswer, error) {
	f := store.ConnectionFilter{Connector: in.Connector, Status: models.ConnectionStatus(in.Status)}
	p, err := readPage(ctx, in.ListQuery, byID("connections", models.ConnectionPrefix, func(c *models.Connection) models.ConnectionID { return c.ID }),
		func(p store.Page) ([]*models.Connection, error) { return a.connections.List(ctx, workspace(ctx), f, p) },
		showConnection)
	return &connectionsAnswer{p}, err
}

// ConnectionPath is the path of everything about one connection.
type ConnectionPath struct {
	ID string `path:"id" doc:"Id of a connection"`
}

func (in ConnectionPath) id() (models.ConnectionID, error) {
	if !models.ValidID(models.ConnectionPrefix, in.ID) {
		return "", models.ErrNotFound
	}
	return models.ConnectionID(in.ID), nil
}

func (a *API) getConnection(ctx context.Context, in *ConnectionPath) (*connectionAnswer, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	c, err := a.connections.Get(ctx, workspace(ctx), id)
	if err != nil {
		return nil, err
	}
	return &connectionAnswer{Body: showConnection(c)}, nil
}

type patchConnectionRequest struct {
	ConnectionPath
	Body struct {
		Name    *string           `json:"name,omitempty" minLength:"1" pattern:"^$|\\S" maxLength:"200"`
		Config  json.RawMessage   `json:"config,omitempty" doc:"All of it. One that differs needs the secrets again, for it says where they go"`
		Secrets map[string]string `json:"secrets,omitempty" doc:"All of them; those that are not named are forgotten"`
	}
}

func (a *API) patchConnection(ctx context.Context, in *patchConnectionRequest) (*connectionAnswer, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	b := in.Body
	c, err := a.connections.Update(ctx, workspace(ctx), id, connections.Change{Name: b.Name, Config: orNil(b.Config), Secrets: b.Secrets})
	if err != nil {
		return nil, under(err, "body")
	}
	return &connectionAnswer{Body: showConnection(c)}, nil
}

func (a *API) deleteConnection(ctx context.Context, in *ConnectionPath) (*struct{}, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	return nil, a.connections.Delete(ctx, workspace(ctx), id)
}

type testConnectionAnswer struct {
	Body struct {
		OK     bool                     `json:"ok" doc:"Whether the other side took the credentials; true with status unknown where the connector has nothing to ask"`
		Status models.ConnectionStatus  `json:"status" enum:"unknown,ok,failing,unauthorized"`
		Error  orNull[connectors.Error] `json:"error" doc:"Why not, or null"`
	}
}

func (a *API) testConnection(ctx context.Context, in *ConnectionPath) (*testConnectionAnswer, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	result, err := a.connections.Test(ctx, workspace(ctx), id)
	if err != nil {
		return nil, err
	}
	out := new(testConnectionAnswer)
	out.Body.OK, out.Body.Status, out.Body.Error = result.OK, result.Status, maybe(result.Error)
	return out, nil
}

// openFor opens the connection that a trial names, or else the one that its connector
// was registered with; it is nil where there is none. One that is named, and is not there
// or goes with another connector, is the request's fault.
func (a *API) openFor(ctx context.Context, named string, spec connectors.Spec) (*connectors.Connection, error) {
	id := cmp.Or(named, spec.Account)
	if id == "" {
		return nil, nil //nolint:nilnil // many actions need none
	}
	wrong := func(msg string) error {
		return invalid(models.FieldError{Loc: []any{"body", "connection"}, Msg: msg, Type: "unknown"})
	}
	c, err := a.connections.Open(ctx, workspace(ctx), id)
	switch {
	case err != nil && named != "" && connectors.AsError(err).Code == connections.CodeGone:
		return nil, wrong("there is no such connection")
	case err != nil:
		return nil, err
	case !slices.Contains(spec.Accounts(), c.Connector):
		return nil, wrong("is of connector " + c.Connector)
	}
	return c, nil
}

// idOrNull reads a member that holds the id of a connection, or null for none; nil where
// it is not there.
func idOrNull(raw json.RawMessage) (*string, error) {
	if raw == nil {
		return nil, nil //nolint:nilnil // it stays as it is
	}
	var id *string
	if err := json.Unmarshal(raw, &id); err != nil {
		return nil, invalid(models.FieldError{Loc: []any{"body", "connection"}, Msg: "must be the id of a connection, or null", Type: "type"})
	}
	if id == nil {
		id = new(string)
	}
	return id, nil
}
