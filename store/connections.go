package store

import (
	"context"
	"fmt"
	"reflect"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// ConnectionFilter restricts a list of connections. What is empty does not restrict.
type ConnectionFilter struct {
	Connector string
	Status    models.ConnectionStatus
}

// CreateConnection keeps a new connection. Its name must be free in the workspace.
func (t *Tenant) CreateConnection(ctx context.Context, c *models.Connection) error {
	c.WorkspaceID = t.ws
	if c.SecretNames == nil {
		c.SecretNames = []string{}
	}
	return t.s.alone(func(db bun.IDB) error { return t.s.insert(ctx, db, c, "connection", fmt.Sprintf("%q", c.Name)) })
}

// Connection gives a connection.
func (t *Tenant) Connection(ctx context.Context, id models.ConnectionID) (*models.Connection, error) {
	c := new(models.Connection)
	err := t.mine(t.s.db.NewSelect().Model(c)).Where("connection.id = ?", id).Scan(ctx)
	if err != nil {
		return nil, named("connection", id, t.s.err(err))
	}
	return c, nil
}

// Connections lists connections, the newest first.
func (t *Tenant) Connections(ctx context.Context, f ConnectionFilter, p Page) ([]*models.Connection, error) {
	if err := checkText(f); err != nil {
		return nil, err
	}
	var rows []*models.Connection
	q := t.s.db.NewSelect().Model(&rows)
	if f.Connector != "" {
		q = q.Where("connection.connector = ?", f.Connector)
	}
	if f.Status != "" {
		q = q.Where("connection.status = ?", f.Status)
	}
	return rows, t.page(ctx, q, p)
}

// UpdateConnection lets fn change a connection. The row is locked meanwhile, and fn
// must not wait for anything. An error of fn is returned and nothing is changed.
// UpdatedAt is fn's to set: much changes about a connection that nobody changed.
func (t *Tenant) UpdateConnection(ctx context.Context, id models.ConnectionID, fn func(*models.Connection) error) (*models.Connection, error) {
	var c *models.Connection
	err := t.s.inTx(ctx, func(tx bun.Tx) error {
		before := new(models.Connection)
		q := t.s.dialect.forUpdate(t.mine(tx.NewSelect().Model(before)).Where("connection.id = ?", id), "NO KEY UPDATE")
		if err := q.Scan(ctx); err != nil {
			return err
		}
		after := *before
		if err := fn(&after); err != nil {
			return err
		}
		// Whose account it is does not change.
		after.WorkspaceID, after.ID, after.Connector, after.CreatedAt = before.WorkspaceID, before.ID, before.Connector, before.CreatedAt
		if c = &after; reflect.DeepEqual(before, &after) {
			return nil
		}
		if err := checkText(c.Name, c.Config, c.SecretNames, c.LastError); err != nil {
			return err
		}
		_, err := tx.NewUpdate().Model(c).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return nil, named("connection", id, err)
	}
	return c, nil
}

// DeleteConnection removes a connection. Steps that name it fail.
func (t *Tenant) DeleteConnection(ctx context.Context, id models.ConnectionID) error {
	err := t.s.alone(func(db bun.IDB) error {
		res, err := db.NewDelete().Model((*models.Connection)(nil)).Where("workspace_id = ?", t.ws).Where("id = ?", id).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			return err
		}
		return models.ErrNotFound
	})
	return named("connection", id, err)
}

// ConnectorsOf gives the connector of each of the connections that the workspace has.
func (t *Tenant) ConnectorsOf(ctx context.Context, ids []models.ConnectionID) (map[models.ConnectionID]string, error) {
	if len(ids) == 0 {
		return nil, nil //nolint:nilnil // of none there is none
	}
	if err := checkText(ids); err != nil {
		return nil, err
	}
	var rows []*models.Connection
	err := t.mine(t.s.db.NewSelect().Model(&rows)).Column("id", "connector").Where("connection.id IN (?)", bun.List(ids)).Scan(ctx)
	if err != nil {
		return nil, t.s.err(err)
	}
	out := make(map[models.ConnectionID]string, len(rows))
	for _, c := range rows {
		out[c.ID] = c.Connector
	}
	return out, nil
}

// ConnectionByState finds the connection of any workspace that somebody was sent away
// to authorise.
func (s *Store) ConnectionByState(ctx context.Context, hash []byte) (*models.Connection, error) {
	c := new(models.Connection)
	if err := s.db.NewSelect().Model(c).Where("connection.state_hash = ?", hash).Scan(ctx); err != nil {
		return nil, fmt.Errorf("connection of a state: %w", s.err(err))
	}
	return c, nil
}
