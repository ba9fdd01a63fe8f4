package store_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

func newRun(now time.Time) *models.Run {
	return &models.Run{
		WorkspaceID: models.WorkspaceID(ids.New("ws")), ID: models.RunID(ids.New("run")),
		WorkflowID: models.WorkflowID(ids.New("wf")), WorkflowVersion: 3, Status: models.RunQueued,
		ActiveSteps: 2, LastSeq: 1, TriggerType: models.TriggerManual,
		Payload:  json.RawMessage(`{"lead":{"id":"l_1","note":"it's \"quoted\" ? \\ ü"}}`),
		Metadata: map[string]string{"team": "sales"}, CreatedAt: now,
	}
}

func newStep(r *models.Run, id string, iteration int, now time.Time) *models.Step {
	return &models.Step{
		WorkspaceID: r.WorkspaceID, RunID: r.ID, StepID: id, Iteration: iteration, Type: models.StepTypeConnector,
		Status: models.StepQueued, Attempt: 1, DueAt: &now, AttendAt: &now, QueuedAt: &now, Input: json.RawMessage(`{"a":[1,2.50,"x"]}`),
	}
}

func want(ref store.RunRef, steps ...string) []store.StepWant {
	var out []store.StepWant
	for _, id := range steps {
		out = append(out, store.StepWant{StepRef: store.StepRef{RunRef: ref, Step: id, Iteration: models.NoIteration}, Input: true})
	}
	return out
}

func TestRunTxGivesBackWhatWasSaved(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		now := time.Date(2026, 4, 5, 6, 7, 8, 123456000, time.UTC)
		run, other := newRun(now), newRun(now)
		ref, otherRef := store.RunRef{Workspace: run.WorkspaceID, Run: run.ID}, store.RunRef{Workspace: other.WorkspaceID, Run: other.ID}
		a, a0, b := newStep(run, "a", models.NoIteration, now), newStep(run, "a", 0, now), newStep(other, "a", models.NoIteration, now)
		event := &models.RunEvent{WorkspaceID: run.WorkspaceID, RunID: run.ID, Seq: 1, Type: models.EventRunQueued, At: now, Data: json.RawMessage(`{}`)}
		wait := &models.Wait{WorkspaceID: run.WorkspaceID, RunID: run.ID, StepID: "w", EventType: "lead.created", OpenedAt: now}

		require.NoError(t, s.WithRuns(ctx, []store.RunRef{ref, otherRef}, func(tx *store.RunTx) (*store.Changes, error) {
			require.Empty(t, tx.Runs, "neither exists yet")
			return &store.Changes{
				NewRuns: []*models.Run{run, other}, NewSteps: []*models.Step{a, a0, b},
				Events: []*models.RunEvent{event}, NewWaits: []*models.Wait{wait},
			}, nil
		}))

		lease := now.Add(20 * time.Second)
		require.NoError(t, s.WithRuns(ctx, []store.RunRef{otherRef, ref}, func(tx *store.RunTx) (*store.Changes, error) {
			require.Len(t, tx.Runs, 2)
			require.Nil(t, tx.Runs[ref].Payload, "payloads are read only where they are needed")
			require.NoError(t, tx.LoadPayloads(ctx, []store.RunRef{ref}))
			require.Empty(t, cmp.Diff(run, tx.Runs[ref]))

			rows, err := tx.Steps(ctx, want(ref, "a", "nope"))
			require.NoError(t, err)
			require.Empty(t, cmp.Diff([]*models.Step{a}, rows))

			r, st := *tx.Runs[ref], *rows[0]
			r.Status, r.ActiveSteps, r.StartedAt, r.LastSeq = models.RunRunning, 1, &now, 2
			r.Error = &models.RunError{StepID: "a", Code: "x", Message: "why"}
			st.Status, st.AttendAt, st.LeaseToken, st.StartedAt = models.StepRunning, &lease, "tok", &now
			st.Taken = []string{"b"}
			st.Error = &models.StepError{Code: "c", Message: "m"}
			run, a = &r, &st
			return &store.Changes{
				Runs: []*models.Run{&r}, Steps: []*models.Step{&st},
				Attempts:    []*models.StepAttempt{{WorkspaceID: run.WorkspaceID, RunID: run.ID, StepID: "a", Iteration: -1, Number: 1, Status: models.StepFailed, StartedAt: &now}},
				ClosedWaits: []store.StepRef{{RunRef: ref, Step: "w", Iteration: models.NoIteration}},
			}, nil
		}))

		require.NoError(t, s.WithRuns(ctx, []store.RunRef{ref}, func(tx *store.RunTx) (*store.Changes, error) {
			require.NoError(t, tx.LoadPayloads(ctx, []store.RunRef{ref}))
			require.Empty(t, cmp.Diff(run, tx.Runs[ref]))
			rows, err := tx.Steps(ctx, want(ref, "a"))
			require.NoError(t, err)
			require.Empty(t, cmp.Diff([]*models.Step{a}, rows))
			iters, err := tx.Iterations(ctx, ref, "a")
			require.NoError(t, err)
			require.Len(t, iters, 1)
			open, err := tx.OpenSteps(ctx, ref)
			require.NoError(t, err)
			require.Len(t, open, 2)
			return &store.Changes{}, nil
		}))
	})
}

// A column is left out of a statement where no row has anything in it, so each is
// tried alone: written, and taken away again.
func TestEveryColumnIsWrittenAndClearedByItself(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		now := time.Date(2026, 4, 5, 6, 7, 8, 123456000, time.UTC)
		key := "k"
		for name, set := range map[string]func(r *models.Run, st *models.Step){
			"halted":        func(r *models.Run, _ *models.Step) { r.Halted = true },
			"waiting_steps": func(r *models.Run, _ *models.Step) { r.WaitingSteps = 2 },
			"run error": func(r *models.Run, _ *models.Step) {
				r.Error = &models.RunError{StepID: "a", Code: "x", Message: "why"}
			},
			"hold":          func(r *models.Run, _ *models.Step) { r.Hold = models.HoldConcurrency },
			"slot_key":      func(r *models.Run, _ *models.Step) { r.SlotKey = &key },
			"slot_seq":      func(r *models.Run, _ *models.Step) { r.SlotSeq = 3 },
			"begin_at":      func(r *models.Run, _ *models.Step) { r.BeginAt = &now },
			"deadline_at":   func(r *models.Run, _ *models.Step) { r.DeadlineAt = &now },
			"paused_at":     func(r *models.Run, _ *models.Step) { r.PausedAt = &now },
			"run attend_at": func(r *models.Run, _ *models.Step) { r.AttendAt = &now },
			"started_at":    func(r *models.Run, _ *models.Step) { r.StartedAt = &now },
			"crashes":       func(_ *models.Run, st *models.Step) { st.Crashes = 1 },
			"due_at":        func(_ *models.Run, st *models.Step) { st.DueAt = &now },
			"attend_at":     func(_ *models.Run, st *models.Step) { st.AttendAt = &now },
			"effect_at":     func(_ *models.Run, st *models.Step) { st.EffectAt = &now },
			"iterations": func(_ *models.Run, st *models.Step) {
				st.IterTotal, st.IterNext, st.IterActive, st.IterDone = 4, 3, 2, 1
			},
			"output":      func(_ *models.Run, st *models.Step) { st.Output = json.RawMessage(`{"a":1}`) },
			"error":       func(_ *models.Run, st *models.Step) { st.Error = &models.StepError{Code: "c", Message: "m"} },
			"taken":       func(_ *models.Run, st *models.Step) { st.Taken = []string{"b"} },
			"reason":      func(_ *models.Run, st *models.Step) { st.Reason = "it was not taken" },
			"usage":       func(_ *models.Run, st *models.Step) { st.Usage = json.RawMessage(`{"turns":1}`) },
			"finished_at": func(_ *models.Run, st *models.Step) { st.FinishedAt = &now },
			"wake_at":     func(_ *models.Run, st *models.Step) { st.WakeAt = &now },
		} {
			blankRun := &models.Run{
				WorkspaceID: "ws_1", ID: newRun(now).ID, WorkflowID: "wf_1", WorkflowVersion: 1, WorkflowName: "n",
				Status: models.RunQueued, TriggerType: models.TriggerManual, CreatedAt: now,
			}
			blankStep := &models.Step{
				WorkspaceID: "ws_1", RunID: blankRun.ID, StepID: "a", Iteration: models.NoIteration, Type: models.StepTypeConnector, Status: models.StepQueued,
			}
			ref := store.RunRef{Workspace: blankRun.WorkspaceID, Run: blankRun.ID}
			fullRun, fullStep := *blankRun, *blankStep
			set(&fullRun, &fullStep)
			for i, rows := range []struct {
				run  *models.Run
				step *models.Step
			}{{&fullRun, &fullStep}, {blankRun, blankStep}, {&fullRun, &fullStep}} {
				c := &store.Changes{Runs: []*models.Run{rows.run}, Steps: []*models.Step{rows.step}}
				if i == 0 {
					c = &store.Changes{NewRuns: c.Runs, NewSteps: c.Steps}
				}
				require.NoError(t, s.WithRuns(ctx, []store.RunRef{ref}, func(*store.RunTx) (*store.Changes, error) { return c, nil }), name)
				require.NoError(t, s.WithRuns(ctx, []store.RunRef{ref}, func(tx *store.RunTx) (*store.Changes, error) {
					steps, err := tx.Steps(ctx, want(ref, "a"))
					require.NoError(t, err)
					require.Empty(t, cmp.Diff(rows.run, tx.Runs[ref]), name)
					require.Empty(t, cmp.Diff([]*models.Step{rows.step}, steps), name)
					return nil, nil //nolint:nilnil // there is nothing to save
				}), name)
			}
		}
	})
}

func TestAFailedTransactionLeavesNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		run := newRun(time.Now().UTC().Truncate(time.Microsecond))
		ref := store.RunRef{Workspace: run.WorkspaceID, Run: run.ID}
		err := s.WithRuns(ctx, nil, func(tx *store.RunTx) (*store.Changes, error) {
			return &store.Changes{NewRuns: []*models.Run{run, newRun(run.CreatedAt), run}}, nil
		})
		require.ErrorIs(t, err, models.ErrConflict)
		require.NoError(t, s.WithRuns(ctx, []store.RunRef{ref}, func(tx *store.RunTx) (*store.Changes, error) {
			require.Empty(t, tx.Runs)
			return &store.Changes{}, nil
		}))
	})
}
