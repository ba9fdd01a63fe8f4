package scheduler

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/10ex/flows/bus"
)

// ScheduleFirer is the part of the bus that fires what is due.
type ScheduleFirer interface {
	FireDue(ctx context.Context, limit int) (fired int, more bool, err error)
}

var _ ScheduleFirer = (*bus.Bus)(nil)

// Schedules fires triggers of type schedule when they are due. Any number may do so
// at once: each tick is one's.
type Schedules struct {
	bus   ScheduleFirer
	log   *slog.Logger
	cfg   SweepConfig
	fired prometheus.Counter
	loop  loop
}

// NewSchedules makes Schedules. Metrics may be nil.
func NewSchedules(b ScheduleFirer, log *slog.Logger, metrics prometheus.Registerer, cfg SweepConfig) *Schedules {
	cfg.Interval = cmp.Or(cfg.Interval, time.Second)
	cfg.Limit = cmp.Or(cfg.Limit, 200)
	return &Schedules{
		loop: loop{interval: cfg.Interval, log: log, failed: "schedules could not be fired", mended: "schedules are fired again"},
		bus:  b, log: log, cfg: cfg, fired: promauto.With(metrics).NewCounter(prometheus.CounterOpts{
			Name: "flows_schedule_ticks_total", Help: "Ticks of schedules that this process has attended to.",
		})}
}

// Run fires until ctx ends.
func (s *Schedules) Run(ctx context.Context) { s.loop.run(ctx, s.RunOnce) }

// RunOnce fires until nothing more is due.
func (s *Schedules) RunOnce(ctx context.Context) error {
	for {
		fired, more, err := s.bus.FireDue(ctx, s.cfg.Limit)
		s.fired.Add(float64(fired))
		if err != nil || !more {
			return err
		}
	}
}
