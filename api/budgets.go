package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/10ex/flows/agents"
	"github.com/10ex/flows/models"
)

// nanosPerDollar is how budgets are kept: in billionths of a US dollar.
const nanosPerDollar = 1e9

// BudgetLimit is what models may cost on a day in UTC.
type BudgetLimit struct {
	USD    *float64 `json:"usd,omitempty" minimum:"0" maximum:"1000000" doc:"US dollars; no limit if not given"`
	Tokens *int64   `json:"tokens,omitempty" minimum:"0" maximum:"1000000000000" doc:"Tokens in and out; no limit if not given"`
}

func (l *BudgetLimit) bounds() models.BudgetLimit {
	b := models.NoLimit
	if l.USD != nil {
		b.Cost = int64(math.Round(*l.USD * nanosPerDollar)) // 2.01 is a little less as a float
	}
	if l.Tokens != nil {
		b.Tokens = *l.Tokens
	}
	return b
}

func showLimit(b models.BudgetLimit) *BudgetLimit {
	out := &BudgetLimit{}
	if b.Cost != models.Unlimited {
		usd := float64(b.Cost) / nanosPerDollar
		out.USD = &usd
	}
	if b.Tokens != models.Unlimited {
		out.Tokens = &b.Tokens
	}
	return out
}

// BudgetSpent is what was spent on a day, and what turns under way have set aside.
type BudgetSpent struct {
	USD            float64 `json:"usd"`
	Tokens         int64   `json:"tokens"`
	ReservedUSD    float64 `json:"reserved_usd"`
	ReservedTokens int64   `json:"reserved_tokens"`
}

// Budget is the limit of something and what it has spent today.
type Budget struct {
	PerDay orNull[BudgetLimit] `json:"per_day" doc:"The limit, or null; that of an agent is the one in its config"`
	Today  BudgetSpent         `json:"today"`
}

// Budgets are those of a workspace.
type Budgets struct {
	Day       string                       `json:"day" doc:"Today in UTC" format:"date"`
	Workspace Budget                       `json:"workspace"`
	Workflows map[models.WorkflowID]Budget `json:"workflows" doc:"By id: those that have a limit or spent something today"`
	Agents    map[string]Budget            `json:"agents" doc:"By slug: those that spent something today"`
}

type budgetsAnswer struct{ Body Budgets }

func (a *API) getBudgets(ctx context.Context, _ *struct{}) (*budgetsAnswer, error) {
	t, day := a.store.For(workspace(ctx)), models.Day(a.now())
	limits, err := t.Budgets(ctx)
	if err != nil {
		return nil, err
	}
	days, err := t.BudgetDays(ctx, day)
	if err != nil {
		return nil, err
	}
	out := Budgets{Day: day, Workflows: map[models.WorkflowID]Budget{}, Agents: map[string]Budget{}}
	for _, l := range limits {
		if b := (Budget{PerDay: maybe(showLimit(l.Limit()))}); l.Scope == models.BudgetWorkspace {
			out.Workspace = b
		} else {
			out.Workflows[models.WorkflowID(l.Subject)] = b
		}
	}
	for _, d := range days {
		spent := BudgetSpent{
			float64(d.CostSpent) / nanosPerDollar, d.TokensSpent, float64(d.CostReserved) / nanosPerDollar, d.TokensReserved,
		}
		switch d.Scope {
		case models.BudgetWorkspace:
			out.Workspace.Today = spent
		case models.BudgetWorkflow:
			b := out.Workflows[models.WorkflowID(d.Subject)]
			b.Today = spent
			out.Workflows[models.WorkflowID(d.Subject)] = b
		case models.BudgetAgent:
			out.Agents[d.Subject] = Budget{Today: spent}
		}
	}
	rows, err := t.AgentsNamed(ctx, slices.Sorted(maps.Keys(out.Agents)))
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if limit := agents.DayLimit(runnable(row)); limit != models.NoLimit {
			out.Agents[row.Slug] = Budget{PerDay: maybe(showLimit(limit)), Today: out.Agents[row.Slug].Today}
		}
	}
	return &budgetsAnswer{out}, nil
}

type budgetBody struct {
	PerDay *BudgetLimit `json:"per_day,omitempty"`
}

type putBudgetsRequest struct {
	Body struct {
		Workspace *budgetBody           `json:"workspace,omitempty" doc:"For all that models cost in the workspace; no limit if not given"`
		Workflows map[string]budgetBody `json:"workflows,omitempty" doc:"By id of the workflow"`
	}
}

// mostBudgets is how many workflows may have a budget of their own.
const mostBudgets = 1000

func (a *API) putBudgets(ctx context.Context, in *putBudgetsRequest) (*budgetsAnswer, error) {
	t := a.store.For(workspace(ctx))
	var rows []*models.Budget
	var found []models.FieldError
	add := func(scope models.BudgetScope, subject string, b *budgetBody) {
		if b == nil || b.PerDay == nil {
			return
		}
		limit := b.PerDay.bounds()
		rows = append(rows, &models.Budget{Scope: scope, Subject: subject, Cost: limit.Cost, Tokens: limit.Tokens, UpdatedAt: a.now()})
	}
	add(models.BudgetWorkspace, "", in.Body.Workspace)
	if len(in.Body.Workflows) > mostBudgets {
		return nil, invalid(models.FieldError{Loc: []any{"body", "workflows"}, Msg: fmt.Sprintf("must have at most %d members", mostBudgets), Type: "limit"})
	}
	for _, id := range slices.Sorted(maps.Keys(in.Body.Workflows)) {
		b := in.Body.Workflows[id]
		err := models.ErrNotFound
		if models.ValidID(models.WorkflowPrefix, id) {
			_, err = t.Workflow(ctx, models.WorkflowID(id))
		}
		if err != nil && !errors.Is(err, models.ErrNotFound) {
			return nil, err
		}
		if err != nil {
			found = append(found, models.FieldError{Loc: []any{"body", "workflows", id}, Msg: "there is no such workflow", Type: "unknown"})
			continue
		}
		add(models.BudgetWorkflow, id, &b)
	}
	if len(found) > 0 {
		return nil, invalid(found...)
	}
	if err := t.SetBudgets(ctx, rows); err != nil {
		return nil, err
	}
	return a.getBudgets(ctx, nil)
}
