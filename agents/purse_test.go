package agents_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/agents/llm/llmtest"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/models"
)

// chats is a model that asks another one, by a tool or by a step.
func chats(a llmtest.Asked) llmtest.Reply {
	switch {
	case len(a.Tools) == 0:
		return llmtest.Reply{Text: "inner", Input: 1000, Output: 500}
	case a.Turn == 1:
		return llmtest.Reply{Calls: []llmtest.Call{{Name: "other", Arguments: `{"model":"gpt-4o","prompt":"hi","max_tokens":1000}`}}, Input: 100, Output: 10}
	}
	return llmtest.Reply{Text: a.Results[0], Input: 100, Output: 10}
}

func (d *desk) chat(t *testing.T, key string) (connectors.Response, error) {
	t.Helper()
	return d.catalogue.Do(t.Context(), d.protocol, connectors.Request{
		WorkspaceID: string(d.ws), WorkflowID: "wf_1", Action: "chat", IdempotencyKey: key, Connection: d.conns["conn_"+d.protocol],
		Input: json.RawMessage(`{"model":"gpt-4o","prompt":"hi","max_tokens":1000}`),
	})
}

func TestAskingAModelInAStepIsPaidFromTheBudgets(t *testing.T) {
	t.Parallel()
	everyDesk(t, chats, func(t *testing.T, d *desk) {
		_, err := d.chat(t, "run_1:a")
		require.NoError(t, err)
		for scope, subject := range map[models.BudgetScope]string{models.BudgetWorkspace: "", models.BudgetWorkflow: "wf_1"} {
			spent := d.spent(t, scope, subject)
			require.EqualValues(t, 1500, spent.TokensSpent)
			require.EqualValues(t, 7_500_000, spent.CostSpent) // 1000 for 2.50 and 500 for 10 dollars a million
			require.Zero(t, spent.CostReserved)
		}
		require.Empty(t, cmp.Diff(models.BudgetDay{}, d.spent(t, models.BudgetAgent, "")))

		require.NoError(t, d.ledger.SetBudgets(t.Context(), []*models.Budget{{Scope: models.BudgetWorkspace, Cost: 12_000_000, Tokens: models.Unlimited, UpdatedAt: time.Now().UTC()}}))
		_, err = d.chat(t, "run_1:b") // the answer alone may cost a cent
		require.Equal(t, "budget_exceeded", code(err))
		require.Len(t, d.vendor.Asked(), 1, "what is refused is not sent")
		require.NoError(t, d.ledger.SetBudgets(t.Context(), []*models.Budget{{Scope: models.BudgetWorkspace, Cost: 20_000_000, Tokens: models.Unlimited, UpdatedAt: time.Now().UTC()}}))
		_, err = d.chat(t, "run_1:b")
		require.NoError(t, err)
		require.EqualValues(t, 3000, d.spent(t, models.BudgetWorkspace, "").TokensSpent)
	})
}

func TestWhatAFailedQuestionHadSetAsideIsGivenBack(t *testing.T) {
	t.Parallel()
	everyDesk(t, func(llmtest.Asked) llmtest.Reply { return llmtest.Reply{Status: 500, Failure: "down"} }, func(t *testing.T, d *desk) {
		require.NoError(t, d.ledger.SetBudgets(t.Context(), []*models.Budget{{Scope: models.BudgetWorkspace, Cost: 12_000_000, Tokens: models.Unlimited, UpdatedAt: time.Now().UTC()}}))
		for range 3 {
			_, err := d.chat(t, "run_1:a")
			require.Equal(t, "http_500", code(err))
		}
		require.Zero(t, d.spent(t, models.BudgetWorkspace, "").CostReserved)
	})
}

func TestAToolThatAsksAModelCountsForItsAgent(t *testing.T) {
	t.Parallel()
	everyDesk(t, chats, func(t *testing.T, d *desk) {
		config := func(budget string) string {
			return fmt.Sprintf(`{"model":"gpt-4o-mini","max_tokens":1000,"budget":%s,"tools":[{"action":"%s.chat","name":"other","connection":"conn_%[2]s"}]}`, budget, d.protocol)
		}
		got, err := d.runner.Run(t.Context(), d.agent(config("0.02"), ""), d.request(1))
		require.NoError(t, err)
		require.Contains(t, string(got.Output), "inner")
		want := &connectors.Usage{InputTokens: 1200, OutputTokens: 520, Cost: 0.007542, Turns: 2, Model: "gpt-4o-mini"}
		require.Empty(t, cmp.Diff(want, got.Usage))
		require.EqualValues(t, 1720, d.spent(t, models.BudgetWorkspace, "").TokensSpent)
		require.EqualValues(t, 1720, d.spent(t, models.BudgetAgent, "clerk").TokensSpent)

		again, err := d.runner.Run(t.Context(), d.agent(config("0.02"), ""), d.request(2))
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(want, again.Usage), "what is known is counted and not paid again")
		require.EqualValues(t, 1720, d.spent(t, models.BudgetAgent, "clerk").TokensSpent)

		other := d.request(1)
		other.StepID, other.IdempotencyKey = "b", "run_1:b"
		got, err = d.runner.Run(t.Context(), d.agent(config("0.009"), ""), other)
		require.NoError(t, err)
		require.Contains(t, string(got.Output), "budget_exceeded", "the model is told that it cannot have that")
		require.Equal(t, int64(220), got.Usage.InputTokens+got.Usage.OutputTokens)
	})
}
