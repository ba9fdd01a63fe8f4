package main

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/10ex/flows/store"
	"github.com/10ex/flows/tasks"
)

// registerStoreMetrics shows how much the database is asked.
func registerStoreMetrics(reg prometheus.Registerer, s *store.Store) {
	promauto.With(reg).NewCounterFunc(prometheus.CounterOpts{
		Name: "flows_database_statements_total", Help: "Statements sent to the database.",
	}, func() float64 { return float64(s.Statements()) })
}

// registerTaskMetrics shows what became of the tasks a process enqueued.
func registerTaskMetrics(reg prometheus.Registerer, c *tasks.Client) {
	for what, read := range map[string]func(tasks.ClientStats) int64{
		"enqueued": func(s tasks.ClientStats) int64 { return s.Enqueued },
		"repeated": func(s tasks.ClientStats) int64 { return s.Repeated },
		"lost":     func(s tasks.ClientStats) int64 { return s.Lost },
	} {
		promauto.With(reg).NewCounterFunc(prometheus.CounterOpts{
			Name: "flows_tasks_delivered_total", Help: "Tasks handed to the queue, by what came of it.",
			ConstLabels: prometheus.Labels{"result": what},
		}, func() float64 { return float64(read(c.Stats())) })
	}
}
