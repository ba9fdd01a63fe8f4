package store_test

import (
	"context"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// ender opens a store and gives a function that has the server end every connection
// of it.
func ender(t *testing.T) (s *store.Store, end func() int) {
	t.Helper()
	ctx := context.Background()
	u, err := url.Parse(testkit.PostgresURL(t))
	require.NoError(t, err)
	admin, err := pgx.Connect(ctx, u.String())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, admin.Close(ctx)) })
	query := u.Query()
	name := query.Get("search_path")[:20] // random, and of this test
	query.Set("application_name", name)
	u.RawQuery = query.Encode()
	s, err = store.Open(ctx, store.Config{URL: u.String(), MaxConns: 4})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	_, err = s.Migrate(ctx)
	require.NoError(t, err)
	return s, func() int {
		var n int
		require.NoError(t, admin.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
			WHERE application_name = $1 AND backend_type = 'client backend'`, name).Scan(&n))
		return n
	}
}

// fill has as many connections in the pool as there can be.
func fill(t *testing.T, s *store.Store) {
	t.Helper()
	var group sync.WaitGroup
	ready := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Add(4)
	for range 4 {
		group.Go(func() {
			conn, err := s.DB().DB.Conn(context.Background())
			waiting.Done()
			if err != nil {
				t.Error(err)
				return
			}
			<-ready
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	waiting.Wait()
	close(ready)
	group.Wait()
}

func TestReadsOutliveTheirConnections(t *testing.T) {
	t.Parallel()
	if !testkit.HavePostgres() {
		return // SQLite has no connection to lose
	}
	ctx := context.Background()
	s, end := ender(t)
	a, ws := tenant(t, s)
	w, _ := createWorkflow(t, a, "Speed to lead")
	run := newRun(morning)
	run.WorkspaceID = ws
	save(t, s, &store.Changes{NewRuns: []*models.Run{run}})
	for name, read := range map[string]func() error{
		"ping":      func() error { return s.Ping(ctx) },
		"now":       func() error { _, err := s.Now(ctx); return err },
		"workflow":  func() error { return first(a.Workflow(ctx, w.ID)) },
		"version":   func() error { return first(a.Version(ctx, w.ID, 1)) },
		"workflows": func() error { return first(a.Workflows(ctx, store.WorkflowFilter{}, store.Page{})) },
		"run":       func() error { return first(a.Run(ctx, run.ID)) },
		"runs":      func() error { return first(a.Runs(ctx, store.RunFilter{}, store.Page{})) },
		"runs of two states": func() error {
			return first(a.Runs(ctx, store.RunFilter{Statuses: []models.RunStatus{"queued", "failed"}}, store.Page{}))
		},
		"steps":    func() error { return first(a.Steps(ctx, run.ID)) },
		"attempts": func() error { return first(a.Attempts(ctx, run.ID)) },
		"log":      func() error { return first(a.RunEvents(ctx, run.ID, 0, 1)) },
		"keys":     func() error { return first(a.Keys(ctx, store.Page{})) },
		"due":      func() error { return first(s.DueSteps(ctx, morning, 1)) },
		"schema":   func() error { return s.CheckSchema(ctx) },
	} {
		fill(t, s)
		require.Positive(t, end(), name)
		require.NoError(t, read(), name)
	}
}

func TestOnlyReadsAreRepeated(t *testing.T) {
	t.Parallel()
	for query, reads := range map[string]bool{
		"SELECT 1":              true,
		"(SELECT id FROM runs)": true,
		"SELECT * FROM (SELECT id FROM runs) AS branch UNION ALL SELECT 1": true,
		`INSERT INTO "agents" ("id") VALUES ('SELECT ') RETURNING "id"`:    false,
		`UPDATE "api_keys" SET revoked_at = now() RETURNING prefix`:        false,
		`DELETE FROM "agents"`: false,
		"WITH gone AS (DELETE FROM runs RETURNING id) SELECT id FROM gone": false,
	} {
		require.Equal(t, reads, store.OnlyReads(query), query)
	}
}
