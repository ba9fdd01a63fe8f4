package store

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// WorkflowFilter restricts a list of workflows. What is empty does not restrict.
type WorkflowFilter struct {
	Statuses []models.WorkflowStatus
	Tag      string // one of the tags, exactly
	Query    string // a part of name or description, in any case
}

// CreateWorkflow keeps a new workflow with its first version. It sets the
// workspace, the numbers and the revision in both.
func (t *Tenant) CreateWorkflow(ctx context.Context, w *models.Workflow, v *models.Version) error {
	return t.InstallWorkflow(ctx, w, v, nil)
}

// InstallWorkflow is CreateWorkflow with triggers: all are kept, or nothing is. It
// sets the workspace and the workflow of the triggers, too.
func (t *Tenant) InstallWorkflow(ctx context.Context, w *models.Workflow, v *models.Version, triggers []*models.Trigger) error {
	w.WorkspaceID, w.Version, w.LastVersion, w.Revision = t.ws, 1, 1, 1
	v.WorkspaceID, v.WorkflowID, v.Number = t.ws, w.ID, 1
	if w.Tags == nil {
		w.Tags = []string{}
	}
	return t.s.inTx(ctx, func(tx bun.Tx) error {
		if err := t.s.insert(ctx, tx, w, "workflow", w.ID); err != nil {
			return err
		}
		if err := t.s.insert(ctx, tx, v, "version", v.Number); err != nil {
			return err
		}
		for _, trg := range triggers {
			trg.WorkspaceID, trg.WorkflowID = t.ws, &w.ID
			if err := t.s.insert(ctx, tx, trg, "trigger", trg.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// Workflow gives a workflow.
func (t *Tenant) Workflow(ctx context.Context, id models.WorkflowID) (*models.Workflow, error) {
	w := new(models.Workflow)
	if err := t.s.get(ctx, w, selectWorkflow, string(t.ws), string(id)); err != nil {
		return nil, named("workflow", id, t.s.err(err))
	}
	return w, nil
}

// lockWorkflow reads a workflow that is about to change.
func (t *Tenant) lockWorkflow(ctx context.Context, tx bun.IDB, id models.WorkflowID) (*models.Workflow, error) {
	w := new(models.Workflow)
	// NO KEY: the key stays, so versions and readers of it need not wait.
	q := t.s.dialect.forUpdate(t.mine(tx.NewSelect().Model(w)).Where("workflow.id = ?", id), "NO KEY UPDATE")
	if err := q.Scan(ctx); err != nil {
		return nil, err
	}
	return w, nil
}

// Workflows lists workflows.
func (t *Tenant) Workflows(ctx context.Context, f WorkflowFilter, p Page) ([]*models.Workflow, error) {
	if err := checkText(f); err != nil {
		return nil, err
	}
	var rows []*models.Workflow
	q := t.s.db.NewSelect().Model(&rows)
	if len(f.Statuses) > 0 {
		q = q.Where("workflow.status IN (?)", bun.List(f.Statuses))
	}
	if f.Tag != "" {
		q = t.s.dialect.listHas(q, "workflow.tags", f.Tag)
	}
	if f.Query != "" {
		q = t.s.dialect.contains(q, f.Query, "workflow.name", "workflow.description")
	}
	return rows, t.page(ctx, q, p)
}

// changeWorkflow runs fn on a workflow whose row is locked, and writes what fn
// changed of it. Revision and UpdatedAt move only where something else did.
func (t *Tenant) changeWorkflow(
	ctx context.Context, id models.WorkflowID, ifRevision *int64, now time.Time, fn func(tx bun.Tx, w *models.Workflow) error,
) (*models.Workflow, error) {
	var w *models.Workflow
	err := t.s.inTx(ctx, func(tx bun.Tx) error {
		before, err := t.lockWorkflow(ctx, tx, id)
		if err != nil {
			return err
		}
		if ifRevision != nil && *ifRevision != before.Revision {
			return models.ErrPrecondition
		}
		after := *before
		after.Tags = append([]string{}, before.Tags...)
		if err := fn(tx, &after); err != nil {
			return err
		}
		if after.Tags == nil {
			after.Tags = []string{}
		}
		// Who a workflow is does not change.
		after.WorkspaceID, after.ID, after.CreatedAt = before.WorkspaceID, before.ID, before.CreatedAt
		after.Revision, after.UpdatedAt = before.Revision, before.UpdatedAt
		if w = &after; reflect.DeepEqual(before, &after) {
			return nil
		}
		if err := checkText(w); err != nil {
			return err
		}
		w.Revision, w.UpdatedAt = w.Revision+1, now
		_, err = tx.NewUpdate().Model(w).WherePK().
			Column("name", "description", "status", "version", "last_version", "tags", "template", "revision", "updated_at").Exec(ctx)
		return err
	})
	if err != nil {
		return nil, named("workflow", id, err)
	}
	return w, nil
}

// UpdateWorkflow lets fn change a workflow's name, description, status, tags and
// template. The row is locked meanwhile, and fn must not wait for anything. An
// error of fn is returned and nothing is changed; so is ErrPrecondition where the
// revision is not ifRevision.
func (t *Tenant) UpdateWorkflow(
	ctx context.Context, id models.WorkflowID, ifRevision *int64, now time.Time, fn func(*models.Workflow) error,
) (*models.Workflow, error) {
	return t.changeWorkflow(ctx, id, ifRevision, now, func(_ bun.Tx, w *models.Workflow) error {
		version, last := w.Version, w.LastVersion
		if err := fn(w); err != nil {
			return err
		}
		w.Version, w.LastVersion = version, last
		return nil
	})
}

// AddVersion keeps v as the next version of a workflow and makes it the current
// one. Where v has the content of the current version, that one is returned and
// nothing is made. It sets the workspace, workflow, number and time of v.
func (t *Tenant) AddVersion(
	ctx context.Context, id models.WorkflowID, ifRevision *int64, v *models.Version, now time.Time,
) (*models.Workflow, *models.Version, error) {
	made := v
	w, err := t.changeWorkflow(ctx, id, ifRevision, now, func(tx bun.Tx, w *models.Workflow) error {
		if err := notArchived(w); err != nil {
			return err
		}
		current, err := t.version(ctx, tx, id, w.Version)
		if err != nil {
			return fmt.Errorf("version %d: %w", w.Version, err)
		}
		if current.Hash == v.Hash {
			made = current
			return nil
		}
		w.LastVersion++
		w.Version = w.LastVersion
		v.WorkspaceID, v.WorkflowID, v.Number, v.CreatedAt, v.ArchivedAt = t.ws, id, w.Version, now, nil
		return t.s.insert(ctx, tx, v, "version", v.Number)
	})
	if err != nil {
		return nil, nil, err
	}
	return w, made, nil
}

func notArchived(w *models.Workflow) error {
	if w.Status == models.WorkflowArchived {
		return models.Conflict(models.CodeInvalidState, "workflow %s is archived", w.ID)
	}
	return nil
}

// Version gives a version of a workflow with its graph.
func (t *Tenant) Version(ctx context.Context, wf models.WorkflowID, n int) (*models.Version, error) {
	v, err := t.version(ctx, t.s.db, wf, n)
	return v, namedVersion(wf, n, t.s.err(err))
}

func namedVersion(wf models.WorkflowID, n int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("workflow %s version %d: %w", wf, n, err)
}

func (t *Tenant) version(ctx context.Context, db bun.IDB, wf models.WorkflowID, n int) (*models.Version, error) {
	if n < 1 || n > math.MaxInt32 { // the column could not hold it
		return nil, models.ErrNotFound
	}
	v := new(models.Version)
	err := t.mine(db.NewSelect().Model(v)).Where("version.workflow_id = ?", wf).Where("version.number = ?", n).Scan(ctx)
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Versions lists the versions of a workflow without their content, the highest
// number first; Page.After is a number.
func (t *Tenant) Versions(ctx context.Context, wf models.WorkflowID, p Page) ([]*models.Version, error) {
	var rows []*models.Version
	q := t.mine(t.s.db.NewSelect().Model(&rows)).ExcludeColumn("graph", "input_schema", "output", "settings").
		Where("version.workflow_id = ?", wf).OrderExpr("version.number DESC").Limit(int64(p.limit()))
	if p.After != "" {
		n, err := strconv.ParseInt(p.After, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("a page of versions begins after a number: %w", models.ErrInvalid)
		}
		q = q.Where("version.number < ?", n)
	}
	if err := t.s.err(q.Scan(ctx)); err != nil {
		return nil, named("workflow", wf, err)
	}
	if len(rows) == 0 && p.After == "" { // every workflow has a version
		return nil, named("workflow", wf, models.ErrNotFound)
	}
	return rows, nil
}

// ActivateVersion makes a version the current one again.
func (t *Tenant) ActivateVersion(
	ctx context.Context, wf models.WorkflowID, n int, ifRevision *int64, now time.Time,
) (*models.Workflow, error) {
	return t.changeWorkflow(ctx, wf, ifRevision, now, func(tx bun.Tx, w *models.Workflow) error {
		if err := notArchived(w); err != nil {
			return err
		}
		v, err := t.version(ctx, tx, wf, n)
		if err != nil {
			return fmt.Errorf("version %d: %w", n, err)
		}
		if v.ArchivedAt != nil {
			return models.Conflict(models.CodeVersionArchived, "version %d of workflow %s is archived", n, wf)
		}
		w.Version = n
		return nil
	})
}

// ArchiveVersion takes a version out of use for good; its runs stay readable.
// Archiving it again changes nothing.
func (t *Tenant) ArchiveVersion(ctx context.Context, wf models.WorkflowID, n int, now time.Time) (*models.Version, error) {
	var v *models.Version
	err := t.s.inTx(ctx, func(tx bun.Tx) error {
		w, err := t.lockWorkflow(ctx, tx, wf) // nobody makes it the current one meanwhile
		if err != nil {
			return err
		}
		if v, err = t.version(ctx, tx, wf, n); err != nil {
			return err
		}
		if v.ArchivedAt != nil {
			return nil
		}
		if w.Version == n {
			return models.Conflict(models.CodeInvalidState, "version %d of workflow %s is the current one and cannot be archived", n, wf)
		}
		v.ArchivedAt = &now
		_, err = tx.NewUpdate().Model(v).WherePK().Column("archived_at").Exec(ctx)
		return err
	})
	if err != nil {
		return nil, namedVersion(wf, n, err)
	}
	return v, nil
}
