package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/10ex/flows/agents"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
)

// Codes of failures that are found here.
const (
	codeTimeout        = connectors.CodeTimeout
	codeInternal       = connectors.CodeInternal
	codeUnknownAgent   = "unknown_agent"
	codeConnectionGone = "connection_gone"
	codeWrongConnector = "wrong_connection"
)

var errTimeout = errors.New("the step's time is up")

// outcome is what an attempt came to.
type outcome struct {
	output     json.RawMessage
	usage      json.RawMessage
	err        *models.StepError
	unknown    bool // whether the other side did what it was asked for
	retryAfter time.Duration
	// await is the run whose end the step waits for; empty: none.
	await models.RunID
	held  *heldBackError // by a limit: nothing has begun
}

// attemptWork has the work done and says what came of it. ctx ends with the lease
// and with the step's time.
func (w *Worker) attemptWork(ctx context.Context, work *engine.Work) outcome {
	var guard connectors.Guard // before anything is recorded or logged
	resp, err := w.callSafely(ctx, work, &guard)
	if held, ok := errors.AsType[*heldBackError](err); ok {
		return outcome{held: held}
	}
	resp, err = guard.Outcome(resp, err, w.cfg.MaxOutput)
	out := outcome{unknown: err != nil && connectors.AsError(err).OutcomeUnknown()}
	if resp.Usage != nil {
		usage, unusable := json.Marshal(resp.Usage)
		if unusable == nil { // a cost that is no number is not worth the step
			out.usage = usage
		}
	}
	switch {
	case err == nil:
		out.output, out.await = resp.Output, models.RunID(resp.AwaitRun)
		return out
	case errors.Is(context.Cause(ctx), errTimeout):
		err = connectors.Retryable(codeTimeout, "the step did not finish within %s", work.Timeout)
	}
	e := connectors.AsError(err)
	lost := ctx.Err() != nil || errors.Is(err, engine.ErrLeaseLost) // of which whoever drops the result tells
	if e.Code == codeInternal && !lost {
		w.log.ErrorContext(ctx, "a step failed for reasons of our own", obs.Err(errors.New(guard.Text(cause(e).Error()))))
	}
	out.err = &models.StepError{Code: e.Code, Message: e.Message, Status: e.Status, Retryable: e.Retryable}
	out.retryAfter = e.RetryAfter
	return out
}

func cause(e *connectors.Error) error {
	if under := errors.Unwrap(e); under != nil {
		return under
	}
	return e
}

// callSafely turns a panic into a failed attempt: one bad connector must not take
// the steps beside it down.
func (w *Worker) callSafely(ctx context.Context, work *engine.Work, guard *connectors.Guard) (resp connectors.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			w.log.ErrorContext(ctx, "a step panicked", slog.String("panic", guard.Text(fmt.Sprint(p))), slog.String("stack", guard.Text(string(debug.Stack()))))
			err = connectors.Retryable(codeInternal, "the step failed unexpectedly")
		}
	}()
	return w.call(ctx, work, guard)
}

func (w *Worker) call(ctx context.Context, work *engine.Work, guard *connectors.Guard) (connectors.Response, error) {
	req := connectors.Request{
		Action: work.Step.Action, Input: work.Input, IdempotencyKey: work.IdempotencyKey,
		WorkspaceID: string(work.Ref.Workspace), WorkflowID: string(work.WorkflowID), RunID: string(work.Ref.Run), StepID: work.Ref.Step, Attempt: work.Attempt,
		BeforeEffect: func(ctx context.Context) error { return w.beginEffect(ctx, work) },
	}
	if work.Ref.Iteration >= 0 {
		req.Iteration = &work.Ref.Iteration
	}
	switch work.Step.Type {
	case models.StepTypeConnector:
		return w.callConnector(ctx, work, req, guard)
	case models.StepTypeAgent:
		req.Guard = guard // an agent opens connections of its own
		return w.callAgent(ctx, work, req)
	case models.StepTypeBranch, models.StepTypeWait:
	}
	return connectors.Response{}, fmt.Errorf("a step of type %q is not for workers", work.Step.Type)
}

func (w *Worker) callConnector(ctx context.Context, work *engine.Work, req connectors.Request, guard *connectors.Guard) (connectors.Response, error) {
	var found connectors.Connector
	if err := patiently(ctx, func() (err error) { // of the workspace's own, the database knows
		found, _, err = w.deps.Connectors.Find(ctx, req.WorkspaceID, work.Step.Connector)
		return err
	}); err != nil {
		return connectors.Response{}, err
	}
	if found == nil { // it is gone
		return w.deps.Connectors.Do(ctx, work.Step.Connector, req)
	}
	var err error
	if req.Connection, err = w.connection(ctx, work, found.Spec(), guard); err != nil {
		return connectors.Response{}, err
	}
	host := ""
	if placed, ok := found.(connectors.Placed); ok && req.Connection == nil {
		host = placed.Host(req)
	}
	return w.within(ctx, work, w.burdensOf(work, req.Connection, host), func() (connectors.Response, error) {
		resp, err := w.deps.Connectors.Do(ctx, work.Step.Connector, req)
		w.used(ctx, work, req.Connection, err)
		return resp, err
	})
}

// connection opens the connection that a step names, or else the one that its connector
// was registered with: of its own workspace, and one that goes with the connector. It
// has guard watch its secrets. It is nil where there is none.
func (w *Worker) connection(ctx context.Context, work *engine.Work, spec connectors.Spec, guard *connectors.Guard) (*connectors.Connection, error) {
	id := cmp.Or(work.Step.Connection, spec.Account)
	if id == "" {
		return nil, nil //nolint:nilnil // many steps need none
	}
	if w.deps.ConnectionFunc == nil {
		return nil, connectors.Permanent(codeConnectionGone, "there are no connections here")
	}
	var c *connectors.Connection
	err := patiently(ctx, func() (err error) {
		c, err = w.deps.ConnectionFunc(ctx, work.Ref.Workspace, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	guard.Watch(c)
	if !slices.Contains(spec.Accounts(), c.Connector) {
		return nil, connectors.Permanent(codeWrongConnector, "connection %s is of connector %q, and the step of %q", id, c.Connector, work.Step.Connector)
	}
	return c, nil
}

// used tells how the work fared with a connection, which may be nil.
func (w *Worker) used(ctx context.Context, work *engine.Work, c *connectors.Connection, err error) {
	if w.deps.UsedFunc != nil && c != nil {
		w.deps.UsedFunc(ctx, work.Ref.Workspace, c, err)
	}
}

func (w *Worker) callAgent(ctx context.Context, work *engine.Work, req connectors.Request) (connectors.Response, error) {
	var row *models.Agent
	err := patiently(ctx, func() (err error) {
		row, err = w.deps.AgentFunc(ctx, work.Ref.Workspace, work.Step.Agent)
		return err
	})
	switch {
	case errors.Is(err, models.ErrNotFound):
		return connectors.Response{}, connectors.Permanent(codeUnknownAgent, "there is no agent %q any more", work.Step.Agent)
	case err != nil:
		return connectors.Response{}, err
	}
	resp, err := w.withinAgent(ctx, work, func(g connectors.Gate) (connectors.Response, error) {
		req.Gate = g
		return w.deps.Agents.Run(ctx, agents.Agent{
			Slug: row.Slug, Name: row.Name, Kind: row.Kind, Connection: row.Connection, Config: row.Config,
			InputSchema: row.InputSchema, OutputSchema: row.OutputSchema,
		}, req)
	})
	if err == nil && len(resp.Output) > 0 {
		resp.Output, err = connectors.CleanJSON(resp.Output)
	}
	return resp, err
}

// beginEffect asks leave to touch the outside. Agents are called with the key of the
// effect, so calling them twice is safe. So is an action that is idempotent, where the
// other side keeps such keys: whoever says what follows when nobody knows, knows better.
func (w *Worker) beginEffect(ctx context.Context, work *engine.Work) error {
	repeatable := true
	if work.Step.Type == models.StepTypeConnector {
		if err := patiently(ctx, func() error {
			action, known, err := w.deps.Connectors.Action(ctx, string(work.Ref.Workspace), work.Step.Connector, work.Step.Action)
			repeatable = known && action.Idempotent && work.Step.OnUnknown == ""
			return err
		}); err != nil {
			return err
		}
	}
	return patiently(ctx, func() error { return w.deps.Engine.BeginEffect(ctx, work.Lease, repeatable) })
}

// patiently asks the database until it answers, for as long as the step may take:
// that it is away is not the step's fault, so it must not cost an attempt.
func patiently(ctx context.Context, ask func() error) error {
	for tries := (backoff{}); ; {
		err := ask()
		if !errors.Is(err, models.ErrUnavailable) {
			return err
		}
		if err := tries.wait(ctx); err != nil {
			return err
		}
	}
}
