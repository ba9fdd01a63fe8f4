package scheduler

import (
	"context"
	"math/rand/v2"
	"time"
)

// every calls fn about each interval until ctx ends, the first time at once. The
// times are spread, so that several schedulers do not all look at once.
func every(ctx context.Context, interval time.Duration, fn func()) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		fn()
		t.Reset(interval*3/4 + rand.N(interval/2))
	}
}

// fault tells of a failure when it begins and when it is over, not every time.
type fault struct{ failing bool }

// changed tells whether err begins or ends a time of failure.
func (f *fault) changed(err error) bool {
	was := f.failing
	f.failing = err != nil
	return was != f.failing
}
