package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// KeyByPrefix finds a key of any workspace, whether it is live or not. The caller
// compares the hash.
func (s *Store) KeyByPrefix(ctx context.Context, prefix string) (*models.APIKey, error) {
	k := new(models.APIKey)
	if err := s.db.NewSelect().Model(k).Where("api_key.prefix = ?", prefix).Scan(ctx); err != nil {
		return nil, named("key", prefix, s.err(err))
	}
	return k, nil
}

// TouchKeys notes when keys were last used. Unknown ones are passed over, as are
// keys that another process is noting at this moment.
func (s *Store) TouchKeys(ctx context.Context, ids []models.KeyID, at time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	return s.inTx(ctx, func(tx bun.Tx) error {
		var free []models.KeyID
		q := tx.NewSelect().Model((*models.APIKey)(nil)).Column("id").Where("api_key.id IN (?)", bun.List(ids)).
			Where("api_key.last_used_at IS NULL OR api_key.last_used_at < ?", at)
		if err := s.dialect.forUpdate(q, "NO KEY UPDATE SKIP LOCKED").Scan(ctx, &free); err != nil || len(free) == 0 {
			return err
		}
		_, err := tx.NewUpdate().Model((*models.APIKey)(nil)).Set("last_used_at = ?", at).Where("id IN (?)", bun.List(free)).Exec(ctx)
		return err
	})
}

// CreateKey keeps a new key. Its prefix must be free in all workspaces.
func (t *Tenant) CreateKey(ctx context.Context, k *models.APIKey) error {
	k.WorkspaceID = t.ws
	if k.Scopes == nil {
		k.Scopes = []models.Scope{}
	}
	return t.s.alone(func(db bun.IDB) error { return t.s.insert(ctx, db, k, "key", k.Prefix) })
}

// Keys lists keys, revoked ones too, without their hashes.
func (t *Tenant) Keys(ctx context.Context, p Page) ([]*models.APIKey, error) {
	var rows []*models.APIKey
	return rows, t.page(ctx, t.s.db.NewSelect().Model(&rows).ExcludeColumn("hash"), p)
}

// RevokeKey ends the use of a key and gives its prefix. A key that was revoked
// before keeps the time of it.
func (t *Tenant) RevokeKey(ctx context.Context, id models.KeyID, at time.Time) (prefix string, err error) {
	err = t.s.alone(func(db bun.IDB) error {
		return db.NewUpdate().Model((*models.APIKey)(nil)).Set("revoked_at = COALESCE(revoked_at, ?)", at).
			Where("workspace_id = ?", t.ws).Where("id = ?", id).Returning("prefix").Scan(ctx, &prefix)
	})
	return prefix, named("key", id, err)
}
