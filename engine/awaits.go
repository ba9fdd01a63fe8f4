package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// This file is about steps that wait for the end of another run. Such a step is one
// that a worker has finished with, and that is open all the same: it is waiting, without
// an error, and a row of waits says for which run. That row stays until the step has
// ended with the run, or until the run was cancelled because the step did not wait any
// longer: so nobody who is cancelled leaves behind what only they wanted.
//
// Items of a step over a list wait each for its own run, and the step waits when nothing
// but such items is left of those that have begun.

const (
	// awaitedType is the event type of waits for the end of a run.
	awaitedType = "flow.run.*"
	// awaitedPrefix begins their keys; those of fields have no colon.
	awaitedPrefix = "run:"
	// lookAfter is how often they look by themselves how the run is: whatever is lost
	// is mended then.
	lookAfter = 15 * time.Minute
)

// Codes of steps that waited for a run that did not give them an output.
const (
	codeRunCancelled = "run_cancelled"
	codeRunGone      = "run_gone"
)

// awaitedKey is the key of waits that an event ends by what it tells of; empty for
// events that end none.
func awaitedKey(ev *models.Event) string {
	if ev.Source != models.SourceFlows || ev.RunID == nil {
		return ""
	}
	switch ev.Type {
	case models.FlowRunCompleted, models.FlowRunFailed, models.FlowRunCancelled:
		return awaitedPrefix + string(*ev.RunID)
	}
	return ""
}

// awaitedBy tells which run a wait is for the end of; empty if it is for an event.
func awaitedBy(w *models.Wait) models.RunID {
	if w.EventType != awaitedType {
		return ""
	}
	run, _ := strings.CutPrefix(w.MatchKey, awaitedPrefix)
	if run == w.MatchKey {
		return ""
	}
	return models.RunID(run)
}

// waitPlace names a step in a row of waits, as tasks do: an item of a list stands behind
// a colon, which ids of steps have none of.
func waitPlace(k stepKey) string {
	if k.iteration == models.NoIteration {
		return k.id
	}
	return k.id + ":" + strconv.Itoa(k.iteration)
}

// placeOf is what a wait's place names.
func placeOf(w *models.Wait) stepKey {
	id, item, ok := strings.Cut(w.StepID, ":")
	if n, err := strconv.Atoi(item); ok && err == nil {
		return stepKey{id, n}
	}
	return theStep(id)
}

// awaits tells whether a step waits for the end of a run, or of several.
func awaits(row *models.Step) bool {
	return row.Type.Executed() && row.Status == models.StepWaiting && row.Error == nil
}

// await has a step wait for the end of a run, which holds no worker. What is known of
// that run is its output until then.
func (w *walk) await(n *node, row *models.Step, h stepFinished) error {
	const halted = "the run failed before the step ended"
	look := w.now.Add(w.rules.redeliver)
	w.plan.newWaits = append(w.plan.newWaits, &models.Wait{
		WorkspaceID: row.WorkspaceID, RunID: row.RunID, StepID: waitPlace(keyOf(row)), EventType: awaitedType,
		MatchKey: awaitedPrefix + string(h.await), OpenedAt: w.now, AttendAt: &look,
	})
	// Where nothing new begins the wait is there to have the other run cancelled.
	parent := &models.Step{}
	if row.Iteration == models.NoIteration {
		w.run().ActiveSteps--
		if w.readRun().Halted {
			w.cancelRow(row, halted)
			return nil
		}
		w.run().WaitingSteps++
	} else {
		var err error
		switch parent, err = w.parent(row); {
		case err != nil:
			return err
		case w.readRun().Halted:
			return w.cancelHalted(row, halted)
		case parent.Error != nil:
			w.cancelRow(row, failedIteration(*parent.Error.Iteration))
			return w.iterationOver(n, row)
		}
	}
	row.Output, row.Error, row.EffectAt, row.LeaseToken, row.WorkerID = h.output, nil, nil, "", ""
	var until *time.Time
	data := map[string]any{"kind": "run", "run_id": h.await, "attempt": row.Attempt}
	if n.def.Timeout != "" { // written by the author: the usual one is for workers
		at := row.StartedAt.Add(n.timeout)
		until = &at
		data["until"] = at
	}
	row.Status, row.WakeAt = models.StepWaiting, until
	w.log(models.EventStepWaiting, row, data)
	w.schedule(row)
	if row.Iteration != models.NoIteration {
		w.iterationRests(parent)
	}
	return nil
}

// abandon takes a step that waits for a run out of the books, but not its wait: that one
// sees to it that the run is cancelled.
func (w *walk) abandon(row *models.Step) {
	if row.Iteration == models.NoIteration {
		w.run().WaitingSteps--
	}
	row.AttendAt = nil
	w.plan.abandoned = append(w.plan.abandoned, waitPlace(keyOf(row)))
}

// failAwait fails a step that waits no longer.
func (w *walk) failAwait(n *node, row *models.Step, failure *models.StepError) error {
	if row.Iteration == models.NoIteration {
		return w.failStep(n, row, failure)
	}
	if err := w.iterationBack(row); err != nil {
		return err
	}
	return w.iterationFailed(n, row, failure)
}

// refusedRuns is why nothing follows from a look at a run that is awaited.
const refusedRuns = "the run has not ended"

// awaitedRun ends the wait of a step for a run with what has come of it. A run that
// nobody can find any more is nil.
func (w *walk) awaitedRun(h runAwaited) error {
	n, row, err := w.waiting(h.key)
	if err != nil || row == nil {
		return err
	}
	if !awaits(row) {
		return w.refuse(refusedNotWaiting)
	}
	if h.run != nil && !h.run.Status.Ended() {
		return w.refuse(refusedRuns)
	}
	row = w.change(row)
	if h.run != nil && h.run.Status == models.RunCompleted {
		output := h.run.Output
		if len(output) == 0 {
			output = json.RawMessage("null")
		}
		if row.Iteration == models.NoIteration {
			w.endWait(n, row, output, models.OnSuccess, "")
			return nil
		}
		w.closeWait(row)
		if err := w.iterationBack(row); err != nil {
			return err
		}
		return w.iterationDone(n, row, output)
	}
	failure := &models.StepError{Code: codeRunGone, Message: "the run it waited for is not there any more"}
	if h.run != nil {
		failure = &models.StepError{Code: codeRunCancelled, Message: fmt.Sprintf("run %s was cancelled", h.run.ID)}
		if e := h.run.Error; h.run.Status == models.RunFailed && e != nil {
			failure = &models.StepError{Code: e.Code, Message: fmt.Sprintf("run %s failed", h.run.ID)}
			if e.StepID != "" {
				failure.Message += fmt.Sprintf(" at step %q", e.StepID)
			}
			failure.Message += ": " + e.Message
		}
	}
	w.closeWait(row)
	return w.failAwait(n, row, failure)
}

// lookAfter sees how the run is that a step waits for: one that has ended ends the wait,
// and one that nobody waits for any more is cancelled.
func (e *Engine) lookAfter(ctx context.Context, wait *models.Wait) (woken bool, err error) {
	tenant := e.deps.Store.For(wait.WorkspaceID)
	child, err := tenant.Run(ctx, awaitedBy(wait))
	if err != nil && !errors.Is(err, models.ErrNotFound) {
		return false, err
	}
	o := &op{ref: runOf(wait), what: runAwaited{key: placeOf(wait), run: child}}
	if err := e.do(ctx, o); err != nil && !errors.Is(err, models.ErrNotFound) {
		return false, err
	} else if err == nil {
		switch o.plans[0].refused {
		case "":
			return true, nil
		case refusedRuns:
			again := e.deps.Clock.Now().Add(lookAfter)
			if wait.AttendAt != nil && wait.AttendAt.Before(wait.OpenedAt.Add(lookAgain)) {
				again = wait.OpenedAt.Add(lookAgain) // see lookAgain
			}
			return false, tenant.AttendWait(ctx, wait.RunID, wait.StepID, &again)
		}
	}
	if child != nil && !child.Status.Ended() {
		_, err := e.Cancel(ctx, store.RunRef{Workspace: wait.WorkspaceID, Run: child.ID})
		if _, ended := errors.AsType[*models.ConflictError](err); err != nil && !ended && !errors.Is(err, models.ErrNotFound) {
			return false, err
		}
	}
	return false, tenant.DropWait(ctx, wait.RunID, wait.StepID)
}
