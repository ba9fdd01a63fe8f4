package scheduler

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/internal/obs"
)

// BusSweeper is the part of the bus that mends what was lost.
type BusSweeper interface {
	Sweep(ctx context.Context, limit int) (bus.SweepResult, error)
}

var _ BusSweeper = (*bus.Bus)(nil)

// BusSweep looks for events that nobody has brought to their triggers in time.
type BusSweep struct {
	bus   BusSweeper
	log   *slog.Logger
	cfg   SweepConfig
	found *prometheus.CounterVec
	loop  loop
}

// NewBusSweep makes a BusSweep. Metrics may be nil.
func NewBusSweep(b BusSweeper, log *slog.Logger, metrics prometheus.Registerer, cfg SweepConfig) *BusSweep {
	cfg.Interval = cmp.Or(cfg.Interval, time.Second)
	cfg.Limit = cmp.Or(cfg.Limit, 500)
	return &BusSweep{
		loop: loop{interval: cfg.Interval, log: log, failed: "sweep of the bus failed", mended: "sweep of the bus works again"},
		bus:  b, log: log, cfg: cfg, found: promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
			Name: "flows_bus_sweep_found_total", Help: "What the sweep of the bus had to ask for again: events.",
		}, []string{"what"})}
}

// Run sweeps until ctx ends.
func (s *BusSweep) Run(ctx context.Context) { s.loop.run(ctx, s.RunOnce) }

// RunOnce sweeps until nothing more is due.
func (s *BusSweep) RunOnce(ctx context.Context) error {
	for {
		res, err := s.bus.Sweep(ctx, s.cfg.Limit)
		s.found.WithLabelValues("events").Add(float64(res.Events))
		if res.Events > 0 {
			s.log.InfoContext(ctx, "sweep took events up again", obs.Count(res.Events))
		}
		if err != nil || !res.More {
			return err
		}
	}
}
