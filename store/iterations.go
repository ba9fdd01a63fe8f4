package store

import (
	"context"
	"fmt"
	"strconv"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// IterationFilter says which iterations are listed: those of one step of a run, of
// any status where none is named.
type IterationFilter struct {
	Run      models.RunID
	Step     string
	Statuses []models.StepStatus
}

// Iterations gives a page of the iterations of a step over a list, in the order of the
// list. A page begins after the number of an iteration. A step without a list has none.
func (t *Tenant) Iterations(ctx context.Context, f IterationFilter, p Page) ([]*models.Step, error) {
	after := models.NoIteration
	if p.After != "" {
		n, err := strconv.ParseInt(p.After, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("a page of iterations begins after a number: %w", models.ErrInvalid)
		}
		after = int(n)
	}
	var rows []*models.Step
	err := t.iterationsQuery(f, after, p.limit()).Scan(ctx, &rows)
	return rows, t.s.err(err)
}

// iterationsQuery walks along the primary key: a status is looked for among the
// iterations of one step, of which there are 10,000 at most.
func (t *Tenant) iterationsQuery(f IterationFilter, after, limit int) *bun.SelectQuery {
	q := t.mine(t.s.db.NewSelect().Model((*models.Step)(nil))).Where("step.run_id = ?", f.Run).Where("step.step_id = ?", f.Step).
		Where("step.iteration > ?", after)
	return anyOf(q, "step.status", f.Statuses).OrderExpr("step.iteration").Limit(int64(limit))
}

// IterationAttempts gives the attempts of some iterations of a step that were followed
// by another, by iteration and number.
func (t *Tenant) IterationAttempts(ctx context.Context, run models.RunID, step string, iterations []int) ([]*models.StepAttempt, error) {
	if len(iterations) == 0 {
		return nil, nil
	}
	var rows []*models.StepAttempt
	err := t.iterationAttemptsQuery(run, step, iterations).Scan(ctx, &rows)
	return rows, t.s.err(err)
}

func (t *Tenant) iterationAttemptsQuery(run models.RunID, step string, iterations []int) *bun.SelectQuery {
	q := t.mine(t.s.db.NewSelect().Model((*models.StepAttempt)(nil))).Where("step_attempt.run_id = ?", run).
		Where("step_attempt.step_id = ?", step)
	return anyOf(q, "step_attempt.iteration", iterations).OrderExpr("step_attempt.iteration, step_attempt.number")
}
