// Package rest makes a connector out of a table: the actions of a service that
// answers JSON to JSON over HTTP. It sees to what they have in common: the
// connection, the key of the effect, leave to act, and failures. What the service
// is called and how it wants to be asked is the matter of the connectors that are
// made with it. It imports connectors and internal/egress.
package rest

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
)

// Definition is a service.
type Definition struct {
	// Spec describes the connector, but for its actions.
	Spec connectors.Spec
	// Actions are what it can do.
	Actions []Action
	// Test tries a connection with a light read.
	Test func(ctx context.Context, s *Session) error
	// Check finds the failure in an answer of the service that has the status of a
	// success. Nil: there is none.
	Check func(a Answer) error
}

// Action is one thing the service can do.
type Action struct {
	connectors.Action
	// Do does it, by asking the service through s as often as it takes.
	Do func(ctx context.Context, s *Session) (json.RawMessage, error)
}

// Connector is a connector made out of a Definition.
type Connector struct {
	def     Definition
	actions map[string]Action
	client  *egress.Client
}

var _ connectors.Tester = (*Connector)(nil)

// New makes the connector of a service, whose requests client sends. Redirects are
// not followed: what the service answers is what counts.
func New(client *egress.Client, def Definition) *Connector {
	c := &Connector{def: def, actions: make(map[string]Action, len(def.Actions)), client: client.WithoutRedirects()}
	c.def.Spec.Actions = make([]connectors.Action, 0, len(def.Actions))
	for _, a := range def.Actions {
		c.actions[a.Name] = a
		c.def.Spec.Actions = append(c.def.Spec.Actions, a.Action)
	}
	return c
}

// Spec describes the connector.
func (c *Connector) Spec() connectors.Spec { return c.def.Spec }

// Do performs one action.
func (c *Connector) Do(ctx context.Context, r connectors.Request) (connectors.Response, error) {
	a, known := c.actions[r.Action]
	switch {
	case !known:
		return connectors.Response{}, connectors.Permanent(connectors.CodeUnknownAction, "connector %q has no action %q", c.def.Spec.Slug, r.Action)
	case r.Connection == nil:
		return connectors.Response{}, connectors.Permanent(connectors.CodeNoConnection, "%s acts through a connection: name one in the step", c.def.Spec.Name)
	}
	out, err := a.Do(ctx, &Session{Request: r, connector: c})
	return connectors.Response{Output: out}, err
}

// TestConnection tries a connection with a light read.
func (c *Connector) TestConnection(ctx context.Context, conn *connectors.Connection) error {
	if conn == nil {
		return connectors.Permanent(connectors.CodeNoConnection, "there is no connection to test")
	}
	if err := ctx.Err(); err != nil {
		return connectors.NetworkError(ctx, err)
	}
	return c.def.Test(ctx, &Session{Request: connectors.Request{Connection: conn}, connector: c})
}

// Invalid says that the input cannot be used, in the words of format.
func Invalid(format string, args ...any) error {
	return connectors.Permanent(connectors.CodeInputInvalid, format, args...)
}

// Unexpected says that the service answered something that does not hold what
// it is asked for.
func Unexpected(what string) error {
	return connectors.Permanent(connectors.CodeBadResponse, "the answer has no %s", what)
}

// Marshal makes JSON of a value that is made of JSON values.
func Marshal(v any) (json.RawMessage, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("the output: %w", err)
	}
	return raw, nil
}
