package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

func running(r *models.Run, id, token string, now time.Time) *models.Step {
	s := newStep(r, id, models.NoIteration, now)
	s.Status, s.LeaseToken, s.WorkerID = models.StepRunning, token, "w1"
	return s
}

func TestRenewTellsWhichLeasesAreHeld(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		now := time.Date(2026, 4, 5, 6, 7, 8, 0, time.UTC)
		run := newRun(now)
		ref := store.RunRef{Workspace: run.WorkspaceID, Run: run.ID}
		save(t, s, &store.Changes{NewRuns: []*models.Run{run}, NewSteps: []*models.Step{running(run, "a", "ta", now), running(run, "b", "tb", now)}})
		held := func(step, token string) store.HeldLease {
			return store.HeldLease{StepRef: store.StepRef{RunRef: ref, Step: step, Iteration: models.NoIteration}, Token: token}
		}
		until := now.Add(time.Minute)
		kept, err := s.RenewLeases(ctx, "w1", []store.HeldLease{held("a", "ta"), held("b", "other"), held("c", "tc")}, until)
		require.NoError(t, err)
		require.Equal(t, map[string]bool{"ta": true}, kept)
		due, err := s.DueSteps(ctx, now.Add(30*time.Second), 10)
		require.NoError(t, err)
		require.Len(t, due, 1, "the lease of b was not renewed")
		require.Equal(t, "b", due[0].Step)
		kept, err = s.RenewLeases(ctx, "w2", []store.HeldLease{held("a", "ta")}, until)
		require.NoError(t, err)
		require.Empty(t, kept, "another worker's")
	})
}

func TestTakeOverLeavesNothingToWaitFor(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		now := time.Date(2026, 4, 5, 6, 7, 8, 0, time.UTC)
		run := newRun(now)
		later := now.Add(time.Minute)
		save(t, s, &store.Changes{NewRuns: []*models.Run{run}, NewSteps: []*models.Step{
			running(run, "a", "ta", later), newStep(run, "b", models.NoIteration, later),
		}})
		require.NoError(t, s.TakeOver(ctx, now))
		due, err := s.DueSteps(ctx, now, 10)
		require.NoError(t, err)
		require.Len(t, due, 2)
	})
}

func TestRenewDoesNotWaitForTheEngine(t *testing.T) {
	t.Parallel()
	if !testkit.HavePostgres() {
		return // SQLite has one writer: there is nobody to wait for
	}
	s := storetest.Postgres(t)
	ctx := context.Background()
	now := time.Date(2026, 4, 5, 6, 7, 8, 0, time.UTC)
	run := newRun(now)
	ref := store.RunRef{Workspace: run.WorkspaceID, Run: run.ID}
	a := running(run, "a", "ta", now)
	save(t, s, &store.Changes{NewRuns: []*models.Run{run}, NewSteps: []*models.Step{a, running(run, "b", "tb", now)}})

	other, err := s.DB().BeginTx(ctx, nil)
	require.NoError(t, err)
	_, err = other.NewUpdate().Model((*models.Step)(nil)).Set("reason = 'x'").Where("run_id = ?", run.ID).Where("step_id = 'a'").Exec(ctx)
	require.NoError(t, err)
	kept, err := s.RenewLeases(ctx, "w1", []store.HeldLease{
		{StepRef: store.StepRef{RunRef: ref, Step: "a", Iteration: models.NoIteration}, Token: "ta"},
		{StepRef: store.StepRef{RunRef: ref, Step: "b", Iteration: models.NoIteration}, Token: "tb"},
	}, now.Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"ta": true, "tb": true}, kept)
	require.NoError(t, other.Rollback())
}
