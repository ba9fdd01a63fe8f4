package engine_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// items gives all items of a step, read in pages of n.
func (b *bundle) items(ref store.RunRef, step string, n int, statuses ...models.StepStatus) []engine.IterationTrace {
	b.t.Helper()
	var all []engine.IterationTrace
	for p := (store.Page{Limit: n}); ; {
		rows, err := b.eng.Iterations(b.ctx, ref, step, statuses, p)
		require.NoError(b.t, err)
		if len(rows) == 0 {
			return all
		}
		all = append(all, rows...)
		p.After = strconv.Itoa(rows[len(rows)-1].Iteration)
	}
}

func TestIterationsTellWhatBecameOfEveryItem(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := b.start(b.workflow(`{"steps":[{"id":"f","type":"connector","connector":"core","action":"set","foreach":"payload.leads","max_parallel":4,
			"retry":{"max_attempts":3,"initial":"10m","max":"10m"},"input":{"lead":"{{ item }}"}}],"edges":[]}`), `{"leads":["a","b","c","d","e"]}`)
		work := map[int]*engine.Work{}
		for range 4 {
			w := b.take(b.eng, ref)
			work[w.Ref.Iteration] = w
		}
		ends := func(i int, req engine.FinishRequest) {
			req.Lease = work[i].Lease
			_, err := b.eng.Finish(b.ctx, req)
			require.NoError(t, err)
		}
		again := &models.StepError{Code: "http_500", Message: "not now", Retryable: true}
		ends(1, engine.FinishRequest{Error: again})
		const limit = "its connection allows 2 in 1m0s"
		require.NoError(t, b.eng.PutBack(b.ctx, work[2].Lease, 30*time.Second, limit))
		all := b.items(ref, "f", 2)
		require.Len(t, all, 5)
		for i, it := range all {
			require.Equal(t, i, it.Iteration)
			require.JSONEq(t, fmt.Sprintf(`{"lead":%q}`, "abcde"[i:i+1]), string(it.Input))
		}
		require.Equal(t, models.StepRunning, all[0].Status)
		require.Nil(t, all[0].DueAt, "it has begun")

		require.Equal(t, models.StepQueued, all[1].Status, "it is tried again")
		require.Equal(t, 2, all[1].Attempt)
		require.Equal(t, again, all[1].Error)
		require.True(t, all[1].DueAt.After(b.clock.Now().Add(time.Minute)))
		require.Len(t, all[1].Attempts, 2)
		require.Equal(t, 1, all[1].Attempts[0].Number)
		require.Equal(t, models.StepFailed, all[1].Attempts[0].Status)
		require.Equal(t, again, all[1].Attempts[0].Error)
		require.Equal(t, models.StepQueued, all[1].Attempts[1].Status)

		require.Equal(t, limit, all[2].Reason)
		require.True(t, b.clock.Now().Add(30*time.Second).Equal(*all[2].DueAt))
		require.Len(t, all[2].Attempts, 1, "it is the same attempt")

		require.Equal(t, models.StepPending, all[4].Status, "it is not its turn")
		require.Empty(t, all[4].Attempts)
		require.NotNil(t, all[4].Attempts)

		child := b.start(b.workflow(callee), `{}`)
		ends(3, engine.FinishRequest{Output: json.RawMessage(`{"run_id":"` + string(child.Run) + `"}`), AwaitRun: child.Run})
		waiting := b.items(ref, "f", 50, models.StepWaiting)
		require.Len(t, waiting, 1)
		require.Equal(t, 3, waiting[0].Iteration)

		fatal := &models.StepError{Code: "http_400", Message: "never"}
		ends(0, engine.FinishRequest{Error: fatal, Usage: json.RawMessage(`{"input_tokens":7}`)})
		failed := b.items(ref, "f", 50, models.StepFailed)
		require.Len(t, failed, 1)
		require.Equal(t, 0, failed[0].Iteration)
		require.Equal(t, fatal, failed[0].Error)
		require.Equal(t, fatal, failed[0].Attempts[0].Error)
		require.NotNil(t, failed[0].FinishedAt)
		require.JSONEq(t, `{"input_tokens":7}`, string(failed[0].Usage))
		others := b.items(ref, "f", 50, models.StepCancelled)
		require.Len(t, others, 4)
		require.Equal(t, "iteration 0 failed", others[0].Reason)
		require.Len(t, others[0].Attempts, 2, "what it had tried stays")
	})
}

func TestIterationsOfAPageAreReadInAFewStatements(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := longList(b)
		rows, err := b.eng.Iterations(b.ctx, ref, "a", nil, store.Page{Limit: 200, After: "100"})
		require.NoError(t, err) // and the version of the workflow is known from here
		require.Len(t, rows, 200)
		before := b.store.Statements()
		rows, err = b.eng.Iterations(b.ctx, ref, "a", nil, store.Page{Limit: 200, After: "100"})
		require.NoError(t, err)
		require.EqualValues(t, 3, b.store.Statements()-before, "the run, its items, their attempts")
		for i, it := range rows {
			require.Equal(t, 101+i, it.Iteration)
			require.Len(t, it.Attempts, 3)
			for j, at := range it.Attempts {
				require.Equal(t, j+1, at.Number)
			}
			require.Equal(t, "boom", it.Attempts[0].Error.Code)
		}
	})
}

func TestIterationsOfAStepThatHasNone(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		const list = `{"steps":[{"id":"f","type":"connector","connector":"core","action":"set","foreach":"1..3"},{"id":"g","type":"connector","connector":"core","action":"set"},
			{"id":"h","type":"connector","connector":"core","action":"set","foreach":"1..3"}],"edges":[{"from":"f","to":"g"},{"from":"g","to":"h"}]}`
		ref := b.start(b.workflow(list), `{}`)
		require.Empty(t, b.items(ref, "g", 50), "it goes over no list")
		require.Empty(t, b.items(ref, "h", 50), "the run has not come to it")
		b.work(b.eng, echo)
		require.Len(t, b.items(ref, "h", 50, models.StepCompleted), 3)
		run, err := b.eng.Rerun(b.ctx, ref, engine.RerunRequest{ID: models.RunID(ids.New(models.RunPrefix)), FromStep: "g"})
		require.NoError(t, err)
		require.Empty(t, b.items(store.RunRef{Workspace: b.ws, Run: run.ID}, "f", 50), "the earlier run has them")

		for name, of := range map[string]struct {
			ref  store.RunRef
			step string
		}{
			"no such step":         {ref, "nothing"},
			"no such run":          {store.RunRef{Workspace: b.ws, Run: models.RunID(ids.New(models.RunPrefix))}, "f"},
			"of another workspace": {store.RunRef{Workspace: models.WorkspaceID(ids.New(models.WorkspacePrefix)), Run: ref.Run}, "f"},
		} {
			_, err := b.eng.Iterations(b.ctx, of.ref, of.step, nil, store.Page{})
			require.ErrorIs(t, err, models.ErrNotFound, name)
		}
	})
}
