package engine

import (
	"slices"
	"time"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/tasks"
)

// This file is how runs start where a workflow's settings have a say in it.

// codeRunTimeout is the code of runs that took longer than they may.
const codeRunTimeout = "run_timeout"

// runAlarm stands for the run itself where a task names a step: no step can have
// such a name.
const runAlarm = "@run"

// gathering refuses a start for which a run is there that gathers it. Whoever
// started it folds it into that one.
type gathering struct{ run models.RunID }

// Error is for a caller who does not know of folding; there is none.
func (g *gathering) Error() string { return "run " + string(g.run) + " gathers starts" }

// start creates the run, and its first steps unless it is held.
func (w *walk) start(h runStarts) error {
	run := *h.run
	w.plan.run, w.plan.newRun = &run, true
	switch {
	case run.DebounceKey != nil:
		if p := w.snap.gather.Pending; p != "" {
			return &gathering{p}
		}
		run.Hold = models.HoldDebounce
		w.push(w.def.control)
		w.log(models.EventRunQueued, nil, map[string]any{"hold": run.Hold, "key": *run.DebounceKey, "begin_at": run.BeginAt})
		return nil
	case run.SlotKey != nil:
		begins, err := w.takeTurn()
		if err != nil {
			return err
		}
		if !begins {
			run.FromStep = h.from
			w.logTurn()
			return nil
		}
	}
	w.log(models.EventRunQueued, nil, nil)
	return w.begin(h.from, h.earlier)
}

// begin creates the first steps of a run that nothing holds.
func (w *walk) begin(from string, earlier []*models.Step) error {
	if c := w.def.control; c != nil {
		r := w.run()
		r.Hold, r.BeginAt, r.FromStep = models.HoldNone, nil, ""
		if c.timeout > 0 {
			at := w.now.Add(c.timeout)
			r.DeadlineAt = &at
		}
		w.attendRun()
	}
	if from == "" {
		return w.startSteps(w.def.roots)
	}
	return w.startFrom(runStarts{from: from, earlier: earlier})
}

// push moves the beginning of a run that gathers starts away from a start.
func (w *walk) push(c *control) {
	r := w.run()
	at := w.now.Add(c.period)
	if last := r.CreatedAt.Add(c.max); c.max > 0 && at.After(last) {
		at = last
	}
	r.BeginAt = &at
	w.attendRun()
}

// takeTurn gives the run a slot of its key, or a place in line. Nobody passes those
// who wait already.
func (w *walk) takeTurn() (begins bool, err error) {
	r, s, c := w.run(), w.snap.slot, w.def.control
	free := s.Active < c.limit && len(s.Line) == 0
	if !free && c.policy == models.PolicySkip {
		return false, &models.ConflictError{
			Code: models.CodeConcurrencyLimit, Run: s.Holder,
			Message: "the start was skipped: the workflow lets no more runs with the key " + keyInWords(*r.SlotKey) + " be active at once, and " + string(s.Holder) + " is",
		}
	}
	r.SlotSeq = s.Last + 1
	if !free {
		r.Hold, r.BeginAt = models.HoldConcurrency, nil
		w.attendRun()
	}
	return free, nil
}

func (w *walk) logTurn() {
	r := w.run()
	w.log(models.EventRunQueued, nil, map[string]any{"hold": r.Hold, "key": *r.SlotKey, "ahead": len(w.snap.slot.Line)})
}

// keyInWords names a key for people.
func keyInWords(key string) string {
	if key == "" {
		return "of all its runs"
	}
	return key
}

// letIn lets a run begin whose turn has come.
func (w *walk) letIn(h runLetIn) error {
	r := w.readRun()
	if r.Status != models.RunQueued || r.Hold != models.HoldConcurrency {
		return w.refuse("the run is not in line")
	}
	s := w.snap.slot
	ahead := slices.Index(s.Line, r.SlotSeq)
	if ahead < 0 || s.Active+ahead >= w.def.control.limit {
		return w.refuse("it is not its turn")
	}
	return w.begin(r.FromStep, h.earlier)
}

// runIsDue begins a run that has gathered its starts, or ends one that has taken too
// long.
func (w *walk) runIsDue() error {
	switch r := w.readRun(); {
	case r.Status.Ended(), r.Status == models.RunPaused:
		return w.refuse("the run is %s", r.Status)
	case r.Hold == models.HoldDebounce && !r.BeginAt.After(w.now):
		return w.gathered()
	case r.Hold == models.HoldNone && r.DeadlineAt != nil && !r.DeadlineAt.After(w.now):
		return w.timeOut()
	}
	return w.refuse("the run is not due")
}

// gathered ends the time in which a run gathers starts. A limit on active runs counts
// from here.
func (w *walk) gathered() error {
	r := w.run()
	if r.SlotKey == nil {
		return w.begin("", nil)
	}
	begins, err := w.takeTurn()
	if err != nil { // there is nobody left to tell but who looks at the run
		r.Error = &models.RunError{Code: models.CodeConcurrencyLimit, Message: err.Error()}
		w.ending = map[string]any{"reason": err.Error()}
		return w.end(models.RunCancelled)
	}
	if !begins {
		w.logTurn()
		return nil
	}
	return w.begin("", nil)
}

// fold makes a start part of a run that has not begun: what it brought is what the
// run begins with, and later.
func (w *walk) fold(h runFolded) error {
	r := w.readRun()
	switch {
	case r.Status.Ended() || r.Hold != models.HoldDebounce:
		return w.refuse("the run has begun")
	case r.ID == h.start.ID, same(r.EventID, h.start.EventID) && same(r.TriggerID, h.start.TriggerID):
		return nil // the same start once more
	}
	r = w.run()
	s := h.start
	r.WorkflowVersion, r.WorkflowName = s.WorkflowVersion, s.WorkflowName
	r.Payload, r.Metadata, r.Depth = s.Payload, s.Metadata, s.Depth
	r.TriggerType, r.TriggerID, r.EventID = s.TriggerType, s.TriggerID, s.EventID
	w.plan.folded = h.def
	w.push(h.def.control)
	w.log(models.EventRunQueued, nil, map[string]any{
		"hold": r.Hold, "key": *r.DebounceKey, "begin_at": r.BeginAt, "folded": map[string]any{"trigger": s.TriggerType, "event_id": s.EventID},
	})
	return nil
}

func same[T comparable](a, b *T) bool { return a != nil && b != nil && *a == *b }

// timeOut ends a run that has taken too long, and everything open in it. Workers
// learn of it by their heartbeat.
func (w *walk) timeOut() error {
	if err := w.cancelOpen("the run took longer than it may", true); err != nil {
		return err
	}
	if r := w.run(); !r.Halted { // else the step that failed is the one to name
		r.Error = &models.RunError{Code: codeRunTimeout, Message: "the run took longer than it may"}
	}
	return w.end(models.RunFailed)
}

// attendRun notes when the sweep has to look at the run, and sets an alarm where
// that is soon: the sweep may be a second late.
func (w *walk) attendRun() { w.attend(false) }

func (w *walk) attend(resumed bool) {
	r := w.run()
	soon := w.now.Add(w.rules.redeliver)
	r.AttendAt = nil
	switch {
	case r.Status.Ended():
		if r.SlotKey != nil && r.SlotSeq > 0 {
			r.AttendAt = &soon // until its slot has been handed on
		}
	case r.Status == models.RunPaused:
	case r.Hold == models.HoldDebounce:
		w.alarm(r, r.BeginAt, w.rules.horizon)
	case r.Hold == models.HoldConcurrency:
		// Else somebody's end will be its turn, and that one has a mark.
		if resumed || w.def.control.policy == models.PolicyCancelRunning {
			r.AttendAt = &soon
		}
	case r.DeadlineAt != nil:
		w.alarm(r, r.DeadlineAt, deadlineAlarm)
	}
}

// deadlineAlarm is how far ahead a run's deadline gets an alarm. Most runs end long
// before it, and what is far away may be a second late.
const deadlineAlarm = time.Minute

func (w *walk) alarm(r *models.Run, at *time.Time, horizon time.Duration) {
	attend := *at
	r.AttendAt = &attend
	if at.After(w.now.Add(horizon)) {
		return
	}
	w.plan.deliveries = append(w.plan.deliveries, Delivery{Wake: true, At: attend, Task: tasks.Step{
		// The log has grown since the last alarm, so this is another task.
		Workspace: string(r.WorkspaceID), Run: string(r.ID), Step: runAlarm, Iteration: models.NoIteration,
		Attempt: int(r.LastSeq), Queue: tasks.QueueSystem,
	}})
}

// holdOn stops the clocks of a run that is paused.
func (w *walk) holdOn() {
	r := w.run()
	r.PausedAt = &w.now
	w.attendRun()
}

// goOn lets the clocks of a run go on: a pause does not count towards its time.
func (w *walk) goOn() {
	r := w.run()
	if r.DeadlineAt != nil && r.PausedAt != nil {
		at := r.DeadlineAt.Add(w.now.Sub(*r.PausedAt))
		r.DeadlineAt = &at
	}
	r.PausedAt = nil
	w.attend(true)
}

// followGathering does the same as followSlot for starts that are gathered.
func followGathering(s *store.Slot, after *models.Run) {
	if s != nil && after.Hold == models.HoldDebounce && !after.Status.Ended() {
		s.Pending = after.ID
	}
}

// followSlot keeps the facts of a key true while plans of one transaction change
// them. Those who end are left in: they count until they have committed.
func followSlot(s *store.Slot, before, after *models.Run) {
	if s == nil {
		return
	}
	s.Last = max(s.Last, after.SlotSeq)
	was, is := models.HoldDebounce, after.Hold // a run that is not there counts for nothing
	if before != nil {
		was = before.Hold
	}
	if was == models.HoldConcurrency && (is != was || after.Status != models.RunQueued) {
		s.Line = slices.DeleteFunc(s.Line, func(n int64) bool { return n == after.SlotSeq })
	}
	if is == models.HoldConcurrency && was != is {
		s.Line = append(s.Line, after.SlotSeq)
	}
	if is == models.HoldNone && was != is && !after.Status.Ended() {
		s.Active++
		if s.Holder == "" {
			s.Holder = after.ID
		}
	}
}
