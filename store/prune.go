package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// PruneRequests forgets up to limit answers kept since before, and tells how
// many. Any number of processes may do it at once: each takes rows no other has.
func (s *Store) PruneRequests(ctx context.Context, before time.Time, limit int) (int, error) {
	var keys []*models.IdempotencyKey
	err := s.inTx(ctx, func(tx bun.Tx) error {
		q := tx.NewSelect().Model(&keys).Column("workspace_id", "route", "key").
			Where("created_at < ?", before).OrderExpr("created_at").Limit(int64(limit))
		if err := s.dialect.forUpdate(q, "UPDATE SKIP LOCKED").Scan(ctx); err != nil || len(keys) == 0 {
			return err
		}
		_, err := tx.NewDelete().Model(&keys).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(keys), nil
}

// PruneRuns removes up to limit runs that ended before, with all that belongs to
// them, and tells how many. Any number of processes may do it at once: each takes
// runs no other has.
func (s *Store) PruneRuns(ctx context.Context, before time.Time, limit int) (int, error) {
	var keys []runKey
	err := s.inTx(ctx, func(tx bun.Tx) error {
		q := tx.NewSelect().Model((*models.Run)(nil)).Column("workspace_id", "id").
			Where("run.finished_at < ?", before).OrderExpr("run.finished_at").Limit(int64(limit))
		if err := s.dialect.forUpdate(q, "UPDATE SKIP LOCKED").Scan(ctx, &keys); err != nil || len(keys) == 0 {
			return err
		}
		for _, child := range []any{(*models.Step)(nil), (*models.StepAttempt)(nil), (*models.RunLog)(nil), (*models.Wait)(nil), (*models.AgentTurn)(nil)} {
			_, err := tx.NewDelete().With("gone", tx.NewValues(&keys)).Model(child).
				Where("(?TableAlias.workspace_id, ?TableAlias.run_id) IN (SELECT workspace_id, id FROM gone)").Exec(ctx)
			if err != nil {
				return err
			}
		}
		_, err := tx.NewDelete().With("gone", tx.NewValues(&keys)).Model((*models.Run)(nil)).
			Where("(run.workspace_id, run.id) IN (SELECT workspace_id, id FROM gone)").Exec(ctx)
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(keys), nil
}
