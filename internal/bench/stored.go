package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// store fills the database with copies of the latest completed run of a workflow:
// what a fleet has after a while. The copies are older than every other run.
func (p *product) store(ctx context.Context, wf string, runs int) error {
	conn, err := pgx.Connect(ctx, p.database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var run string
	if err := conn.QueryRow(ctx, "SELECT id FROM runs WHERE workflow_id = $1 AND status = 'completed' ORDER BY id DESC LIMIT 1", wf).Scan(&run); err != nil {
		return fmt.Errorf("a run to copy: %w", err)
	}
	//nolint:unqueryvet // a copy has all columns
	const copyOf = `INSERT INTO %[1]s SELECT copy.* FROM %[1]s AS row, generate_series(1, $2::int) AS n,
LATERAL jsonb_populate_record(row, jsonb_build_object('%[2]s', 'run_0' || lpad(n::text, 25, '0'))) AS copy WHERE row.%[2]s = $1`
	for _, table := range []struct{ name, key string }{{"runs", "id"}, {"steps", "run_id"}, {"run_log", "run_id"}} {
		if _, err := conn.Exec(ctx, fmt.Sprintf(copyOf, table.name, table.key), run, runs); err != nil { //nolint:unqueryvet // as above
			return fmt.Errorf("copies in %s: %w", table.name, err)
		}
		// What the server would do by itself after so much at once is not a cost of runs.
		if _, err := conn.Exec(ctx, "VACUUM ANALYZE "+table.name); err != nil {
			return fmt.Errorf("vacuum of %s: %w", table.name, err)
		}
	}
	if _, err := conn.Exec(ctx, "CHECKPOINT"); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}
