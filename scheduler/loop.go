package scheduler

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/10ex/flows/internal/obs"
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

// loop is a chore that is done again and again.
type loop struct {
	interval time.Duration
	log      *slog.Logger
	// failed and mended are said when the chore begins to fail and when it works again,
	// not every time.
	failed, mended string
	failing        bool
}

// run does the chore until ctx ends.
func (l *loop) run(ctx context.Context, chore func(context.Context) error) {
	every(ctx, l.interval, func() {
		err := chore(ctx)
		if ctx.Err() != nil || l.failing == (err != nil) {
			return
		}
		if l.failing = err != nil; l.failing {
			l.log.WarnContext(ctx, l.failed, obs.Err(err)) //nolint:sloglint // the chore's own, and constant
			return
		}
		l.log.InfoContext(ctx, l.mended) //nolint:sloglint // as above
	})
}
