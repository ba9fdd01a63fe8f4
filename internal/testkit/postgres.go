package testkit

import (
	"context"
	"crypto/rand"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// adminTimeout bounds the making and dropping of a schema.
const adminTimeout = 30 * time.Second

// HavePostgres tells whether tests on PostgreSQL run. Under CI=true they always
// do.
func HavePostgres() bool { return have(postgresVariable) }

// PostgresURL returns the URL of an empty schema that belongs to the test alone
// and is dropped when it ends. The schema is first in the search path of every
// connection made with the URL, so statements must not name one. Each call makes
// another schema. A connection still in a transaction when the test ends fails
// the test.
func PostgresURL(t testing.TB) string {
	t.Helper()
	u, err := url.Parse(need(t, postgresVariable))
	if err != nil {
		t.Fatalf("%s is no URL", postgresVariable) // the error would show the password
	}

	// The test's name is only for a person who looks at the server.
	schema := "test_" + strings.ToLower(rand.Text()[:12]) + "_" + schemaWord(t.Name())
	adminPostgres(t, u.String(), "CREATE SCHEMA "+pgx.Identifier{schema}.Sanitize())
	t.Cleanup(func() {
		adminPostgres(t, u.String(), "DROP SCHEMA "+pgx.Identifier{schema}.Sanitize()+" CASCADE")
	})

	query := u.Query()
	query.Set("search_path", schema)
	own := *u
	own.RawQuery = query.Encode()
	return own.String()
}

// schemaWord makes a part of a schema's name out of a test's, short enough that
// the whole stays under PostgreSQL's 63 bytes.
func schemaWord(name string) string {
	word := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
	return strings.ToLower(word[:min(len(word), 40)])
}

// adminPostgres runs one statement on a connection of its own. It is called from
// cleanups too, where the test's context has ended.
func adminPostgres(t testing.TB, url, statement string) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), adminTimeout)
	defer stop()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("connect to the test server: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "SET lock_timeout = '10s'"); err != nil {
		t.Fatalf("limit waits for locks: %v", err)
	}
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
