package store

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// inRunTx runs fn in an ordinary transaction.
func (sqliteDialect) inRunTx(ctx context.Context, s *Store, fn func(tx *RunTx) error) error {
	return s.inTx(ctx, func(btx bun.Tx) error {
		return fn(&RunTx{tx: btx, batch: valuesBatch{btx}})
	})
}

// valuesBatch hands rows to the database as VALUES in the text of a statement:
// inside the process there is no round trip to save, and SQLite has no arrays.
// Nothing is locked: a transaction that writes is alone.
type valuesBatch struct{ tx bun.Tx }

func (b valuesBatch) lock(ctx context.Context, w lockWants) (l locked, err error) {
	if l.runs, err = b.runs(ctx, w.runs, runColumns); err != nil {
		return l, err
	}
	if l.steps, err = b.steps(ctx, w.steps); err != nil {
		return l, err
	}
	l.payloads, err = b.payloads(ctx, w.payloads)
	return l, err
}

func (b valuesBatch) payloads(ctx context.Context, keys []runKey) ([]*models.Run, error) {
	return b.runs(ctx, keys, []string{"workspace_id", "id", "payload"})
}

func (b valuesBatch) runs(ctx context.Context, keys []runKey, columns []string) ([]*models.Run, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	var rows []*models.Run
	q := b.tx.NewSelect().With("want", b.tx.NewValues(&keys)).Model(&rows).
		Join("JOIN want ON want.workspace_id = run.workspace_id AND want.id = run.id")
	for _, c := range columns {
		q = q.ColumnExpr("run.?", bun.Ident(c))
	}
	return rows, q.Scan(ctx)
}

func (b valuesBatch) steps(ctx context.Context, keys []stepKey) ([]*models.Step, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	var rows []*models.Step
	q := b.tx.NewSelect().With("want", b.tx.NewValues(&keys)).Model(&rows).
		Join("JOIN want ON want.workspace_id = step.workspace_id AND want.run_id = step.run_id " +
			"AND want.step_id = step.step_id AND want.iteration = step.iteration")
	q = stepColumns(q).ColumnExpr("CASE WHEN want.with_input THEN step.input END AS input")
	return rows, q.Scan(ctx)
}

func (b valuesBatch) save(ctx context.Context, c *Changes) error {
	if c.empty() {
		return nil
	}
	if err := insertAll(ctx, b.tx, c.NewRuns); err != nil {
		return err
	}
	if len(c.Runs) > 0 {
		q := b.tx.NewUpdate().With("data", b.tx.NewValues(&c.Runs).Column(append([]string{"workspace_id", "id"}, runMutable...)...)).
			Model((*models.Run)(nil)).TableExpr("data").
			Where("run.workspace_id = data.workspace_id").Where("run.id = data.id")
		if _, err := setAll(q, runMutable).Exec(ctx); err != nil {
			return err
		}
	}
	if err := insertAll(ctx, b.tx, c.NewSteps); err != nil {
		return err
	}
	if len(c.Steps) > 0 {
		keys := []string{"workspace_id", "run_id", "step_id", "iteration", "input"}
		q := b.tx.NewUpdate().With("data", b.tx.NewValues(&c.Steps).Column(append(keys, stepMutable...)...)).
			Model((*models.Step)(nil)).TableExpr("data").Set("input = COALESCE(data.input, step.input)").
			Where("step.workspace_id = data.workspace_id").Where("step.run_id = data.run_id").
			Where("step.step_id = data.step_id").Where("step.iteration = data.iteration")
		if _, err := setAll(q, stepMutable).Exec(ctx); err != nil {
			return err
		}
	}
	if err := saveRare(ctx, b.tx, c); err != nil {
		return err
	}
	if err := insertAll(ctx, b.tx, bunches(c.Events)); err != nil {
		return err
	}
	return b.saveBusEvents(ctx, c)
}

func setAll(q *bun.UpdateQuery, columns []string) *bun.UpdateQuery {
	for _, c := range columns {
		q = q.Set("? = data.?", bun.Ident(c), bun.Ident(c))
	}
	return q
}
