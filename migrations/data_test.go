package migrations_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/migrate"

	"github.com/10ex/flows/migrations"
	"github.com/10ex/flows/models"
)

// migrateTo brings an empty database to the schema right before a migration.
func migrateTo(t *testing.T, url string, d database, before string) {
	t.Helper()
	files, db := migrations.Postgres(), bun.NewDB(d.db, pgdialect.New())
	if strings.HasPrefix(url, "sqlite:") {
		files, db = migrations.SQLite(), bun.NewDB(d.db, sqlitedialect.New())
	}
	early := fstest.MapFS{}
	names, err := fs.Glob(files, "*")
	require.NoError(t, err)
	for _, name := range names {
		if name < before {
			data, err := fs.ReadFile(files, name)
			require.NoError(t, err)
			early[name] = &fstest.MapFile{Data: data}
		}
	}
	require.NotEmpty(t, early)
	all := migrate.NewMigrations()
	require.NoError(t, all.Discover(early))
	m := migrate.NewMigrator(db, all, migrate.WithMarkAppliedOnSuccess(true))
	require.NoError(t, m.Init(t.Context()))
	_, err = m.Migrate(t.Context())
	require.NoError(t, err)
}

func TestLogsOfOldRunsAreKept(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, d database) {
		migrateTo(t, url, d, "20261124045000")
		_, err := d.db.ExecContext(t.Context(), `INSERT INTO run_events (workspace_id, run_id, seq, type, step_id, at, data) VALUES
			('ws_1', 'run_1', 1, 'run.queued', '', '2026-11-24 09:00:00+00:00', NULL),
			('ws_1', 'run_1', 2, 'step.queued', 'a', '2026-11-24 09:00:00+00:00', '{"n":[1, null],"at":"ü"}'),
			('ws_2', 'run_1', 1, 'run.queued', '', '2026-11-24 10:00:00+00:00', '{}')`)
		require.NoError(t, err)
		s := openStore(t, url)
		_, err = s.Migrate(t.Context())
		require.NoError(t, err)

		log, err := s.For("ws_1").RunEvents(t.Context(), "run_1", 0, 10)
		require.NoError(t, err)
		require.Len(t, log, 2)
		require.Empty(t, cmp.Diff(&models.RunEvent{
			WorkspaceID: "ws_1", RunID: "run_1", Seq: 1, Type: models.EventRunQueued, At: log[0].At,
		}, log[0]))
		require.Equal(t, "2026-11-24T09:00:00Z", log[0].At.UTC().Format("2006-01-02T15:04:05Z07:00"))
		require.Equal(t, "a", log[1].StepID)
		require.JSONEq(t, `{"n":[1,null],"at":"ü"}`, string(log[1].Data))
		log, err = s.For("ws_2").RunEvents(t.Context(), "run_1", 0, 10)
		require.NoError(t, err)
		require.Len(t, log, 1)
		require.JSONEq(t, `{}`, string(log[0].Data))
	})
}
