package agents

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/10ex/flows/agents/llm"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/deltas"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/models"
)

// Deps is what a Runner works with. Only Egress is required; what is missing of the
// rest, agents that want it cannot be run.
type Deps struct {
	// Egress sends all requests.
	Egress *egress.Client
	// SleepFunc waits between two looks at work in progress and returns the
	// context's error when that ends first. Default: a timer.
	SleepFunc func(ctx context.Context, d time.Duration) error
	// Clock tells the time. Default: this process's.
	Clock clock.Clock
	// Tools are the actions that agents may be given.
	Tools Tools
	// OpenFunc opens a connection of a workspace, PeekFunc only tells of which connector
	// it is. models.ErrNotFound says that there is none.
	OpenFunc func(ctx context.Context, ws models.WorkspaceID, id string) (*connectors.Connection, error)
	PeekFunc func(ctx context.Context, ws models.WorkspaceID, id string) (connector string, err error)
	// LedgerFunc gives a workspace's ledger. Nil: nothing is journaled, and budgets by
	// day are not kept.
	LedgerFunc func(ws models.WorkspaceID) Ledger
	// DeltaFunc hears what models say while they say it. It must not block.
	DeltaFunc func(ctx context.Context, d deltas.Delta)
}

// Runner runs agents. It is safe for concurrent use.
type Runner struct {
	deps    Deps
	client  *egress.Client
	sleep   func(context.Context, time.Duration) error
	schemas schemaCache
	vendors map[string]llm.Vendor // by connector
	prices  llm.Prices
}

// New makes a Runner.
func New(deps Deps) (*Runner, error) {
	if deps.Egress == nil {
		return nil, errors.New("agents Egress: required")
	}
	if deps.Clock == nil {
		deps.Clock = clock.System{}
	}
	r := &Runner{deps: deps, client: deps.Egress, sleep: deps.SleepFunc}
	if r.sleep == nil {
		r.sleep = sleep
	}
	r.vendors = map[string]llm.Vendor{llm.SlugOpenAI: llm.NewOpenAI(deps.Egress), llm.SlugAnthropic: llm.NewAnthropic(deps.Egress)}
	var err error
	r.prices, err = llm.LoadPrices()
	return r, err
}

func (r *Runner) now() time.Time { return r.deps.Clock.Now().UTC().Truncate(time.Microsecond) }

// Run makes one attempt at an agent's work and blocks until it is done, has
// failed or ctx ends. The input and the output are held against the agent's
// schemas. An error is a *connectors.Error, except one that BeforeEffect or Gate gave.
// After one of Gate, the next attempt goes on where this one was held back.
func (r *Runner) Run(ctx context.Context, a Agent, req Request) (Response, error) {
	if len(req.Input) == 0 {
		req.Input = json.RawMessage("null")
	}
	input, err := r.schema(a.InputSchema)
	if err != nil {
		return Response{}, err
	}
	output, err := r.schema(a.OutputSchema) // before any effect: a broken one makes the work useless
	if err != nil {
		return Response{}, err
	}
	if err := input.CheckInput(req.Input); err != nil {
		return Response{}, err
	}
	resp, err := r.runKind(ctx, a, req)
	if err != nil {
		return resp, err
	}
	if err := output.CheckOutput(resp.Output); err != nil {
		// What was used is used, also for an answer of no use.
		return Response{Usage: resp.Usage}, err
	}
	return resp, nil
}

func (r *Runner) runKind(ctx context.Context, a Agent, req Request) (Response, error) {
	switch a.Kind {
	case KindHTTP:
		return r.runHTTP(ctx, a, req)
	case KindLLM:
		return r.runLLM(ctx, a, req)
	case KindPlatform:
		return r.runPlatform(ctx, a, req)
	}
	return Response{}, connectors.Permanent(codeConfigInvalid, "agent %q is of kind %q, which cannot be run", a.Slug, a.Kind)
}

const codeConfigInvalid = "config_invalid"

func (r *Runner) schema(raw json.RawMessage) (*connectors.Schema, error) {
	if len(raw) == 0 || string(raw) == "null" {
		raw = json.RawMessage("true") // fits anything
	}
	s, err := r.schemas.get(raw)
	if err != nil {
		return nil, connectors.Permanent(codeConfigInvalid, "the agent's schema is not valid")
	}
	return s, nil
}

// schemaCache keeps compiled schemas by their text: compiling costs far more than checking.
type schemaCache struct {
	mu   sync.Mutex
	kept map[string]*connectors.Schema
}

// maxKept bounds the cache; past it all is forgotten, which costs a compile each.
const maxKept = 256

func (c *schemaCache) get(raw json.RawMessage) (*connectors.Schema, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.kept[string(raw)]; s != nil {
		return s, nil
	}
	s, err := connectors.CompileForeignSchema(raw)
	if err != nil {
		return nil, err
	}
	if c.kept == nil || len(c.kept) >= maxKept {
		c.kept = make(map[string]*connectors.Schema)
	}
	c.kept[string(raw)] = s
	return s, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
