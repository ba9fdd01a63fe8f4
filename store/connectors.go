package store

import (
	"context"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// MaxConnectors bounds the connectors that a workspace has registered.
const MaxConnectors = 100

// CreateConnector keeps a new connector. Its slug must be free in the workspace.
func (t *Tenant) CreateConnector(ctx context.Context, c *models.Connector) error {
	c.WorkspaceID, c.Version = t.ws, 1
	return t.s.inTx(ctx, func(tx bun.Tx) error {
		// One at a time, so that nobody passes the limit.
		workspace := new(models.Workspace)
		q := t.s.dialect.forUpdate(tx.NewSelect().Model(workspace).Where("workspace.id = ?", t.ws), "NO KEY UPDATE")
		if err := q.Scan(ctx); err != nil {
			return named("workspace", t.ws, t.s.err(err))
		}
		n, err := t.mine(tx.NewSelect().Model((*models.Connector)(nil))).Count(ctx)
		switch {
		case err != nil:
			return err
		case n >= MaxConnectors:
			return models.Conflict(models.CodeConflict, "the workspace has %d connectors of its own, which is the most there can be", n)
		}
		return t.s.insert(ctx, tx, c, "connector", c.Slug)
	})
}

// Connector gives the connector with a slug, with all that is kept of it.
func (t *Tenant) Connector(ctx context.Context, slug string) (*models.Connector, error) {
	if err := checkText(slug); err != nil {
		return nil, err
	}
	c, err := t.connector(ctx, t.s.db, slug, false)
	return c, named("connector", slug, t.s.err(err))
}

func (t *Tenant) connector(ctx context.Context, db bun.IDB, slug string, lock bool) (*models.Connector, error) {
	c := new(models.Connector)
	q := t.mine(db.NewSelect().Model(c)).Where("connector.slug = ?", slug)
	if lock {
		q = t.s.dialect.forUpdate(q, "NO KEY UPDATE")
	}
	return c, q.Scan(ctx)
}

// ConnectorSummary gives the connector with a slug without what was compiled.
func (t *Tenant) ConnectorSummary(ctx context.Context, slug string) (*models.Connector, error) {
	if err := checkText(slug); err != nil {
		return nil, err
	}
	c := new(models.Connector)
	err := t.mine(t.s.db.NewSelect().Model(c)).ExcludeColumn("compiled").Where("connector.slug = ?", slug).Scan(ctx)
	return c, named("connector", slug, t.s.err(err))
}

// ConnectorVersion tells which registration has a slug, and how often it was changed.
// It reads no more than that.
func (t *Tenant) ConnectorVersion(ctx context.Context, slug string) (models.ConnectorID, int, error) {
	if err := checkText(slug); err != nil {
		return "", 0, err
	}
	c := new(models.Connector)
	err := t.mine(t.s.db.NewSelect().Model(c)).Column("id", "version").Where("connector.slug = ?", slug).Scan(ctx)
	return c.ID, c.Version, named("connector", slug, t.s.err(err))
}

// Connectors lists connectors by slug, without what was compiled; Page.After is a slug.
func (t *Tenant) Connectors(ctx context.Context, p Page) ([]*models.Connector, error) {
	if err := checkText(p); err != nil {
		return nil, err
	}
	var rows []*models.Connector
	q := t.mine(t.s.db.NewSelect().Model(&rows)).ExcludeColumn("compiled")
	if p.After != "" {
		q = q.Where("connector.slug > ?", p.After)
	}
	err := q.OrderExpr("connector.slug").Limit(int64(p.limit())).Scan(ctx)
	return rows, t.s.err(err)
}

// UpdateConnector replaces what may change of a connector if it still is the one that
// was read, in that version. Otherwise it is a conflict.
func (t *Tenant) UpdateConnector(ctx context.Context, c *models.Connector, now time.Time) error {
	err := t.s.inTx(ctx, func(tx bun.Tx) error {
		have, err := t.connector(ctx, tx, c.Slug, true)
		if err != nil {
			return err
		}
		if have.ID != c.ID || have.Version != c.Version {
			return models.Conflict(models.CodeConflict, "connector %s was changed at the same time", c.Slug)
		}
		if err := checkText(c.Name, c.Description, c.Config); err != nil {
			return err
		}
		c.WorkspaceID, c.Version, c.UpdatedAt = t.ws, c.Version+1, now
		_, err = tx.NewUpdate().Model(c).WherePK().
			Column("name", "description", "config", "connection", "version", "action_count", "compiled", "updated_at").Exec(ctx)
		return err
	})
	if errors.Is(err, models.ErrConflict) {
		return err
	}
	return named("connector", c.Slug, err)
}

// DeleteConnector removes a connector. Steps that name it fail from then on.
func (t *Tenant) DeleteConnector(ctx context.Context, slug string) error {
	if err := checkText(slug); err != nil {
		return err
	}
	err := t.s.alone(func(db bun.IDB) error {
		res, err := db.NewDelete().Model((*models.Connector)(nil)).Where("workspace_id = ?", t.ws).Where("slug = ?", slug).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			return err
		}
		return models.ErrNotFound
	})
	return named("connector", slug, err)
}
