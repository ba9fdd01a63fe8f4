package scheduler

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/obs"
)

// Pruner is the part of the store that removes what is old.
type Pruner interface {
	PruneRuns(ctx context.Context, before time.Time, limit int) (int, error)
	PruneRequests(ctx context.Context, before time.Time, limit int) (int, error)
	PruneTriggerKeys(ctx context.Context, before time.Time, limit int) (int, error)
	PruneEvents(ctx context.Context, before time.Time, limit int) (int, error)
	PruneDeliveries(ctx context.Context, before time.Time, limit int) (int, error)
	PruneTicks(ctx context.Context, before time.Time, limit int) (int, error)
	PruneBudgetDays(ctx context.Context, before time.Time, limit int) (int, error)
	PruneBudgetHolds(ctx context.Context, before time.Time, limit int) (int, error)
}

// PruneConfig are a Prune's settings.
type PruneConfig struct {
	// Interval is how often it looks. Default 1m.
	Interval time.Duration
	// Runs is how long ended runs are kept, and events, ticks of schedules and
	// deliveries with them. Default: for ever.
	Runs time.Duration
	// Requests is how long answers to repeatable requests are kept. Default 24h.
	Requests time.Duration
	// Keys is how long keys of triggers are kept after their windows, for events that
	// are matched late. Default 24h.
	Keys time.Duration
	// Budgets is how long it is kept what was spent on a day. Default 90 days.
	Budgets time.Duration
	// Slice is how many rows go in one transaction. Default 200.
	Slice int
}

// holds is how long what a turn had set aside is kept after its end, where nobody has
// settled it: until the day it was taken from is over, wherever clocks are.
const holds = 48 * time.Hour

// Prune removes what has been kept long enough, in slices, so that nobody waits
// for it.
type Prune struct {
	store Pruner
	clock clock.Clock
	log   *slog.Logger
	cfg   PruneConfig
	loop  loop
}

// NewPrune makes a Prune.
func NewPrune(s Pruner, c clock.Clock, log *slog.Logger, cfg PruneConfig) *Prune {
	cfg.Interval = cmp.Or(cfg.Interval, time.Minute)
	cfg.Requests = cmp.Or(cfg.Requests, 24*time.Hour)
	cfg.Keys = cmp.Or(cfg.Keys, 24*time.Hour)
	cfg.Budgets = cmp.Or(cfg.Budgets, 90*24*time.Hour)
	cfg.Slice = cmp.Or(cfg.Slice, 200)
	return &Prune{
		loop:  loop{interval: cfg.Interval, log: log, failed: "old rows could not be removed", mended: "old rows are removed again"},
		store: s, clock: c, log: log, cfg: cfg,
	}
}

// Run prunes until ctx ends.
func (p *Prune) Run(ctx context.Context) { p.loop.run(ctx, p.RunOnce) }

// RunOnce removes all that is old by now.
func (p *Prune) RunOnce(ctx context.Context) error {
	now := p.clock.Now()
	for _, kind := range []struct {
		what  string
		keep  time.Duration
		prune func(ctx context.Context, before time.Time, limit int) (int, error)
	}{
		{"requests", p.cfg.Requests, p.store.PruneRequests},
		{"trigger keys", p.cfg.Keys, p.store.PruneTriggerKeys},
		{"budget holds", holds, p.store.PruneBudgetHolds},
		{"budget days", p.cfg.Budgets, p.store.PruneBudgetDays},
		{"runs", p.cfg.Runs, p.store.PruneRuns},
		{"deliveries", p.cfg.Runs, p.store.PruneDeliveries},
		{"ticks", p.cfg.Runs, p.store.PruneTicks},
		{"events", p.cfg.Runs, p.store.PruneEvents},
	} {
		if kind.keep <= 0 {
			continue
		}
		if err := p.slices(ctx, kind.what, now.Add(-kind.keep), kind.prune); err != nil {
			return err
		}
	}
	return nil
}

func (p *Prune) slices(ctx context.Context, what string, before time.Time, prune func(context.Context, time.Time, int) (int, error)) error {
	removed := 0
	for {
		n, err := prune(ctx, before, p.cfg.Slice)
		removed += n
		if err == nil && n == p.cfg.Slice {
			continue
		}
		if removed > 0 {
			p.log.InfoContext(ctx, "old rows were removed", slog.String("what", what), obs.Count(removed))
		}
		return err
	}
}
