package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
)

// runID is the id of the run that something starts through a trigger: always the
// same one, so that to start it twice is to start it once.
func runID(trigger models.TriggerID, what string, at time.Time) models.RunID {
	return models.RunID(ids.NewSource([]byte(string(trigger)+"\x00"+what), at).Next(models.RunPrefix))
}

// result is what came of firing a trigger.
type result struct {
	run      *models.RunID
	delivery *models.DeliveryID
	refused  string // why nothing was started; empty where something was
}

// fire lets a trigger do for an event what it is there for. It may be done again.
// An error tells that it could not be tried; a refusal is a result.
func (b *Bus) fire(ctx context.Context, trg *models.Trigger, e *models.Event, payload json.RawMessage) (result, error) {
	if trg.TargetType == models.TargetWebhook {
		id, err := b.queueDelivery(ctx, trg, e)
		if err != nil {
			return b.refusal(ctx, trg, e, err)
		}
		return result{delivery: &id}, nil
	}
	run, err := b.deps.Engine.Start(ctx, engine.StartRequest{
		Workspace: trg.WorkspaceID, Workflow: *trg.WorkflowID, ID: runID(trg.ID, string(e.ID), e.ReceivedAt),
		Payload: payload, Trigger: triggerTypes[trg.Type], TriggerID: &trg.ID, EventID: &e.ID, Depth: e.Depth,
	})
	if err != nil {
		return b.refusal(ctx, trg, e, err)
	}
	return result{run: &run.ID}, nil
}

// triggerTypes is what a run says of how it was started.
var triggerTypes = map[models.TriggerKind]models.TriggerType{
	models.TriggerOnEvent: models.TriggerEvent, models.TriggerOnSchedule: models.TriggerSchedule, models.TriggerOnWebhook: models.TriggerWebhook,
}

// maxTries is how often what fails for a reason nobody knows is tried again.
const maxTries = 5

// refusal sorts an error: one that says no is a result, and one that may pass is
// an error.
func (b *Bus) refusal(ctx context.Context, trg *models.Trigger, e *models.Event, err error) (result, error) {
	if reason, ok := Refusal(err); ok {
		refused := result{refused: reason}
		if conflict, ok := errors.AsType[*models.ConflictError](err); ok && conflict.Run != "" {
			refused.run = &conflict.Run // that it gave way to, or became part of
		}
		return refused, nil
	}
	if ctx.Err() != nil || errors.Is(err, models.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || e.Tries < maxTries {
		return result{}, err
	}
	b.log.ErrorContext(ctx, "trigger cannot be fired", obs.Err(err), triggerAttr(trg.ID), eventAttr(e.ID))
	return result{refused: "something went wrong on our side, again and again"}, nil
}

// maxReason bounds the bytes of a reason.
const maxReason = 500

// Refusal tells in words why the engine refused to start a run. ok is false where
// err is none of that kind: then it may work another time.
func Refusal(err error) (reason string, ok bool) {
	var (
		conflict *models.ConflictError
		invalid  *models.InvalidError
	)
	switch {
	case errors.As(err, &conflict):
		reason = conflict.Message
	case errors.As(err, &invalid):
		words := make([]string, len(invalid.Fields))
		for i, f := range invalid.Fields {
			words[i] = f.Msg
			if len(f.Loc) > 0 {
				words[i] = place(f.Loc) + ": " + f.Msg
			}
		}
		reason = strings.Join(words, "; ")
	case errors.Is(err, models.ErrNotFound):
		reason = "the workflow does not exist any more"
	default:
		return "", false
	}
	return shorten(reason), true
}

func place(loc []any) string {
	words := make([]string, len(loc))
	for i, l := range loc {
		words[i] = fmt.Sprint(l)
	}
	return strings.Join(words, ".")
}

func shorten(s string) string {
	if len(s) <= maxReason {
		return s
	}
	return strings.ToValidUTF8(s[:maxReason], "") + "…"
}
