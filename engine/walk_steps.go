package engine

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/10ex/flows/models"
)

// This file is what workers, and the sweep in their place, report of steps.

// startSteps starts steps that wait for nothing.
func (w *walk) startSteps(nodes []*node) error {
	for _, n := range nodes {
		if w.readRun().Halted {
			return nil // by one before: what is halted starts nothing more
		}
		if err := w.startStep(n, w.create(n, models.NoIteration)); err != nil {
			return err
		}
	}
	return nil
}

// reasonKept is the reason of rows that an earlier run has settled, unless they
// have one that says how they did.
const reasonKept = "kept from the earlier run"

// startFrom goes on from what an earlier run did. The kept steps are as they were,
// and their edges are settled. The step to start from starts at once, also where
// the earlier run did not come to it; but where a step that leads to it was not
// kept, that one runs again, and the step starts when its edges say so.
func (w *walk) startFrom(h runStarts) error {
	first := w.def.nodes[h.from]
	kept := w.keep(h.earlier, first)
	atOnce := !slices.ContainsFunc(first.in, func(e *edge) bool { return kept[e.from.id()] == nil })
	for _, n := range w.def.order {
		row, ok := kept[n.id()]
		if !ok {
			continue
		}
		live := liveEdges(n, row)
		for _, e := range n.out {
			if kept[e.to.id()] == nil && (e.to != first || !atOnce) {
				w.arrivals = append(w.arrivals, arrival{edge: e, live: live(e), reason: fmt.Sprintf("step %q did not lead here in the earlier run", n.id())})
			}
		}
	}
	var begin []*node
	if atOnce {
		begin = append(begin, first)
	}
	for _, n := range w.def.roots {
		if kept[n.id()] == nil && n != first {
			begin = append(begin, n)
		}
	}
	return w.startSteps(begin)
}

// keep takes over what settled in an earlier run and does not come after the step
// to start from. Left out are steps that are another thing in this version, and
// steps whose only edge comes from one that is not kept: that one runs again, so
// what follows it does, too.
func (w *walk) keep(rows []*models.Step, first *node) map[string]*models.Step {
	earlier := map[string]*models.Step{}
	for _, row := range rows {
		earlier[row.StepID] = row
	}
	below := first.below()
	kept := map[string]*models.Step{}
	for _, n := range w.def.sorted {
		old := earlier[n.id()]
		switch {
		case old == nil, below[n.id()], old.Type != n.def.Type, !n.settledBy(old):
			continue
		case len(n.in) == 1 && kept[n.in[0].from.id()] == nil:
			continue
		}
		row := *old
		row.RunID, row.AttendAt, row.LeaseToken = w.plan.run.ID, nil, ""
		row.Reason = cmp.Or(row.Reason, reasonKept) // liveEdges reads what ended a wait
		k := keyOf(&row)
		kept[row.StepID] = &row
		w.plan.steps[k], w.plan.created[k] = &row, true
		w.plan.order = append(w.plan.order, k)
	}
	return kept
}

// settledBy tells whether what follows the step can go on from row. A failure that
// leads somewhere need not be tried again.
func (n *node) settledBy(row *models.Step) bool {
	switch row.Status {
	case models.StepCompleted, models.StepSkipped:
		return true
	case models.StepFailed:
		return n.hasEdge(models.OnError)
	case models.StepPending, models.StepQueued, models.StepRunning, models.StepWaiting, models.StepCancelled:
	}
	return false
}

// liveEdges tells which edges of a settled step were taken.
func liveEdges(n *node, row *models.Step) func(*edge) bool {
	taken := map[string]bool{}
	for _, id := range row.Taken {
		taken[id] = true
	}
	return func(e *edge) bool {
		switch {
		case row.Status == models.StepFailed:
			return e.on == models.OnError
		case row.Status != models.StepCompleted:
			return false
		case n.def.Type == models.StepTypeBranch:
			return taken[e.to.id()]
		case row.Reason == wokenByTimeout:
			return e.on == models.OnTimeout
		case row.Reason == wokenByRejection:
			return e.on == models.OnRejected
		}
		return e.on == models.OnSuccess
	}
}

// refuse says why nothing follows.
func (w *walk) refuse(format string, args ...any) error {
	w.plan.refused = fmt.Sprintf(format, args...)
	return nil
}

// claim gives a queued step to a worker.
func (w *walk) claim(h stepClaimed) error {
	row, err := w.read(h.key)
	if err != nil {
		return err
	}
	if row != nil && row.Status == models.StepRunning && row.LeaseToken == h.token && row.Attempt == h.attempt {
		// Who asks again has not heard the answer. What happened to the run since is
		// no matter: the step is under way.
		until := w.now.Add(w.rules.lease)
		row = w.change(row)
		row.AttendAt, w.plan.claimed = &until, row
		return nil
	}
	switch run := w.readRun(); {
	case run.Status.Ended(), run.Status == models.RunPaused, run.Halted:
		return w.refuse("the run is %s", run.Status)
	case row == nil:
		return w.refuse("there is no such step")
	case row.Status != models.StepQueued || row.IterTotal > 0:
		return w.refuse("the step is %s", row.Status)
	case row.Attempt != h.attempt:
		return w.refuse("attempt %d is over", h.attempt)
	case row.DueAt != nil && row.DueAt.After(w.now):
		return w.refuse("the step is not due yet")
	}
	w.begun()
	row = w.change(row)
	until := w.now.Add(w.rules.lease)
	row.Status, row.LeaseToken, row.WorkerID = models.StepRunning, h.token, h.worker
	row.StartedAt, row.AttendAt = &w.now, &until
	if row.Iteration != models.NoIteration {
		if err := w.iterationClaimed(row); err != nil {
			return err
		}
	}
	w.log(models.EventStepStarted, row, map[string]any{"attempt": row.Attempt})
	w.plan.claimed = row
	return nil
}

// held gives the row of a step if its lease is the one with token. Otherwise it
// refuses: the worker has lost the step, and what it says does not count.
func (w *walk) held(k stepKey, token string) (*models.Step, error) {
	row, err := w.read(k)
	if err != nil {
		return nil, err
	}
	if row == nil || row.Status != models.StepRunning || row.LeaseToken != token || token == "" {
		return nil, w.refuse("the lease was lost")
	}
	return w.change(row), nil
}

// finish records a worker's result.
func (w *walk) finish(h stepFinished) error {
	row, err := w.held(h.key, h.token)
	if err != nil || row == nil {
		return err
	}
	n := w.def.nodes[row.StepID]
	row.Usage, row.Reason = h.usage, "" // what kept it back for a while is of no more interest
	if h.failure == nil {
		if h.await != "" {
			return w.await(n, row, h)
		}
		if row.Iteration != models.NoIteration {
			return w.iterationDone(n, row, h.output)
		}
		w.run().ActiveSteps--
		w.complete(n, row, h.output, models.OnSuccess)
		return nil
	}
	if h.unknown && row.EffectAt != nil && !w.readRun().Halted {
		pause := n.retry.backoff(row.RunID, row.StepID, row.Iteration, max(row.Attempt-row.Crashes, 1), 0)
		return w.effectUnknown(n, row, h.failure.Message, w.now.Add(max(pause, lineRests)))
	}
	return w.attemptFailed(n, row, h.failure, h.retryAfter)
}

// attemptFailed tries again where the policy allows it, and else fails the step.
func (w *walk) attemptFailed(n *node, row *models.Step, failure *models.StepError, asked time.Duration) error {
	own := row.Attempt - row.Crashes // a worker's death is not the step's fault
	if failure.Retryable && own < n.retry.maxAttempts && !w.readRun().Halted {
		due := w.now.Add(n.retry.backoff(row.RunID, row.StepID, row.Iteration, own, asked))
		w.retry(n, row, failure, due)
		return nil
	}
	if row.Iteration != models.NoIteration {
		return w.iterationFailed(n, row, failure)
	}
	w.run().ActiveSteps--
	return w.failStep(n, row, failure)
}

// retry keeps the attempt that failed and queues the next.
func (w *walk) retry(n *node, row *models.Step, failure *models.StepError, due time.Time) {
	w.plan.attempts = append(w.plan.attempts, &models.StepAttempt{
		WorkspaceID: row.WorkspaceID, RunID: row.RunID, StepID: row.StepID, Iteration: row.Iteration, Number: row.Attempt,
		Status: models.StepFailed, Error: failure, QueuedAt: row.QueuedAt, StartedAt: row.StartedAt, FinishedAt: &w.now,
	})
	w.log(models.EventStepRetrying, row, map[string]any{"attempt": row.Attempt, "error": failure, "retry_at": due})
	row.Error, row.Reason = failure, "" // a turn that the attempt was given ended with it
	w.queue(n, row, row.Attempt+1, due)
}

// beginEffect notes that the attempt is about to do what cannot be done twice.
func (w *walk) beginEffect(h effectBegins) error {
	row, err := w.held(h.key, h.token)
	if err != nil || row == nil {
		return err
	}
	if row.EffectAt == nil && !h.repeatable {
		row.EffectAt = &w.now
	}
	until := w.now.Add(w.rules.lease) // as good a sign of life as a beat
	row.AttendAt = &until
	return nil
}

// returnLease queues a step again that a worker hands back, as the same attempt:
// it was not the step's fault, nor did it fail.
func (w *walk) returnLease(h leaseReturned) error {
	row, err := w.held(h.key, h.token)
	if err != nil || row == nil {
		return err
	}
	if w.readRun().Halted {
		return w.cancelHalted(row, "the run failed before the step ended")
	}
	n := w.def.nodes[row.StepID]
	if row.EffectAt != nil {
		return w.effectUnknown(n, row, lostActing, w.now)
	}
	deliveries := row.Deliveries + 1 // the task of the last delivery may still hold its id
	row.Status, row.LeaseToken, row.WorkerID, row.StartedAt, row.Deliveries = models.StepQueued, "", "", nil, deliveries
	said := map[string]any{"attempt": row.Attempt, "reason": h.why}
	row.Reason = ""
	if h.after > 0 {
		due := w.now.Add(h.after)
		row.DueAt, row.Reason = &due, h.why
		said["until"] = due
	}
	w.deliver(n, row)
	w.log(models.EventStepQueued, row, said)
	return nil
}

// codeOutcomeUnknown is the code of attempts that began an effect outside, of which
// nobody can tell whether it happened.
const codeOutcomeUnknown = "outcome_unknown"

// lineRests is how long a step without a policy of its own leaves a line alone that broke.
const lineRests = time.Second

// lostActing is why nobody can tell where a worker is gone.
const lostActing = "the worker was lost while the step acted outside"

// effectUnknown ends an attempt of which nobody can tell whether its effect happened,
// in the way the step's author has chosen. Without a choice it may be tried again as
// far as the step's policy goes: a step without one is not, for its author has not
// said that twice is better than not at all.
// Why says what went wrong, and due when it may be done again where the author wants that.
func (w *walk) effectUnknown(n *node, row *models.Step, why string, due time.Time) error {
	failure := &models.StepError{Code: codeOutcomeUnknown, Message: why + "; it may or may not have happened", Retryable: true}
	switch n.def.OnUnknown {
	case models.UnknownAsk:
		w.ask(row, failure)
		return nil
	case models.UnknownFail:
		failure.Retryable = false
	case models.UnknownRetry:
		row.Crashes++ // it is no attempt of the policy, as a worker's death is none
		if row.Crashes < w.rules.maxCrashes {
			w.retry(n, row, failure, due)
			return nil
		}
		failure.Retryable = false
	}
	return w.attemptFailed(n, row, failure, 0)
}

// codeWorkerLost is the code of attempts whose worker gave no sign of life.
const codeWorkerLost = "worker_lost"

// loseLease takes a step from a worker that gave no sign of life.
func (w *walk) loseLease(h leaseOver) error {
	row, err := w.read(h.key)
	if err != nil {
		return err
	}
	if row == nil || row.Status != models.StepRunning || row.AttendAt == nil || row.AttendAt.After(w.now) {
		return w.refuse("the lease holds")
	}
	row = w.change(row)
	if row.EffectAt != nil && !w.readRun().Halted {
		return w.effectUnknown(w.def.nodes[row.StepID], row, lostActing, w.now)
	}
	row.Crashes++
	failure := &models.StepError{Code: codeWorkerLost, Message: "the worker was lost while it ran the step", Retryable: true}
	n := w.def.nodes[row.StepID]
	switch {
	case w.readRun().Halted:
		return w.cancelHalted(row, "its worker was lost after the run had failed")
	case row.Crashes >= w.rules.maxCrashes:
		failure.Retryable = false
		failure.Message = fmt.Sprintf("the step took %d workers down with it", row.Crashes)
		return w.attemptFailed(n, row, failure, 0)
	}
	w.retry(n, row, failure, w.now)
	return nil
}

// cancelHalted ends a step that a halted run no longer needs.
func (w *walk) cancelHalted(row *models.Step, reason string) error {
	w.cancelRow(row, reason)
	if row.Iteration == models.NoIteration {
		w.run().ActiveSteps--
		return nil
	}
	return w.iterationOver(w.def.nodes[row.StepID], row)
}

// redeliver hands a step to the queue again that nobody has claimed. At first its
// task has the same id, so that a task that is merely waiting its turn is not
// doubled; later another one, for an id may be blocked by a task that is stuck.
func (w *walk) redeliver(h deliveryLost) error {
	row, err := w.read(h.key)
	if err != nil {
		return err
	}
	if row == nil || row.Status != models.StepQueued || row.AttendAt == nil || row.AttendAt.After(w.now) {
		return w.refuse("the step is not left lying")
	}
	row = w.change(row)
	if w.now.Sub(*row.DueAt) > 4*w.rules.redeliver {
		row.Deliveries++
	}
	w.deliver(w.def.nodes[row.StepID], row)
	return nil
}
