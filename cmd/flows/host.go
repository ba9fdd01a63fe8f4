package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/flows"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
)

// host is this product as its own flows reach it, through the connector flows. What it
// works with is made after the connectors are, and before any of them acts.
type host struct{ app *app }

var _ flows.Host = host{}

// Emit puts an event on the bus. It is one deeper than the run it comes from, and named
// after the step: the bus takes the second one for the first.
func (h host) Emit(ctx context.Context, from flows.Origin, e flows.Event) (flows.Emitted, error) {
	run, err := h.origin(ctx, from)
	if err != nil {
		return flows.Emitted{}, err
	}
	ev := &models.Event{Type: e.Type, Source: e.Source, ExternalID: e.ID, Data: e.Data}
	if string(ev.Data) == "null" {
		ev.Data = nil
	}
	if ev.ExternalID == "" {
		ev.ExternalID = from.Key
	}
	if run != nil {
		ev.Depth = run.Depth + 1
	}
	found, err := bus.CheckEvent(ev)
	switch {
	case err != nil:
		return flows.Emitted{}, refused(err)
	case len(found) > 0:
		return flows.Emitted{}, refused(&models.InvalidError{Fields: found})
	}
	kept, err := h.app.bus.Publish(ctx, models.WorkspaceID(from.Workspace), []*models.Event{ev})
	if err != nil {
		return flows.Emitted{}, refused(err)
	}
	return flows.Emitted{ID: string(kept[0].ID), Duplicate: kept[0].Duplicate}, nil
}

// Run starts a flow. Its id is made of the step's key, so to start it twice is to start
// it once.
func (h host) Run(ctx context.Context, from flows.Origin, s flows.Start) (flows.Started, error) {
	run, err := h.origin(ctx, from)
	if err != nil {
		return flows.Started{}, err
	}
	at, depth := time.Now(), 0
	if run != nil {
		at, depth = run.CreatedAt, run.Depth+1
	}
	if depth >= models.MaxDepth {
		return flows.Started{}, connectors.Permanent(flows.CodeDepth, "flows have started each other %d times in a row, which is as often as they may", models.MaxDepth)
	}
	payload := s.Payload
	if string(payload) == "null" {
		payload = nil
	}
	started, err := h.app.engine.Start(ctx, engine.StartRequest{
		Workspace: models.WorkspaceID(from.Workspace), Workflow: models.WorkflowID(s.Workflow), Payload: payload,
		ID:      models.RunID(ids.NewSource([]byte("flows.run\x00"+from.Workspace+"\x00"+from.Key), at).Next(models.RunPrefix)),
		Trigger: models.TriggerFlow, Depth: depth,
	})
	if err != nil {
		return flows.Started{}, refused(err)
	}
	return flows.Started{Run: string(started.ID), Status: string(started.Status)}, nil
}

// origin gives the run that something comes from; nil outside of one.
func (h host) origin(ctx context.Context, from flows.Origin) (*models.Run, error) {
	if from.Run == "" || !models.ValidID(models.RunPrefix, from.Run) {
		return nil, nil //nolint:nilnil // outside of a run
	}
	run, err := h.app.store.For(models.WorkspaceID(from.Workspace)).Run(ctx, models.RunID(from.Run))
	if err != nil {
		return nil, refused(fmt.Errorf("run %s: %w", from.Run, err))
	}
	return run, nil
}

// refused puts an error of the bus or the engine into the words of connectors.
func refused(err error) error {
	if conflict, ok := errors.AsType[*models.ConflictError](err); ok {
		return connectors.Permanent(conflict.Code, "%s", conflict.Message)
	}
	switch {
	case errors.Is(err, models.ErrNotFound):
		return connectors.Permanent("not_found", "there is no such workflow in this workspace")
	case errors.Is(err, models.ErrTooLarge):
		return connectors.Permanent(connectors.CodeTooLarge, "the data of an event may have at most %d bytes", bus.MaxEventData)
	case errors.Is(err, models.ErrUnavailable):
		return connectors.Retryable("unavailable", "the database cannot be reached")
	}
	if reason, ok := bus.Refusal(err); ok {
		return connectors.Permanent(connectors.CodeInputInvalid, "%s", reason)
	}
	return err
}
