package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
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
	ops := make([]*op, 0, len(due))
	for _, d := range due {
		o := &op{ref: d.RunRef}
		switch key := (stepKey{d.Step, d.Iteration}); d.Status {
		case models.StepQueued:
			o.what = deliveryLost{key}
		case models.StepRunning:
			o.what = leaseOver{key}
		case models.StepWaiting:
			o.what = waitDue{key}
		default:
			e.log.ErrorContext(ctx, "step that needs no attention asks for it", obs.Run(d.Run), obs.Step(d.Step))
			continue
		}
		ops = append(ops, o)
	}
	errs := e.doAll(ctx, ops)
	for i, o := range ops {
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
	return res, errors.Join(errs...)
}

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
