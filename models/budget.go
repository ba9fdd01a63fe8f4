package models

import (
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// BudgetScope says whose spending a budget limits.
type BudgetScope string

// The scopes of budgets, in the order in which they are asked.
const (
	BudgetWorkspace BudgetScope = "workspace"
	BudgetWorkflow  BudgetScope = "workflow"
	BudgetAgent     BudgetScope = "agent"
)

// BudgetScopes lists every scope of a budget.
var BudgetScopes = []BudgetScope{BudgetWorkspace, BudgetWorkflow, BudgetAgent}

// Unlimited is a limit that is none.
const Unlimited = -1

// BudgetLimit bounds what models may cost. Cost is in billionths of a US dollar.
type BudgetLimit struct{ Cost, Tokens int64 }

// NoLimit bounds nothing.
var NoLimit = BudgetLimit{Unlimited, Unlimited}

// Budget is the limit for a day, in UTC, of a workspace or of one of its workflows.
// Those of agents are a part of the agents.
type Budget struct {
	bun.BaseModel `bun:"table:budgets"`

	WorkspaceID WorkspaceID `bun:"workspace_id,pk"`
	Scope       BudgetScope `bun:"scope,pk"`
	Subject     string      `bun:"subject,pk"` // id of the workflow; empty for the workspace
	Cost        int64       `bun:"cost"`
	Tokens      int64       `bun:"tokens"`
	UpdatedAt   time.Time   `bun:"updated_at"`
}

// Limit is what the budget allows.
func (b *Budget) Limit() BudgetLimit { return BudgetLimit{b.Cost, b.Tokens} }

// BudgetDay is what was spent on a day, and what is set aside for turns under way.
type BudgetDay struct {
	bun.BaseModel `bun:"table:budget_days"`

	WorkspaceID    WorkspaceID `bun:"workspace_id,pk"`
	Scope          BudgetScope `bun:"scope,pk"`
	Subject        string      `bun:"subject,pk"`
	Day            string      `bun:"day,pk"` // 2006-01-02
	CostSpent      int64       `bun:"cost_spent"`
	CostReserved   int64       `bun:"cost_reserved"`
	TokensSpent    int64       `bun:"tokens_spent"`
	TokensReserved int64       `bun:"tokens_reserved"`
}

// BudgetHold is what one turn has set aside in one budget. It frees itself when it
// expires: whoever made it may be gone.
type BudgetHold struct {
	bun.BaseModel `bun:"table:budget_holds"`

	WorkspaceID WorkspaceID `bun:"workspace_id,pk"`
	Key         string      `bun:"key,pk"` // names the turn
	Scope       BudgetScope `bun:"scope,pk"`
	Subject     string      `bun:"subject"`
	Day         string      `bun:"day"`
	Cost        int64       `bun:"cost"`
	Tokens      int64       `bun:"tokens"`
	ExpiresAt   time.Time   `bun:"expires_at"`
}

// Spender says in whose name a turn is paid.
type Spender struct {
	// Key names the turn, and is the same for every try at it.
	Key      string
	Agent    string     // slug; empty where it is none's
	Workflow WorkflowID // empty outside runs
}

// BudgetError says which budget has no room left.
type BudgetError struct {
	Scope   BudgetScope
	Subject string
}

func (e *BudgetError) Error() string {
	switch e.Scope {
	case BudgetWorkflow:
		return fmt.Sprintf("the budget of workflow %s for today does not allow another turn", e.Subject)
	case BudgetAgent:
		return fmt.Sprintf("the budget of agent %q for today does not allow another turn", e.Subject)
	case BudgetWorkspace:
	}
	return "the workspace's budget for today does not allow another turn"
}

// Day is the day of a time, in UTC, as budgets name it.
func Day(at time.Time) string { return at.UTC().Format(time.DateOnly) }
