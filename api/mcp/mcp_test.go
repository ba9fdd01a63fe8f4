package mcp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAWorkflowIsMadeAndRun(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		s := b.connect(t, b.key)
		require.Equal(t, string(b.ws), done(t, s, "whoami", nil)["workspace_id"])
		id := workflow(t, s, passing)
		require.Len(t, done(t, s, "list_workflows", values{"q": "Lead", "status": []string{"active", "paused"}, "limit": 1})["items"], 1)
		run := done(t, s, "trigger_workflow", values{"workflow_id": id, "payload": values{"lead_id": "lead_42"}, "wait_seconds": 20})
		require.Equal(t, "completed", run["status"])
		require.Equal(t, "mcp", run["trigger"].(values)["type"])
		require.Equal(t, values{"lead_id": "lead_42"}, run["payload"])
		require.Equal(t, run["id"], done(t, s, "list_runs", values{"trigger_type": []string{"mcp"}, "workflow_id": id})["items"].([]any)[0].(values)["id"])
		require.Len(t, done(t, s, "get_run_trace", values{"run_id": run["id"]})["items"], 1)
	})
}
