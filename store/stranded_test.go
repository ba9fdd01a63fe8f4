package store_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

func TestStrandedRunsAreFoundOnAWalkOverWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		var want []store.RunRef
		c := &store.Changes{}
		for range 3 {
			_, ws := tenant(t, s)
			add := func(status models.RunStatus, trigger models.TriggerType, stranded bool, steps ...*models.Step) {
				run := newRun(morning)
				run.WorkspaceID, run.Status, run.TriggerType = ws, status, trigger
				if status.Ended() {
					run.FinishedAt = new(morning)
				}
				for _, st := range steps {
					st.WorkspaceID, st.RunID = ws, run.ID
				}
				c.NewRuns, c.NewSteps = append(c.NewRuns, run), append(c.NewSteps, steps...)
				if stranded {
					want = append(want, store.RunRef{Workspace: ws, Run: run.ID})
				}
			}
			step := func(iteration, total int, status models.StepStatus) *models.Step {
				st := newStep(&models.Run{}, "a", iteration, morning)
				if st.Status, st.IterTotal = status, total; status == models.StepPending || status.Ended() {
					st.AttendAt = nil
				}
				return st
			}
			const self = models.NoIteration
			for _, trigger := range []models.TriggerType{models.TriggerManual, models.TriggerEvent} {
				for range 3 {
					add(models.RunRunning, trigger, false, step(self, 0, models.StepRunning))
					add(models.RunRunning, trigger, true, step(self, 0, models.StepCompleted))
				}
				add(models.RunQueued, trigger, false, step(self, 0, models.StepQueued))
				add(models.RunQueued, trigger, true)
				add(models.RunWaiting, trigger, false, step(self, 0, models.StepWaiting))
				add(models.RunWaiting, trigger, true, step(self, 0, models.StepPending))
				add(models.RunRunning, trigger, false, step(self, 2, models.StepRunning), step(0, 0, models.StepCompleted), step(1, 0, models.StepQueued))
				add(models.RunRunning, trigger, true, step(self, 2, models.StepRunning), step(0, 0, models.StepCompleted), step(1, 0, models.StepPending))
				add(models.RunPaused, trigger, false, step(self, 0, models.StepCompleted))
				add(models.RunCompleted, trigger, false, step(self, 0, models.StepCompleted))
			}
		}
		save(t, s, c)

		var got []store.RunRef
		total := 0
		mark := store.StrandedMark{}
		for {
			found, n, next, err := s.Stranded(ctx, mark, 3)
			require.NoError(t, err)
			require.LessOrEqual(t, n, 3)
			got, total, mark = append(got, found...), total+n, next
			if mark == (store.StrandedMark{}) {
				break
			}
		}
		require.Equal(t, 3*2*12, total, "every run under way is looked at once")
		require.Empty(t, cmp.Diff(want, got, cmpopts.SortSlices(func(a, b store.RunRef) bool { return a.Run < b.Run })))
	})
}

func TestTheLookForStrandedRunsIsServedByIndexes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		fillRuns(t, s, runsToPlanFor(s))
		sql := s.StrandedSQL(200)
		if s.Embedded() {
			plan := strings.Join(explain(t, s, "EXPLAIN QUERY PLAN ", sql), "\n")
			require.Contains(t, plan, "runs_by_status (workspace_id=? AND status=? AND (trigger_type,id)>(?,?))")
			require.Contains(t, plan, "SEARCH step USING INDEX")
			return
		}
		plan := strings.Join(explain(t, s, "EXPLAIN ", sql), "\n")
		require.Contains(t, plan, "runs_by_status on runs")
		require.Contains(t, plan, "ROW(trigger_type, id) >")
		require.Contains(t, plan, "steps_pkey on steps")
		require.NotContains(t, plan, "Seq Scan on")
	})
}
