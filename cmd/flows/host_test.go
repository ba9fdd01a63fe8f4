package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// get waits until a run has a status.
func (c client) get(id, status string) run {
	c.t.Helper()
	var r run
	require.Eventually(c.t, func() bool {
		return c.do(http.MethodGet, apiRoot+"/runs/"+id, "", &r) == http.StatusOK && r.Status == status
	}, limit, 20*time.Millisecond, "run %s to be %s", id, status)
	return r
}

// runsOf lists the runs of a workflow.
func (c client) runsOf(workflow string) []run {
	c.t.Helper()
	var list struct {
		Items []run `json:"items"`
	}
	require.Equal(c.t, http.StatusOK, c.do(http.MethodGet, apiRoot+"/runs?limit=200&workflow_id="+workflow, "", &list))
	return list.Items
}

func TestFlowsStartFlowsAndWaitForThem(t *testing.T) {
	t.Parallel()
	_, _, c := dev(t, filepath.Join(t.TempDir(), "data"))
	call := func(workflow, more string) string {
		return fmt.Sprintf(`{"steps":[{"id":"call","type":"connector","connector":"flows","action":"run","input":{"workflow_id":%q%s}}]}`, workflow, more)
	}

	// Its output, when it has one.
	inner := c.workflow(waits)
	done := c.trigger(c.workflow(call(inner, `,"wait":true,"payload":{"a":1}`)), "Prefer", "wait=60")
	require.Equal(t, "completed", done.Status, string(done.Error))
	require.JSONEq(t, `{"call":{"after":{"n":2}}}`, string(done.Output))
	var child struct {
		Trigger struct {
			Type string `json:"type"`
		} `json:"trigger"`
		Payload json.RawMessage `json:"payload"`
	}
	require.Equal(t, http.StatusOK, c.do(http.MethodGet, apiRoot+"/runs/"+c.runsOf(inner)[0].ID, "", &child))
	require.Equal(t, "flow", child.Trigger.Type)
	require.JSONEq(t, `{"a":1}`, string(child.Payload))

	// Its failure.
	broken := c.workflow(`{"steps":[{"id":"no","type":"connector","connector":"core","action":"fail","input":{"code":"no_luck","message":"not today"}}]}`)
	done = c.trigger(c.workflow(call(broken, `,"wait":true`)), "Prefer", "wait=60")
	require.Equal(t, "failed", done.Status)
	require.Contains(t, string(done.Error), `"code":"no_luck"`)
	require.Contains(t, string(done.Error), `failed at step \"no\": not today`)

	// For each item of a list.
	each := func(workflow string) string {
		return fmt.Sprintf(`{"steps":[{"id":"call","type":"connector","connector":"flows","action":"run","foreach":"1..5","max_parallel":2,
			"input":{"workflow_id":%q,"wait":true,"payload":{"n":"{{ item }}"}}}]}`, workflow)
	}
	echo := c.workflow(`{"steps":[{"id":"w","type":"wait","for":"10ms"},{"id":"e","type":"connector","connector":"core","action":"set","input":"{{ payload.n }}"}],
		"edges":[{"from":"w","to":"e"}]}`)
	done = c.trigger(c.workflow(each(echo)), "Prefer", "wait=60")
	require.Equal(t, "completed", done.Status, string(done.Error))
	require.JSONEq(t, `{"call":[{"e":1},{"e":2},{"e":3},{"e":4},{"e":5}]}`, string(done.Output))
	require.Len(t, c.runsOf(echo), 5)
	done = c.trigger(c.workflow(each(broken)), "Prefer", "wait=60")
	require.Equal(t, "failed", done.Status)
	require.Contains(t, string(done.Error), `"code":"no_luck"`)

	// Not at all.
	done = c.trigger(c.workflow(call(inner, "")), "Prefer", "wait=60")
	require.Equal(t, "completed", done.Status)
	require.Contains(t, string(done.Output), `"run_id":"run_`)
	done = c.trigger(c.workflow(call("wf_01h455vb4pex5vsknk084sn02q", "")), "Prefer", "wait=60")
	require.Contains(t, string(done.Error), `"code":"not_found"`)

	// Cancelled together.
	long := c.workflow(`{"steps":[{"id":"w","type":"wait","for":"1h"}]}`)
	parent := c.trigger(c.workflow(call(long, `,"wait":true`)))
	c.get(parent.ID, "waiting")
	inside := c.runsOf(long)[0].ID
	require.Equal(t, http.StatusOK, c.do(http.MethodPost, apiRoot+"/runs/"+parent.ID+"/cancel", "", nil))
	c.get(parent.ID, "cancelled")
	c.get(inside, "cancelled")
}

func TestFlowsSendEventsAndChainsEnd(t *testing.T) {
	t.Parallel()
	_, _, c := dev(t, filepath.Join(t.TempDir(), "data"))
	listener := c.workflow(`{"steps":[{"id":"s","type":"connector","connector":"core","action":"set","input":{"lead":"{{ payload.lead_id }}"}}]}`)
	status, raw := c.send(http.MethodPost, apiRoot+"/triggers", fmt.Sprintf(
		`{"name":"t","type":"event","target_type":"workflow","workflow_id":%q,"event_type":"lead.qualified","source":"workflow"}`, listener))
	require.Equal(t, http.StatusCreated, status, string(raw))
	done := c.trigger(c.workflow(`{"steps":[{"id":"tell","type":"connector","connector":"flows","action":"emit_event",
		"input":{"type":"lead.qualified","data":{"lead_id":"l1"}}}]}`), "Prefer", "wait=60")
	require.Equal(t, "completed", done.Status, string(done.Error))
	require.Contains(t, string(done.Output), `"duplicate":false`)
	require.Eventually(t, func() bool { return len(c.runsOf(listener)) == 1 }, limit, 20*time.Millisecond)
	require.JSONEq(t, `{"s":{"lead":"l1"}}`, string(c.get(c.runsOf(listener)[0].ID, "completed").Output))

	reserved := c.trigger(c.workflow(`{"steps":[{"id":"tell","type":"connector","connector":"flows","action":"emit_event","input":{"type":"flow.run.completed"}}]}`), "Prefer", "wait=60")
	require.Contains(t, string(reserved.Error), "type: types that begin with flow. tell of runs")

	// Two flows that start each other for ever are stopped.
	var flow struct {
		ID string `json:"id"`
	}
	status, raw = c.send(http.MethodPost, apiRoot+"/workflows",
		`{"name":"loop","graph":{"steps":[{"id":"again","type":"connector","connector":"flows","action":"run","input":{"workflow_id":"{{ workflow.id }}","wait":true}}]}}`)
	require.Equal(t, http.StatusCreated, status, string(raw))
	require.NoError(t, json.Unmarshal(raw, &flow))
	done = c.trigger(flow.ID, "Prefer", "wait=60")
	require.Equal(t, "failed", done.Status)
	require.Contains(t, string(done.Error), `"code":"depth_exceeded"`)
	require.Len(t, c.runsOf(flow.ID), 10)
}
