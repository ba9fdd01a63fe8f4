package docs_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/agents/llm/llmtest"
)

// TestCallAModelPage does what the page tells its reader to do, with a model that
// looks the company up first.
func TestCallAModelPage(t *testing.T) {
	t.Parallel()
	eachCurl(t, func(t *testing.T, in *installation) {
		vendor := llmtest.New(t, func(a llmtest.Asked) llmtest.Reply {
			if a.Turn == 1 {
				return llmtest.Reply{Text: "I look.", Calls: []llmtest.Call{{Name: "look_up", Arguments: `{"method":"GET","url":"` + in.peerURL + `/company"}`}}, Input: 100, Output: 10}
			}
			return llmtest.Reply{Text: `{"score": 81}`, Input: 100, Output: 10}
		})
		steps := shellBlocks(t, "how-to/call-a-model.md")
		for i := range steps {
			steps[i] = strings.ReplaceAll(steps[i], `"127.0.0.1:9000"`, `"`+strings.TrimPrefix(in.peerURL, "http://")+`"`)
		}
		before := "export MODELS=" + vendor.URL + "/v1 MODEL_KEY=" + llmtest.Key + "\n"
		out := in.run(t, before+strings.Join(steps, "\necho\n"))
		require.Contains(t, out, `"status":"ok"`)
		require.Contains(t, out, `"output":{"score":81}`)
		require.Contains(t, out, `"usd":0.000084,"tokens":440`, "the trial and the run")
		require.Contains(t, out, "event: run.completed")
		require.Contains(t, out, `"per_day":{"usd":20}`)
		require.NotContains(t, out, llmtest.Key)
	})
}
