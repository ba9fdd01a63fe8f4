package llm

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
)

func TestTheVendorsOwnServerIsAskedForMore(t *testing.T) {
	t.Parallel()
	q := Question{Model: "m", MaxTokens: 7, Output: json.RawMessage(`{"type":"object"}`), Messages: []Message{{Role: RoleUser, Text: "hi"}}}
	body := func(base string, q Question) string {
		raw, err := json.Marshal(openAIBody(&connectors.Connection{BaseURL: base}, q))
		require.NoError(t, err)
		return string(raw)
	}
	require.JSONEq(t, `{"model":"m","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":7,
		"response_format":{"type":"json_schema","json_schema":{"name":"output","schema":{"type":"object"},"strict":false}}}`,
		body("https://api.openai.com/v1", q))
	require.JSONEq(t, `{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":7}`, body("http://localhost:11434/v1", q))
	q.Output = json.RawMessage(`{"type":"array"}`)
	require.NotContains(t, body("https://api.openai.com/v1", q), "response_format", "lists cannot be asked for")
}

func TestNoServerCountsABudgetUp(t *testing.T) {
	t.Parallel()
	for counted, want := range map[Usage]Usage{
		{Input: -5, Output: 7}:              {Input: 0, Output: 7},
		{Input: 1 << 62, Output: 1 << 62}:   {Input: 1 << 40, Output: 1 << 40},
		{Input: 10, Cached: 20, Output: -1}: {Input: 10, Cached: 10},
		{Input: 10, Cached: -9, Output: 1}:  {Input: 10, Output: 1},
		{Input: -1, Output: -1}:             {Input: 26, Output: 2, Estimated: true},
	} {
		a := Answer{Text: "word", Usage: counted}
		a.guess(100)
		require.Equal(t, want, a.Usage)
	}
}
