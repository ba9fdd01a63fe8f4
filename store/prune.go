package store

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// What is old goes in slices: each of these removes up to limit rows and tells how
// many. Any number of processes may do it at once, for each takes rows no other has.

// PruneRequests forgets answers kept since before.
func (s *Store) PruneRequests(ctx context.Context, before time.Time, limit int) (int, error) {
	return pruneRows[models.IdempotencyKey](ctx, s, limit, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("created_at < ?", before).OrderExpr("created_at")
	}, "workspace_id", "route", "key")
}

// PruneTriggerKeys forgets keys whose windows ended before.
func (s *Store) PruneTriggerKeys(ctx context.Context, before time.Time, limit int) (int, error) {
	return pruneRows[models.TriggerKey](ctx, s, limit, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("until < ?", before).OrderExpr("until")
	}, "workspace_id", "trigger_id", "key")
}

// PruneTicks forgets ticks made before, but for those that are still to be attended to.
func (s *Store) PruneTicks(ctx context.Context, before time.Time, limit int) (int, error) {
	return pruneRows[models.Tick](ctx, s, limit, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("created_at < ?", before).Where("attend_at IS NULL").OrderExpr("created_at")
	}, "workspace_id", "trigger_id", "due_at")
}

// PruneBudgetDays forgets what was spent on days before.
func (s *Store) PruneBudgetDays(ctx context.Context, before time.Time, limit int) (int, error) {
	return pruneRows[models.BudgetDay](ctx, s, limit, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("day < ?", models.Day(before)).OrderExpr("day")
	}, "workspace_id", "scope", "subject", "day")
}

// PruneBudgetHolds forgets holds that ended before and that nobody settled. Their day
// must be over: what they have set aside stays so.
func (s *Store) PruneBudgetHolds(ctx context.Context, before time.Time, limit int) (int, error) {
	return pruneRows[models.BudgetHold](ctx, s, limit, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("expires_at < ?", before).OrderExpr("expires_at")
	}, "workspace_id", "key", "scope")
}

// PruneRuns removes runs that ended before, with all that belongs to them.
func (s *Store) PruneRuns(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.pruneWhole(ctx, (*models.Run)(nil), limit, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("run.finished_at < ?", before).OrderExpr("run.finished_at")
	}, "run_id", (*models.Step)(nil), (*models.StepAttempt)(nil), (*models.RunLog)(nil), (*models.Wait)(nil), (*models.AgentTurn)(nil))
}

// PruneDeliveries removes deliveries that ended before, with their attempts.
func (s *Store) PruneDeliveries(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.pruneWhole(ctx, (*models.Delivery)(nil), limit, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("delivery.finished_at < ?", before).OrderExpr("delivery.finished_at")
	}, "delivery_id", (*models.DeliveryAttempt)(nil))
}

// PruneEvents removes events received before, with what became of them. Those that have
// not been matched yet stay.
func (s *Store) PruneEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.pruneWhole(ctx, (*models.Event)(nil), limit, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("event.received_at < ?", before).Where("event.attend_at IS NULL").OrderExpr("event.received_at")
	}, "event_id", (*models.Match)(nil))
}

// pruneRows removes rows that nothing belongs to: those that find finds, by their keys.
func pruneRows[T any](ctx context.Context, s *Store, limit int, find func(*bun.SelectQuery) *bun.SelectQuery, key ...string) (int, error) {
	var rows []*T
	err := s.inTx(ctx, func(tx bun.Tx) error {
		q := find(tx.NewSelect().Model(&rows).Column(key...)).Limit(int64(limit))
		if err := s.dialect.forUpdate(q, "UPDATE SKIP LOCKED").Scan(ctx); err != nil || len(rows) == 0 {
			return err
		}
		_, err := tx.NewDelete().Model(&rows).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("prune %T: %w", *new(T), err)
	}
	return len(rows), nil
}

// pruneWhole removes rows and what belongs to them: rows of parts that name them in a
// column.
func (s *Store) pruneWhole(ctx context.Context, whole any, limit int, find func(*bun.SelectQuery) *bun.SelectQuery, column string, parts ...any) (int, error) {
	var keys []struct {
		WorkspaceID string `bun:"workspace_id"`
		ID          string `bun:"id"`
	}
	err := s.inTx(ctx, func(tx bun.Tx) error {
		q := find(tx.NewSelect().Model(whole).Column("workspace_id", "id")).Limit(int64(limit))
		if err := s.dialect.forUpdate(q, "UPDATE SKIP LOCKED").Scan(ctx, &keys); err != nil || len(keys) == 0 {
			return err
		}
		remove := func(model any, column string) error {
			_, err := tx.NewDelete().With("gone", tx.NewValues(&keys)).Model(model).
				Where("(?TableAlias.workspace_id, ?TableAlias.?) IN (SELECT workspace_id, id FROM gone)", bun.Ident(column)).Exec(ctx)
			return err
		}
		for _, part := range parts {
			if err := remove(part, column); err != nil {
				return err
			}
		}
		return remove(whole, "id")
	})
	if err != nil {
		return 0, fmt.Errorf("prune %T: %w", whole, err)
	}
	return len(keys), nil
}
