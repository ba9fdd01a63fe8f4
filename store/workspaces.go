package store

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// CreateWorkspace keeps a new workspace.
func (s *Store) CreateWorkspace(ctx context.Context, w *models.Workspace) error {
	return s.alone(func(db bun.IDB) error { return s.insert(ctx, db, w, "workspace", w.ID) })
}

// Workspace gives a workspace.
func (s *Store) Workspace(ctx context.Context, id models.WorkspaceID) (*models.Workspace, error) {
	w := new(models.Workspace)
	if err := s.db.NewSelect().Model(w).Where("workspace.id = ?", id).Scan(ctx); err != nil {
		return nil, named("workspace", id, s.err(err))
	}
	return w, nil
}

// Workspaces lists every workspace, oldest first.
func (s *Store) Workspaces(ctx context.Context) ([]*models.Workspace, error) {
	var rows []*models.Workspace
	err := s.db.NewSelect().Model(&rows).OrderExpr("workspace.id").Scan(ctx)
	return rows, s.err(err)
}
