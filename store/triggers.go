package store

import (
	"context"
	"reflect"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// TriggerFilter restricts a list of triggers. What is empty does not restrict.
type TriggerFilter struct {
	WorkflowID *models.WorkflowID
	Type       models.TriggerKind
	TargetType models.TargetType
	EventType  string
	Enabled    *bool
}

// CreateTrigger keeps a new trigger. It sets the workspace.
func (t *Tenant) CreateTrigger(ctx context.Context, trg *models.Trigger) error {
	trg.WorkspaceID = t.ws
	return t.s.alone(func(db bun.IDB) error { return t.s.insert(ctx, db, trg, "trigger", trg.ID) })
}

// Trigger gives a trigger.
func (t *Tenant) Trigger(ctx context.Context, id models.TriggerID) (*models.Trigger, error) {
	trg := new(models.Trigger)
	err := t.mine(t.s.db.NewSelect().Model(trg)).Where("trigger.id = ?", id).Scan(ctx)
	if err != nil {
		return nil, named("trigger", id, t.s.err(err))
	}
	return trg, nil
}

// Triggers lists triggers, the newest first.
func (t *Tenant) Triggers(ctx context.Context, f TriggerFilter, p Page) ([]*models.Trigger, error) {
	if err := checkText(f); err != nil {
		return nil, err
	}
	var rows []*models.Trigger
	q := t.s.db.NewSelect().Model(&rows)
	if f.WorkflowID != nil {
		q = q.Where("trigger.workflow_id = ?", *f.WorkflowID)
	}
	if f.Type != "" {
		q = q.Where("trigger.type = ?", f.Type)
	}
	if f.TargetType != "" {
		q = q.Where("trigger.target_type = ?", f.TargetType)
	}
	if f.EventType != "" {
		q = q.Where("trigger.event_type = ?", f.EventType)
	}
	if f.Enabled != nil {
		q = q.Where("trigger.enabled = ?", *f.Enabled)
	}
	return rows, t.page(ctx, q, p)
}

// UpdateTrigger lets fn change a trigger. The row is locked meanwhile, and fn must
// not wait for anything. An error of fn is returned and nothing is changed. What is on
// its way to the address of one that is disabled ends.
func (t *Tenant) UpdateTrigger(ctx context.Context, id models.TriggerID, now time.Time, fn func(*models.Trigger) error) (*models.Trigger, error) {
	var trg *models.Trigger
	err := t.s.inTx(ctx, func(tx bun.Tx) error {
		before := new(models.Trigger)
		q := t.s.dialect.forUpdate(t.mine(tx.NewSelect().Model(before)).Where("trigger.id = ?", id), "NO KEY UPDATE")
		if err := q.Scan(ctx); err != nil {
			return err
		}
		after := *before
		if err := fn(&after); err != nil {
			return err
		}
		// Who a trigger is does not change.
		after.WorkspaceID, after.ID, after.CreatedAt, after.UpdatedAt = before.WorkspaceID, before.ID, before.CreatedAt, before.UpdatedAt
		if trg = &after; reflect.DeepEqual(before, &after) {
			return nil
		}
		if err := checkText(trg); err != nil {
			return err
		}
		trg.UpdatedAt = now
		if _, err := tx.NewUpdate().Model(trg).WherePK().Exec(ctx); err != nil || trg.Enabled {
			return err
		}
		return t.cancelDeliveries(ctx, tx, trg.ID, "the trigger is disabled", now)
	})
	if err != nil {
		return nil, named("trigger", id, err)
	}
	return trg, nil
}

// DeleteTrigger removes a trigger and the keys it remembers, and ends what is on its
// way to its address. What became of events at it stays readable.
func (t *Tenant) DeleteTrigger(ctx context.Context, id models.TriggerID, now time.Time) error {
	err := t.s.inTx(ctx, func(tx bun.Tx) error {
		_, err := tx.NewDelete().Model((*models.TriggerKey)(nil)).
			Where("workspace_id = ?", t.ws).Where("trigger_id = ?", id).Exec(ctx)
		if err != nil {
			return err
		}
		res, err := tx.NewDelete().Model((*models.Trigger)(nil)).Where("workspace_id = ?", t.ws).Where("id = ?", id).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return models.ErrNotFound
		}
		return t.cancelDeliveries(ctx, tx, id, "the trigger was deleted", now)
	})
	return named("trigger", id, err)
}

// Listeners gives enabled triggers for events whose event type is eventType, a page
// in the order of ids.
func (t *Tenant) Listeners(ctx context.Context, eventType string, after models.TriggerID, limit int) ([]*models.Trigger, error) {
	return listed[models.Trigger](ctx, t.s, selectListeners, string(t.ws), eventType, string(after), limit)
}

// selectListeners reads triggers_by_event (workspace_id, event_type, id) in its order.
// Of several types at once that order would not be one PostgreSQL can read, and it
// may read all triggers of the workspace to have it.
var selectListeners = "SELECT " + strings.Join(columnsOf[models.Trigger](), ", ") + ` FROM triggers
WHERE workspace_id = $1 AND enabled AND type = 'event' AND event_type = $2 AND id > $3 ORDER BY id LIMIT $4`
