package trace_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/internal/trace"
	"github.com/10ex/flows/internal/trace/tracetest"
	"github.com/10ex/flows/models"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started makes a tracer that is stopped with the test.
func started(t *testing.T, cfg trace.Config) *trace.Tracer {
	t.Helper()
	tracer, err := trace.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { flush(t, tracer) })
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections) //nolint:forbidigo // the exporter's, which must not outlive the test
	return tracer
}

func flush(t *testing.T, tracer *trace.Tracer) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer stop()
	require.NoError(t, tracer.Shutdown(ctx))
}

const (
	callerTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callerSpan  = "00f067aa0ba902b7"
)

func header(values map[string]string) func(string) string {
	return func(name string) string { return values[strings.ToLower(name)] }
}

var called = header(map[string]string{"traceparent": "00-" + callerTrace + "-" + callerSpan + "-01"})

func aStep(run models.RunID) trace.Step {
	return trace.Step{
		Workspace: "ws_1", Run: run, Workflow: "wf_1", Version: 3, Iteration: -1, Attempt: 2,
		Step: &models.GraphStep{ID: "score", Type: models.StepTypeConnector, Connector: "http", Action: "request"},
	}
}

func TestARunIsATraceOfItsOwnLinkedWithTheRequest(t *testing.T) {
	t.Parallel()
	c := tracetest.New(t)
	tracer := started(t, trace.Config{
		Endpoint: c.URL + "/v1/traces", Headers: map[string]string{"x-key": "k"}, Service: "mine", Version: "1.2",
		Attributes: map[string]string{"deployment.environment.name": "test", "service.name": "other"},
	})
	run := &models.Run{
		ID: models.RunID(ids.New(models.RunPrefix)), WorkspaceID: "ws_1", WorkflowID: "wf_1", WorkflowVersion: 3,
		TriggerType: models.TriggerManual, CreatedAt: time.Now().UTC(),
	}
	ctx, request := tracer.Request(t.Context(), "POST", "http", called)
	tracer.Started(ctx, run)
	request.End("/workflows/:id/trigger", 202)
	sctx, step := tracer.Step(ctx, aStep(run.ID)) // whatever else is in ctx
	require.NoError(t, sctx.Err())
	step.End("failed", &models.StepError{Code: "http_500", Message: "secret words", Retryable: true})
	flush(t, tracer)

	spans := c.Spans()
	require.Len(t, spans, 3)
	server, first, attempt := tracetest.Named(spans, "POST /workflows/:id/trigger")[0], tracetest.Named(spans, "run")[0],
		tracetest.Named(spans, "connector http.request")[0]
	id := trace.RunTraceID(run.ID)
	require.Equal(t, callerTrace, server.Trace)
	require.Equal(t, callerSpan, server.Parent)
	require.Equal(t, []tracetest.Link{{Trace: id, ID: first.ID}}, server.Links)
	require.Equal(t, "202", server.Attributes["http.response.status_code"])
	require.Equal(t, string(run.ID), server.Attributes["flows.run.id"])

	require.Equal(t, id, first.Trace)
	require.Empty(t, first.Parent)
	require.Equal(t, []tracetest.Link{{Trace: callerTrace, ID: server.ID}}, first.Links)

	require.Equal(t, id, attempt.Trace)
	require.Equal(t, first.ID, attempt.Parent)
	require.Equal(t, map[string]string{
		"flows.workspace.id": "ws_1", "flows.run.id": string(run.ID), "flows.workflow.id": "wf_1", "flows.workflow.version": "3",
		"flows.step.id": "score", "flows.step.type": "connector", "flows.step.uses": "http.request", "flows.step.attempt": "2",
		"flows.step.outcome": "failed", "flows.step.retryable": "true", "error.type": "http_500",
	}, attempt.Attributes)
	require.Equal(t, "http_500", attempt.Status.GetMessage())

	require.Equal(t, "mine", attempt.Resource["service.name"])
	require.Equal(t, "1.2", attempt.Resource["service.version"])
	require.Equal(t, "test", attempt.Resource["deployment.environment.name"])
	require.Equal(t, "k", c.Headers()[0].Get("X-Key"))
	require.Equal(t, "gzip", c.Headers()[0].Get("Content-Encoding"))
}

func TestCallersAreObeyedOrIgnored(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg    trace.Config
		header string
		spans  int
		below  bool
	}{
		"sampled":              {trace.Config{}, "00-" + callerTrace + "-" + callerSpan + "-01", 1, true},
		"not sampled":          {trace.Config{}, "00-" + callerTrace + "-" + callerSpan + "-00", 0, false},
		"not sampled, but all": {trace.Config{Sampler: trace.AlwaysOn}, "00-" + callerTrace + "-" + callerSpan + "-00", 1, true},
		"none":                 {trace.Config{}, "", 1, false},
		"nonsense":             {trace.Config{}, "00-" + strings.Repeat("0", 32) + "-" + callerSpan + "-01", 1, false},
		"ignored":              {trace.Config{IgnoreCallers: true}, "00-" + callerTrace + "-" + callerSpan + "-01", 1, false},
		"all off":              {trace.Config{Sampler: trace.AlwaysOff}, "00-" + callerTrace + "-" + callerSpan + "-01", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := tracetest.New(t)
			tc.cfg.Endpoint = c.URL + "/v1/traces"
			tracer := started(t, tc.cfg)
			_, span := tracer.Request(t.Context(), "BREW", "http", header(map[string]string{"traceparent": tc.header}))
			span.End("", 503)
			flush(t, tracer)
			spans := c.Spans()
			require.Len(t, spans, tc.spans)
			if tc.spans == 0 {
				return
			}
			require.Equal(t, tc.below, spans[0].Parent == callerSpan && spans[0].Trace == callerTrace)
			require.Equal(t, "_OTHER", spans[0].Name)
			require.Equal(t, "503", spans[0].Attributes["error.type"])
		})
	}
}

// A run is kept or not as a whole, in all processes, and as many as are asked for.
func TestRatioKeepsItsPartOfRuns(t *testing.T) {
	t.Parallel()
	const runs = 2000
	for _, ratio := range []float64{0, 0.1, 0.5, 0.8, 1} {
		c := tracetest.New(t)
		cfg := trace.Config{Endpoint: c.URL + "/v1/traces", Sampler: trace.ParentBasedRatio, Ratio: ratio, Queue: 4 * runs}
		one, another := started(t, cfg), started(t, cfg)
		for range runs {
			id := models.RunID(ids.New(models.RunPrefix))
			one.Started(t.Context(), &models.Run{ID: id, CreatedAt: time.Now()})
			_, span := another.Step(t.Context(), aStep(id))
			span.End("completed", nil)
		}
		flush(t, one)
		flush(t, another)
		kept := map[string]int{}
		for _, s := range c.Spans() {
			kept[s.Trace]++
		}
		require.InDelta(t, ratio*runs, len(kept), runs/20, "%v", ratio)
		for _, n := range kept {
			require.Equal(t, 2, n)
		}
	}
}

func TestTraceIDOfARunIsItsNumber(t *testing.T) {
	t.Parallel()
	require.Equal(t, "01994d2e5a7f7c3a9b1e4f6d8c2a7b90", trace.RunTraceID("run_01k56jwpkzfgx9p7jfdp62mywg"))
	require.Empty(t, trace.RunTraceID("run_1"))
	id := ids.New(models.RunPrefix)
	u, ok := ids.UUID(id)
	require.True(t, ok)
	require.NotZero(t, binary.BigEndian.Uint64(u[8:]))
}

// outbound sends a request from within a step and gives what the other side saw.
func outbound(t *testing.T, tracer *trace.Tracer, ctx context.Context, url string, headers map[string]string) (*http.Response, error) { //nolint:revive // t first
	t.Helper()
	client, err := egress.New(egress.Config{AllowPrivate: true, Observe: tracer.Call})
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err == nil {
		require.NoError(t, resp.Body.Close())
	}
	require.Len(t, req.Header, len(headers), "the caller's request is not changed")
	return resp, err
}

// Who redirects chooses the name of the host, and may put what it was sent into it.
func TestTheHostOfARedirectElsewhereIsNotTold(t *testing.T) {
	t.Parallel()
	c := tracetest.New(t)
	tracer := started(t, trace.Config{Endpoint: c.URL + "/v1/traces"})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/near" {
			http.Redirect(w, r, "/far", http.StatusFound)
			return
		}
		http.Redirect(w, r, "http://hunter2.invalid/", http.StatusFound)
	}))
	t.Cleanup(srv.Close)
	ctx, step := tracer.Step(t.Context(), aStep(models.RunID(ids.New(models.RunPrefix))))
	_, err := outbound(t, tracer, ctx, srv.URL+"/near", nil)
	require.Error(t, err)
	step.End("failed", nil)
	flush(t, tracer)
	calls := tracetest.Named(c.Spans(), "GET")
	require.Len(t, calls, 3)
	told := 0
	for _, s := range calls {
		if s.Attributes["server.address"] == "127.0.0.1" {
			told++
		}
		for _, v := range s.Attributes {
			require.NotContains(t, v, "hunter2")
		}
	}
	require.Equal(t, 2, told)
}

func TestCallsOfAStepCarryItsContextToOwnHosts(t *testing.T) {
	t.Parallel()
	c := tracetest.New(t)
	tracer := started(t, trace.Config{Endpoint: c.URL + "/v1/traces"})
	seen := make(chan http.Header, 10)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "/here?token=hunter2", http.StatusFound)
			return
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(other.Close)

	ctx, step := tracer.Step(t.Context(), aStep(models.RunID(ids.New(models.RunPrefix))))
	_, err := outbound(t, tracer, ctx, other.URL+"/away?key=hunter2", nil)
	require.NoError(t, err)
	_, err = outbound(t, tracer, ctx, other.URL+"/", map[string]string{"Traceparent": "author's own"})
	require.NoError(t, err)
	_, err = outbound(t, tracer, t.Context(), other.URL+"/", nil) // on nobody's behalf
	require.NoError(t, err)
	_, err = outbound(t, tracer, ctx, "http://127.0.0.1:1/hunter2", nil)
	require.Error(t, err)
	step.End("completed", nil)
	flush(t, tracer)

	spans := c.Spans()
	require.Len(t, spans, 5, "two hops, one, none, one that failed, and the step")
	calls := tracetest.Named(spans, "GET")
	require.Len(t, calls, 4)
	parent := tracetest.Named(spans, "connector http.request")[0]
	sent := map[string]bool{}
	for _, s := range calls {
		require.Equal(t, parent.ID, s.Parent)
		require.Equal(t, "127.0.0.1", s.Attributes["server.address"])
		require.NotContains(t, s.Attributes, "url.full")
		for _, v := range s.Attributes {
			require.NotContains(t, v, "hunter2")
		}
		sent["00-"+s.Trace+"-"+s.ID+"-01"] = true
	}
	for range 2 {
		require.Contains(t, sent, strip(<-seen))
	}
	require.Equal(t, "author's own", (<-seen).Get("Traceparent"))
	require.Empty(t, (<-seen).Get("Traceparent"))
	require.Equal(t, "418", calls[1].Attributes["http.response.status_code"])
	require.Equal(t, "*net.OpError", calls[3].Attributes["error.type"])
}

// strip leaves out flags beyond the first, which the caller may add to.
func strip(h http.Header) string {
	v := h.Get("Traceparent")
	if len(v) < 2 {
		return v
	}
	return v[:len(v)-2] + "01"
}

// lines is a log that several goroutines write to.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestACollectorThatIsAwayHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(hanging.Close)
	t.Cleanup(func() { close(hang) })
	refusing := tracetest.New(t)
	refusing.Answer(http.StatusServiceUnavailable)
	for name, url := range map[string]string{
		"nobody listens": "http://127.0.0.1:1/v1/traces", "no answer": hanging.URL + "/v1/traces", "unavailable": refusing.URL + "/v1/traces",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log lines // the exporter may still speak when the shutdown has given up
			tracer, err := trace.New(trace.Config{Endpoint: url, Queue: 16, Batch: 4, Delay: time.Millisecond, Log: obs.NewLogger(&log, slog.LevelInfo, false)})
			require.NoError(t, err)
			began := time.Now()
			for range 1000 {
				_, span := tracer.Step(t.Context(), aStep(models.RunID(ids.New(models.RunPrefix))))
				span.End("completed", nil)
			}
			ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer stop()
			_ = tracer.Shutdown(ctx) // whether all was lost is not what is asked
			require.Less(t, time.Since(began), 5*time.Second)
			require.NotContains(t, log.String(), "v1/traces")
		})
	}
}

func TestALossIsSaidWithoutTheAddress(t *testing.T) {
	t.Parallel()
	c := tracetest.New(t)
	c.Answer(http.StatusUnauthorized)
	var log bytes.Buffer
	tracer := started(t, trace.Config{Endpoint: c.URL + "/v1/traces", Log: obs.NewLogger(&log, slog.LevelInfo, false)})
	for range 3 {
		_, span := tracer.Step(t.Context(), aStep(models.RunID(ids.New(models.RunPrefix))))
		span.End("completed", nil)
	}
	flush(t, tracer)
	require.Contains(t, log.String(), "spans were not handed over")
	require.Contains(t, log.String(), "count=3")
	require.Contains(t, log.String(), "401")
}

func TestNothingIsSpentWhenOff(t *testing.T) { //nolint:paralleltest // it counts what the whole process allocates
	var off *trace.Tracer
	ctx := t.Context()
	s := aStep(models.RunID(ids.New(models.RunPrefix)))
	run := &models.Run{}
	req := httptest.NewRequest(http.MethodGet, "http://example.com", http.NoBody)
	failed := &models.StepError{Code: "timeout"}
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		sctx, step := off.Step(ctx, s)
		_, request := off.Request(sctx, "GET", "http", called)
		off.Started(ctx, run)
		_, done := off.Call(req)
		done(nil, nil)
		request.End("", 200)
		step.End("failed", failed)
	}))
	require.NoError(t, off.Shutdown(ctx))
}

func BenchmarkStep(b *testing.B) {
	s := aStep(models.RunID(ids.New(models.RunPrefix)))
	on, err := trace.New(trace.Config{Endpoint: "http://127.0.0.1:1/v1/traces"})
	require.NoError(b, err)
	defer func() {
		ctx, stop := context.WithCancel(context.Background())
		stop()
		_ = on.Shutdown(ctx)
	}()
	for name, tracer := range map[string]*trace.Tracer{"off": nil, "on": on} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, span := tracer.Step(context.Background(), s)
				span.End("completed", nil)
			}
		})
	}
}
