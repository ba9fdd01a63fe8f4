package bus

import (
	"context"
	"time"
)

// SweepResult counts what a sweep found.
type SweepResult struct {
	Events    int  // that had not been matched in time
	Endpoints int  // addresses for which something was due
	More      bool // there is more to find at once
}

// Sweep looks for up to limit rows that were to be attended to by now and asks for
// it again: the second source of everything a lost task or a flushed queue would
// leave undone. Any number may sweep at once.
func (b *Bus) Sweep(ctx context.Context, limit int) (SweepResult, error) {
	due, err := b.store.TakeDueEvents(ctx, b.now(), limit, b.again)
	if err != nil {
		return SweepResult{}, err
	}
	b.deps.Jobs.EnqueueJobs(ctx, matchJobs(due))
	out := SweepResult{Events: len(due), More: len(due) == limit}
	// Addresses that do not answer are always due: they are no reason to look again.
	out.Endpoints, err = b.sweepDeliveries(ctx, limit)
	return out, err
}

// maxAgain bounds how long what was tried in vain is left alone.
const maxAgain = 5 * time.Minute

// again is how long an event is left alone after a try.
func (b *Bus) again(tries int) time.Duration {
	return min(b.cfg.Attend<<min(tries, 10), maxAgain)
}
