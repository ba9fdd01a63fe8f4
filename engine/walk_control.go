package engine

import (
	"slices"

	"github.com/10ex/flows/models"
)

// This file is what people do to a run as a whole.

// ended is the refusal the one who asked has to hear of.
func ended(r *models.Run) error {
	return models.Conflict(models.CodeInvalidState, "run %s is %s already", r.ID, r.Status)
}

// pause keeps anything new from starting. What runs goes on and is kept.
func (w *walk) pause() error {
	switch r := w.readRun(); {
	case r.Status == models.RunPaused:
		return w.refuse("the run is paused already")
	case r.Status.Ended():
		return ended(r)
	}
	rows, err := w.open()
	if err != nil {
		return err
	}
	w.run().Status = models.RunPaused
	for _, row := range rows {
		if row.Status == models.StepQueued || row.Status == models.StepWaiting {
			w.change(row).AttendAt = nil // the sweep has no business with it until the run is resumed
		}
	}
	w.holdOn()
	w.log(models.EventRunPaused, nil, nil)
	w.tellRun(models.FlowRunPaused)
	return nil
}

// resume lets the run go on exactly where it stands: what is queued is delivered,
// what was due meanwhile is due now.
func (w *walk) resume() error {
	switch r := w.readRun(); {
	case r.Status.Ended():
		return ended(r)
	case r.Status != models.RunPaused:
		return w.refuse("the run is not paused")
	}
	rows, err := w.open()
	if err != nil {
		return err
	}
	r := w.run()
	r.Status = models.RunRunning // conclude says what it really is
	w.log(models.EventRunResumed, nil, nil)
	w.goOn()
	w.tellRun(models.FlowRunResumed)
	for _, row := range rows {
		switch {
		case row.Status == models.StepQueued && row.IterTotal == 0:
			row = w.change(row)
			row.Deliveries++ // the task of the last delivery was refused, but may still hold its id
			w.deliver(w.def.nodes[row.StepID], row)
		case row.Status == models.StepWaiting:
			w.schedule(w.change(row))
		}
	}
	return nil
}

// cancel ends the run and everything open in it. Workers learn of it by their
// heartbeat.
func (w *walk) cancel(h runCancelled) error {
	switch r := w.readRun(); {
	case r.Status == models.RunCancelled:
		return w.refuse("the run is cancelled already")
	case r.Status.Ended():
		return ended(r)
	}
	reason := "the run was cancelled"
	if h.by != "" {
		reason = "run " + string(h.by) + " took its place"
		w.ending = map[string]any{"reason": reason, "run_id": h.by}
	}
	if err := w.cancelOpen(reason, true); err != nil {
		return err
	}
	return w.end(models.RunCancelled)
}

// open gives every row that has not ended, as the plan has it, in a fixed order.
func (w *walk) open() ([]*models.Step, error) {
	if !w.snap.openKnown && !w.plan.newRun {
		w.need.open = true
		return nil, errNeed
	}
	var rows []*models.Step
	for k, row := range w.snap.steps {
		if _, changed := w.plan.steps[k]; !changed && row != nil {
			rows = append(rows, row)
		}
	}
	for _, row := range w.plan.steps {
		rows = append(rows, row)
	}
	rows = slices.DeleteFunc(rows, func(s *models.Step) bool { return s.Status.Ended() })
	slices.SortFunc(rows, func(a, b *models.Step) int {
		if a.StepID != b.StepID {
			if a.StepID < b.StepID {
				return -1
			}
			return 1
		}
		return a.Iteration - b.Iteration
	})
	return rows, nil
}

// cancelOpen ends what is open: everything, or all but what a worker is at.
func (w *walk) cancelOpen(reason string, running bool) error {
	rows, err := w.open()
	if err != nil {
		return err
	}
	inFlight := map[string]int{} // iterations left to end by themselves, by step
	gone := map[string]int{}     // and those that are over
	parents := []*models.Step{}
	for _, row := range rows {
		switch {
		case row.Iteration == models.NoIteration && row.IterTotal > 0:
			parents = append(parents, row)
		case row.Status == models.StepRunning && !running:
			if row.Iteration != models.NoIteration {
				inFlight[row.StepID]++
			}
		case row.Iteration != models.NoIteration:
			if row = w.change(row); row.Status == models.StepWaiting {
				w.abandon(row)
			}
			w.closeRow(row, reason)
			gone[row.StepID]++
		default:
			w.cancelOne(w.change(row), reason)
		}
	}
	for _, p := range parents {
		p = w.change(p)
		if p.IterActive = inFlight[p.StepID]; p.IterActive == 0 {
			if p.Status == models.StepWaiting {
				w.run().WaitingSteps--
			} else {
				w.run().ActiveSteps--
			}
			w.cancelList(p, reason, gone[p.StepID])
		}
	}
	return nil
}

// cancelOne ends a step that is not over a list, and takes it out of the run's counts.
func (w *walk) cancelOne(row *models.Step, reason string) {
	switch row.Status {
	case models.StepQueued, models.StepRunning:
		w.run().ActiveSteps--
	case models.StepWaiting:
		if awaits(row) {
			w.abandon(row)
			break
		}
		w.closeWait(row)
		if s := w.def.nodes[row.StepID].def; s.Approval != nil || s.Type.Executed() {
			w.tellAnswered(row, decisionCancelled, Decision{})
		}
	case models.StepPending: // a join, which the run does not count
	case models.StepCompleted, models.StepFailed, models.StepSkipped, models.StepCancelled:
		return // it is not open
	}
	w.cancelRow(row, reason)
}

// cancelRow ends a row.
func (w *walk) cancelRow(row *models.Step, reason string) {
	w.closeRow(row, reason)
	w.log(models.EventStepCancelled, row, map[string]any{"reason": reason})
}

// cancelList ends a step over a list, with one line for it and all the items that go
// with it: there may be thousands.
func (w *walk) cancelList(parent *models.Step, reason string, items int) {
	w.closeRow(parent, reason)
	w.log(models.EventStepCancelled, parent, map[string]any{"reason": reason, "iterations": items})
}

// closeRow ends a row without a line in the log.
func (w *walk) closeRow(row *models.Step, reason string) {
	row.Status, row.Reason, row.FinishedAt, row.AttendAt, row.LeaseToken = models.StepCancelled, reason, &w.now, nil, ""
}
