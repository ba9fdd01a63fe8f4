package engine

import (
	"context"
	"sync"

	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// What one look for stranded runs costs at most: so many runs, and so many small
// statements. The next look goes on where this one ended.
const (
	strandedRuns  = 1000
	strandedPage  = 200
	strandedLooks = 60
)

// strandedWalk is how far this process has come round.
type strandedWalk struct {
	mu   sync.Mutex
	mark store.StrandedMark
}

// codeStranded is the code of runs that had nothing left to do and had not ended.
const codeStranded = "internal"

// EndStranded looks at some of the runs that are under way for those no step of which
// is open, and ends them as failed. There are none unless the engine itself is at
// fault: then such a run would hang for ever, and nobody would be told. It is found
// within minutes, loudly, and whoever waits for it hears that it failed; a rerun
// from a step goes on with what it did. To guess how it should have ended, and call
// it completed, would be worse.
//
// What the look finds is only suspected. Whether it is so is decided as everything
// else is, from the rows and with the run locked, so nothing that is merely under way
// is ever ended: whoever changes a step holds that lock.
func (e *Engine) EndStranded(ctx context.Context) (ended int, err error) {
	e.stranded.mu.Lock()
	defer e.stranded.mu.Unlock()
	var ops []*op
	for looks, runs := 0, 0; looks < strandedLooks && runs < strandedRuns; looks++ {
		found, n, next, err := e.deps.Store.Stranded(ctx, e.stranded.mark, strandedPage)
		if err != nil {
			return 0, err
		}
		e.stranded.mark, runs = next, runs+n
		for _, ref := range found {
			ops = append(ops, &op{ref: ref, what: nothingOpen{}})
		}
		if next == (store.StrandedMark{}) {
			break // it has come round
		}
	}
	for i, err := range e.doAll(ctx, ops) {
		switch o := ops[i]; {
		case err != nil:
			e.log.WarnContext(ctx, "run may have nothing left to do, which could not be told", obs.Run(o.ref.Run), obs.Err(err))
		case len(o.plans) > 0 && o.plans[0].refused == "":
			ended++
			e.log.ErrorContext(ctx, "run had nothing left to do and had not ended; it was ended as failed",
				obs.Workspace(o.ref.Workspace), obs.Run(o.ref.Run))
		}
	}
	return ended, nil
}

// endStranded ends a run of which no step is open.
func (w *walk) endStranded() error {
	if r := w.readRun(); r.Status.Ended() || r.Status == models.RunPaused {
		return w.refuse("the run is %s", r.Status)
	}
	if r := w.readRun(); r.Hold != models.HoldNone {
		return w.refuse("the run has not begun")
	}
	rows, err := w.open()
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.Status != models.StepPending && row.IterTotal == 0 {
			return w.refuse("step %q is open", row.StepID)
		}
	}
	// Left are joins that nothing leads to any more, and lists without an item under way.
	if err := w.cancelOpen("nothing could lead to it any more", true); err != nil {
		return err
	}
	r := w.run()
	r.ActiveSteps, r.WaitingSteps = 0, 0
	if r.Error == nil { // a run that was halted names its step
		r.Error = &models.RunError{Code: codeStranded, Message: "nothing was left to do and the run had not ended: a fault of the engine"}
	}
	return w.end(models.RunFailed)
}
