package store

import (
	"context"
	"encoding/json"
	"reflect"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// CreateAgent keeps a new agent. Its slug must be free in the workspace.
func (t *Tenant) CreateAgent(ctx context.Context, a *models.Agent) error {
	a.WorkspaceID = t.ws
	if len(a.Config) == 0 {
		a.Config = json.RawMessage(`{}`)
	}
	return t.s.alone(func(db bun.IDB) error { return t.s.insert(ctx, db, a, "agent", a.Slug) })
}

// Agent gives the agent with a slug.
func (t *Tenant) Agent(ctx context.Context, slug string) (*models.Agent, error) {
	a, err := t.agent(ctx, t.s.db, slug, false)
	return a, named("agent", slug, t.s.err(err))
}

func (t *Tenant) agent(ctx context.Context, db bun.IDB, slug string, lock bool) (*models.Agent, error) {
	a := new(models.Agent)
	q := t.mine(db.NewSelect().Model(a)).Where("agent.slug = ?", slug)
	if lock {
		q = t.s.dialect.forUpdate(q, "NO KEY UPDATE")
	}
	if err := q.Scan(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// Agents lists agents, newest first; Page.After is an id, not a slug, so that a page
// goes on also where the agent before it is gone.
func (t *Tenant) Agents(ctx context.Context, p Page) ([]*models.Agent, error) {
	var rows []*models.Agent
	return rows, t.page(ctx, t.s.db.NewSelect().Model(&rows), p)
}

// UpdateAgent lets fn change an agent's name, kind, connection, config and schemas. The row is
// locked meanwhile, and fn must not wait for anything.
func (t *Tenant) UpdateAgent(ctx context.Context, slug string, now time.Time, fn func(*models.Agent) error) (*models.Agent, error) {
	var a *models.Agent
	err := t.s.inTx(ctx, func(tx bun.Tx) error {
		before, err := t.agent(ctx, tx, slug, true)
		if err != nil {
			return err
		}
		after := *before
		if err := fn(&after); err != nil {
			return err
		}
		after.WorkspaceID, after.ID, after.Slug = before.WorkspaceID, before.ID, before.Slug
		after.CreatedAt, after.UpdatedAt = before.CreatedAt, before.UpdatedAt
		if len(after.Config) == 0 {
			after.Config = json.RawMessage(`{}`)
		}
		if a = &after; reflect.DeepEqual(before, &after) {
			return nil
		}
		if err := checkText(a); err != nil {
			return err
		}
		a.UpdatedAt = now
		_, err = tx.NewUpdate().Model(a).WherePK().
			Column("name", "kind", "connection", "config", "input_schema", "output_schema", "updated_at").Exec(ctx)
		return err
	})
	if err != nil {
		return nil, named("agent", slug, err)
	}
	return a, nil
}

// DeleteAgent removes an agent. Graphs that name it fail at that step.
func (t *Tenant) DeleteAgent(ctx context.Context, slug string) error {
	err := t.s.alone(func(db bun.IDB) error {
		res, err := db.NewDelete().Model((*models.Agent)(nil)).Where("workspace_id = ?", t.ws).Where("slug = ?", slug).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			return err
		}
		return models.ErrNotFound
	})
	return named("agent", slug, err)
}

// AgentsNamed gives the agents of those slugs that there are.
func (t *Tenant) AgentsNamed(ctx context.Context, slugs []string) ([]*models.Agent, error) {
	if len(slugs) == 0 {
		return nil, nil
	}
	var rows []*models.Agent
	err := t.mine(t.s.db.NewSelect().Model(&rows)).Where("slug IN (?)", bun.List(slugs)).OrderExpr("slug").Scan(ctx)
	return rows, t.s.err(err)
}

// KnownAgents gives those of the slugs that name an agent, in alphabetical order.
func (t *Tenant) KnownAgents(ctx context.Context, slugs []string) ([]string, error) {
	if len(slugs) == 0 {
		return nil, nil
	}
	if err := checkText(slugs); err != nil {
		return nil, err
	}
	var known []string
	err := t.mine(t.s.db.NewSelect().Model((*models.Agent)(nil))).Column("slug").
		Where("agent.slug IN (?)", bun.List(slugs)).OrderExpr("agent.slug").Scan(ctx, &known)
	return known, t.s.err(err)
}
