package store

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// SealedConnections gives connections of all workspaces that hold something sealed, in
// the order of their keys; after is the last one seen, or nil at the start.
func (s *Store) SealedConnections(ctx context.Context, after *models.Connection, limit int) ([]*models.Connection, error) {
	var rows []*models.Connection
	q := s.db.NewSelect().Model(&rows).
		Where("(connection.secrets IS NOT NULL OR connection.token IS NOT NULL OR connection.pending IS NOT NULL)")
	if after != nil {
		q = q.Where("(connection.workspace_id, connection.id) > (?, ?)", after.WorkspaceID, after.ID)
	}
	err := q.OrderExpr("connection.workspace_id, connection.id").Limit(int64(limit)).Scan(ctx)
	return rows, s.err(err)
}

// SealedTriggers is SealedConnections of triggers.
func (s *Store) SealedTriggers(ctx context.Context, after *models.Trigger, limit int) ([]*models.Trigger, error) {
	var rows []*models.Trigger
	q := s.db.NewSelect().Model(&rows).Where("(trigger.secret IS NOT NULL OR trigger.old_secret IS NOT NULL)")
	if after != nil {
		q = q.Where("(trigger.workspace_id, trigger.id) > (?, ?)", after.WorkspaceID, after.ID)
	}
	err := q.OrderExpr("trigger.workspace_id, trigger.id").Limit(int64(limit)).Scan(ctx)
	return rows, s.err(err)
}

// ResealTrigger puts the secrets of after in place of those of before, unless they have
// changed meanwhile; then it tells false.
func (t *Tenant) ResealTrigger(ctx context.Context, before, after *models.Trigger) (done bool, err error) {
	err = t.s.alone(func(db bun.IDB) error {
		res, err := db.NewUpdate().Model(after).Column("secret", "old_secret").
			Where("workspace_id = ?", t.ws).Where("id = ?", before.ID).
			Where("secret IS NOT DISTINCT FROM ?", before.Secret).Where("old_secret IS NOT DISTINCT FROM ?", before.OldSecret).Exec(ctx)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		done = n > 0
		return err
	})
	return done, named("trigger", before.ID, err)
}
