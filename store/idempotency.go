package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// IdempotencyAge is how long the answer to a request is kept.
const IdempotencyAge = 24 * time.Hour

// BeginRequest asks for the right to answer a request, in the form of the row
// that is wanted, and tells whether it was given (mine). Otherwise the row says
// why: it holds the answer, or its Status is 0 because another request is making
// one, or its BodyHash is of another body. Where an earlier request never came to
// an end, the same body may be answered again: then the row keeps the Seed and
// CreatedAt of that request, so that what it left behind is found again.
func (t *Tenant) BeginRequest(ctx context.Context, want *models.IdempotencyKey, now time.Time) (row *models.IdempotencyKey, mine bool, err error) {
	if err := checkText(want); err != nil {
		return nil, false, err
	}
	fresh := *want
	fresh.WorkspaceID, fresh.Status, fresh.Headers, fresh.Body = t.ws, 0, nil, nil
	err = t.s.inTx(ctx, func(tx bun.Tx) error {
		for {
			// Whoever inserts at the same time makes this wait until one is in.
			res, err := tx.NewInsert().Model(&fresh).On("CONFLICT DO NOTHING").Exec(ctx)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n == 1 {
				row, mine = &fresh, true
				return err
			}
			have := new(models.IdempotencyKey)
			err = t.s.dialect.forUpdate(tx.NewSelect().Model(have).Where("workspace_id = ?", t.ws).
				Where("route = ?", want.Route).Where("key = ?", want.Key), "UPDATE").Scan(ctx)
			if errors.Is(err, sql.ErrNoRows) {
				continue // it was abandoned between the two statements
			}
			if err != nil {
				return err
			}
			row, mine, err = t.takeOver(ctx, tx, have, &fresh, now)
			return err
		}
	})
	if err != nil {
		return nil, false, fmt.Errorf("idempotency key: %w", err)
	}
	return row, mine, nil
}

// takeOver decides about a row that exists and is locked.
func (t *Tenant) takeOver(ctx context.Context, tx bun.Tx, have, fresh *models.IdempotencyKey, now time.Time) (*models.IdempotencyKey, bool, error) {
	open := have.Status == 0 && now.Before(have.LockedUntil)
	old := !now.Before(have.CreatedAt.Add(IdempotencyAge))
	switch {
	case open:
		return have, false, nil
	case old: // only pruning is late
		_, err := tx.NewUpdate().Model(fresh).WherePK().Exec(ctx)
		return fresh, true, err
	case have.Status != 0, !bytes.Equal(have.BodyHash, fresh.BodyHash):
		return have, false, nil
	}
	have.LockedUntil = fresh.LockedUntil
	_, err := tx.NewUpdate().Model(have).WherePK().Column("locked_until").Exec(ctx)
	return have, true, err
}

// FinishRequest keeps the answer to a request whose row BeginRequest gave. The
// first answer stays: who lost the right meanwhile changes nothing.
func (t *Tenant) FinishRequest(ctx context.Context, row *models.IdempotencyKey) error {
	return t.s.alone(func(db bun.IDB) error {
		_, err := db.NewUpdate().Model(row).Column("status", "headers", "body").
			Where("workspace_id = ?", t.ws).Where("route = ?", row.Route).Where("key = ?", row.Key).
			Where("seed = ?", row.Seed).Where("status = 0").Exec(ctx)
		return err
	})
}

// AbandonRequest forgets a request that had no effect, so that it may be made
// again. Who lost the right meanwhile changes nothing.
func (t *Tenant) AbandonRequest(ctx context.Context, row *models.IdempotencyKey) error {
	return t.s.alone(func(db bun.IDB) error {
		_, err := db.NewDelete().Model((*models.IdempotencyKey)(nil)).
			Where("workspace_id = ?", t.ws).Where("route = ?", row.Route).Where("key = ?", row.Key).
			Where("seed = ?", row.Seed).Where("locked_until = ?", row.LockedUntil).Where("status = 0").Exec(ctx)
		return err
	})
}

// ReleaseRequest gives up the right to answer a request whose effect is not known,
// so that the next try may answer it at once, with the same Seed and CreatedAt.
func (t *Tenant) ReleaseRequest(ctx context.Context, row *models.IdempotencyKey) error {
	return t.s.alone(func(db bun.IDB) error {
		_, err := db.NewUpdate().Model((*models.IdempotencyKey)(nil)).Set("locked_until = ?", row.CreatedAt).
			Where("workspace_id = ?", t.ws).Where("route = ?", row.Route).Where("key = ?", row.Key).
			Where("seed = ?", row.Seed).Where("locked_until = ?", row.LockedUntil).Where("status = 0").Exec(ctx)
		return err
	})
}
