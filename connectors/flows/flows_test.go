package flows_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/connectors/flows"
)

// host remembers what it was asked.
type host struct {
	from   flows.Origin
	event  flows.Event
	start  flows.Start
	called int
	err    error
}

func (h *host) Emit(_ context.Context, from flows.Origin, e flows.Event) (flows.Emitted, error) {
	h.from, h.event, h.called = from, e, h.called+1
	return flows.Emitted{ID: "evt_1", Duplicate: h.called > 1}, h.err
}

func (h *host) Run(_ context.Context, from flows.Origin, s flows.Start) (flows.Started, error) {
	h.from, h.start, h.called = from, s, h.called+1
	return flows.Started{Run: "run_2", Status: "queued"}, h.err
}

const workflow = `"workflow_id":"wf_01h455vb4pex5vsknk084sn02q"`

func TestContract(t *testing.T) {
	t.Parallel()
	connectorstest.Run(t, flows.New(&host{}), []connectorstest.Case{
		{Name: "run", Action: "run", Input: `{` + workflow + `,"payload":{"a":1}}`, Want: `{"run_id":"run_2","status":"queued"}`},
		{Name: "emit", Action: "emit_event", Input: `{"type":"lead.qualified","data":{"lead_id":"l1"}}`},
		{Name: "run and wait", Action: "run", Input: `{` + workflow + `,"wait":true}`, Want: `{"run_id":"run_2","status":"queued"}`},
		{Name: "no workflow", Action: "run", Input: `{"workflow_id":"x"}`, WantCode: "input_invalid"},
		{Name: "no type", Action: "emit_event", Input: `{"data":{}}`, WantCode: "input_invalid"},
	})
}

func TestWhatTheHostIsAsked(t *testing.T) {
	t.Parallel()
	h := &host{}
	c := flows.New(h)
	do := func(action, input string) (connectors.Response, error) {
		return c.Do(t.Context(), connectors.Request{
			Action: action, Input: json.RawMessage(input), WorkspaceID: "ws_1", RunID: "run_1", IdempotencyKey: "run_1:call",
		})
	}
	from := flows.Origin{Workspace: "ws_1", Run: "run_1", Key: "run_1:call"}

	resp, err := do("run", `{`+workflow+`,"payload":{"a":1},"wait":true}`)
	require.NoError(t, err)
	require.Equal(t, "run_2", resp.AwaitRun)
	require.Equal(t, from, h.from)
	require.Equal(t, flows.Start{Workflow: "wf_01h455vb4pex5vsknk084sn02q", Payload: json.RawMessage(`{"a":1}`), Wait: true}, h.start)
	resp, err = do("run", `{`+workflow+`}`)
	require.NoError(t, err)
	require.Empty(t, resp.AwaitRun)

	_, err = do("emit_event", `{"type":"lead.qualified","source":"crm","id":"7","data":{"b":2}}`)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(flows.Event{Type: "lead.qualified", Source: "crm", ID: "7", Data: json.RawMessage(`{"b":2}`)}, h.event))
	_, err = do("emit_event", `{"type":"x"}`)
	require.NoError(t, err)
	require.Equal(t, flows.DefaultSource, h.event.Source)

	h.err = errors.New("away")
	for _, action := range []string{"run", "emit_event"} {
		_, err = do(action, `{"type":"x",`+workflow+`}`)
		require.ErrorIs(t, err, h.err)
	}
}
