package api

import (
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics counts what clients see. It tells routes apart, never tenants.
type metrics struct {
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	streams  prometheus.Gauge
	handler  fiber.Handler
}

func newMetrics(reg *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "flows_http_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"method", "route", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "flows_http_request_duration_seconds", Help: "Time to an answer, by route; of streams, to their beginning.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"method", "route"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "flows_http_streams", Help: "Streams of runs that are open.",
		}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.took, m.streams} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	m.handler = adaptor.HTTPHandler(promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	return m, nil
}

// observe counts an answer.
func (m *metrics) observe(c *fiber.Ctx, took time.Duration) {
	method, route := c.Method(), c.Route().Path
	if route == "/" && c.Path() != "/" { // nothing matched but the middleware
		route = "none"
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(c.Response().StatusCode())).Inc()
	m.took.WithLabelValues(method, route).Observe(took.Seconds())
}
