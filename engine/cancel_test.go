package engine_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// logged gives the lines of a run's log that follow a line.
func (b *bundle) logged(ref store.RunRef, after int64) (lines []string) {
	b.t.Helper()
	events, err := b.store.For(b.ws).RunEvents(b.ctx, ref.Run, after, 1000)
	require.NoError(b.t, err)
	for _, e := range events {
		var data struct {
			Iterations          json.Number `json:"iterations"`
			IterationsCancelled json.Number `json:"iterations_cancelled"`
		}
		require.NoError(b.t, json.Unmarshal(e.Data, &data))
		line := string(e.Type)
		for _, more := range []string{e.StepID, data.Iterations.String(), data.IterationsCancelled.String()} {
			if more != "" {
				line += " " + more
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func TestTheItemsOfAListAreCancelledInOneLine(t *testing.T) {
	t.Parallel()
	const graph = `{"steps":[
		{"id":"list","type":"connector","connector":"core","action":"set","foreach":"1..500","max_parallel":2},
		{"id":"other","type":"connector","connector":"core","action":"set"}],"edges":[]}`
	failed := &models.StepError{Code: "boom", Message: "it broke"}
	each(t, func(t *testing.T, b *bundle) {
		wf := b.workflow(graph)

		ref := b.start(wf, `{}`)
		first := b.claim(ref, "list")
		_, err := b.eng.Finish(b.ctx, engine.FinishRequest{Lease: first.Lease, Output: first.Input})
		require.NoError(t, err)
		before := b.run(ref).LastSeq
		_, err = b.eng.Cancel(b.ctx, ref)
		require.NoError(t, err)
		require.Equal(t, []string{"step.cancelled other", "step.cancelled list 499", "run.cancelled"}, b.logged(ref, before))

		ref = b.start(wf, `{}`)
		first = b.claim(ref, "list")
		before = b.run(ref).LastSeq
		_, err = b.eng.Finish(b.ctx, engine.FinishRequest{Lease: first.Lease, Error: failed})
		require.NoError(t, err)
		require.Equal(t, []string{"step.failed list 499", "step.failed list", "step.cancelled other", "run.failed"}, b.logged(ref, before))

		ref = b.start(wf, `{}`)
		first, other := b.claim(ref, "list"), b.claim(ref, "other")
		before = b.run(ref).LastSeq
		_, err = b.eng.Finish(b.ctx, engine.FinishRequest{Lease: other.Lease, Error: failed})
		require.NoError(t, err)
		_, err = b.eng.Finish(b.ctx, engine.FinishRequest{Lease: first.Lease, Output: first.Input})
		require.NoError(t, err)
		require.Equal(t, []string{"step.failed other", "step.completed list", "step.cancelled list 499", "run.failed"}, b.logged(ref, before))
		require.Equal(t, 1, b.trace(ref)["list"].Iterations.Completed)
	})
}
