package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// TakeDueSchedules lets fn say which ticks up to limit due schedules have had, and
// when each is due next. Any number of processes may do it at once: a schedule is
// one's at a time, and a tick that is there already stays as it is. It gives the
// ticks that are new.
func (s *Store) TakeDueSchedules(ctx context.Context, now time.Time, limit int,
	fn func(*models.Trigger) (ticks []*models.Tick, next *time.Time),
) (fresh []*models.Tick, taken int, err error) {
	err = s.inTx(ctx, func(tx bun.Tx) error {
		var due []*models.Trigger
		fresh, taken = nil, 0
		q := tx.NewSelect().Model(&due).Where("enabled").Where("type = ?", models.TriggerOnSchedule).
			Where("next_fire_at <= ?", now).OrderExpr("next_fire_at").Limit(int64(limit))
		if err := s.dialect.forUpdate(q, "NO KEY UPDATE SKIP LOCKED").Scan(ctx); err != nil {
			return err
		}
		for _, t := range due {
			ticks, next := fn(t)
			if len(ticks) > 0 {
				var mine []*models.Tick
				if err := tx.NewInsert().Model(&ticks).On("CONFLICT DO NOTHING").Returning("*").Scan(ctx, &mine); err != nil {
					return err
				}
				fresh = append(fresh, mine...)
			}
			if _, err := tx.NewUpdate().Model(t).WherePK().Set("next_fire_at = ?", next).Exec(ctx); err != nil {
				return err
			}
		}
		taken = len(due)
		return nil
	})
	return fresh, taken, err
}

// TakeLateTicks gives up to limit ticks that have been pending for too long, which
// are the caller's until then.
func (s *Store) TakeLateTicks(ctx context.Context, now, until time.Time, limit int) ([]*models.Tick, error) {
	var late []*models.Tick
	err := s.inTx(ctx, func(tx bun.Tx) error {
		q := tx.NewSelect().Model(&late).Where("attend_at <= ?", now).OrderExpr("attend_at").Limit(int64(limit))
		if err := s.dialect.forUpdate(q, "NO KEY UPDATE SKIP LOCKED").Scan(ctx); err != nil || len(late) == 0 {
			return err
		}
		for _, t := range late {
			t.AttendAt = &until
			if _, err := tx.NewUpdate().Model(t).WherePK().Column("attend_at").Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	return late, err
}

// FinishTick records what became of a pending tick, and that its trigger fired. A
// tick that is finished stays as it is.
func (s *Store) FinishTick(ctx context.Context, t *models.Tick) error {
	return s.inTx(ctx, func(tx bun.Tx) error {
		t.AttendAt = nil
		res, err := tx.NewUpdate().Model(t).WherePK().Column("outcome", "reason", "run_id", "attend_at").
			Where("outcome = ?", models.TickPending).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 || t.Outcome != models.TickFired {
			return err
		}
		_, err = tx.NewUpdate().Model((*models.Trigger)(nil)).Set("last_fired_at = ?", t.DueAt).
			Where("workspace_id = ?", t.WorkspaceID).Where("id = ?", t.TriggerID).
			Where("last_fired_at IS NULL OR last_fired_at < ?", t.DueAt).Exec(ctx)
		return err
	})
}

// Ticks lists what became of the ticks of a trigger, the latest first. Those due at
// or after before are left out, unless it is zero.
func (t *Tenant) Ticks(ctx context.Context, trigger models.TriggerID, before time.Time, limit int) ([]*models.Tick, error) {
	var rows []*models.Tick
	q := t.s.db.NewSelect().Model(&rows).Where("workspace_id = ?", t.ws).Where("trigger_id = ?", trigger).
		OrderExpr("due_at DESC").Limit(int64(limit))
	if !before.IsZero() {
		q = q.Where("due_at < ?", before)
	}
	return rows, t.s.err(q.Scan(ctx))
}
