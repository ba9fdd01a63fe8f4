package api

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
)

func TestBudgetsAreSetAndTold(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		day := models.Day(time.Now())
		got := b.call(t, "GET", "/budgets", "")
		require.Equal(t, 200, got.status)
		none := `{"usd":0,"tokens":0,"reserved_usd":0,"reserved_tokens":0}`
		require.JSONEq(t, `{"day":"`+day+`","workspace":{"per_day":null,"today":`+none+`},"workflows":{},"agents":{}}`, got.body)

		wf := b.workflow(t, passing)
		got = b.call(t, "PUT", "/budgets", `{"workspace":{"per_day":{"usd":1.5}},"workflows":{"`+wf+`":{"per_day":{"tokens":1000}}}}`)
		require.Equal(t, 200, got.status, got.body)
		ws := b.store.For(b.ws)
		by := models.Spender{Key: "k", Agent: "writer", Workflow: models.WorkflowID(wf)}
		require.NoError(t, ws.FinishAgentTurn(t.Context(), nil, by, models.AgentUsage{InputTokens: 7, OutputTokens: 3, Cost: 250_000_000}, time.Now()))
		require.NoError(t, ws.ReserveBudget(t.Context(), by, models.NoLimit, models.BudgetLimit{Cost: 500_000_000, Tokens: 90}, time.Now(), time.Now().Add(time.Hour)))
		held := `{"usd":0.25,"tokens":10,"reserved_usd":0.5,"reserved_tokens":90}`
		require.JSONEq(t, `{"day":"`+day+`","workspace":{"per_day":{"usd":1.5},"today":`+held+`},
			"workflows":{"`+wf+`":{"per_day":{"tokens":1000},"today":`+held+`}},
			"agents":{"writer":{"per_day":null,"today":{"usd":0.25,"tokens":10,"reserved_usd":0,"reserved_tokens":0}}}}`, b.call(t, "GET", "/budgets", "").body)

		require.NoError(t, ws.CreateAgent(t.Context(), &models.Agent{
			ID: models.AgentID(ids.New(models.AgentPrefix)), Slug: "writer", Name: "Writer", Kind: "llm", Connection: "conn_1",
			Config: json.RawMessage(`{"model":"gpt-4o","budget":{"per_day":2.01}}`), CreatedAt: time.Now().UTC(), UpdatedAt: time.Now().UTC(),
		}))
		require.Contains(t, b.call(t, "GET", "/budgets", "").body, `"agents":{"writer":{"per_day":{"usd":2.01},"today":{"usd":0.25,`)
		for _, usd := range []string{"2.01", "4.14", "0.1", "19.99"} { // as floats these are a little off
			got = b.call(t, "PUT", "/budgets", `{"workspace":{"per_day":{"usd":`+usd+`}}}`)
			require.Contains(t, got.body, `"workspace":{"per_day":{"usd":`+usd+`},`)
		}

		got = b.call(t, "PUT", "/budgets", `{}`)
		require.Equal(t, 200, got.status)
		require.Contains(t, got.body, `"workspace":{"per_day":null,`, "what is not given is no limit any more")
	})
}

func TestBudgetsRefuseNonsense(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		for body, loc := range map[string]string{
			`{"workspace":{"per_day":{"usd":-1}}}`:                                     `["body","workspace","per_day","usd"]`,
			`{"workspace":{"per_day":{"euro":1}}}`:                                     `["body","workspace","per_day","euro"]`,
			`{"workflows":{"wf_00000000000000000000000000":{"per_day":{"tokens":1}}}}`: `["body","workflows","wf_00000000000000000000000000"]`,
			`{"workflows":{"nonsense":{"per_day":{"tokens":1}}}}`:                      `["body","workflows","nonsense"]`,
		} {
			got := b.call(t, "PUT", "/budgets", body)
			require.Equal(t, 422, got.status, got.body)
			require.Contains(t, got.body, loc)
		}
	})
}
