package engine_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// longList starts a run whose list has two thousand items, with some kilobytes and two
// failed attempts each, and all but the first of which are over.
func longList(b *bundle) store.RunRef {
	const items = 2000
	now, word := b.clock.Now(), json.RawMessage(`"`+strings.Repeat("x", 2000)+`"`)
	wf := b.workflow(`{"steps":[{"id":"a","type":"connector","connector":"core","action":"set","foreach":"[1]","retry":{}}],"edges":[]}`)
	ref := b.start(wf, `{}`)
	require.NoError(b.t, b.store.WithRuns(b.ctx, []store.RunRef{ref}, func(tx *store.RunTx) (*store.Changes, error) {
		rows, err := tx.OpenSteps(b.ctx, ref)
		if err != nil {
			return nil, err
		}
		c := &store.Changes{Steps: rows}
		for _, row := range rows {
			if row.Iteration == models.NoIteration {
				row.IterTotal, row.IterDone = items, items-1
			}
		}
		for i := 1; i < items; i++ {
			c.NewSteps = append(c.NewSteps, &models.Step{
				WorkspaceID: ref.Workspace, RunID: ref.Run, StepID: "a", Iteration: i, Type: models.StepTypeConnector,
				Status: models.StepCompleted, Attempt: 3, Input: word, Output: word, FinishedAt: &now,
			})
			for number := range 2 {
				c.Attempts = append(c.Attempts, &models.StepAttempt{
					WorkspaceID: ref.Workspace, RunID: ref.Run, StepID: "a", Iteration: i, Number: number + 1,
					Status: models.StepFailed, Error: &models.StepError{Code: "boom", Message: string(word), Retryable: true},
				})
			}
		}
		return c, nil
	}))
	return ref
}

func TestATraceOfALongListIsShort(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := longList(b)
		steps, err := b.eng.Trace(b.ctx, ref)
		require.NoError(t, err)
		text, err := json.Marshal(steps)
		require.NoError(t, err)
		require.Len(t, steps, 1)
		require.Equal(t, 1999, steps[0].Iterations.Completed)
		require.Less(t, len(text), 1000)
		attempts, err := b.store.For(b.ws).Attempts(b.ctx, ref.Run)
		require.NoError(t, err)
		require.Empty(t, attempts)
	})
}
