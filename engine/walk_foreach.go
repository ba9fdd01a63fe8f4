package engine

import (
	"encoding/json"
	"fmt"

	"github.com/10ex/flows/models"
)

// Bounds of a step over a list: what one transaction can write in good time.
const (
	maxIterations     = 10_000
	maxIterationBytes = 16 << 20 // of all inputs together, and of all outputs
)

// codeForeachLimit is the code of steps over a list that is too long, or whose
// inputs or outputs are too large.
const codeForeachLimit = "foreach_limit"

// expand makes the iterations of a step over a list, inputs filled in, and queues
// the first of them. The step's own row stands for all of them and is over when
// they are.
func (w *walk) expand(n *node, row *models.Step) error {
	value, failure, err := w.eval(n.foreach, "foreach", nil)
	switch {
	case err != nil:
		return err
	case failure != nil:
		return w.failStep(n, row, failure)
	}
	items, _ := value.([]any) // compiled as List, so it is one
	if len(items) > maxIterations {
		return w.failStep(n, row, &models.StepError{
			Code: codeForeachLimit, Message: fmt.Sprintf("the list has %d items; at most %d are allowed", len(items), maxIterations),
		})
	}
	inputs := make([]json.RawMessage, len(items))
	total := 0
	for i, item := range items {
		input, failure, err := w.render(n, &loopItem{item: item, index: i})
		switch {
		case err != nil:
			return err
		case failure != nil:
			failure.Iteration = &i
			return w.failStep(n, row, failure)
		}
		if total += len(input); total > maxIterationBytes {
			return w.failStep(n, row, &models.StepError{
				Code: codeForeachLimit, Message: fmt.Sprintf("the inputs of all iterations together exceed %d MiB", maxIterationBytes>>20),
			})
		}
		inputs[i] = input
	}
	if len(items) == 0 {
		w.begun()
		row.StartedAt = &w.now
		w.complete(n, row, json.RawMessage("[]"), models.OnSuccess)
		return nil
	}
	w.run().ActiveSteps++
	row.Status, row.QueuedAt, row.IterTotal = models.StepQueued, &w.now, len(items)
	w.log(models.EventStepQueued, row, map[string]any{"iterations": len(items)})
	for i, input := range inputs {
		it := w.create(n, i)
		it.Input = input
		if i < n.parallel {
			w.queueIteration(n, row, it)
		}
	}
	return nil
}

// queueIteration makes an iteration ready for a worker.
func (w *walk) queueIteration(n *node, parent, it *models.Step) {
	parent.IterNext, parent.IterActive = it.Iteration+1, parent.IterActive+1
	w.queue(n, it, 1, w.now)
	w.log(models.EventStepQueued, it, nil)
}

// parent gives the row of the step an iteration belongs to.
func (w *walk) parent(it *models.Step) (*models.Step, error) {
	row, err := w.read(theStep(it.StepID))
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, fmt.Errorf("engine: iteration %d of step %q has no step", it.Iteration, it.StepID)
	}
	return w.change(row), nil
}

func (w *walk) iterationClaimed(it *models.Step) error {
	parent, err := w.parent(it)
	if err != nil {
		return err
	}
	if parent.Status == models.StepQueued {
		parent.Status, parent.StartedAt = models.StepRunning, &w.now
		w.log(models.EventStepStarted, parent, nil)
	}
	return nil
}

// iterationDone records an iteration that ended well.
func (w *walk) iterationDone(n *node, it *models.Step, output json.RawMessage) error {
	it.Status, it.Output, it.Error, it.FinishedAt, it.AttendAt = models.StepCompleted, output, nil, &w.now, nil
	w.log(models.EventStepCompleted, it, map[string]any{"attempt": it.Attempt})
	parent, err := w.parent(it)
	if err != nil {
		return err
	}
	parent.IterDone++
	return w.iterationOver(n, it)
}

// iterationFailed records an iteration that failed for good. The step fails with
// it, once the iterations in flight have ended; no other one begins.
func (w *walk) iterationFailed(n *node, it *models.Step, failure *models.StepError) error {
	it.Status, it.Error, it.FinishedAt, it.AttendAt = models.StepFailed, failure, &w.now, nil
	parent, err := w.parent(it)
	if err != nil {
		return err
	}
	data := map[string]any{"error": failure}
	if parent.Error == nil {
		first := *failure
		first.Iteration = &it.Iteration
		parent.Error = &first
		others, err := w.cancelIterations(parent, failedIteration(it.Iteration))
		if err != nil {
			return err
		}
		data["iterations_cancelled"] = others // a line for each might be thousands
	}
	w.log(models.EventStepFailed, it, data)
	return w.iterationOver(n, it)
}

func failedIteration(i int) string { return fmt.Sprintf("iteration %d failed", i) }

// cancelIterations ends every iteration of a step that no worker is at, and counts them.
func (w *walk) cancelIterations(parent *models.Step, reason string) (n int, err error) {
	rows, err := w.open()
	if err != nil {
		return 0, err
	}
	for _, it := range rows {
		if it.StepID != parent.StepID || it.Iteration == models.NoIteration {
			continue
		}
		switch it.Status {
		case models.StepQueued:
			parent.IterActive--
		case models.StepWaiting:
			w.abandon(w.change(it))
		case models.StepPending:
		case models.StepRunning, models.StepCompleted, models.StepFailed, models.StepSkipped, models.StepCancelled:
			continue
		}
		w.closeRow(w.change(it), reason)
		n++
	}
	return n, nil
}

// iterationRests follows an iteration that has begun to wait: it is not under way until
// it is back, and where no other one is, the step waits as well. The next one does not
// take its place.
func (w *walk) iterationRests(parent *models.Step) {
	if parent.IterActive--; parent.IterActive == 0 {
		w.rest(parent)
	}
}

// waitingItems is how many iterations of a step that is open wait for runs. Those of a
// step that one has failed do not wait any longer.
func waitingItems(parent *models.Step) int {
	if parent.Status.Ended() || parent.Error != nil {
		return 0
	}
	return parent.IterNext - parent.IterDone - parent.IterActive
}

// rest has a step wait for its iterations, all of which do.
func (w *walk) rest(parent *models.Step) {
	w.run().ActiveSteps--
	w.run().WaitingSteps++
	parent.Status = models.StepWaiting
}

// iterationBack takes an iteration that waited for one that is under way, so that it
// can end.
func (w *walk) iterationBack(it *models.Step) error {
	parent, err := w.parent(it)
	if err != nil {
		return err
	}
	parent.IterActive++
	if parent.Status == models.StepWaiting {
		w.run().WaitingSteps--
		w.run().ActiveSteps++
		parent.Status = models.StepRunning
	}
	return nil
}

// iterationOver follows an iteration that has ended: the next one begins, or the
// step is over.
func (w *walk) iterationOver(n *node, it *models.Step) error {
	parent, err := w.parent(it)
	if err != nil {
		return err
	}
	parent.IterActive--
	switch {
	case parent.IterDone == parent.IterTotal:
		return w.gather(n, parent)
	case parent.Error == nil && !w.readRun().Halted && parent.IterNext < parent.IterTotal:
		next, err := w.read(stepKey{parent.StepID, parent.IterNext})
		if err != nil {
			return err
		}
		w.queueIteration(n, parent, w.change(next))
	case parent.IterActive > 0:
	case parent.Error != nil:
		w.run().ActiveSteps--
		return w.failStep(n, parent, parent.Error)
	case !w.readRun().Halted: // those that are left wait
		w.rest(parent)
	default:
		w.run().ActiveSteps--
		w.cancelList(parent, "the run failed before the step ended", parent.IterTotal-parent.IterDone)
	}
	return nil
}

// gather makes the step's output: the list of its iterations', in order.
func (w *walk) gather(n *node, parent *models.Step) error {
	if !w.snap.iterations[parent.StepID] {
		w.need.iterations[parent.StepID] = true
		return errNeed
	}
	w.run().ActiveSteps--
	if w.snap.oversized[parent.StepID] {
		return w.failStep(n, parent, &models.StepError{
			Code: codeForeachLimit, Message: fmt.Sprintf("the outputs of all iterations together exceed %d MiB", maxIterationBytes>>20),
		})
	}
	outputs := make([]json.RawMessage, parent.IterTotal)
	for i := range outputs {
		it, err := w.read(stepKey{parent.StepID, i})
		if err != nil {
			return err
		}
		outputs[i] = it.Output
		if it.Output == nil {
			outputs[i] = json.RawMessage("null")
		}
	}
	w.complete(n, parent, mustJSON(outputs), models.OnSuccess)
	return nil
}
