package engine_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// strand makes a run what only a fault of the engine could: change is given its rows.
func (b *bundle) strand(ref store.RunRef, change func(run *models.Run, steps []*models.Step)) {
	b.t.Helper()
	require.NoError(b.t, b.store.WithRuns(b.ctx, []store.RunRef{ref}, func(tx *store.RunTx) (*store.Changes, error) {
		steps, err := tx.OpenSteps(b.ctx, ref)
		if err != nil {
			return nil, err
		}
		change(tx.Runs[ref], steps)
		return &store.Changes{Runs: []*models.Run{tx.Runs[ref]}, Steps: steps}, nil
	}))
}

func TestARunWithNothingOpenEndsAndNoOtherDoes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		now := b.clock.Now()
		over := func(_ *models.Run, steps []*models.Step) {
			for _, s := range steps {
				s.Status, s.FinishedAt, s.AttendAt = models.StepCompleted, &now, nil
			}
		}
		const wait = `{"steps":[{"id":"ask","type":"wait","approval":{}}],"edges":[]}`
		const list = `{"steps":[{"id":"a","type":"connector","connector":"core","action":"set","foreach":"[1, 2]","max_parallel":1}],"edges":[]}`
		fine := map[string]store.RunRef{
			"queued": b.start(b.workflow(diamond), `{"v":1}`), "waiting": b.start(b.workflow(wait), `{}`), "a list": b.start(b.workflow(list), `{}`),
		}
		begun := b.start(b.workflow(diamond), `{"v":1}`)
		b.claim(begun, "a")
		fine["running"] = begun
		paused := b.start(b.workflow(diamond), `{"v":1}`)
		lease := b.claim(paused, "a")
		_, err := b.eng.Pause(b.ctx, paused)
		require.NoError(t, err)
		_, err = b.eng.Finish(b.ctx, engine.FinishRequest{Lease: lease.Lease, Output: lease.Input})
		require.NoError(t, err)
		fine["paused"] = paused

		lost := b.start(b.workflow(diamond), `{"v":1}`)
		b.strand(lost, over)
		halted := b.start(b.workflow(diamond), `{"v":1}`)
		b.strand(halted, func(run *models.Run, steps []*models.Step) {
			over(run, steps)
			run.Halted, run.Error = true, &models.RunError{StepID: "a", Code: "boom", Message: "it broke"}
		})
		stuckList := b.start(b.workflow(list), `{}`)
		b.strand(stuckList, func(_ *models.Run, steps []*models.Step) {
			for _, s := range steps {
				if s.Iteration == 0 {
					s.Status, s.FinishedAt, s.AttendAt = models.StepCompleted, &now, nil
				}
			}
		})
		before := map[string]*models.Run{}
		for name, ref := range fine {
			before[name] = b.run(ref)
		}

		ended, err := b.eng.EndStranded(b.ctx)
		require.NoError(t, err)
		require.Equal(t, 3, ended)
		for ref, want := range map[store.RunRef]models.RunError{
			lost:      {Code: "internal", Message: "nothing was left to do and the run had not ended: a fault of the engine"},
			halted:    {StepID: "a", Code: "boom", Message: "it broke"},
			stuckList: {Code: "internal", Message: "nothing was left to do and the run had not ended: a fault of the engine"},
		} {
			run := b.run(ref)
			require.Equal(t, models.RunFailed, run.Status)
			require.Empty(t, cmp.Diff(&want, run.Error))
			require.Zero(t, run.ActiveSteps+run.WaitingSteps)
			events, err := b.store.For(b.ws).RunEvents(b.ctx, ref.Run, run.LastSeq-1, 10)
			require.NoError(t, err)
			require.Len(t, events, 1)
			require.Equal(t, models.EventRunFailed, events[0].Type)
		}
		require.Equal(t, models.StepCancelled, b.trace(stuckList)["a"].Status)
		for name, ref := range fine {
			require.Empty(t, cmp.Diff(before[name], b.run(ref)), name)
		}
		ended, err = b.eng.EndStranded(b.ctx)
		require.NoError(t, err)
		require.Zero(t, ended)
	})
}

// claim has a worker take a step that is in the queue.
func (b *bundle) claim(ref store.RunRef, step string) *engine.Work {
	b.t.Helper()
	all := b.queue.take()
	var rest []engine.Delivery
	var work *engine.Work
	for _, d := range all {
		if work != nil || d.Task.Run != string(ref.Run) || d.Task.Step != step {
			rest = append(rest, d)
			continue
		}
		var err error
		work, err = b.eng.Claim(b.ctx, engine.ClaimRequest{Task: d.Task, Worker: "w1"})
		require.NoError(b.t, err)
	}
	b.queue.Enqueue(b.ctx, rest)
	require.NotNil(b.t, work, "step %s cannot begin", step)
	return work
}
