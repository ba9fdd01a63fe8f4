package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/10ex/flows/engine"
)

// metrics count what a worker does. Labels hold no tenant's data.
type metrics struct {
	tasks      *prometheus.CounterVec
	steps      *prometheus.CounterVec
	took       *prometheus.HistogramVec
	leasesLost prometheus.Counter
	heldBack   *prometheus.CounterVec
	events     *prometheus.CounterVec
	matchTook  prometheus.Histogram
}

// newMetrics makes the metrics and registers them, unless reg is nil.
func newMetrics(reg prometheus.Registerer, s *slots) metrics {
	f := promauto.With(reg)
	total := s.free
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "flows_worker_slots_busy", Help: "Steps under way in this process.",
	}, func() float64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return float64(total - s.free)
	})
	return metrics{
		tasks: f.NewCounterVec(prometheus.CounterOpts{
			Name: "flows_worker_tasks_total", Help: "Hints to do a step, by what came of them: claimed, refused, known.",
		}, []string{"result"}),
		steps: f.NewCounterVec(prometheus.CounterOpts{
			Name: "flows_worker_steps_total", Help: "Attempts at steps, by type and outcome: completed, failed, stopped, dropped.",
		}, []string{"type", "outcome"}),
		took: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "flows_worker_step_seconds", Help: "How long attempts took, with recording their results.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"type"}),
		leasesLost: f.NewCounter(prometheus.CounterOpts{
			Name: "flows_worker_leases_lost_total", Help: "Steps that were stopped because their lease was lost or over.",
		}),
		heldBack: f.NewCounterVec(prometheus.CounterOpts{
			Name: "flows_worker_held_back_total", Help: "Steps that were put back by a limit, by cause: rate, concurrency, block.",
		}, []string{"cause"}),
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "flows_worker_events_total", Help: "Events that were brought to triggers, by outcome of their batch: matched, failed.",
		}, []string{"outcome"}),
		matchTook: f.NewHistogram(prometheus.HistogramOpts{
			Name: "flows_worker_match_seconds", Help: "How long batches of events took.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
	}
}

func (m *metrics) done(work *engine.Work, outcome string, start time.Time) {
	typ := string(work.Step.Type)
	m.steps.WithLabelValues(typ, outcome).Inc()
	m.took.WithLabelValues(typ).Observe(time.Since(start).Seconds())
}

func (m *metrics) matched(events int, err error, start time.Time) {
	outcome := "matched"
	if err != nil {
		outcome = "failed"
	}
	m.events.WithLabelValues(outcome).Add(float64(events))
	m.matchTook.Observe(time.Since(start).Seconds())
}
