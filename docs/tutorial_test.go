package docs_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTutorial does what the tutorial tells its reader to do, step by step.
func TestTutorial(t *testing.T) {
	t.Parallel()
	eachCurl(t, func(t *testing.T, in *installation) {
		out := in.run(t, strings.Join(shellBlocks(t, "tutorial.md"), "\necho\n"))
		require.Contains(t, out, `"valid":false`)
		require.Contains(t, out, `"loc":["body","graph","steps",0,"type"]`)
		require.Contains(t, out, `"loc":["body","payload","amount"]`)
		require.Contains(t, out, `Step \"ask\" waits until `)
		require.Contains(t, out, `"currency":"EUR"`)
		require.Contains(t, out, `"output":{"sent":true,"why":null}`)
		require.Equal(t, 2, strings.Count(out, "event: run.completed\n"), out)
		require.Regexp(t, `^POST /offers key=(run_\w+:send) \{"amount":5000,"discount":5,"lead_id":"lead_7"\}\n`+
			`POST /offers key=(run_\w+:send) \{"amount":5000,"discount":5,"lead_id":"lead_7"\}\n$`, in.peer.String())
		keys := strings.Fields(in.peer.String())
		require.NotEqual(t, keys[2], keys[6], "a rerun is another run")
	})
}
