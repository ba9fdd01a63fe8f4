package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// opsServer tells operators of a worker or a scheduler how it is. It shows no
// tenant's data and has nothing to log in to.
type opsServer struct{ http *http.Server }

// newOpsServer makes the server. Each of checks is asked for readiness.
func newOpsServer(metrics *prometheus.Registry, checks map[string]func(context.Context) error) *opsServer {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, status int, v any) {
		body, err := json.Marshal(v)
		if err != nil {
			status = http.StatusInternalServerError
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(body) // nobody is left to tell
	}
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"version": version})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, stop := context.WithTimeout(r.Context(), 2*time.Second)
		defer stop()
		status, overall, parts := http.StatusOK, "ok", map[string]map[string]string{}
		var mu sync.Mutex
		var all sync.WaitGroup // side by side: one that hangs must not take the time of the others
		for name, check := range checks {
			all.Go(func() {
				err := check(ctx)
				mu.Lock()
				defer mu.Unlock()
				parts[name] = map[string]string{"status": "ok"}
				if err != nil {
					parts[name]["status"] = "unavailable"
					status, overall = http.StatusServiceUnavailable, "unavailable"
				}
			})
		}
		all.Wait()
		answer(w, status, map[string]any{"status": overall, "checks": parts})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return &opsServer{&http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
	}}
}

// Listen answers on l until Shutdown.
func (s *opsServer) Listen(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown waits for requests under way.
func (s *opsServer) Shutdown(ctx context.Context) error { return s.http.Shutdown(ctx) }
