package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// SweepResult counts what a sweep found and mended.
type SweepResult struct {
	Redelivered int  // queued steps nobody had claimed
	LeasesLost  int  // steps whose worker gave no sign of life
	Woken       int  // waits that were due
	More        bool // there is more to find at once
}

// Sweep looks at up to limit steps that are due for attention and does what was
// to be done: the second source of everything a lost task, a dead worker or a
// flushed queue would leave undone. Any number may sweep at once.
func (e *Engine) Sweep(ctx context.Context, limit int) (SweepResult, error) {
	due, err := e.deps.Store.DueSteps(ctx, e.deps.Clock.Now(), limit)
	if err != nil {
		return SweepResult{}, err
	}
	res := SweepResult{More: len(due) == limit}
	ops := make([]*op, len(due))
	for i, d := range due {
		ops[i] = &op{ref: d.RunRef}
		switch key := (stepKey{d.Step, d.Iteration}); d.Status {
		case models.StepQueued:
			ops[i].what = deliveryLost{key}
		case models.StepWaiting:
			ops[i].what = waitDue{key}
		case models.StepRunning:
			ops[i].what = leaseOver{key}
		case models.StepPending, models.StepCompleted, models.StepFailed, models.StepSkipped, models.StepCancelled:
			ops[i].what = leaseOver{key} // the schema lets none of these ask for attention; it would be refused
		}
	}
	errs := e.doAll(ctx, ops)
	errs = append(errs, e.sweepRuns(ctx, limit, &res))
	more, err := e.sweepWaits(ctx, limit)
	errs, res.More = append(errs, err), res.More || more
	var stuck []store.StepRef
	for i, o := range ops {
		if errs[i] != nil && !errors.Is(errs[i], models.ErrUnavailable) && ctx.Err() == nil {
			e.log.ErrorContext(ctx, "step cannot be attended to", obs.Run(due[i].Run), obs.Step(due[i].Step), obs.Err(errs[i]))
			stuck = append(stuck, due[i].StepRef)
			errs[i] = nil
			continue
		}
		if errs[i] != nil || len(o.plans) == 0 || o.plans[0].refused != "" {
			continue
		}
		switch o.what.(type) {
		case deliveryLost:
			res.Redelivered++
		case leaseOver:
			res.LeasesLost++
			e.log.WarnContext(ctx, "worker was lost", obs.Run(o.ref.Run), obs.Step(due[i].Step))
		case waitDue:
			res.Woken++
		}
	}
	if len(stuck) > 0 {
		// Else they would be the first to be found for ever, and keep others from it.
		errs = append(errs, e.deps.Store.Postpone(ctx, stuck, e.deps.Clock.Now().Add(stuckRest)))
	}
	return res, errors.Join(errs...)
}

// stuckRest is how long a step is left alone that could not be attended to.
const stuckRest = time.Minute

// doAll hands in operations together, so that they share commits.
func (e *Engine) doAll(ctx context.Context, ops []*op) []error {
	errs := make([]error, len(ops))
	var wg sync.WaitGroup
	for i, o := range ops {
		wg.Go(func() { errs[i] = e.do(ctx, o) })
	}
	wg.Wait()
	return errs
}
