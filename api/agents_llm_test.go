package api

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/agents/llm/llmtest"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/models"
)

// connection makes a connection by the API and gives its id.
func (b *bundle) connection(t *testing.T, body string) string {
	t.Helper()
	got := b.call(t, "POST", "/connections", body)
	require.Equal(t, 201, got.status, got.body)
	return got.str(t, "id")
}

func TestAgentsOfModelsBySaveAndTest(t *testing.T) {
	t.Parallel()
	vendor := llmtest.New(t, func(a llmtest.Asked) llmtest.Reply {
		if a.Turn == 1 {
			return llmtest.Reply{Calls: []llmtest.Call{{Name: "core_set", Arguments: `{"value":{"a":1}}`}}, Input: 1000, Output: 10}
		}
		return llmtest.Reply{Text: a.Results[0] + " " + llmtest.Key, Input: 1000, Output: 10}
	})
	each(t, options{}, func(t *testing.T, b *bundle) {
		for connector, url := range map[string]string{"openai": vendor.URL + "/v1", "anthropic": vendor.URL} {
			conn := b.connection(t, fmt.Sprintf(`{"connector":%q,"name":%q,"config":{"base_url":%q},"secrets":{"token":%q}}`, connector, connector, url, llmtest.Key))
			tested := b.call(t, "POST", "/connections/"+conn+"/test", "")
			require.Equal(t, 200, tested.status, tested.body)
			require.Contains(t, tested.body, `"ok"`)
			got := b.call(t, "POST", "/agents", fmt.Sprintf(`{"slug":"clerk-%s","kind":"llm","connection":%q,"config":{"model":"gpt-4o-mini","tools":["core.set"]}}`, connector, conn))
			require.Equal(t, 201, got.status, got.body)
			require.Equal(t, conn, got.str(t, "connection"))
			got = b.call(t, "POST", "/agents/clerk-"+connector+"/test", `{"input":"hello"}`)
			require.Equal(t, 200, got.status, got.body)
			var result shownResult
			require.NoError(t, json.Unmarshal([]byte(got.body), &result))
			require.Equal(t, "completed", result.Status, got.body)
			require.JSONEq(t, `{"text":"{\"a\":1} [redacted]"}`, string(result.Output))
			require.Equal(t, connectors.Usage{InputTokens: 2000, OutputTokens: 20, Cost: 0.000312, Turns: 2, Model: "gpt-4o-mini"}, result.Usage)

			for _, tc := range []struct{ body, loc string }{
				{`{"connection":"conn_00000000000000000000000000"}`, `["body","connection"]`},
				{`{"connection":null}`, `["body","connection"]`},
				{`{"connection":7}`, `["body","connection"]`},
				{`{"config":{"model":"m","tools":["core.set","http.request"]}}`, `["body","config","tools",1,"hosts"]`},
				{`{"kind":"platform","config":{"agent":"nova"}}`, `["body","connection"]`},
			} {
				bad := b.call(t, "PATCH", "/agents/clerk-"+connector, tc.body)
				require.Equal(t, 422, bad.status, bad.body)
				require.Contains(t, bad.body, tc.loc)
			}
			got = b.call(t, "PATCH", "/agents/clerk-"+connector, `{"kind":"http","connection":null,"config":{"url":"https://example.com/"}}`)
			require.Equal(t, 200, got.status, got.body)
			require.Contains(t, got.body, `"connection":null`)
		}
		other := b.newKey(t, b.workspace(t), models.ScopeAll)
		stolen := b.as(t, other, "POST", "/agents", fmt.Sprintf(`{"slug":"thief","kind":"llm","connection":%q,"config":{"model":"m"}}`, b.connection(t,
			fmt.Sprintf(`{"connector":"openai","name":"another","config":{"base_url":%q},"secrets":{"token":%q}}`, vendor.URL, llmtest.Key))))
		require.Equal(t, 422, stolen.status)
		require.Contains(t, stolen.body, "there is no such connection")
	})
}

// shownResult is TestResult as a client reads it.
type shownResult struct {
	Status string
	Output json.RawMessage
	Usage  connectors.Usage
}
