package connectors

import (
	"context"
	"encoding/json"
)

// Connector does actions for flows. It must be safe for concurrent use, keep
// nothing between calls, and return soon after its context ends.
type Connector interface {
	// Spec describes the connector. It gives the same answer every time.
	Spec() Spec
	// Do performs one action. A failure is an *Error; anything else is taken for
	// a fault of the connector itself and its text is not shown.
	Do(ctx context.Context, r Request) (Response, error)
}

// Spec is a connector's entry in the catalogue.
type Spec struct {
	Slug        string   `json:"slug"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Actions     []Action `json:"actions"`
	// Connection is nil where actions need no account at the other side.
	Connection *ConnectionSpec `json:"connection,omitempty"`
	// Kind is the slug of what a registered connector was made of; empty for one that is
	// built in.
	Kind string `json:"-"`
	// Account is the id of the connection with which actions are done that name none;
	// empty where there is no such connection.
	Account string `json:"-"`
}

// Accounts lists the connectors whose connections go with this one; none where it takes
// no connection. Those of its kind do: such a connection, too, says itself which hosts
// may hear its secrets.
func (s Spec) Accounts() []string {
	switch {
	case s.Connection == nil:
		return nil
	case s.Kind == "":
		return []string{s.Slug}
	}
	return []string{s.Slug, s.Kind}
}

// Tester is a connector that can try a connection with a light read. The error is
// an *Error, and nothing is changed at the other side.
type Tester interface {
	Connector
	TestConnection(ctx context.Context, c *Connection) error
}

// Action is one thing a connector can do.
type Action struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	// Input and Output are JSON Schemas (2020-12).
	Input  json.RawMessage `json:"input_schema"`
	Output json.RawMessage `json:"output_schema"`
	// Idempotent says that repeating the action under the same idempotency key
	// is safe, also when nobody knows whether the first try got through.
	Idempotent bool `json:"idempotent"`
	// NoEffect says that the action changes nothing outside.
	NoEffect bool `json:"no_effect"`
	// Guarded lists the fields of the input that say where something goes: an
	// address, a recipient, a channel. Where an agent uses the action as a tool, its
	// author says what they are, and never the model.
	Guarded []string `json:"guarded,omitempty"`
}

// Request asks for one attempt at an action.
type Request struct {
	Action string
	Input  json.RawMessage
	// IdempotencyKey names the effect: the same over all attempts of a step, and
	// different for every step and iteration.
	IdempotencyKey string

	WorkspaceID string
	WorkflowID  string // empty outside runs
	RunID       string
	StepID      string
	Iteration   *int // nil outside foreach
	Attempt     int  // from 1
	// Agent is the slug of the agent whose tool the action is; empty in steps.
	Agent string

	// Connection is nil for actions that need none.
	Connection *Connection
	// Guard knows the secrets that the attempt uses. Whoever opens a connection besides
	// Connection has it watch that one, too. Nil: nobody else looks.
	Guard *Guard
	// Gate is asked for leave through Use by whoever uses more than Connection. Nil:
	// nothing is held back.
	Gate Gate
	// BeforeEffect is called through Begin right before the first effect outside.
	// It may be nil.
	BeforeEffect func(context.Context) error
}

// Begin must be called right before an action's first effect outside. An error
// means that this attempt has lost its right to act: return it, send nothing.
func (r Request) Begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return NetworkError(ctx, err)
	}
	if r.BeforeEffect == nil {
		return nil
	}
	return r.BeforeEffect(ctx)
}

// Response is what an action gave.
type Response struct {
	// Output is one JSON value; empty means null.
	Output json.RawMessage
	// Usage is nil when nothing was metered.
	Usage *Usage
	// AwaitRun names a run of the workspace whose end the step waits for, without a
	// worker: what comes of it becomes what comes of the step. Who cannot wait, such as
	// an agent whose tool this is, goes on with Output.
	AwaitRun string
}

// Usage is what an attempt consumed.
type Usage struct {
	InputTokens  int64   `json:"input_tokens"`
	OutputTokens int64   `json:"output_tokens"`
	Cost         float64 `json:"cost"` // US dollars
	Turns        int     `json:"turns"`
	Model        string  `json:"model,omitempty"`
	// CostUnknown says that no price is known for some of it, and that it counts as 0
	// in Cost.
	CostUnknown bool `json:"cost_unknown,omitempty"`
	// Estimated says that the other side did not count its tokens.
	Estimated bool `json:"estimated,omitempty"`
}
