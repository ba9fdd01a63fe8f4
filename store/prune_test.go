package store_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

// endedRun makes a run that ended at a time, with everything a run can have.
func endedRun(t *testing.T, s *store.Store, ws models.WorkspaceID, status models.RunStatus, at time.Time) *models.Run {
	t.Helper()
	r := newRun(at)
	r.WorkspaceID, r.Status, r.StartedAt = ws, status, &at
	if status.Ended() {
		r.FinishedAt = &at
	}
	save(t, s, &store.Changes{
		NewRuns:  []*models.Run{r},
		NewSteps: []*models.Step{newStep(r, "a", models.NoIteration, at), newStep(r, "a", 0, at)},
		Attempts: []*models.StepAttempt{{WorkspaceID: ws, RunID: r.ID, StepID: "a", Iteration: -1, Number: 1, Status: models.StepFailed}},
		Events:   []*models.RunEvent{{WorkspaceID: ws, RunID: r.ID, Seq: 1, Type: models.EventRunQueued, At: at}},
		NewWaits: []*models.Wait{{WorkspaceID: ws, RunID: r.ID, StepID: "w", EventType: "lead.created", OpenedAt: at}},
	})
	return r
}

func count(t *testing.T, s *store.Store, table string) int64 {
	t.Helper()
	n, err := s.DB().NewSelect().TableExpr(table).Count(context.Background())
	require.NoError(t, err)
	return n
}

func TestOldRunsArePrunedOnceByManyProcesses(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, ws := tenant(t, s)
		_, other := tenant(t, s)
		limit := morning.Add(time.Hour)
		const old = 60
		for i := range old {
			endedRun(t, s, []models.WorkspaceID{ws, other}[i%2], []models.RunStatus{"completed", "failed", "cancelled"}[i%3], morning)
		}
		kept := []*models.Run{
			endedRun(t, s, ws, models.RunCompleted, limit), // not before it
			endedRun(t, s, ws, models.RunPaused, morning.Add(-time.Hour)),
			endedRun(t, s, ws, models.RunWaiting, morning.Add(-time.Hour)),
		}
		one, err := s.PruneRuns(ctx, limit, 1)
		require.NoError(t, err)
		require.Equal(t, 1, one)
		require.EqualValues(t, old-1+len(kept), count(t, s, "runs"))

		var group sync.WaitGroup
		var total atomic.Int64
		errs := make(chan error, 4)
		for range cap(errs) {
			group.Go(func() {
				for {
					n, err := s.PruneRuns(ctx, limit, 7)
					if total.Add(int64(n)); err != nil || n == 0 {
						errs <- err
						return
					}
				}
			})
		}
		group.Wait()
		for range cap(errs) {
			require.NoError(t, <-errs)
		}
		// One who finds the rest taken stops; whoever took it goes on.
		require.EqualValues(t, old-1, total.Load())
		for table, perRun := range map[string]int{"runs": 1, "steps": 2, "step_attempts": 1, "run_log": 1, "waits": 1} {
			require.EqualValues(t, perRun*len(kept), count(t, s, table), table)
		}
		for _, r := range kept {
			_, err := a.Run(ctx, r.ID)
			require.NoError(t, err)
		}
	})
}

func TestOldAnswersArePrunedOnceByManyProcesses(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, _ := tenant(t, s)
		const old = 50
		for i := range old {
			_, mine, err := a.BeginRequest(ctx, newRequest(fmt.Sprint("it's ", i)), morning)
			require.NoError(t, err)
			require.True(t, mine)
		}
		now := morning.Add(store.IdempotencyAge)
		_, _, err := a.BeginRequest(ctx, requestAt("young", now), now)
		require.NoError(t, err)
		n, err := s.PruneRequests(ctx, morning, 100)
		require.NoError(t, err)
		require.Zero(t, n, "those of that moment are not before it")

		var group sync.WaitGroup
		var total atomic.Int64
		errs := make(chan error, 4)
		for range cap(errs) {
			group.Go(func() {
				for {
					n, err := s.PruneRequests(ctx, now, 7)
					if total.Add(int64(n)); err != nil || n == 0 {
						errs <- err
						return
					}
				}
			})
		}
		group.Wait()
		for range cap(errs) {
			require.NoError(t, <-errs)
		}
		require.EqualValues(t, old, total.Load())
		require.EqualValues(t, 1, count(t, s, "idempotency_keys"))
	})
}
