package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Nobody answers at port 1, so all of this is without Redis.
func TestWithoutRedisRunsCompleteAndTheLogStaysInOneForm(t *testing.T) {
	t.Parallel()
	p := start(t, []string{"FLOWS_REDIS_URL=redis://127.0.0.1:1/0", "FLOWS_LOG_FORMAT=json"},
		"dev", "--addr", "127.0.0.1:0", "--data-dir", t.TempDir())
	var l devLine
	require.NoError(t, json.Unmarshal([]byte(p.line(p.stdout, "{")), &l))
	c := client{t: t, url: l.URL, key: l.Key}
	var health struct {
		Status string `json:"status"`
		Checks map[string]struct {
			Status string `json:"status"`
		} `json:"checks"`
	}
	require.Equal(t, http.StatusOK, c.do(http.MethodGet, "/readyz", "", &health))
	require.Equal(t, "degraded", health.Status)
	require.Equal(t, "unavailable", health.Checks["redis"].Status)
	require.Equal(t, "ok", health.Checks["database"].Status)
	c.completed([]string{c.trigger(c.workflow(threeSteps)).ID})
	p.line(p.stderr, "the client of redis has trouble")
	require.Equal(t, exitOK, p.stop())
	for line := range strings.Lines(p.stderr.String()) {
		require.True(t, json.Valid([]byte(line)), line)
	}
}
