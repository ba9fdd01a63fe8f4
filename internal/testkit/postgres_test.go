package testkit

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestPostgresURLGivesEachCallItsOwnSchemaAndDropsIt(t *testing.T) {
	t.Parallel()
	if !HavePostgres() {
		return
	}

	schemas := make([]string, 2)
	// The inner test ends first, and its cleanups with it.
	t.Run("inner", func(t *testing.T) {
		for i := range schemas {
			conn := connect(t, PostgresURL(t))
			require.NoError(t, conn.QueryRow(t.Context(), "SELECT current_schema()").Scan(&schemas[i]))
			_, err := conn.Exec(t.Context(), "CREATE TABLE runs (id text)")
			require.NoError(t, err, "the schema is empty, so the table is not there")
		}
		require.NotEqual(t, schemas[0], schemas[1])
	})

	conn := connect(t, PostgresURL(t))
	var left int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_namespace WHERE nspname = ANY($1)", schemas).Scan(&left))
	require.Zero(t, left)
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.Background())) })
	return conn
}

func TestSchemaWordIsPlainAndShort(t *testing.T) {
	t.Parallel()
	require.Equal(t, "testrun_case_1__", schemaWord("TestRun/case 1:é"))
	require.Len(t, schemaWord("TestJoinOpensOnceWhenBranchesFinishTogetherAndOneOfThemIsSlow"), 40)
}
