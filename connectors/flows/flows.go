// Package flows is the connector by which a flow reaches this product itself: it starts
// other flows and puts events on the bus. What that means is asked of a Host, so the
// package knows nothing of runs. It imports connectors.
package flows

import (
	"context"
	"encoding/json"

	"github.com/10ex/flows/connectors"
)

// Host is what the connector acts on. Both may be called again with the same origin and
// then do nothing new. Errors are *connectors.Error where the author can mend them.
type Host interface {
	// Emit puts an event on the bus.
	Emit(ctx context.Context, from Origin, e Event) (Emitted, error)
	// Run starts a flow.
	Run(ctx context.Context, from Origin, s Start) (Started, error)
}

// Origin is where something comes from.
type Origin struct {
	Workspace string
	Run       string // empty outside of a run
	Key       string // of the effect: what comes of it is named after it
}

// Event is one to be put on the bus.
type Event struct {
	Type   string          `json:"type"`
	Source string          `json:"source"`
	ID     string          `json:"id"`
	Data   json.RawMessage `json:"data"`
}

// Emitted tells what became of an event.
type Emitted struct {
	ID        string `json:"event_id"`
	Duplicate bool   `json:"duplicate"`
}

// Start asks for a run.
type Start struct {
	Workflow string          `json:"workflow_id"`
	Payload  json.RawMessage `json:"payload"`
	Wait     bool            `json:"wait"`
}

// Started is the run that was started, or was before.
type Started struct {
	Run    string `json:"run_id"`
	Status string `json:"status"`
}

// Connector is the flows connector.
type Connector struct{ host Host }

var _ connectors.Connector = (*Connector)(nil)

// New makes the connector.
func New(host Host) *Connector { return &Connector{host: host} }

// Spec describes the connector.
func (*Connector) Spec() connectors.Spec {
	return connectors.Spec{
		Slug:        "flows",
		Name:        "Flows",
		Description: "Starts other flows of the workspace and sends events.",
		Actions: []connectors.Action{
			{
				Name: "run",
				Description: "Starts a run of a workflow. With wait the step goes on when that run has ended, and holds no worker meanwhile: " +
					"the run's output is the step's, its failure the step's failure, and who cancels this run cancels that one. " +
					"A chain of flows that start each other ends at a depth of 10.",
				Guarded:    []string{"workflow_id"},
				Input:      json.RawMessage(runInput),
				Output:     json.RawMessage(`{"description": "{run_id, status} of the run; with wait, its output."}`),
				Idempotent: true,
			},
			{
				Name: "emit_event",
				Description: "Sends an event, which may start flows and end waits for it. Every attempt of a step sends the same one. " +
					"A chain of flows that start each other ends at a depth of 10.",
				Input:      json.RawMessage(emitInput),
				Output:     json.RawMessage(emitOutput),
				Idempotent: true,
			},
		},
	}
}

const runInput = `{
	"type": "object",
	"properties": {
		"workflow_id": {"type": "string", "pattern": "^wf_[0-9a-z]{26}$"},
		"payload":     {"type": ["object", "null"], "description": "As the input_schema of the workflow wants it; {} unless given."},
		"wait":        {"type": "boolean", "default": false, "description": "Whether the step goes on only when that run has ended. In a step with foreach each item waits for its own."}
	},
	"required": ["workflow_id"],
	"additionalProperties": false
}`

const emitInput = `{
	"type": "object",
	"properties": {
		"type":   {"type": "string", "minLength": 1, "maxLength": 200, "description": "Such as lead.qualified; flow.… is reserved."},
		"source": {"type": "string", "minLength": 1, "maxLength": 64, "default": "workflow"},
		"data":   {"type": ["object", "null"]},
		"id":     {"type": "string", "minLength": 1, "maxLength": 255, "description": "What names the event at its source: the same one is sent once. Default: the step's own."}
	},
	"required": ["type"],
	"additionalProperties": false
}`

const emitOutput = `{
	"type": "object",
	"properties": {
		"event_id":  {"type": "string"},
		"duplicate": {"type": "boolean", "description": "Whether it had been sent before, by another attempt or under the same id."}
	},
	"required": ["event_id", "duplicate"],
	"additionalProperties": false
}`

// CodeDepth is the code of a start that would make a chain of flows too long.
const CodeDepth = "depth_exceeded"

// DefaultSource is the source of events whose step names none.
const DefaultSource = "workflow"

// Do performs one action.
func (c *Connector) Do(ctx context.Context, r connectors.Request) (connectors.Response, error) {
	from := Origin{Workspace: r.WorkspaceID, Run: r.RunID, Key: r.IdempotencyKey}
	switch r.Action {
	case "run":
		return c.run(ctx, r, from)
	case "emit_event":
		return c.emit(ctx, r, from)
	}
	return connectors.Response{}, connectors.Permanent(connectors.CodeUnknownAction, "connector %q has no action %q", "flows", r.Action)
}

func (c *Connector) run(ctx context.Context, r connectors.Request, from Origin) (connectors.Response, error) {
	var in Start
	if err := read(r.Input, &in); err != nil {
		return connectors.Response{}, err
	}
	if err := r.Begin(ctx); err != nil {
		return connectors.Response{}, err
	}
	started, err := c.host.Run(ctx, from, in)
	if err != nil {
		return connectors.Response{}, err
	}
	out, err := json.Marshal(started)
	resp := connectors.Response{Output: out}
	if in.Wait {
		resp.AwaitRun = started.Run
	}
	return resp, err
}

func (c *Connector) emit(ctx context.Context, r connectors.Request, from Origin) (connectors.Response, error) {
	in := Event{Source: DefaultSource}
	if err := read(r.Input, &in); err != nil {
		return connectors.Response{}, err
	}
	if err := r.Begin(ctx); err != nil {
		return connectors.Response{}, err
	}
	emitted, err := c.host.Emit(ctx, from, in)
	if err != nil {
		return connectors.Response{}, err
	}
	out, err := json.Marshal(emitted)
	return connectors.Response{Output: out}, err
}

func read(input json.RawMessage, into any) error {
	if json.Unmarshal(input, into) != nil {
		return connectors.Permanent(connectors.CodeInputInvalid, "the input is not valid")
	}
	return nil
}
