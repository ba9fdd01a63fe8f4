package agents

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/10ex/flows/agents/llm"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/models"
)

// Purse keeps the budgets of workspaces and workflows where a model is asked by an
// action of its connector, in a step or as a tool, and not by an agent.
type Purse struct {
	ledger func(ws models.WorkspaceID) Ledger
	clock  clock.Clock
}

var _ connectors.Spending = (*Purse)(nil)

// NewPurse makes a Purse.
func NewPurse(ledger func(ws models.WorkspaceID) Ledger, c clock.Clock) *Purse {
	return &Purse{ledger: ledger, clock: c}
}

func (p *Purse) now() time.Time { return p.clock.Now().UTC().Truncate(time.Microsecond) }

func spenderOf(r connectors.Request) models.Spender {
	return models.Spender{Key: r.IdempotencyKey + ":use", Agent: r.Agent, Workflow: models.WorkflowID(r.WorkflowID)}
}

// Reserve sets aside what a request may use at most.
func (p *Purse) Reserve(ctx context.Context, r connectors.Request, most connectors.Usage) error {
	now := p.now()
	return refusedBy(patiently(ctx, sleep, func(ctx context.Context) error {
		return p.ledger(models.WorkspaceID(r.WorkspaceID)).ReserveBudget(ctx, spenderOf(r), models.NoLimit, boundsOf(most), now, heldUntil(ctx, now))
	}))
}

// Settle counts what was used. Where that cannot be recorded, what was set aside frees
// itself in time.
func (p *Purse) Settle(ctx context.Context, r connectors.Request, used *connectors.Usage) {
	ctx, done := lingering(ctx)
	defer done()
	_ = patiently(ctx, sleep, func(ctx context.Context) error {
		ledger := p.ledger(models.WorkspaceID(r.WorkspaceID))
		if used == nil {
			return ledger.ReleaseBudget(ctx, spenderOf(r))
		}
		return ledger.FinishAgentTurn(ctx, nil, spenderOf(r), usageOf(*used), p.now())
	})
}

// usageOf puts what an action used in the words of the ledger.
func usageOf(u connectors.Usage) models.AgentUsage {
	return models.AgentUsage{
		InputTokens: u.InputTokens, OutputTokens: u.OutputTokens, Cost: llm.Nano(math.Round(u.Cost * float64(llm.Dollar))),
		Model: u.Model, CostUnknown: u.CostUnknown, Estimated: u.Estimated,
	}
}

func boundsOf(u connectors.Usage) models.BudgetLimit {
	a := usageOf(u)
	return models.BudgetLimit{Cost: a.Cost, Tokens: a.InputTokens + a.OutputTokens}
}

// heldUntil is until when something is set aside, should nobody settle it.
func heldUntil(ctx context.Context, now time.Time) time.Time {
	if deadline, ok := ctx.Deadline(); ok && deadline.After(now) {
		return now.Add(deadline.Sub(now) + time.Minute)
	}
	return now.Add(15 * time.Minute)
}

// refusedBy puts the error of a budget that has no room into that of an action.
func refusedBy(err error) error {
	if full, ok := errors.AsType[*models.BudgetError](err); ok {
		return connectors.Permanent(codeBudgetExceeded, "%s", full.Error())
	}
	return err
}
