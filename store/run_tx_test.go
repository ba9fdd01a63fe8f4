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
