package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/trace"
	"github.com/10ex/flows/internal/trace/tracetest"
	"github.com/10ex/flows/models"
)

func TestTracingIsOnWhereItIsAskedFor(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		vars map[string]string
		on   bool
		to   string
	}{
		"nothing":         {nil, false, ""},
		"an endpoint":     {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/base/"}, true, "http://c:4318/base/v1/traces"},
		"one for traces":  {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://t/x"}, true, "https://t/x"},
		"an exporter":     {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true, ""},
		"no exporter":     {map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, false, "http://c:4318/v1/traces"},
		"disabled":        {map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, false, "http://c:4318/v1/traces"},
		"of other kinds":  {map[string]string{"OTEL_METRICS_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp"}, false, ""},
		"an empty string": {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := readConfig(envOf(tc.vars, nil))
			require.NoError(t, err)
			require.Equal(t, tc.on, c.Tracing.on())
			require.Equal(t, tc.to, c.Tracing.endpoint())
		})
	}
}

func TestTracingSettingsReachTheTracer(t *testing.T) {
	t.Parallel()
	c, err := readConfig(envOf(map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT":         "http://c:4318",
		"OTEL_EXPORTER_OTLP_HEADERS_FILE":     "/run/secrets/headers",
		"OTEL_EXPORTER_OTLP_TIMEOUT":          "1000",
		"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT":   "2000",
		"OTEL_EXPORTER_OTLP_COMPRESSION":      "none",
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL":  "http/protobuf",
		"OTEL_SERVICE_NAME":                   "mine",
		"OTEL_RESOURCE_ATTRIBUTES":            "deployment.environment.name=prod, team=a%20b",
		"OTEL_TRACES_SAMPLER":                 "traceidratio",
		"OTEL_TRACES_SAMPLER_ARG":             "0.25",
		"OTEL_PROPAGATORS":                    "none",
		"OTEL_BSP_SCHEDULE_DELAY":             "10",
		"OTEL_BSP_EXPORT_TIMEOUT":             "20",
		"OTEL_BSP_MAX_QUEUE_SIZE":             "30",
		"OTEL_BSP_MAX_EXPORT_BATCH_SIZE":      "40",
		"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "what ever", // none of ours
	}, map[string]string{"/run/secrets/headers": "authorization=Bearer%20k,x-team=a"}))
	require.NoError(t, err)
	got, err := c.Tracing.config()
	require.NoError(t, err)
	require.Equal(t, trace.Config{
		Endpoint: "http://c:4318/v1/traces", Headers: map[string]string{"authorization": "Bearer k", "x-team": "a"},
		Timeout: 2 * time.Second, Uncompressed: true, Sampler: trace.Ratio, Ratio: 0.25, IgnoreCallers: true,
		Service: "mine", Version: version, Attributes: map[string]string{"deployment.environment.name": "prod", "team": "a b"},
		Delay: 10 * time.Millisecond, ExportTimeout: 20 * time.Millisecond, Queue: 30, Batch: 40,
	}, got)
}

func TestWrongTracingSettingsAreNamed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, value string
		says        string // of what is allowed
		hidden      bool
	}{
		{"OTEL_SDK_DISABLED", "maybe", "true or false", false},
		{"OTEL_TRACES_EXPORTER", "zipkin", "otlp or none", false},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "http://HOST:PORT", false},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hunter2@collector", "http://HOST:PORT", true},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/?key=1", "http://HOST:PORT", false},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf", false},
		{"OTEL_EXPORTER_OTLP_HEADERS", "hunter2", "KEY=VALUE", true},
		{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=hunter2%0d%0a", "KEY=VALUE", true},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds", false},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "gzip or none", false},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", "/not/there.pem", "the path of a file", false},
		{"OTEL_RESOURCE_ATTRIBUTES", "a", "KEY=VALUE", false},
		{"OTEL_TRACES_SAMPLER", "half", "parentbased_always_on", false},
		{"OTEL_TRACES_SAMPLER_ARG", "NaN", "from 0 to 1", false},
		{"OTEL_PROPAGATORS", "b3", "tracecontext", false},
		{"OTEL_BSP_SCHEDULE_DELAY", "0", "milliseconds", false},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "-1", "a number from 1", false},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "x", "a number from 1", false},
	} {
		t.Run(tc.name+" "+tc.value, func(t *testing.T) {
			t.Parallel()
			_, err := readConfig(envOf(map[string]string{tc.name: tc.value}, nil))
			require.ErrorContains(t, err, tc.name)
			require.ErrorContains(t, err, tc.says)
			require.Equal(t, !tc.hidden, strings.Contains(err.Error(), tc.value))
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
	p := start(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://c", "OTEL_EXPORTER_OTLP_CERTIFICATE=/dev/null"}, "dev", "--data-dir", t.TempDir())
	require.Equal(t, exitFailed, p.wait())
	require.Contains(t, p.stderr.String(), `OTEL_EXPORTER_OTLP_CERTIFICATE is "/dev/null": it must be the path of a file with certificates in PEM`)
}

// tracedDev starts flows dev with settings of OpenTelemetry.
func tracedDev(t *testing.T, env ...string) (*process, client) {
	t.Helper()
	p := start(t, env, "dev", "--addr", "127.0.0.1:0", "--data-dir", filepath.Join(t.TempDir(), "data"))
	var l devLine
	require.NoError(t, json.Unmarshal([]byte(p.line(p.stdout, "{")), &l))
	return p, client{t: t, url: l.URL, key: l.Key}
}

func TestARunIsSeenInATracingTool(t *testing.T) {
	t.Parallel()
	collector, other := tracetest.New(t), newPeer(t)
	p, c := tracedDev(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_EXPORTER_OTLP_HEADERS=x-key=k")
	const callerTrace, callerSpan = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	workflow := c.workflow(tenSteps(other.URL))
	require.Equal(t, http.StatusNotFound, c.do(http.MethodGet, "/nowhere/hunter2?key=hunter2", "", nil))
	require.Equal(t, http.StatusOK, c.do(http.MethodGet, "/readyz", "", nil))
	done := c.trigger(workflow, "Prefer", "wait=60", "traceparent", "00-"+callerTrace+"-"+callerSpan+"-01")
	require.Equal(t, "completed", done.Status, string(done.Error))
	require.Equal(t, exitOK, p.stop(), "what is not sent yet is sent now")

	spans := collector.Spans()
	require.Equal(t, "k", collector.Headers()[0].Get("X-Key"))
	trigger := tracetest.Named(spans, "POST "+apiRoot+"/workflows/:id/trigger")
	require.Len(t, trigger, 1)
	require.Equal(t, callerTrace, trigger[0].Trace)
	require.Equal(t, callerSpan, trigger[0].Parent)
	require.Equal(t, "200", trigger[0].Attributes["http.response.status_code"])
	require.Equal(t, done.ID, trigger[0].Attributes["flows.run.id"])

	runTrace := trace.RunTraceID(models.RunID(done.ID))
	first := tracetest.Named(spans, "run")
	require.Len(t, first, 1)
	require.Equal(t, []tracetest.Link{{Trace: runTrace, ID: first[0].ID}}, trigger[0].Links)
	require.Equal(t, []tracetest.Link{{Trace: callerTrace, ID: trigger[0].ID}}, first[0].Links)

	attempts, calls := map[string]string{}, 0
	byID := map[string]tracetest.Span{}
	for _, s := range spans {
		byID[s.ID] = s
	}
	for _, s := range spans {
		for _, v := range s.Attributes {
			require.NotContains(t, v, "hunter2")
		}
		require.NotContains(t, s.Name, "ready")
		if s.Trace != runTrace {
			continue
		}
		if s.Name == "POST" { // a call
			require.Contains(t, byID[s.Parent].Name, "connector http.request")
			calls++
			continue
		}
		if step := s.Attributes["flows.step.id"]; step != "" {
			require.Equal(t, first[0].ID, s.Parent)
			attempts[step+"/"+s.Attributes["flows.step.attempt"]] = s.Attributes["flows.step.outcome"]
		}
	}
	require.Equal(t, map[string]string{
		"start/1": "completed", "left/1": "completed", "right/1": "completed", "join/1": "completed",
		"flaky/1": "failed", "flaky/2": "completed", "high/1": "completed", "merge/1": "completed", "end/1": "completed",
	}, attempts)
	require.Equal(t, 5, calls)
}

func TestARunThatAnEventStartsIsSeenToo(t *testing.T) {
	t.Parallel()
	collector := tracetest.New(t)
	p, c := tracedDev(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL)
	workflow := c.workflow(threeSteps)
	var trg, sent struct {
		ID      string `json:"id"`
		Matches []struct {
			RunID string `json:"run_id"`
		} `json:"matches"`
	}
	require.Equal(t, http.StatusCreated, c.do(http.MethodPost, apiRoot+"/triggers", `{"type":"event","event_type":"lead.created","workflow_id":"`+workflow+`"}`, &trg))
	require.Equal(t, http.StatusAccepted, c.do(http.MethodPost, apiRoot+"/events", `{"type":"lead.created","data":{}}`, &sent))
	require.Eventually(t, func() bool {
		return c.do(http.MethodGet, apiRoot+"/events/"+sent.ID, "", &sent) == http.StatusOK && len(sent.Matches) == 1
	}, time.Minute, 10*time.Millisecond)
	require.Equal(t, exitOK, p.stop())
	runs := tracetest.Named(collector.Spans(), "run")
	require.Len(t, runs, 1)
	require.Equal(t, trace.RunTraceID(models.RunID(sent.Matches[0].RunID)), runs[0].Trace)
}

func TestNothingIsSentWhenDisabled(t *testing.T) {
	t.Parallel()
	collector := tracetest.New(t)
	p, c := tracedDev(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_SDK_DISABLED=true")
	require.Equal(t, "completed", c.trigger(c.workflow(threeSteps), "Prefer", "wait=60").Status)
	require.Equal(t, exitOK, p.stop())
	require.Empty(t, collector.Headers())
}

func TestACollectorThatIsAwayIsNoReasonToStopLate(t *testing.T) {
	t.Parallel()
	p, c := tracedDev(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_BSP_SCHEDULE_DELAY=10")
	require.Equal(t, "completed", c.trigger(c.workflow(threeSteps), "Prefer", "wait=60").Status)
	began := time.Now()
	require.Equal(t, exitOK, p.stop())
	require.Less(t, time.Since(began), traceGrace+serverGrace+closeGrace)
}
