package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store/storetest"
)

// A process compiles a schema when it is first needed, so that whether all of them can
// be is known here.
func TestTheSchemasOfAllConnectorsCompile(t *testing.T) {
	t.Parallel()
	a := &app{store: storetest.SQLite(t)}
	catalogue, err := a.connectors()
	require.NoError(t, err)
	require.NoError(t, catalogue.BuiltIn().Check())
	require.Greater(t, len(catalogue.BuiltIn().Specs()), 10)
}

// Steps, tools of agents and trials go through one catalogue; what costs money in it is
// paid from the budgets.
func TestWhatCostsMoneyKeepsToBudgets(t *testing.T) {
	t.Parallel()
	s, now := storetest.SQLite(t), time.Now().UTC()
	ws := models.WorkspaceID(ids.New(models.WorkspacePrefix))
	require.NoError(t, s.CreateWorkspace(t.Context(), &models.Workspace{ID: ws, Name: "Acme", CreatedAt: now}))
	require.NoError(t, s.For(ws).SetBudgets(t.Context(), []*models.Budget{{Scope: models.BudgetWorkspace, Tokens: models.Unlimited, UpdatedAt: now}}))
	catalogue, err := (&app{store: s, clock: clock.System{}}).connectors()
	require.NoError(t, err)
	for _, slug := range []string{"openai", "anthropic"} {
		_, err = catalogue.Do(t.Context(), slug, connectors.Request{
			WorkspaceID: string(ws), Action: "chat", IdempotencyKey: "test_1", Attempt: 1, Input: json.RawMessage(`{"model":"gpt-4o","prompt":"hi"}`),
		})
		require.Equal(t, "budget_exceeded", connectors.AsError(err).Code, slug)
	}
}
