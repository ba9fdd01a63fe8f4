package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/10ex/flows/internal/ids"
)

// withSchema makes an empty schema and gives the URL of the database with it.
func withSchema(ctx context.Context, database string) (string, error) {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	schema := ids.New("bench")
	if _, err := conn.Exec(ctx, "CREATE SCHEMA "+schema); err != nil {
		return "", err
	}
	u, err := url.Parse(database)
	if err != nil {
		return "", fmt.Errorf("database url: %w", err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// lastEnd is when the last run of a workflow ended.
func lastEnd(ctx context.Context, database, wf string) (at time.Time, err error) {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return at, err
	}
	defer func() { _ = conn.Close(ctx) }()
	return at, conn.QueryRow(ctx, `SELECT max(finished_at) FROM runs WHERE workflow_id = $1`, wf).Scan(&at)
}
