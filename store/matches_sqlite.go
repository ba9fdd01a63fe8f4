package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

func (sqliteDialect) listening() string {
	return `SELECT named.value,
EXISTS (SELECT 1 FROM triggers WHERE triggers.workspace_id = $1 AND triggers.event_type = named.value AND triggers.enabled AND triggers.type = 'event'),
EXISTS (SELECT 1 FROM waits WHERE waits.workspace_id = $1 AND waits.event_type = named.value)
FROM json_each($2) AS named`
}

func (sqliteDialect) claimEvents(ctx context.Context, t *Tenant, events []models.EventID, now, until time.Time) (rows []*models.Event, err error) {
	err = t.s.alone(func(db bun.IDB) error { return t.claimQuery(db, events, now, until).Scan(ctx, &rows) })
	return rows, err
}

func (t *Tenant) claimQuery(db bun.IDB, events []models.EventID, now, until time.Time) *bun.UpdateQuery {
	return db.NewUpdate().Model((*models.Event)(nil)).Set("claimed_until = ?", until).
		Where("event.workspace_id = ?", t.ws).Where("event.id IN (?)", bun.List(events)).Where("event.attend_at IS NOT NULL").
		Where("(event.claimed_until IS NULL OR event.claimed_until <= ?)", now).Returning("*")
}

func (sqliteDialect) recordMatches(ctx context.Context, t *Tenant, r matchRecord) error {
	return t.s.inTx(ctx, func(tx bun.Tx) error {
		if len(r.matches) > 0 {
			if _, err := tx.NewInsert().Model(&r.matches).On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
				return err
			}
		}
		if len(r.fired) > 0 {
			_, err := tx.NewUpdate().Model((*models.Trigger)(nil)).Set("last_fired_at = ?", r.now).
				Where("trigger.workspace_id = ?", t.ws).Where("trigger.id IN (?)", bun.List(r.fired)).
				Where("(trigger.last_fired_at IS NULL OR trigger.last_fired_at < ?)", r.now.Add(-firedEvery)).Exec(ctx)
			if err != nil {
				return err
			}
		}
		if len(r.done) == 0 {
			return nil
		}
		_, err := tx.NewUpdate().Model((*models.Event)(nil)).Set("attend_at = NULL").
			Where("event.workspace_id = ?", t.ws).Where("event.id IN (?)", bun.List(r.done)).
			Where("event.attend_at IS NOT NULL").Exec(ctx)
		return err
	})
}
