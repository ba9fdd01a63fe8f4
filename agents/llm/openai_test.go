package llm

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
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

func TestCallsThatAreNotCountedKeepTheirArguments(t *testing.T) {
	t.Parallel()
	piece := func(id, name, arguments string) string {
		raw, err := json.Marshal(map[string]any{"choices": []any{map[string]any{"delta": map[string]any{"tool_calls": []any{
			map[string]any{"index": 0, "id": id, "function": map[string]string{"name": name, "arguments": arguments}},
		}}}}})
		require.NoError(t, err)
		return "data: " + string(raw) + "\n\n"
	}
	stream := piece("call_1", "one", `{"x"`) + piece("", "", `:1}`) + piece("call_2", "two", "") + piece("", "", `{"y"`) + piece("", "", `:2}`) +
		`data: {"choices":[{"delta":{},"finish_reason":"tool_calls"}]}` + "\n\ndata: [DONE]\n\n"
	var a Answer
	require.NoError(t, a.openAIStream(t.Context(), &http.Response{Body: io.NopCloser(strings.NewReader(stream))}, nil))
	require.Equal(t, []Call{{ID: "call_1", Name: "one", Arguments: `{"x":1}`}, {ID: "call_2", Name: "two", Arguments: `{"y":2}`}}, a.Calls)
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
