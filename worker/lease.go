package worker

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/10ex/flows/internal/obs"
)

const (
	beatInterval = 5 * time.Second
	// beatRetry is how soon a sign of life that did not get through is tried again.
	beatRetry = time.Second
	// beatTimeout keeps a database that hangs from hiding that leases run out.
	beatTimeout = 4 * time.Second
)

// heartbeats keeps the leases of this process alive until ctx ends.
func (w *Worker) heartbeats(ctx context.Context) {
	lease := w.deps.Engine.Lease()
	interval, retry := min(beatInterval, lease/4), min(beatRetry, lease/10)
	t := time.NewTimer(interval)
	defer t.Stop()
	silent := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := w.Beat(ctx)
		if err != nil && !silent { // once for a time of silence, not every second
			w.log.WarnContext(ctx, "no sign of life reached the database", obs.Err(err))
		}
		silent = err != nil
		if silent {
			t.Reset(retry)
		} else {
			t.Reset(interval - interval/10 + rand.N(interval/10+1))
		}
	}
}

// Beat gives one sign of life for all leases of the process, and stops the steps
// whose leases are lost or over.
func (w *Worker) Beat(ctx context.Context) error {
	defer func() {
		if n := w.held.expire(time.Now()); n > 0 {
			w.metrics.leasesLost.Add(float64(n))
			w.log.ErrorContext(ctx, "leases are over, their steps are stopped", obs.Count(n))
		}
	}()
	leases := w.held.leases()
	if len(leases) == 0 {
		return nil
	}
	lease := w.deps.Engine.Lease()
	bctx, stop := context.WithTimeout(ctx, min(beatTimeout, lease/4))
	defer stop()
	sent := time.Now()
	lost, err := w.deps.Engine.Heartbeat(bctx, w.cfg.ID, leases)
	if err != nil {
		return err
	}
	w.held.extend(leases, w.leaseEnd(sent))
	abandoned, err := w.deps.Engine.Abandoned(bctx, lost)
	if err != nil {
		// What goes on elsewhere must not be stopped there, and what was cancelled ends by
		// itself: so it is not taken for cancelled.
		w.log.WarnContext(ctx, "it is not known why leases were lost", obs.Err(err))
	}
	if n := w.held.lose(abandoned, errAbandoned) + w.held.lose(lost, errTaken); n > 0 {
		w.metrics.leasesLost.Add(float64(n))
		w.log.InfoContext(ctx, "steps were cancelled or are another worker's by now", slog.Int("count", n))
	}
	return nil
}
