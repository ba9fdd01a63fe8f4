package agents

import (
	"context"
	"errors"
	"time"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/models"
)

// Ledger keeps what must outlive an attempt, for one workspace: the journals of
// agents and what they have spent. *store.Tenant is one.
type Ledger interface {
	AgentTurns(ctx context.Context, at models.AgentPlace) ([]*models.AgentTurn, error)
	BeginAgentCall(ctx context.Context, row *models.AgentTurn) error
	DropAgentCall(ctx context.Context, row *models.AgentTurn) error
	FinishAgentCall(ctx context.Context, row *models.AgentTurn) error
	FinishAgentTurn(ctx context.Context, row *models.AgentTurn, by models.Spender, spent models.AgentUsage, now time.Time) error
	ReserveBudget(ctx context.Context, by models.Spender, agent, most models.BudgetLimit, now, until time.Time) error
	ReleaseBudget(ctx context.Context, by models.Spender) error
}

// grace is how long recording goes on after the work was told to stop: what is paid
// must be known.
const grace = 5 * time.Second

// lingering gives a context that ends a little after ctx.
func lingering(ctx context.Context) (context.Context, func()) {
	kept, cancel := context.WithCancel(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return kept, func() {
		forget()
		cancel()
	}
}

// patiently asks the database until it answers or ctx ends: that it is away is not
// the agent's fault.
func (r *Runner) patiently(ctx context.Context, ask func(ctx context.Context) error) error {
	return patiently(ctx, r.sleep, ask)
}

func patiently(ctx context.Context, sleep func(context.Context, time.Duration) error, ask func(ctx context.Context) error) error {
	const longest = 2 * time.Second
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, longest) {
		err := ask(ctx)
		if !errors.Is(err, models.ErrUnavailable) {
			return err
		}
		if sleep(ctx, wait) != nil {
			return connectors.NetworkError(ctx, ctx.Err())
		}
	}
}
