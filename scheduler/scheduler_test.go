package scheduler_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type sweeper func() (engine.SweepResult, error)

func (f sweeper) Sweep(context.Context, int) (engine.SweepResult, error) { return f() }

func (sweeper) EndStranded(context.Context) (int, error) { return 0, nil }

func TestSweepGoesOnWhileThereIsMore(t *testing.T) {
	t.Parallel()
	results := []engine.SweepResult{{Redelivered: 2, More: true}, {Woken: 2, More: true}, {LeasesLost: 1}}
	calls := 0
	s := scheduler.NewSweep(sweeper(func() (engine.SweepResult, error) {
		calls++
		return results[calls-1], nil
	}), testkit.Logger(t), nil, scheduler.SweepConfig{})
	require.NoError(t, s.RunOnce(t.Context()))
	require.Equal(t, 3, calls)
}

func TestSweepLeavesRowsThatOthersAreAt(t *testing.T) {
	t.Parallel()
	calls := 0
	s := scheduler.NewSweep(sweeper(func() (engine.SweepResult, error) {
		calls++
		return engine.SweepResult{More: true}, nil
	}), testkit.Logger(t), nil, scheduler.SweepConfig{})
	require.NoError(t, s.RunOnce(t.Context()))
	require.Equal(t, 1, calls)
}

func TestSweepGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	s := scheduler.NewSweep(sweeper(func() (engine.SweepResult, error) {
		if calls++; calls == 3 {
			cancel()
		}
		return engine.SweepResult{}, errors.New("away")
	}), testkit.Logger(t), nil, scheduler.SweepConfig{Interval: time.Millisecond})
	s.Run(ctx)
	require.Equal(t, 3, calls)
}

// looker is an engine that finds a stranded run with every look.
type looker struct {
	sweeper
	looks *int
}

func (l looker) EndStranded(context.Context) (int, error) {
	*l.looks++
	return 1, nil
}

func TestSweepLooksForStrandedRunsNowAndThen(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		every time.Duration
		looks int
	}{
		"once a minute, the first time at once": {looks: 1},
		"as often as it is told":                {every: 1, looks: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			sweeps, looks := 0, 0
			metrics := prometheus.NewRegistry()
			s := scheduler.NewSweep(looker{sweeper(func() (engine.SweepResult, error) {
				if sweeps++; sweeps == 3 {
					cancel()
				}
				return engine.SweepResult{}, nil
			}), &looks}, testkit.Logger(t), metrics, scheduler.SweepConfig{Interval: time.Millisecond, Stranded: tc.every})
			s.Run(ctx)
			require.Equal(t, tc.looks, looks)
			families, err := metrics.Gather()
			require.NoError(t, err)
			require.Len(t, families, 1)
			counted := map[string]float64{}
			for _, m := range families[0].GetMetric() {
				counted[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
			require.InDelta(t, tc.looks, counted["stranded"], 0)
		})
	}
}

// pruned is a store with a number of old rows in each table.
type pruned struct {
	left   map[string]int
	before map[string]time.Time
}

func (p *pruned) take(what string, before time.Time, limit int) (int, error) {
	p.before[what] = before
	n := min(limit, p.left[what])
	p.left[what] -= n
	return n, nil
}

func (p *pruned) PruneRuns(_ context.Context, before time.Time, limit int) (int, error) {
	return p.take("runs", before, limit)
}

func (p *pruned) PruneRequests(_ context.Context, before time.Time, limit int) (int, error) {
	return p.take("requests", before, limit)
}

func (p *pruned) PruneTriggerKeys(_ context.Context, before time.Time, limit int) (int, error) {
	return p.take("keys", before, limit)
}

func (p *pruned) PruneEvents(_ context.Context, before time.Time, limit int) (int, error) {
	return p.take("events", before, limit)
}

func (p *pruned) PruneDeliveries(_ context.Context, before time.Time, limit int) (int, error) {
	return p.take("deliveries", before, limit)
}

func (p *pruned) PruneTicks(_ context.Context, before time.Time, limit int) (int, error) {
	return p.take("ticks", before, limit)
}

func (p *pruned) PruneBudgetDays(_ context.Context, before time.Time, limit int) (int, error) {
	return p.take("budget days", before, limit)
}

func (p *pruned) PruneBudgetHolds(_ context.Context, before time.Time, limit int) (int, error) {
	return p.take("budget holds", before, limit)
}

func TestPruneRemovesInSlicesWhatIsOld(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	day, hour := now.Add(-24*time.Hour), now.Add(-time.Hour)
	always := []string{"requests", "keys", "budget days", "budget holds"} // however long runs are kept
	for name, tc := range map[string]struct {
		cfg    scheduler.PruneConfig
		left   int // of what is kept as long as runs are
		before map[string]time.Time
	}{
		"runs are kept for ever unless told otherwise": {
			left:   25,
			before: map[string]time.Time{"requests": day, "keys": day, "budget days": now.AddDate(0, 0, -90), "budget holds": now.AddDate(0, 0, -2)},
		},
		"all": {
			cfg: scheduler.PruneConfig{Runs: time.Hour, Requests: 2 * time.Hour, Budgets: 72 * time.Hour, Slice: 10},
			before: map[string]time.Time{
				"requests": now.Add(-2 * time.Hour), "keys": day, "runs": hour, "events": hour, "deliveries": hour, "ticks": hour,
				"budget days": now.AddDate(0, 0, -3), "budget holds": now.AddDate(0, 0, -2),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &pruned{left: map[string]int{}, before: map[string]time.Time{}}
			for _, what := range append([]string{"runs", "events", "deliveries", "ticks"}, always...) {
				store.left[what] = 25
			}
			p := scheduler.NewPrune(store, clock.NewFake(now), testkit.Logger(t), tc.cfg)
			require.NoError(t, p.RunOnce(t.Context()))
			for what, left := range store.left {
				if slices.Contains(always, what) {
					require.Zero(t, left, what)
					continue
				}
				require.Equal(t, tc.left, left, what)
			}
			require.Empty(t, cmp.Diff(tc.before, store.before))
		})
	}
}
