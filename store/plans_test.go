package store_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

// planRuns is how many runs the plans are made for. The table in
// docs/reference/storage.md is of
//
//	go test ./store -run TestListsOfRunsAreServedByIndexes -v -plan-runs 1000000 -timeout 30m
var planRuns = flag.Int("plan-runs", 0, "how many runs TestListsOfRunsAreServedByIndexes looks among")

// runsToPlanFor is how many it takes for the planner to care. That of SQLite knows
// no numbers, as nobody ever analyses that database.
func runsToPlanFor(s *store.Store) int {
	switch {
	case *planRuns > 0:
		return *planRuns
	case s.Embedded():
		return 1000
	}
	return 20_000
}

// planData is what the filters of the test name.
type planData struct {
	tenant      *store.Tenant
	busy, quiet models.WorkflowID // with half of all runs, and with one in a thousand
	trigger     models.TriggerID
	lead        string // in the metadata of one run
	start, stop time.Time
}

// fillRuns makes a past: most runs are completed, what is open is young, one
// workflow has half of all, and another workspace has some as well.
func fillRuns(t *testing.T, s *store.Store, n int) planData {
	t.Helper()
	ctx := context.Background()
	rnd := rand.New(rand.NewPCG(1, 2))
	a, ws := tenant(t, s)
	_, other := tenant(t, s)
	d := planData{tenant: a, start: morning.Add(-90 * 24 * time.Hour), stop: morning, lead: "lead_" + fmt.Sprint(n/2)}
	workflows, triggers := make([]models.WorkflowID, 40), make([]models.TriggerID, 20)
	for i := range workflows {
		workflows[i] = models.WorkflowID(ids.New("wf"))
	}
	for i := range triggers {
		triggers[i] = models.TriggerID(ids.New("trg"))
	}
	d.busy, d.quiet, d.trigger = workflows[0], workflows[39], triggers[3]
	const batch = 10_000
	for from := 0; from < n; from += batch {
		var rows []*models.Run
		for i := from; i < min(from+batch, n); i++ {
			at := d.start.Add(time.Duration(float64(d.stop.Sub(d.start)) * float64(i) / float64(n))).Truncate(time.Microsecond)
			r := &models.Run{WorkspaceID: ws, ID: runIDAt(rnd, at), WorkflowVersion: 1, CreatedAt: at, StartedAt: &at, FinishedAt: &at, LastSeq: 9}
			switch p := rnd.IntN(1000); {
			case p == 0:
				r.WorkflowID = d.quiet
			case p < 500:
				r.WorkflowID = d.busy
			default:
				r.WorkflowID = workflows[1+rnd.IntN(38)]
			}
			switch p := rnd.IntN(1000); {
			case i > n-n/200: // open ones are young
				r.Status, r.FinishedAt = []models.RunStatus{models.RunQueued, models.RunRunning, models.RunWaiting}[rnd.IntN(3)], nil
			case i < n/100 && p < 10: // paused and forgotten long ago
				r.Status, r.FinishedAt = models.RunPaused, nil
			case p < 30:
				r.Status = models.RunFailed
			case p < 40:
				r.Status = models.RunCancelled
			default:
				r.Status = models.RunCompleted
			}
			switch p := rnd.IntN(100); {
			case p < 60:
				r.TriggerType, r.TriggerID = models.TriggerEvent, &triggers[rnd.IntN(10)]
			case p < 80:
				r.TriggerType, r.TriggerID = models.TriggerSchedule, &triggers[10+rnd.IntN(10)]
			case p < 98:
				r.TriggerType = models.TriggerManual
			case i < n/10: // nobody uses it any more
				r.TriggerType = models.TriggerMCP
			default:
				r.TriggerType = models.TriggerFlow
			}
			if i%2 == 0 {
				r.Metadata = map[string]string{"lead": fmt.Sprintf("lead_%d", i), "team": []string{"north", "south"}[rnd.IntN(2)]}
			}
			if rnd.IntN(20) == 0 {
				r.WorkspaceID = other
			}
			if r.Metadata["lead"] == d.lead {
				r.WorkspaceID = ws
			}
			rows = append(rows, r)
		}
		save(t, s, &store.Changes{NewRuns: rows})
	}
	if !s.Embedded() {
		_, err := s.DB().ExecContext(ctx, "ANALYZE runs")
		require.NoError(t, err)
	}
	return d
}

func TestListsOfRunsAreServedByIndexes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		d := fillRuns(t, s, runsToPlanFor(s))
		after, before := d.start.Add(40*24*time.Hour), d.start.Add(41*24*time.Hour)
		team := map[string]string{"team": "south"}
		type statuses = []models.RunStatus
		type types = []models.TriggerType
		for _, tc := range []struct {
			name   string
			filter store.RunFilter
		}{
			{"none", store.RunFilter{}},
			{"created", store.RunFilter{CreatedAfter: &after, CreatedBefore: &before}},
			{"workflow", store.RunFilter{WorkflowID: &d.busy}},
			{"quiet workflow", store.RunFilter{WorkflowID: &d.quiet}},
			{"workflow, created", store.RunFilter{WorkflowID: &d.busy, CreatedAfter: &after, CreatedBefore: &before}},
			{"workflow, status", store.RunFilter{WorkflowID: &d.busy, Statuses: statuses{"failed"}}},
			{"workflow, 3 statuses", store.RunFilter{WorkflowID: &d.quiet, Statuses: statuses{"failed", "paused", "cancelled"}}},
			{"workflow, type", store.RunFilter{WorkflowID: &d.busy, TriggerTypes: types{"manual"}}},
			{"status", store.RunFilter{Statuses: statuses{"completed"}}},
			{"rare status", store.RunFilter{Statuses: statuses{"paused"}}},
			{"2 statuses", store.RunFilter{Statuses: statuses{"failed", "cancelled"}}},
			{"open statuses", store.RunFilter{Statuses: statuses{"queued", "running", "waiting", "paused"}}},
			{"status, created", store.RunFilter{Statuses: statuses{"failed"}, CreatedAfter: &after, CreatedBefore: &before}},
			{"type", store.RunFilter{TriggerTypes: types{"schedule"}}},
			{"rare type", store.RunFilter{TriggerTypes: types{"mcp"}}},
			{"2 types", store.RunFilter{TriggerTypes: types{"mcp", "manual"}}},
			{"status, type", store.RunFilter{Statuses: statuses{"failed"}, TriggerTypes: types{"mcp"}}},
			{"3 statuses, 2 types", store.RunFilter{Statuses: statuses{"failed", "paused", "completed"}, TriggerTypes: types{"mcp", "flow"}}},
			{"all statuses and types", store.RunFilter{Statuses: models.RunStatuses, TriggerTypes: models.TriggerTypes}},
			{"trigger", store.RunFilter{TriggerID: &d.trigger}},
			{"trigger, status", store.RunFilter{TriggerID: &d.trigger, Statuses: statuses{"failed"}}},
			{"trigger, 2 statuses, created", store.RunFilter{TriggerID: &d.trigger, Statuses: statuses{"failed", "completed"}, CreatedBefore: &before}},
			{"metadata of one", store.RunFilter{Metadata: map[string]string{"lead": d.lead}}},
			{"metadata of none", store.RunFilter{Metadata: map[string]string{"lead": "nobody"}}},
			{"metadata of many", store.RunFilter{Metadata: team}},
			{"metadata, both", store.RunFilter{Metadata: map[string]string{"team": "south", "lead": d.lead}}},
			{"metadata of many, status", store.RunFilter{Metadata: team, Statuses: statuses{"failed"}}},
			{"metadata of one, 2 statuses", store.RunFilter{Metadata: map[string]string{"lead": d.lead}, Statuses: statuses{"failed", "completed"}}},
			{"metadata of one, workflow", store.RunFilter{Metadata: map[string]string{"lead": d.lead}, WorkflowID: &d.busy}},
		} {
			for _, page := range []store.Page{{Limit: 50}, {Limit: 50, After: ids.Lowest("run", d.stop.Add(-20*24*time.Hour))}} {
				name := tc.name
				if page.After != "" {
					name += ", later page"
				}
				sql := d.tenant.RunsSQL(tc.filter, page)
				if s.Embedded() {
					checkSQLitePlan(t, s, name, sql)
				} else {
					checkPostgresPlan(t, s, name, sql)
				}
			}
		}
	})
}

func explain(t *testing.T, s *store.Store, how, sql string) []string {
	t.Helper()
	rows, err := s.DB().DB.QueryContext(context.Background(), how+sql)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	var lines []string
	for rows.Next() {
		var line string
		dest := []any{&line}
		if s.Embedded() {
			var id, parent, unused int
			dest = []any{&id, &parent, &unused, &line}
		}
		require.NoError(t, rows.Scan(dest...))
		lines = append(lines, line)
	}
	require.NoError(t, rows.Err())
	return lines
}

func checkSQLitePlan(t *testing.T, s *store.Store, name, sql string) {
	t.Helper()
	plan := explain(t, s, "EXPLAIN QUERY PLAN ", sql)
	text := strings.Join(plan, "\n")
	for _, line := range plan {
		require.NotRegexp(t, `^SCAN runs? AS|^SCAN runs?$|^SCAN run\b`, line, "%s reads the table\n%s\n%s", name, sql, text)
		if !strings.Contains(sql, "UNION ALL") { // there no more than a page of each branch
			require.NotContains(t, line, "TEMP B-TREE", "%s sorts\n%s\n%s", name, sql, text)
		}
	}
	began := time.Now()
	read := len(explainRows(t, s, sql))
	t.Logf("| %s | %s | %d rows | %.1f ms |", name, summary(plan, regexp.MustCompile(`INDEX (\w+)`)), read, ms(time.Since(began)))
}

var (
	sortedRows = regexp.MustCompile(`Sort .*rows=(\d+) loops=1\)`)
	removed    = regexp.MustCompile(`Rows Removed by (?:Filter|Index Recheck): (\d+)`)
	times      = regexp.MustCompile(`(Planning|Execution) Time: ([0-9.]+) ms`)
)

func checkPostgresPlan(t *testing.T, s *store.Store, name, sql string) {
	t.Helper()
	plan := explain(t, s, "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) ", sql)
	text := strings.Join(plan, "\n")
	require.NotContains(t, text, "Seq Scan", "%s reads the table\n%s\n%s", name, sql, text)
	for _, m := range sortedRows.FindAllStringSubmatch(text, -1) {
		require.LessOrEqual(t, len(m[1]), 3, "%s sorts more than a page\n%s\n%s", name, sql, text)
	}
	skipped := 0
	for _, m := range removed.FindAllStringSubmatch(text, -1) {
		var n int
		_, _ = fmt.Sscan(m[1], &n)
		skipped += n
	}
	var took []string
	for _, m := range times.FindAllStringSubmatch(text, -1) {
		took = append(took, m[2])
	}
	t.Logf("| %s | %s | %d | %s ms |", name, summary(plan, regexp.MustCompile(`(?:using|on) (runs_\w+)`)), skipped, strings.Join(took, " + "))
}

// summary counts the indexes of a plan.
func summary(plan []string, index *regexp.Regexp) string {
	var order []string
	n := map[string]int{}
	for _, line := range plan {
		if m := index.FindStringSubmatch(line); m != nil {
			if n[m[1]]++; n[m[1]] == 1 {
				order = append(order, m[1])
			}
		}
	}
	for i, name := range order {
		if n[name] > 1 {
			order[i] = fmt.Sprintf("%s ×%d", name, n[name])
		}
	}
	return strings.Join(order, ", ")
}

func explainRows(t *testing.T, s *store.Store, sql string) []map[string]any {
	t.Helper()
	var rows []map[string]any
	require.NoError(t, s.DB().NewRaw(strings.ReplaceAll(sql, "?", "\\?")).Scan(context.Background(), &rows))
	return rows
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
