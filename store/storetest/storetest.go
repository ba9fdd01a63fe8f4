// Package storetest runs one test on every database the product supports: SQLite
// always, PostgreSQL where there is one (with CI=true there has to be).
//
// It imports store and testkit, and only tests import it.
package storetest

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/store"
)

// Each runs test once a database, on an empty store with the current schema.
func Each(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, SQLite(t))
	})
	if testkit.HavePostgres() {
		t.Run("postgres", func(t *testing.T) {
			t.Parallel()
			test(t, Postgres(t))
		})
	}
}

// SQLite opens a store in a file of its own.
func SQLite(t testing.TB) *store.Store {
	t.Helper()
	return open(t, "sqlite:"+filepath.Join(t.TempDir(), "flows.db"))
}

// Postgres opens a store in a schema of its own.
func Postgres(t testing.TB) *store.Store {
	t.Helper()
	return open(t, testkit.PostgresURL(t))
}

func open(t testing.TB, url string) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), store.Config{URL: url})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	_, err = s.Migrate(context.Background())
	require.NoError(t, err)
	return s
}
