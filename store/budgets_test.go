package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func spender(key string) models.Spender {
	return models.Spender{Key: key, Agent: "writer", Workflow: "wf_1"}
}

func budgetOf(scope models.BudgetScope, subject string, cost, tokens int64) *models.Budget {
	return &models.Budget{Scope: scope, Subject: subject, Cost: cost, Tokens: tokens, UpdatedAt: noon}
}

// dayOf gives what a day has, by scope and subject.
func dayOf(t *testing.T, ws *store.Tenant, scope models.BudgetScope, subject string) models.BudgetDay {
	t.Helper()
	days, err := ws.BudgetDays(t.Context(), models.Day(noon))
	require.NoError(t, err)
	for _, d := range days {
		if d.Scope == scope && d.Subject == subject {
			return *d
		}
	}
	return models.BudgetDay{}
}

func TestBudgetsAreExactHoweverManyAskAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ws, _ := tenant(t, s)
		require.NoError(t, ws.SetBudgets(t.Context(), []*models.Budget{
			budgetOf(models.BudgetWorkspace, "", 1000, models.Unlimited), budgetOf(models.BudgetWorkflow, "wf_1", models.Unlimited, 700),
		}))
		var won atomic.Int64
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				by := spender(strconv.Itoa(i))
				for n := range 10 {
					by.Key = strconv.Itoa(i) + "." + strconv.Itoa(n)
					err := ws.ReserveBudget(context.Background(), by, models.NoLimit, models.BudgetLimit{Cost: 100, Tokens: 100}, noon, noon.Add(time.Hour))
					if full, ok := errors.AsType[*models.BudgetError](err); ok {
						if full.Scope != models.BudgetWorkflow {
							t.Errorf("refused by %s", full.Scope)
						}
						return
					}
					if err == nil {
						err = ws.FinishAgentTurn(context.Background(), nil, by, models.AgentUsage{InputTokens: 40, OutputTokens: 60, Cost: 100}, noon)
						won.Add(1)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 7, won.Load())
		require.EqualValues(t, 700, dayOf(t, ws, models.BudgetWorkflow, "wf_1").TokensSpent)
		require.EqualValues(t, 700, dayOf(t, ws, models.BudgetWorkspace, "").CostSpent)
		require.EqualValues(t, 700, dayOf(t, ws, models.BudgetAgent, "writer").CostSpent)
		require.Zero(t, dayOf(t, ws, models.BudgetWorkspace, "").CostReserved)
	})
}

func TestBudgetsFreeWhatIsSetAside(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ws, _ := tenant(t, s)
		ctx := t.Context()
		limit, most := models.BudgetLimit{Cost: 100, Tokens: models.Unlimited}, models.BudgetLimit{Cost: 100, Tokens: 5}
		reserve := func(key string, now time.Time) error {
			return ws.ReserveBudget(ctx, spender(key), limit, most, now, noon.Add(time.Hour))
		}
		require.NoError(t, reserve("a", noon))
		require.EqualValues(t, 100, dayOf(t, ws, models.BudgetAgent, "writer").CostReserved)
		require.NoError(t, reserve("a", noon), "the same turn again takes the place of its first try")
		require.EqualValues(t, 100, dayOf(t, ws, models.BudgetAgent, "writer").CostReserved)
		require.ErrorContains(t, reserve("b", noon), `agent "writer"`)
		require.NoError(t, ws.ReleaseBudget(ctx, spender("a")))
		require.NoError(t, reserve("b", noon))
		require.Error(t, reserve("c", noon.Add(time.Hour)), "b may still be under way")
		require.NoError(t, reserve("c", noon.Add(2*time.Hour)), "b is gone for good")
		require.NoError(t, ws.FinishAgentTurn(ctx, nil, spender("b"), models.AgentUsage{Cost: 7}, noon), "unless it comes back: then it pays")
		require.NoError(t, ws.FinishAgentTurn(ctx, nil, spender("c"), models.AgentUsage{Cost: 13}, noon))
		got := dayOf(t, ws, models.BudgetAgent, "writer")
		require.EqualValues(t, 20, got.CostSpent)
		require.Zero(t, got.CostReserved)
		require.Zero(t, got.TokensReserved)
		require.NoError(t, ws.ReserveBudget(ctx, spender("d"), limit, most, noon.Add(24*time.Hour), noon.Add(25*time.Hour)), "another day has a budget of its own")
	})
}

func TestBudgetsBelongToOneWorkspace(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		mine, _ := tenant(t, s)
		theirs, _ := tenant(t, s)
		require.NoError(t, mine.SetBudgets(t.Context(), []*models.Budget{budgetOf(models.BudgetWorkspace, "", 0, models.Unlimited)}))
		most := models.BudgetLimit{Cost: 1, Tokens: 1}
		require.Error(t, mine.ReserveBudget(t.Context(), spender("a"), models.NoLimit, most, noon, noon))
		require.NoError(t, theirs.ReserveBudget(t.Context(), spender("a"), models.NoLimit, most, noon, noon))
		rows, err := theirs.Budgets(t.Context())
		require.NoError(t, err)
		require.Empty(t, rows)
		require.NoError(t, mine.SetBudgets(t.Context(), nil))
		require.NoError(t, mine.ReserveBudget(t.Context(), spender("a"), models.NoLimit, most, noon, noon), "no limit is set any more")
	})
}

func TestJournalKeepsATurnOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ws, _ := tenant(t, s)
		ctx := t.Context()
		at := models.AgentPlace{RunID: "run_1", StepID: "ask", Iteration: models.NoIteration}
		row := func(turn, call int, hash, response string) *models.AgentTurn {
			return &models.AgentTurn{
				RunID: at.RunID, StepID: at.StepID, Iteration: at.Iteration, Turn: turn, Call: call, Hash: hash,
				Response: json.RawMessage(response), CreatedAt: noon, FinishedAt: &noon,
			}
		}
		usage := models.AgentUsage{InputTokens: 10, OutputTokens: 1, Cost: 5, Model: "m"}
		first := row(1, models.NoCall, "h", `{"text":"a"}`)
		first.Usage = &usage
		require.NoError(t, ws.FinishAgentTurn(ctx, first, spender("1"), usage, noon))
		require.NoError(t, ws.FinishAgentTurn(ctx, row(1, models.NoCall, "h", `{"text":"a"}`), spender("1"), usage, noon))
		require.ErrorIs(t, ws.FinishAgentTurn(ctx, row(1, models.NoCall, "h", `{"text":"b"}`), spender("1"), usage, noon), models.ErrConflict)
		require.EqualValues(t, 5, dayOf(t, ws, models.BudgetWorkspace, "").CostSpent, "paid once")

		require.NoError(t, ws.BeginAgentCall(ctx, row(1, 0, "c", "")))
		require.NoError(t, ws.BeginAgentCall(ctx, row(1, 0, "c", "")))
		require.NoError(t, ws.FinishAgentCall(ctx, row(1, 0, "c", `1`)))
		require.NoError(t, ws.FinishAgentCall(ctx, row(1, 0, "c", `2`)), "what is done stays")
		require.NoError(t, ws.BeginAgentCall(ctx, row(1, 1, "d", "")))
		got, err := ws.AgentTurns(ctx, at)
		require.NoError(t, err)
		require.Len(t, got, 3)
		require.JSONEq(t, `{"text":"a"}`, string(got[0].Response))
		require.Equal(t, &usage, got[0].Usage)
		require.Equal(t, `1`, string(got[1].Response))
		require.Equal(t, models.AgentTurnDone, got[1].Status)
		require.Equal(t, models.AgentTurnBegun, got[2].Status)

		theirs, _ := tenant(t, s)
		none, err := theirs.AgentTurns(ctx, at)
		require.NoError(t, err)
		require.Empty(t, none, "of another workspace")
	})
}

func TestOldBudgetsArePruned(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ws, _ := tenant(t, s)
		other, _ := tenant(t, s)
		require.NoError(t, ws.SetBudgets(t.Context(), []*models.Budget{budgetOf(models.BudgetWorkspace, "", 1000, models.Unlimited)}))
		long := noon.AddDate(0, 0, -3)
		most := models.BudgetLimit{Cost: 100, Tokens: 10}
		reserve := func(key string, at, until time.Time) {
			require.NoError(t, ws.ReserveBudget(t.Context(), spender(key), models.NoLimit, most, at, until))
		}
		reserve("lost", long, long.Add(time.Hour))
		reserve("under way", noon, noon.Add(time.Hour))
		reserve("over, but of today", noon.Add(-2*time.Hour), noon.Add(-time.Hour))
		for _, tenant := range []*store.Tenant{ws, other} {
			require.NoError(t, tenant.FinishAgentTurn(t.Context(), nil, spender("paid"), models.AgentUsage{Cost: 7}, long))
			require.NoError(t, tenant.FinishAgentTurn(t.Context(), nil, spender("paid"), models.AgentUsage{Cost: 7}, noon))
		}
		before := dayOf(t, ws, models.BudgetWorkspace, "")

		n, err := s.PruneBudgetHolds(t.Context(), noon.AddDate(0, 0, -2), 100)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.EqualValues(t, 2, count(t, s, "budget_holds"))

		require.EqualValues(t, 12, count(t, s, "budget_days"))
		n, err = s.PruneBudgetDays(t.Context(), noon, 4)
		require.NoError(t, err)
		require.Equal(t, 4, n, "a slice")
		n, err = s.PruneBudgetDays(t.Context(), noon, 4)
		require.NoError(t, err)
		require.Equal(t, 2, n)
		require.EqualValues(t, 6, count(t, s, "budget_days"))
		require.Equal(t, before, dayOf(t, ws, models.BudgetWorkspace, ""), "today stays as it is")
		require.NoError(t, ws.FinishAgentTurn(t.Context(), nil, spender("lost"), models.AgentUsage{Cost: 1}, noon), "settled late")
	})
}
