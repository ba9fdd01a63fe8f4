package store

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
)

// RunFilter restricts a list of runs. What is empty does not restrict.
type RunFilter struct {
	WorkflowID    *models.WorkflowID
	Statuses      []models.RunStatus
	TriggerTypes  []models.TriggerType
	TriggerID     *models.TriggerID
	CreatedAfter  *time.Time // that moment itself is left out
	CreatedBefore *time.Time // that moment itself is left out
	Metadata      map[string]string
}

// Run gives a run with everything in its row.
func (t *Tenant) Run(ctx context.Context, id models.RunID) (*models.Run, error) {
	r := new(models.Run)
	if err := t.s.get(ctx, r, selectRun, string(t.ws), string(id)); err != nil {
		return nil, named("run", id, t.s.err(err))
	}
	return r, nil
}

// Runs lists runs without payload and output.
func (t *Tenant) Runs(ctx context.Context, f RunFilter, p Page) ([]*models.Run, error) {
	if err := checkText(f, p); err != nil {
		return nil, err
	}
	var rows []*models.Run
	err := t.runsQuery(f, p).Scan(ctx, &rows)
	return rows, t.s.err(err)
}

// runsQuery asks for a page of every pair of status and trigger type by itself
// and takes the newest of all: an index that ends in the id gives the rows of one
// pair in order, but not those of several, so a list of them would sort all that
// match.
//
//	runs_pkey        (workspace_id, id)                        no filter
//	runs_by_trigger  (workspace_id, trigger_id, status, id)    trigger, with or without status
//	runs_by_workflow (workspace_id, workflow_id, status, id)   workflow, with or without status
//	runs_by_status   (workspace_id, status, trigger_type, id)  status, trigger type or both
func (t *Tenant) runsQuery(f RunFilter, p Page) *bun.RawQuery {
	f.Statuses, f.TriggerTypes = unlessAll(f.Statuses, models.RunStatuses), unlessAll(f.TriggerTypes, models.TriggerTypes)
	statuses, types := [][]models.RunStatus{f.Statuses}, [][]models.TriggerType{f.TriggerTypes}
	switch {
	case f.TriggerID != nil, f.WorkflowID != nil:
		statuses = oneByOne(f.Statuses, models.RunStatuses)
	case len(f.Statuses)+len(f.TriggerTypes) > 0:
		statuses, types = oneByOne(f.Statuses, models.RunStatuses), oneByOne(f.TriggerTypes, models.TriggerTypes)
	}
	var branches []string
	var args []any
	for _, status := range statuses {
		for _, typ := range types {
			// Without a limit in each, PostgreSQL may plan for all rows of all of them.
			branches = append(branches, "SELECT "+strings.Join(runColumns, ", ")+" FROM (?) AS branch")
			args = append(args, t.runsBranch(f, p, status, typ))
		}
	}
	if len(branches) == 1 {
		return t.s.db.NewRaw("?", args...)
	}
	return t.s.db.NewRaw(strings.Join(branches, " UNION ALL ")+" ORDER BY id DESC LIMIT ?", append(args, p.limit())...)
}

// unlessAll gives want sorted and each value once, or nothing where it restricts
// nothing.
func unlessAll[T ~string](want, all []T) []T {
	want = slices.Compact(slices.Sorted(slices.Values(want)))
	if !slices.ContainsFunc(all, func(v T) bool { return !slices.Contains(want, v) }) {
		return nil
	}
	return want
}

// oneByOne gives a list for each wanted value; all are wanted where none is named.
func oneByOne[T ~string](want, all []T) [][]T {
	if len(want) == 0 {
		want = all
	}
	return slices.Collect(slices.Chunk(want, 1))
}

func (t *Tenant) runsBranch(f RunFilter, p Page, statuses []models.RunStatus, types []models.TriggerType) *bun.SelectQuery {
	q := t.mine(t.s.db.NewSelect().Model((*models.Run)(nil))).Column(runColumns...).
		Where("run.workflow_version > 0") // true of every run, and the condition of the indexes for lists
	if f.WorkflowID != nil {
		q = q.Where("run.workflow_id = ?", *f.WorkflowID)
	}
	if f.TriggerID != nil {
		q = q.Where("run.trigger_id = ?", *f.TriggerID)
	}
	q = anyOf(anyOf(q, "run.status", statuses), "run.trigger_type", types)
	q = createdBetween(q, f.CreatedAfter, f.CreatedBefore, p.After)
	for _, key := range slices.Sorted(maps.Keys(f.Metadata)) {
		q = t.s.dialect.metadataHas(q, key, f.Metadata[key])
	}
	return q.OrderExpr("run.id DESC").Limit(int64(p.limit()))
}

func anyOf[T ~string | ~int](q *bun.SelectQuery, column string, values []T) *bun.SelectQuery {
	switch len(values) {
	case 0:
		return q
	case 1:
		return q.Where("? = ?", bun.Safe(column), values[0])
	}
	return q.Where("? IN (?)", bun.Safe(column), bun.List(values))
}

// Ids follow the clock of the process that made them, and a request that is
// repeated keeps the ids of its first try, so the time in an id may be off by
// this much: the index is entered by the id, and the column decides.
const (
	idsAhead  = time.Minute
	idsBehind = time.Hour
)

// createdBetween restricts q to a time and to what follows the row last seen. It
// gives the id one upper bound: SQLite takes two for a reason to use another index.
func createdBetween(q *bun.SelectQuery, after, before *time.Time, seen string) *bun.SelectQuery {
	if after != nil {
		q = q.Where("run.id >= ?", ids.Lowest(models.RunPrefix, after.Add(-idsBehind))).Where("run.created_at > ?", *after)
	}
	if before != nil {
		q = q.Where("run.created_at < ?", *before)
		if bound := ids.Lowest(models.RunPrefix, before.Add(idsAhead)); seen == "" || bound < seen {
			seen = bound
		}
	}
	if seen != "" {
		q = q.Where("run.id < ?", seen)
	}
	return q
}

// Steps gives the steps of a run, without iterations, in the order of their first
// start; those that never started come last.
func (t *Tenant) Steps(ctx context.Context, run models.RunID) ([]*models.Step, error) {
	var rows []*models.Step
	first := t.s.db.NewSelect().Model((*models.StepAttempt)(nil)).ColumnExpr("min(step_attempt.started_at)").
		Where("step_attempt.workspace_id = step.workspace_id").Where("step_attempt.run_id = step.run_id").
		Where("step_attempt.step_id = step.step_id").Where("step_attempt.iteration = step.iteration")
	err := t.mine(t.s.db.NewSelect().Model(&rows)).Column("step.*").
		ColumnExpr("COALESCE((?), step.started_at) AS first_start", first).
		Where("step.run_id = ?", run).Where("step.iteration = ?", models.NoIteration).
		OrderExpr("first_start ASC NULLS LAST, step.step_id").Scan(ctx)
	return rows, t.s.err(err)
}

// LaterItems counts the iterations of a step that are in line and may not begin yet.
type LaterItems struct {
	StepID string    `bun:"step_id"`
	Reason string    `bun:"reason"` // what holds them back; empty: the attempt before failed
	Count  int       `bun:"count"`
	First  time.Time `bun:"first"` // when the first of them may
}

// LaterItems gives, by step and reason, the iterations of a run's steps that may not
// begin by now.
func (t *Tenant) LaterItems(ctx context.Context, run models.RunID, now time.Time) ([]LaterItems, error) {
	var rows []LaterItems
	err := t.mine(t.s.db.NewSelect().Model((*models.Step)(nil))).Column("step.step_id", "step.reason").
		ColumnExpr("count(*) AS count").ColumnExpr("min(step.due_at) AS first").
		Where("step.run_id = ?", run).Where("step.iteration >= 0").Where("step.status = ?", models.StepQueued).Where("step.due_at > ?", now).
		Group("step.step_id", "step.reason").Order("step.step_id", "first", "step.reason").Scan(ctx, &rows)
	return rows, t.s.err(err)
}

// Attempts gives the attempts of a run's steps, without iterations, that were
// followed by another, by step and number. Those of a long list would be many.
func (t *Tenant) Attempts(ctx context.Context, run models.RunID) ([]*models.StepAttempt, error) {
	var rows []*models.StepAttempt
	err := t.mine(t.s.db.NewSelect().Model(&rows)).Where("step_attempt.run_id = ?", run).
		Where("step_attempt.iteration = ?", models.NoIteration).OrderExpr("step_attempt.step_id, step_attempt.number").Scan(ctx)
	return rows, t.s.err(err)
}
