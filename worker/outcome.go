package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
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
	codeOutputTooLarge = "output_too_large"
)

var errTimeout = errors.New("the step's time is up")

// outcome is what an attempt came to.
type outcome struct {
	output     json.RawMessage
	usage      json.RawMessage
	err        *models.StepError
	retryAfter time.Duration
}

// attemptWork has the work done and says what came of it. ctx ends with the lease
// and with the step's time.
func (w *Worker) attemptWork(ctx context.Context, work *engine.Work) outcome {
	resp, err := w.callSafely(ctx, work)
	if err == nil && len(resp.Output) > w.cfg.MaxOutput {
		err = connectors.Permanent(codeOutputTooLarge, "the output is %d bytes, more than the %d allowed", len(resp.Output), w.cfg.MaxOutput)
	}
	var out outcome
	if resp.Usage != nil {
		usage, unusable := json.Marshal(resp.Usage)
		if unusable == nil { // a cost that is no number is not worth the step
			out.usage = usage
		}
	}
	switch {
	case err == nil:
		out.output = resp.Output
		return out
	case errors.Is(context.Cause(ctx), errTimeout):
		err = connectors.Retryable(codeTimeout, "the step did not finish within %s", work.Timeout)
	}
	e := connectors.AsError(err)
	lost := ctx.Err() != nil || errors.Is(err, engine.ErrLeaseLost) // of which whoever drops the result tells
	if e.Code == codeInternal && !lost {
		w.log.ErrorContext(ctx, "a step failed for reasons of our own", obs.Err(cause(e)))
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
func (w *Worker) callSafely(ctx context.Context, work *engine.Work) (resp connectors.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			w.log.ErrorContext(ctx, "a step panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			err = connectors.Retryable(codeInternal, "the step failed unexpectedly")
		}
	}()
	return w.call(ctx, work)
}

func (w *Worker) call(ctx context.Context, work *engine.Work) (connectors.Response, error) {
	req := connectors.Request{
		Action: work.Step.Action, Input: work.Input, IdempotencyKey: work.IdempotencyKey,
		WorkspaceID: string(work.Ref.Workspace), RunID: string(work.Ref.Run), StepID: work.Ref.Step, Attempt: work.Attempt,
		BeforeEffect: func(ctx context.Context) error { return w.beginEffect(ctx, work) },
	}
	if work.Ref.Iteration >= 0 {
		req.Iteration = &work.Ref.Iteration
	}
	switch work.Step.Type {
	case models.StepTypeConnector:
		return w.callConnector(ctx, work, req)
	case models.StepTypeAgent:
		return w.callAgent(ctx, work, req)
	case models.StepTypeBranch, models.StepTypeWait:
	}
	return connectors.Response{}, fmt.Errorf("a step of type %q is not for workers", work.Step.Type)
}

func (w *Worker) callConnector(ctx context.Context, work *engine.Work, req connectors.Request) (connectors.Response, error) {
	if err := patiently(ctx, func() error { // of the workspace's own, the database knows
		_, _, err := w.deps.Connectors.Find(ctx, req.WorkspaceID, work.Step.Connector)
		return err
	}); err != nil {
		return connectors.Response{}, err
	}
	return w.deps.Connectors.Do(ctx, work.Step.Connector, req)
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
	resp, err := w.deps.Agents.Run(ctx, agents.Agent{
		Slug: row.Slug, Name: row.Name, Kind: row.Kind, Config: row.Config,
		InputSchema: row.InputSchema, OutputSchema: row.OutputSchema,
	}, req)
	if err == nil && len(resp.Output) > 0 {
		resp.Output, err = connectors.CleanJSON(resp.Output)
	}
	return resp, err
}

// beginEffect asks leave to touch the outside. Agents are called with the key of the
// effect, so calling them twice is safe.
func (w *Worker) beginEffect(ctx context.Context, work *engine.Work) error {
	repeatable := true
	if work.Step.Type == models.StepTypeConnector {
		if err := patiently(ctx, func() error {
			action, known, err := w.deps.Connectors.Action(ctx, string(work.Ref.Workspace), work.Step.Connector, work.Step.Action)
			repeatable = known && action.Idempotent
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
