package docs_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/trace"
	"github.com/10ex/flows/internal/trace/tracetest"
	"github.com/10ex/flows/models"
)

const tracePage = "how-to/trace-runs.md"

// TestTracePageShowsARunInATracingTool does what the page tells readers to do, with
// a collector that can be asked what it got.
func TestTracePageShowsARunInATracingTool(t *testing.T) {
	t.Parallel()
	collector := tracetest.New(t)
	all := shellBlocks(t, tracePage)
	require.Len(t, all, 2)
	set, is := strings.CutSuffix(all[0], " make dev")
	require.True(t, is)
	in := install(t, false, strings.ReplaceAll(set, "http://127.0.0.1:4318", collector.URL), "OTEL_BSP_SCHEDULE_DELAY=50")
	out := in.run(t, all[1])
	require.Contains(t, out, `"status":"completed"`)
	run := regexp.MustCompile(`run_[0-9a-z]{26}`).FindString(out)
	id := trace.RunTraceID(models.RunID(run))

	spans := collector.Wait(t, func(spans []tracetest.Span) bool {
		return len(tracetest.Named(spans, "connector http.request")) == 1 && len(tracetest.Named(spans, "POST /api/v1/flows/workflows/:id/trigger")) == 1
	})
	text := read(t, tracePage)
	for _, s := range spans {
		if s.Name == "run" || strings.HasPrefix(s.Name, "connector ") || s.Name == "GET" {
			require.Equal(t, id, s.Trace, s.Name)
			require.Contains(t, text, code(s.Name))
		}
		for name := range s.Attributes {
			require.Contains(t, text, code(name), "the page does not explain it")
		}
		require.Equal(t, "flows", s.Resource["service.name"])
	}
	require.Len(t, tracetest.Named(spans, "GET"), 1)
	request := tracetest.Named(spans, "POST /api/v1/flows/workflows/:id/trigger")[0]
	require.Contains(t, text, code(request.Trace))
	require.Equal(t, run, request.Attributes["flows.run.id"])
}

func TestTracePageShowsTheTraceOfARun(t *testing.T) {
	t.Parallel()
	example := regexp.MustCompile("`(run_[0-9a-z]{26})` has the trace\n`([0-9a-f]{32})`").FindStringSubmatch(read(t, tracePage))
	require.NotNil(t, example)
	require.Equal(t, example[2], trace.RunTraceID(models.RunID(example[1])))
}
