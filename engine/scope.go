package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/10ex/flows/engine/expression"
	"github.com/10ex/flows/models"
)

// loopItem is what an iteration sees as item and index.
type loopItem struct {
	item  any
	index int
}

// vars gathers what refs read. Everything missing is noted in need at once.
func (w *walk) vars(refs expression.Refs, loop *loopItem) (expression.Vars, error) {
	v := expression.Vars{}
	missing := false
	if refs.Payload {
		switch {
		case w.plan.newRun || w.snap.havePayload:
			if w.snap.payload == nil {
				p, err := expression.Decode(w.readRun().Payload)
				if err != nil {
					return nil, fmt.Errorf("the payload: %w", err)
				}
				w.snap.payload = p
			}
			v["payload"] = w.snap.payload
		default:
			w.need.payload, missing = true, true
		}
	}
	if len(refs.Steps) > 0 {
		steps := make(map[string]any, len(refs.Steps))
		for _, ref := range refs.Steps {
			value, err := w.stepVars(ref)
			if errors.Is(err, errNeed) {
				missing = true
				continue
			}
			if err != nil {
				return nil, err
			}
			steps[ref.ID] = value
		}
		v["steps"] = steps
	}
	r := w.readRun()
	if refs.TriggerEvent && r.EventID != nil && !w.snap.haveEvent {
		w.need.event, missing = true, true
	}
	if missing {
		return nil, errNeed
	}
	if refs.Run {
		v["run"] = map[string]any{"id": string(r.ID), "created_at": models.TimeText(r.CreatedAt)}
	}
	if refs.Workflow {
		v["workflow"] = map[string]any{"id": string(r.WorkflowID), "name": r.WorkflowName, "version": r.WorkflowVersion}
	}
	if refs.Trigger {
		v["trigger"] = map[string]any{"type": string(r.TriggerType), "id": deref(r.TriggerID), "event": w.triggerEvent(refs)}
	}
	if loop != nil {
		v["item"], v["index"] = loop.item, loop.index
	}
	return v, nil
}

// inScope gives what refs read. A value that cannot be read, for it is too deep, is
// a failure of the step; err is for what has to be read first.
func (w *walk) inScope(refs expression.Refs, what string, loop *loopItem) (v expression.Vars, failure *models.StepError, err error) {
	v, err = w.vars(refs, loop)
	if err == nil || errors.Is(err, errNeed) {
		return v, nil, err
	}
	return nil, &models.StepError{Code: codeExpression, Message: what + ": " + err.Error()}, nil
}

func deref[T ~string](p *T) any {
	if p == nil {
		return nil
	}
	return string(*p)
}

// triggerEvent is the event that started the run: null where there is none or it
// has been pruned. Its id alone is known without reading it.
func (w *walk) triggerEvent(refs expression.Refs) any {
	switch id := w.readRun().EventID; {
	case id == nil:
		return nil
	case !refs.TriggerEvent:
		return map[string]any{"id": string(*id)}
	case w.snap.event == nil:
		return nil
	}
	return w.snap.event
}

// eventVars is an event as expressions see it. Data that cannot be read, for it is
// too deep, is null.
func eventVars(e *models.Event) map[string]any {
	data, _ := expression.Decode(e.Data)
	return map[string]any{
		"id": string(e.ID), "type": e.Type, "source": e.Source, "data": data, "occurred_at": models.TimeText(e.OccurredAt),
	}
}

func (w *walk) stepVars(ref expression.StepRef) (any, error) {
	k := theStep(ref.ID)
	row, err := w.read(k)
	if err != nil {
		return nil, err
	}
	if row == nil {
		return map[string]any{"output": nil, "status": string(models.StepPending), "error": nil}, nil
	}
	out := map[string]any{"output": nil, "status": string(row.Status), "error": nil}
	if ref.Output && row.Output != nil {
		value, ok := w.snap.decoded[k]
		if _, changed := w.plan.steps[k]; changed || !ok {
			if value, err = expression.Decode(row.Output); err != nil {
				return nil, fmt.Errorf("the output of step %q: %w", ref.ID, err)
			}
			if !changed {
				w.snap.decoded[k] = value
			}
		}
		out["output"] = value
	}
	if ref.Error && row.Error != nil {
		e := map[string]any{"code": row.Error.Code, "message": row.Error.Message, "retryable": row.Error.Retryable, "status": nil}
		if row.Error.Status != 0 {
			e["status"] = row.Error.Status
		}
		out["error"] = e
	}
	return out, nil
}

// eval evaluates p for step n. What goes wrong in the expression is a failure of
// the step; err is for what has to be read first.
func (w *walk) eval(p *expression.Program, what string, loop *loopItem) (value any, failure *models.StepError, err error) {
	vars, failure, err := w.inScope(p.Refs(), what, loop)
	if failure != nil || err != nil {
		return nil, failure, err
	}
	value, err = p.Eval(context.Background(), vars)
	if err != nil {
		return nil, &models.StepError{Code: codeExpression, Message: what + ": " + expressionText(err)}, nil
	}
	return value, nil, nil
}

func (w *walk) evalBool(_ *node, p *expression.Program, what string, loop *loopItem) (ok bool, failure *models.StepError, err error) {
	v, failure, err := w.eval(p, what, loop)
	if failure != nil || err != nil {
		return false, failure, err
	}
	ok, _ = v.(bool) // compiled as Bool, so it is one
	return ok, nil, nil
}

// render fills in the input of a step.
func (w *walk) render(n *node, loop *loopItem) (input json.RawMessage, failure *models.StepError, err error) {
	if n.input == nil {
		return json.RawMessage("{}"), nil, nil
	}
	vars, failure, err := w.inScope(n.input.Refs(), "input", loop)
	if failure != nil || err != nil {
		return nil, failure, err
	}
	input, err = n.input.RenderJSON(context.Background(), vars)
	if err != nil {
		return nil, &models.StepError{Code: codeExpression, Message: "input: " + expressionText(err)}, nil
	}
	return input, nil, nil
}
