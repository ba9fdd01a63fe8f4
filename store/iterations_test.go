package store_test

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

// listOf makes a run with a step over a list of n items, every tenth of which failed
// after two other attempts, and a step beside it that has the same.
func listOf(t *testing.T, s *store.Store, n int) *models.Run {
	t.Helper()
	run := newRun(morning)
	c := &store.Changes{NewRuns: []*models.Run{run}}
	for _, id := range []string{"list", "other"} {
		c.NewSteps = append(c.NewSteps, newStep(run, id, models.NoIteration, morning))
		for i := n - 1; i >= 0; i-- { // not in the order of the list
			row := newStep(run, id, i, morning)
			row.Status, row.AttendAt = models.StepCompleted, nil
			if i%10 == 3 {
				row.Status, row.Attempt, row.Error = models.StepFailed, 3, &models.StepError{Code: "http_500", Message: id}
				for number := 2; number >= 1; number-- {
					c.Attempts = append(c.Attempts, &models.StepAttempt{
						WorkspaceID: run.WorkspaceID, RunID: run.ID, StepID: id, Iteration: i, Number: number, Status: models.StepFailed,
					})
				}
			}
			c.NewSteps = append(c.NewSteps, row)
		}
	}
	save(t, s, c)
	return run
}

func placeOf(row *models.Step) string { return strconv.Itoa(row.Iteration) }

func TestIterationsComeInPagesInTheOrderOfTheList(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		run := listOf(t, s, 120)
		a := s.For(run.WorkspaceID)
		list := func(statuses ...models.StepStatus) (got []int) {
			f := store.IterationFilter{Run: run.ID, Step: "list", Statuses: statuses}
			for _, row := range pages(t, 50, func(p store.Page) ([]*models.Step, error) { return a.Iterations(ctx, f, p) }, placeOf) {
				require.Equal(t, "list", row.StepID)
				got = append(got, row.Iteration)
			}
			return got
		}
		var all, failed []int
		for i := range 120 {
			if all = append(all, i); i%10 == 3 {
				failed = append(failed, i)
			}
		}
		require.Equal(t, all, list())
		require.Equal(t, failed, list(models.StepFailed))
		require.Equal(t, all, list(models.StepFailed, models.StepCompleted))
		require.Empty(t, list(models.StepWaiting))

		rows, err := a.Iterations(ctx, store.IterationFilter{Run: run.ID, Step: "list"}, store.Page{After: "12", Limit: 1})
		require.NoError(t, err)
		require.Equal(t, models.StepFailed, rows[0].Status)
		require.JSONEq(t, `{"a":[1,2.50,"x"]}`, string(rows[0].Input))
		require.Equal(t, &models.StepError{Code: "http_500", Message: "list"}, rows[0].Error)
		for _, place := range []string{"x", "9223372036854775807"} {
			_, err = a.Iterations(ctx, store.IterationFilter{Run: run.ID, Step: "list"}, store.Page{After: place})
			require.ErrorIs(t, err, models.ErrInvalid, place)
		}

		attempts, err := a.IterationAttempts(ctx, run.ID, "list", []int{23, 4, 13})
		require.NoError(t, err)
		var got [][2]int
		for _, at := range attempts {
			require.Equal(t, "list", at.StepID)
			got = append(got, [2]int{at.Iteration, at.Number})
		}
		require.Empty(t, cmp.Diff([][2]int{{13, 1}, {13, 2}, {23, 1}, {23, 2}}, got))
		before := s.Statements()
		attempts, err = a.IterationAttempts(ctx, run.ID, "list", nil)
		require.NoError(t, err)
		require.Empty(t, attempts)
		require.Equal(t, before, s.Statements(), "nothing was asked for")
	})
}

func TestIterationsAreReadAlongThePrimaryKeys(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		run := listOf(t, s, 5000)
		a := s.For(run.WorkspaceID)
		failed := []models.StepStatus{models.StepFailed}
		some := make([]int, 200)
		for i := range some {
			some[i] = 10*i + 3
		}
		for name, sql := range map[string]string{
			"steps, first page":  a.IterationsSQL(store.IterationFilter{Run: run.ID, Step: "list"}, models.NoIteration, 50),
			"steps, later page":  a.IterationsSQL(store.IterationFilter{Run: run.ID, Step: "list"}, 4000, 50),
			"steps, of a status": a.IterationsSQL(store.IterationFilter{Run: run.ID, Step: "list", Statuses: failed}, 10, 50),
			"attempts of one":    a.IterationAttemptsSQL(run.ID, "list", some[:1]),
			"attempts of many":   a.IterationAttemptsSQL(run.ID, "list", some),
		} {
			if s.Embedded() {
				plan := strings.Join(explain(t, s, "EXPLAIN QUERY PLAN ", sql), "\n")
				require.Regexp(t, `^SEARCH \w+ .*USING (INDEX sqlite_autoindex_\w+|PRIMARY KEY) \(workspace_id=\? AND run_id=\? AND step_id=\? AND iteration`, plan, name)
				require.NotContains(t, plan, "TEMP B-TREE", name)
				continue
			}
			plan := strings.Join(explain(t, s, "EXPLAIN (COSTS OFF) ", sql), "\n")
			require.NotContains(t, plan, "Seq Scan", "%s\n%s", name, plan)
			require.Regexp(t, `(using|on) (steps_pkey|step_attempts_pkey)`, plan, name)
		}
	})
}
