package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// TriggerByToken finds the trigger of any workspace that a webhook comes in for.
func (s *Store) TriggerByToken(ctx context.Context, hash []byte) (*models.Trigger, error) {
	trg := new(models.Trigger)
	if err := s.db.NewSelect().Model(trg).Where("trigger.token_hash = ?", hash).Scan(ctx); err != nil {
		return nil, fmt.Errorf("trigger of a token: %w", s.err(err))
	}
	return trg, nil
}

// AddDelivery keeps a new delivery. An event that is on its way to the trigger
// already, or was, is left as it is. It sets the workspace.
func (t *Tenant) AddDelivery(ctx context.Context, d *models.Delivery) error {
	d.WorkspaceID = t.ws
	return t.s.alone(func(db bun.IDB) error {
		_, err := db.NewInsert().Model(d).On("CONFLICT DO NOTHING").Exec(ctx)
		return err
	})
}

// Delivery gives a delivery.
func (t *Tenant) Delivery(ctx context.Context, id models.DeliveryID) (*models.Delivery, error) {
	d := new(models.Delivery)
	err := t.mine(t.s.db.NewSelect().Model(d)).Where("delivery.id = ?", id).Scan(ctx)
	if err != nil {
		return nil, named("delivery", id, t.s.err(err))
	}
	return d, nil
}

// Deliveries lists the deliveries of a trigger, the newest first; only those of one
// status, unless it is empty.
func (t *Tenant) Deliveries(ctx context.Context, trigger models.TriggerID, status models.DeliveryStatus, p Page) ([]*models.Delivery, error) {
	var rows []*models.Delivery
	q := t.s.db.NewSelect().Model(&rows).Where("delivery.trigger_id = ?", trigger)
	if status != "" {
		q = q.Where("delivery.status = ?", status)
	}
	return rows, t.page(ctx, q, p)
}

// DeliveryAttempts gives the attempts at deliveries, in their order.
func (t *Tenant) DeliveryAttempts(ctx context.Context, ids []models.DeliveryID) ([]*models.DeliveryAttempt, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var rows []*models.DeliveryAttempt
	err := t.mine(t.s.db.NewSelect().Model(&rows)).Where("delivery_attempt.delivery_id IN (?)", bun.List(ids)).
		OrderExpr("delivery_attempt.delivery_id, delivery_attempt.number").Scan(ctx)
	return rows, t.s.err(err)
}

// ClaimDelivery takes the delivery of a trigger that has been due for longest, until
// the lease ends, in the name of a token. It is nil where none is due; next then tells
// when one is, if that is known. Any number of processes may do it at once.
func (t *Tenant) ClaimDelivery(
	ctx context.Context, trigger models.TriggerID, now, lease time.Time, token string,
) (d *models.Delivery, next *time.Time, err error) {
	// Looked at first, for mostly nothing is due, and then nobody need be locked out.
	first := new(models.Delivery)
	err = t.openDeliveries(t.s.db, trigger).Column("attend_at").OrderExpr("delivery.attend_at").Limit(1).Scan(ctx, first)
	if err = t.s.err(err); errors.Is(err, models.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil || first.AttendAt.After(now) {
		return nil, first.AttendAt, err
	}
	d = new(models.Delivery)
	err = t.s.alone(func(db bun.IDB) error {
		due := t.s.dialect.forUpdate(t.openDeliveries(db, trigger).Column("workspace_id", "id").
			Where("delivery.attend_at <= ?", now).OrderExpr("delivery.attend_at").Limit(1), "NO KEY UPDATE SKIP LOCKED")
		return db.NewUpdate().Model(d).Set("status = ?", models.DeliverySending).
			Set("attend_at = ?", lease).Set("lease_token = ?", token).
			Where("(delivery.workspace_id, delivery.id) = (?)", due).Returning("*").Scan(ctx)
	})
	if errors.Is(err, models.ErrNotFound) {
		// Another process was quicker: it, too, looks again when it is done.
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return d, nil, nil
}

// openDeliveries is served by deliveries_open (workspace_id, trigger_id, attend_at).
func (t *Tenant) openDeliveries(db bun.IDB, trigger models.TriggerID) *bun.SelectQuery {
	return t.mine(db.NewSelect().Model((*models.Delivery)(nil))).Where("delivery.trigger_id = ?", trigger).Where("delivery.attend_at IS NOT NULL")
}

// FinishDelivery records an attempt at a delivery that is held by its lease token, and
// the status, retry and last answer that d has now. It counts the attempt and gives it
// its number. It tells whether the delivery was still held: if not, nothing is changed.
// Where disable is given, the trigger ends for that reason, and with it everything else
// that is on its way to its address.
func (t *Tenant) FinishDelivery(ctx context.Context, d *models.Delivery, a *models.DeliveryAttempt, disable string) (held bool, err error) {
	if err := checkText(d, a); err != nil {
		return false, err
	}
	err = t.s.inTx(ctx, func(tx bun.Tx) error {
		if disable != "" { // the trigger first, as whoever disables it by hand does
			q := t.mine(tx.NewSelect().Model((*models.Trigger)(nil))).Column("id").Where("trigger.id = ?", d.TriggerID)
			if err := t.s.dialect.forUpdate(q, "NO KEY UPDATE").Scan(ctx, new([]models.TriggerID)); err != nil {
				return err
			}
		}
		res, err := t.held(tx.NewUpdate().Model((*models.Delivery)(nil)), d).
			Set("status = ?", d.Status).Set("attempts = attempts + 1").Set("round = round + 1").
			Set("last_code = ?", d.LastCode).Set("last_error = ?", d.LastError).
			Set("attend_at = ?", d.AttendAt).Set("finished_at = ?", d.FinishedAt).Set("lease_token = ''").Exec(ctx)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if held = n == 1; err != nil || !held {
			return err
		}
		a.WorkspaceID, a.DeliveryID, a.Number = t.ws, d.ID, d.Attempts+1
		if _, err := tx.NewInsert().Model(a).Exec(ctx); err != nil || disable == "" {
			return err
		}
		_, err = tx.NewUpdate().Model((*models.Trigger)(nil)).Set("enabled = ?", false).Set("disabled_reason = ?", disable).Set("updated_at = ?", a.At).
			Where("workspace_id = ?", t.ws).Where("id = ?", d.TriggerID).Where("enabled").Exec(ctx)
		if err != nil {
			return err
		}
		return t.cancelDeliveries(ctx, tx, d.TriggerID, disable, a.At)
	})
	return held, err
}

// ReleaseDelivery gives a delivery back that nothing was done about, if it is still
// held.
func (t *Tenant) ReleaseDelivery(ctx context.Context, d *models.Delivery, now time.Time) error {
	return t.s.alone(func(db bun.IDB) error {
		_, err := t.held(db.NewUpdate().Model((*models.Delivery)(nil)), d).
			Set("status = ?", models.DeliveryPending).Set("attend_at = ?", now).Set("lease_token = ''").Exec(ctx)
		return err
	})
}

// held restricts q to a delivery as long as the token of d holds it.
func (t *Tenant) held(q *bun.UpdateQuery, d *models.Delivery) *bun.UpdateQuery {
	return q.Where("workspace_id = ?", t.ws).Where("id = ?", d.ID).Where("lease_token = ?", d.LeaseToken).
		Where("status = ?", models.DeliverySending)
}

// CancelDeliveries ends everything that is on its way to the address of a trigger.
func (t *Tenant) CancelDeliveries(ctx context.Context, trigger models.TriggerID, reason string, now time.Time) error {
	return t.s.alone(func(db bun.IDB) error { return t.cancelDeliveries(ctx, db, trigger, reason, now) })
}

func (t *Tenant) cancelDeliveries(ctx context.Context, db bun.IDB, trigger models.TriggerID, reason string, now time.Time) error {
	_, err := db.NewUpdate().Model((*models.Delivery)(nil)).
		Set("status = ?", models.DeliveryCancelled).Set("attend_at = NULL").Set("lease_token = ''").
		Set("last_error = ?", reason).Set("finished_at = ?", now).
		Where("workspace_id = ?", t.ws).Where("trigger_id = ?", trigger).Where("attend_at IS NOT NULL").Exec(ctx)
	return err
}

// RepeatDelivery lets a delivery begin anew. One that is being attempted just now goes
// on, and has all its retries again.
func (t *Tenant) RepeatDelivery(ctx context.Context, id models.DeliveryID, now time.Time) (*models.Delivery, error) {
	d := new(models.Delivery)
	err := t.s.alone(func(db bun.IDB) error {
		return db.NewUpdate().Model(d).
			Set("attend_at = CASE WHEN status = ? THEN attend_at ELSE ? END", models.DeliverySending, now).
			Set("status = CASE WHEN status = ? THEN status ELSE ? END", models.DeliverySending, models.DeliveryPending).
			Set("round = 0").Set("finished_at = NULL").
			Where("workspace_id = ?", t.ws).Where("id = ?", id).Returning("*").Scan(ctx)
	})
	if err != nil {
		return nil, named("delivery", id, err)
	}
	return d, nil
}

// Endpoint names a trigger for whose address something is due: for the longest time
// the delivery that is named.
type Endpoint struct {
	Workspace models.WorkspaceID `bun:"workspace_id"`
	Trigger   models.TriggerID   `bun:"trigger_id"`
	Delivery  models.DeliveryID  `bun:"delivery_id"`
}

// DueEndpoints gives up to limit addresses for which something has been due since
// before, no one first. It looks once at each address that something is on its way to,
// however much that is.
func (s *Store) DueEndpoints(ctx context.Context, before time.Time, limit int) ([]Endpoint, error) {
	var rows []Endpoint
	// Each step goes to the next entry of deliveries_open that is another's, as
	// neither database does by itself.
	err := s.db.NewRaw(`WITH RECURSIVE spaces (workspace_id) AS (
  SELECT min(workspace_id) FROM deliveries WHERE attend_at IS NOT NULL
  UNION ALL
  SELECT (SELECT min(d.workspace_id) FROM deliveries AS d WHERE d.attend_at IS NOT NULL AND d.workspace_id > s.workspace_id)
  FROM spaces AS s WHERE s.workspace_id IS NOT NULL
), endpoints (workspace_id, trigger_id) AS (
  SELECT s.workspace_id, (SELECT min(d.trigger_id) FROM deliveries AS d WHERE d.attend_at IS NOT NULL AND d.workspace_id = s.workspace_id)
  FROM spaces AS s WHERE s.workspace_id IS NOT NULL
  UNION ALL
  SELECT e.workspace_id, (SELECT min(d.trigger_id) FROM deliveries AS d
    WHERE d.attend_at IS NOT NULL AND d.workspace_id = e.workspace_id AND d.trigger_id > e.trigger_id)
  FROM endpoints AS e WHERE e.trigger_id IS NOT NULL
), due AS (
  SELECT e.workspace_id, e.trigger_id, (SELECT d.id FROM deliveries AS d
    WHERE d.workspace_id = e.workspace_id AND d.trigger_id = e.trigger_id AND d.attend_at <= ? ORDER BY d.attend_at LIMIT 1) AS delivery_id
  FROM endpoints AS e WHERE e.trigger_id IS NOT NULL
)
SELECT workspace_id, trigger_id, delivery_id FROM due WHERE delivery_id IS NOT NULL ORDER BY random() LIMIT ?`, before, limit).Scan(ctx, &rows)
	return rows, s.err(err)
}
