package store

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// MaxTemplates bounds the templates of a workspace.
const MaxTemplates = 500

// PublishTemplate keeps the next version of a template. It sets the workspace, the
// version and the times. A repeated request, which the document names, gets what it
// kept before.
func (t *Tenant) PublishTemplate(ctx context.Context, tpl *models.Template, now time.Time) (*models.Template, error) {
	var kept *models.Template
	err := t.s.inTx(ctx, func(tx bun.Tx) error {
		// One at a time: numbers follow each other, and nobody passes the limit.
		workspace := new(models.Workspace)
		q := t.s.dialect.forUpdate(tx.NewSelect().Model(workspace).Where("workspace.id = ?", t.ws), "NO KEY UPDATE")
		if err := q.Scan(ctx); err != nil {
			return named("workspace", t.ws, t.s.err(err))
		}
		var have []*models.Template
		if err := t.latestTemplates(tx, &have, true).Where("template.slug = ?", tpl.Slug).Scan(ctx); err != nil {
			return err
		}
		tpl.WorkspaceID, tpl.Version, tpl.CreatedAt, tpl.FirstAt = t.ws, 1, now, now
		if len(have) > 0 {
			if latest := have[0]; latest.Document.Request != "" && latest.Document.Request == tpl.Document.Request {
				kept = latest
				return nil
			}
			tpl.Version, tpl.FirstAt = have[0].Version+1, have[0].FirstAt
		} else if err := t.roomForTemplate(ctx, tx); err != nil {
			return err
		}
		kept = tpl
		return t.s.insert(ctx, tx, tpl, "template", tpl.Slug)
	})
	if err != nil {
		return nil, named("template", tpl.Slug, err)
	}
	return kept, nil
}

func (t *Tenant) roomForTemplate(ctx context.Context, tx bun.Tx) error {
	n, err := t.mine(tx.NewSelect().Model((*models.Template)(nil))).Where("template.version = 1").Count(ctx)
	if err == nil && n >= MaxTemplates {
		return models.Conflict(models.CodeConflict, "the workspace has %d templates, which is the most there can be", n)
	}
	return err
}

// Template gives the latest version of a template.
func (t *Tenant) Template(ctx context.Context, slug string) (*models.Template, error) {
	rows, err := t.TemplatesNamed(ctx, []string{slug})
	if err == nil && len(rows) == 0 {
		err = fmt.Errorf("template %s: %w", slug, models.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return rows[0], nil
}

// TemplatesNamed gives the latest versions of those of the slugs that name a
// template, in no order.
func (t *Tenant) TemplatesNamed(ctx context.Context, slugs []string) ([]*models.Template, error) {
	if len(slugs) == 0 {
		return nil, nil
	}
	if err := checkText(slugs); err != nil {
		return nil, err
	}
	var rows []*models.Template
	err := t.latestTemplates(t.s.db, &rows, true).Where("template.slug IN (?)", bun.List(slugs)).Scan(ctx)
	return rows, t.s.err(err)
}

// Templates gives the latest version of every template without its document, the
// newest template first. There are at most MaxTemplates.
func (t *Tenant) Templates(ctx context.Context) ([]*models.Template, error) {
	var rows []*models.Template
	err := t.latestTemplates(t.s.db, &rows, false).OrderExpr("first.created_at DESC, template.slug DESC").Scan(ctx)
	return rows, t.s.err(err)
}

// latestTemplates finds latest versions, and when each template was published first.
// Numbers have no gaps, so the latest is the one without a next.
func (t *Tenant) latestTemplates(db bun.IDB, rows *[]*models.Template, documents bool) *bun.SelectQuery {
	q := t.mine(db.NewSelect().Model(rows)).
		Column("workspace_id", "slug", "version", "name", "description", "category", "status", "trigger_types", "created_at")
	if documents {
		q = q.Column("document")
	}
	return q.ColumnExpr("first.created_at AS first_at").
		Join("JOIN templates AS first ON first.workspace_id = template.workspace_id AND first.slug = template.slug AND first.version = 1").
		Where("NOT EXISTS (SELECT 1 FROM templates AS next WHERE next.workspace_id = template.workspace_id AND next.slug = template.slug AND next.version = template.version + 1)")
}
