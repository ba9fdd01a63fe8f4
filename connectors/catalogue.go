package connectors

import (
	"context"
	"encoding/json"
)

// Catalogue is every connector there is to a workspace: those that are built in,
// and its own, which it has registered. The names of built-in ones come first, and
// no workspace sees the connectors of another. It is safe for concurrent use.
type Catalogue struct {
	builtIn *Registry
	own     Own

	spending Spending // nil: nothing is bounded
}

// Own finds the connectors that workspaces have registered. An error says that it
// could not be told whether there is one.
type Own interface {
	Find(ctx context.Context, workspace, slug string) (Registered, bool, error)
}

// Registered is a connector of a workspace. There may be hundreds of actions, so its
// Spec lists them without their schemas, and Action gives one with them.
type Registered interface {
	Connector
	// Action finds an action.
	Action(name string) (Action, bool)
	// CheckInput returns a permanent *Error naming each field in which input does not
	// fit the schema of an action.
	CheckInput(action string, input json.RawMessage) error
}

// CodeUnknownConnector is the code of a step whose connector is gone.
const CodeUnknownConnector = "unknown_connector"

// NewCatalogue makes a Catalogue. Own may be nil: then there are only those that are
// built in.
func NewCatalogue(builtIn *Registry, own Own) *Catalogue {
	return &Catalogue{builtIn: builtIn, own: own}
}

// BuiltIn is the set of connectors that every workspace has.
func (c *Catalogue) BuiltIn() *Registry { return c.builtIn }

// Find finds a connector.
func (c *Catalogue) Find(ctx context.Context, workspace, slug string) (Connector, bool, error) {
	if found, ok := c.builtIn.Lookup(slug); ok {
		return found, true, nil
	}
	own, ok, err := c.findOwn(ctx, workspace, slug)
	if !ok {
		return nil, false, err // not a nil Registered in a Connector
	}
	return own, true, nil
}

func (c *Catalogue) findOwn(ctx context.Context, workspace, slug string) (Registered, bool, error) {
	if c.own == nil || !slugForm.MatchString(slug) {
		return nil, false, nil
	}
	return c.own.Find(ctx, workspace, slug)
}

// Action finds an action of a connector, with its schemas.
func (c *Catalogue) Action(ctx context.Context, workspace, slug, action string) (Action, bool, error) {
	if _, ok := c.builtIn.Lookup(slug); ok {
		a, ok := c.builtIn.Action(slug, action)
		return a, ok, nil
	}
	own, ok, err := c.findOwn(ctx, workspace, slug)
	if !ok {
		return Action{}, false, err
	}
	a, ok := own.Action(action)
	return a, ok, nil
}

// Knows tells whether there is a connector, and which of the actions it does not
// have.
func (c *Catalogue) Knows(ctx context.Context, workspace, slug string, actions []string) (known bool, missing []string, err error) {
	action := func(name string) bool { _, ok := c.builtIn.Action(slug, name); return ok }
	if _, ok := c.builtIn.Lookup(slug); !ok {
		own, ok, err := c.findOwn(ctx, workspace, slug)
		if !ok {
			return false, nil, err
		}
		action = func(name string) bool { _, ok := own.Action(name); return ok }
	}
	for _, name := range actions {
		if !action(name) {
			missing = append(missing, name)
		}
	}
	return true, missing, nil
}

// TakesConnections lists the connectors whose connections actions of a connector work
// with, and tells whether none works where a step names no connection.
func (c *Catalogue) TakesConnections(ctx context.Context, workspace, slug string) (of []string, required bool, err error) {
	found, ok, err := c.Find(ctx, workspace, slug)
	if !ok {
		return nil, false, err
	}
	spec := found.Spec()
	return spec.Accounts(), spec.Connection != nil && spec.Connection.Required && spec.Account == "", nil
}

// ValidateInput returns a permanent *Error naming each field in which input does not
// fit the action's schema.
func (c *Catalogue) ValidateInput(ctx context.Context, workspace, slug, action string, input json.RawMessage) error {
	if _, ok := c.builtIn.Lookup(slug); ok {
		return c.builtIn.ValidateInput(slug, action, input)
	}
	own, ok, err := c.findOwn(ctx, workspace, slug)
	switch {
	case err != nil:
		return err
	case !ok:
		return unknownConnector(slug)
	}
	return own.CheckInput(action, input)
}

// Do checks the input, calls the action of the workspace that the request names, and
// cleans its output so that it can be stored. The connector's error is passed on as
// it is; AsError puts it in form.
func (c *Catalogue) Do(ctx context.Context, slug string, req Request) (Response, error) {
	if found, ok := c.builtIn.Lookup(slug); ok {
		return c.doBuiltIn(ctx, found, slug, req)
	}
	own, ok, err := c.findOwn(ctx, req.WorkspaceID, slug)
	switch {
	case err != nil:
		return Response{}, err
	case !ok:
		return Response{}, unknownConnector(slug)
	}
	if err := own.CheckInput(req.Action, req.Input); err != nil {
		return Response{}, err
	}
	return do(ctx, own, req)
}

func unknownConnector(slug string) error {
	return Permanent(CodeUnknownConnector, "there is no connector %q any more", slug)
}
