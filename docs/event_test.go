package docs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestStartFromAnEventPage does what the page tells its reader to do.
func TestStartFromAnEventPage(t *testing.T) {
	t.Parallel()
	eachCurl(t, func(t *testing.T, in *installation) {
		steps := shellBlocks(t, "how-to/start-from-an-event.md")
		require.Len(t, steps, 4)
		known, _, _ := strings.Cut(steps[0], "export FLOW")
		out := in.run(t, strings.Join(steps[:3], "\n")+"\necho event=$EVENT\n")
		_, event, found := strings.Cut(out, "event=")
		require.True(t, found, out)
		event = "export EVENT=" + strings.TrimSpace(event) + "\n"
		require.Eventually(t, func() bool {
			out = in.run(t, known+event+steps[3])
			return strings.Contains(out, `"outcome":"fired"`) && strings.Contains(out, `"status":"completed"`)
		}, 20*time.Second, 20*time.Millisecond)
		require.Contains(t, out, `"source":"crm"`)
		require.Contains(t, in.run(t, known+strings.ReplaceAll(steps[2], " | grep", " | tee again | grep")+"\ncat again\n"), `"duplicate":true`)
		out = in.run(t, known+strings.ReplaceAll(steps[2], "evt_from_crm_1", "evt_from_crm_2")+"\n"+steps[3])
		require.Equal(t, 1, strings.Count(out, `"trigger":{"type":"event"`), out)
	})
}
