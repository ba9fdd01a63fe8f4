package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// Budgets lists the limits of the workspace and its workflows.
func (t *Tenant) Budgets(ctx context.Context) ([]*models.Budget, error) {
	var rows []*models.Budget
	err := t.mine(t.s.db.NewSelect().Model(&rows)).OrderExpr("scope DESC, subject").Scan(ctx)
	return rows, t.s.err(err)
}

// SetBudgets puts limits in place of all there are.
func (t *Tenant) SetBudgets(ctx context.Context, limits []*models.Budget) error {
	return t.s.inTx(ctx, func(tx bun.Tx) error {
		if _, err := tx.NewDelete().Model((*models.Budget)(nil)).Where("workspace_id = ?", t.ws).Exec(ctx); err != nil || len(limits) == 0 {
			return err
		}
		for _, b := range limits {
			b.WorkspaceID = t.ws
		}
		_, err := tx.NewInsert().Model(&limits).Exec(ctx)
		return err
	})
}

// BudgetDays lists what was spent on a day.
func (t *Tenant) BudgetDays(ctx context.Context, day string) ([]*models.BudgetDay, error) {
	var rows []*models.BudgetDay
	err := t.mine(t.s.db.NewSelect().Model(&rows)).Where("day = ?", day).OrderExpr("scope, subject").Scan(ctx)
	return rows, t.s.err(err)
}

// ReserveBudget sets aside what a turn may cost, in every budget that applies; agent
// is the agent's own. Where one has no room it sets nothing aside, and the error is a
// *models.BudgetError. What the same turn had set aside before is given back first.
func (t *Tenant) ReserveBudget(ctx context.Context, by models.Spender, agent, most models.BudgetLimit, now, until time.Time) error {
	return t.s.inTx(ctx, func(tx bun.Tx) error {
		limits, err := t.limits(ctx, tx, by, agent)
		if err != nil || len(limits) == 0 {
			return err
		}
		if _, err := t.giveBack(ctx, tx, func(q *bun.DeleteQuery) *bun.DeleteQuery { return q.Where("key = ?", by.Key) }); err != nil {
			return err
		}
		for _, l := range limits {
			if err := t.reserve(ctx, tx, l, by.Key, most, now, until); err != nil {
				return err
			}
		}
		return nil
	})
}

// applied is a limit and what it applies to.
type applied struct {
	scope   models.BudgetScope
	subject string
	limit   models.BudgetLimit
}

// limits gives the limits a turn has to keep, in the one order in which rows are
// locked: workspace, workflow, agent.
func (t *Tenant) limits(ctx context.Context, tx bun.Tx, by models.Spender, agent models.BudgetLimit) ([]applied, error) {
	var rows []*models.Budget
	if err := t.mine(tx.NewSelect().Model(&rows)).Where("subject IN (?)", bun.List([]string{"", string(by.Workflow)})).Scan(ctx); err != nil {
		return nil, err
	}
	var all []applied
	for _, b := range rows {
		all = append(all, applied{b.Scope, b.Subject, b.Limit()})
	}
	if agent != models.NoLimit {
		all = append(all, applied{models.BudgetAgent, by.Agent, agent})
	}
	slices.SortFunc(all, func(a, b applied) int { return cmp.Compare(rank(a.scope), rank(b.scope)) })
	return all, nil
}

func rank(s models.BudgetScope) int { return slices.Index(models.BudgetScopes, s) }

func (t *Tenant) reserve(ctx context.Context, tx bun.Tx, a applied, key string, most models.BudgetLimit, now, until time.Time) error {
	day := &models.BudgetDay{WorkspaceID: t.ws, Scope: a.scope, Subject: a.subject, Day: models.Day(now)}
	if _, err := tx.NewInsert().Model(day).On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
		return err
	}
	ok, err := t.setAside(ctx, tx, day, a.limit, most)
	if err == nil && !ok {
		// Perhaps it is full of what nobody will ever settle.
		var freed int
		freed, err = t.giveBack(ctx, tx, func(q *bun.DeleteQuery) *bun.DeleteQuery {
			return q.Where("scope = ?", a.scope).Where("subject = ?", a.subject).Where("day = ?", day.Day).Where("expires_at < ?", now)
		})
		if err == nil && freed > 0 {
			ok, err = t.setAside(ctx, tx, day, a.limit, most)
		}
	}
	switch {
	case err != nil:
		return err
	case !ok:
		return &models.BudgetError{Scope: a.scope, Subject: a.subject}
	}
	_, err = tx.NewInsert().Model(&models.BudgetHold{
		WorkspaceID: t.ws, Key: key, Scope: a.scope, Subject: a.subject, Day: day.Day,
		Cost: most.Cost, Tokens: most.Tokens, ExpiresAt: until,
	}).Exec(ctx)
	return err
}

// setAside moves a sum into a day's reserve where the limit leaves room: the condition
// and the change are one statement, so any number of processes may ask at once.
func (t *Tenant) setAside(ctx context.Context, tx bun.Tx, day *models.BudgetDay, limit, most models.BudgetLimit) (bool, error) {
	q := tx.NewUpdate().Model(day).WherePK().
		Set("cost_reserved = cost_reserved + ?", most.Cost).Set("tokens_reserved = tokens_reserved + ?", most.Tokens)
	if limit.Cost != models.Unlimited {
		q = q.Where("cost_spent + cost_reserved + ? <= ?", most.Cost, limit.Cost)
	}
	if limit.Tokens != models.Unlimited {
		q = q.Where("tokens_spent + tokens_reserved + ? <= ?", most.Tokens, limit.Tokens)
	}
	res, err := q.Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// giveBack ends holds and takes them out of the reserves, and tells how many.
func (t *Tenant) giveBack(ctx context.Context, tx bun.Tx, which func(*bun.DeleteQuery) *bun.DeleteQuery) (int, error) {
	var gone []*models.BudgetHold
	if err := which(tx.NewDelete().Model(&gone).Where("workspace_id = ?", t.ws)).Returning("*").Scan(ctx); err != nil {
		return 0, err
	}
	slices.SortFunc(gone, func(a, b *models.BudgetHold) int { return cmp.Compare(rank(a.Scope), rank(b.Scope)) })
	for _, h := range gone {
		day := &models.BudgetDay{WorkspaceID: t.ws, Scope: h.Scope, Subject: h.Subject, Day: h.Day}
		_, err := tx.NewUpdate().Model(day).WherePK().
			Set("cost_reserved = cost_reserved - ?", h.Cost).Set("tokens_reserved = tokens_reserved - ?", h.Tokens).Exec(ctx)
		if err != nil {
			return 0, err
		}
	}
	return len(gone), nil
}

// ReleaseBudget gives back what a turn had set aside that came to nothing.
func (t *Tenant) ReleaseBudget(ctx context.Context, by models.Spender) error {
	return t.s.inTx(ctx, func(tx bun.Tx) error {
		_, err := t.giveBack(ctx, tx, func(q *bun.DeleteQuery) *bun.DeleteQuery { return q.Where("key = ?", by.Key) })
		return err
	})
}

// pay ends what a turn had set aside and counts what it took, for all in whose name
// it was: a limit may be set later the same day.
func (t *Tenant) pay(ctx context.Context, tx bun.Tx, by models.Spender, took models.BudgetLimit, now time.Time) error {
	if _, err := t.giveBack(ctx, tx, func(q *bun.DeleteQuery) *bun.DeleteQuery { return q.Where("key = ?", by.Key) }); err != nil {
		return err
	}
	row := func(scope models.BudgetScope, subject string) *models.BudgetDay {
		return &models.BudgetDay{
			WorkspaceID: t.ws, Scope: scope, Subject: subject, Day: models.Day(now), CostSpent: took.Cost, TokensSpent: took.Tokens,
		}
	}
	days := []*models.BudgetDay{row(models.BudgetWorkspace, "")}
	if by.Workflow != "" {
		days = append(days, row(models.BudgetWorkflow, string(by.Workflow)))
	}
	if by.Agent != "" {
		days = append(days, row(models.BudgetAgent, by.Agent))
	}
	for _, d := range days { // one by one: rows are locked in this order
		_, err := tx.NewInsert().Model(d).On("CONFLICT (workspace_id, scope, subject, day) DO UPDATE").
			Set("cost_spent = budget_day.cost_spent + EXCLUDED.cost_spent").
			Set("tokens_spent = budget_day.tokens_spent + EXCLUDED.tokens_spent").Exec(ctx)
		if err != nil {
			return err
		}
	}
	return nil
}
