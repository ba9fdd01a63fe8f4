package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/obs"
)

const (
	clockInterval = 5 * time.Second
	// clockSkew is how far this host's clock may be off before somebody is told.
	// What is due goes by the database's; only the queue's own delays go by ours.
	clockSkew = time.Second
)

// clockSync keeps the process's clock at the database's time.
type clockSync struct {
	clock  *clock.Shared
	log    *slog.Logger
	ahead  prometheus.Gauge
	skewed bool
	failed bool
}

func newClockSync(c *clock.Shared, log *slog.Logger, metrics prometheus.Registerer) *clockSync {
	return &clockSync{clock: c, log: log, ahead: promauto.With(metrics).NewGauge(prometheus.GaugeOpts{
		Name: "flows_clock_ahead_seconds", Help: "How far this host's clock is ahead of the database's.",
	})}
}

// once asks the database for its time.
func (s *clockSync) once(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, clockInterval)
	defer stop()
	ahead, err := s.clock.Sync(ctx)
	if err != nil {
		return fmt.Errorf("ask the database for the time: %w", err)
	}
	s.ahead.Set(ahead.Seconds())
	skewed := ahead.Abs() > clockSkew
	if skewed != s.skewed {
		s.skewed = skewed
		if skewed {
			s.log.WarnContext(ctx, "this host's clock and the database's differ", slog.Duration("ahead", ahead))
		} else {
			s.log.InfoContext(ctx, "this host's clock and the database's agree again")
		}
	}
	return nil
}

// run asks again and again until ctx ends. While it cannot, the clock goes on by
// itself.
func (s *clockSync) run(ctx context.Context) {
	t := time.NewTicker(clockInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := s.once(ctx)
		if ctx.Err() == nil && (err != nil) != s.failed {
			s.failed = err != nil
			if s.failed {
				s.log.WarnContext(ctx, "the clock goes on by itself", obs.Err(err))
			}
		}
	}
}
