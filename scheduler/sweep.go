package scheduler

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/10ex/flows/engine"
)

// Sweeper is the part of the engine that mends what was lost.
type Sweeper interface {
	Sweep(ctx context.Context, limit int) (engine.SweepResult, error)
	EndStranded(ctx context.Context) (int, error)
}

var _ Sweeper = (*engine.Engine)(nil)

// SweepConfig are a Sweep's settings.
type SweepConfig struct {
	// Interval is how often it looks, give or take a quarter. Default 1s.
	Interval time.Duration
	// Limit bounds the steps of one look. Default 200.
	Limit int
	// Stranded is how often it looks for runs that have nothing left to do and have
	// not ended, which there should never be. Default 1m.
	Stranded time.Duration
}

// Sweep looks for steps and waits that are due and that nobody has taken up. It
// is what makes the loss of a worker, or of all of Redis, cost time only.
type Sweep struct {
	engine Sweeper
	log    *slog.Logger
	cfg    SweepConfig
	found  *prometheus.CounterVec
	next   time.Time // when to look for stranded runs again
	loop   loop
}

// NewSweep makes a Sweep. Metrics may be nil.
func NewSweep(e Sweeper, log *slog.Logger, metrics prometheus.Registerer, cfg SweepConfig) *Sweep {
	cfg.Interval = cmp.Or(cfg.Interval, time.Second)
	cfg.Limit = cmp.Or(cfg.Limit, 200)
	cfg.Stranded = cmp.Or(cfg.Stranded, time.Minute)
	return &Sweep{
		loop:   loop{interval: cfg.Interval, log: log, failed: "sweep failed", mended: "sweep works again"},
		engine: e, log: log, cfg: cfg, found: promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
			Name: "flows_sweep_found_total", Help: "What the sweep had to mend: redelivered, lease_lost, woken, and stranded, which is a fault of the engine.",
		}, []string{"what"})}
}

// Run sweeps until ctx ends.
func (s *Sweep) Run(ctx context.Context) {
	s.loop.run(ctx, func(ctx context.Context) error { return errors.Join(s.RunOnce(ctx), s.stranded(ctx)) })
}

// RunOnce sweeps until nothing more is due.
func (s *Sweep) RunOnce(ctx context.Context) error {
	for {
		res, err := s.engine.Sweep(ctx, s.cfg.Limit)
		s.found.WithLabelValues("redelivered").Add(float64(res.Redelivered))
		s.found.WithLabelValues("lease_lost").Add(float64(res.LeasesLost))
		s.found.WithLabelValues("woken").Add(float64(res.Woken))
		if res.Redelivered+res.LeasesLost > 0 {
			s.log.InfoContext(ctx, "sweep took lost steps up again",
				slog.Int("redelivered", res.Redelivered), slog.Int("leases_lost", res.LeasesLost))
		}
		if err != nil || !res.More {
			return err
		}
		if res.Redelivered+res.LeasesLost+res.Woken == 0 {
			return nil // others are at the same rows: let them
		}
	}
}

// stranded looks for stranded runs, if it is time to.
func (s *Sweep) stranded(ctx context.Context) error {
	now := time.Now()
	if now.Before(s.next) {
		return nil
	}
	s.next = now.Add(s.cfg.Stranded)
	n, err := s.engine.EndStranded(ctx)
	s.found.WithLabelValues("stranded").Add(float64(n))
	return err
}
