package worker

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	backoffFirst = 20 * time.Millisecond
	backoffMost  = 2 * time.Second
)

// backoff counts the waits between tries, each about twice as long as the one
// before. Its zero value is ready.
type backoff struct{ last time.Duration }

// wait lets the next wait pass, or gives the cause for which ctx ended before.
func (b *backoff) wait(ctx context.Context) error {
	b.last = min(max(2*b.last, backoffFirst), backoffMost)
	t := time.NewTimer(b.last/2 + rand.N(b.last))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
