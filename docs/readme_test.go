package docs_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

const readme = "../README.md"

// firstFlow is how many blocks of the README make the first flow.
const firstFlow = 6

var streamed = regexp.MustCompile(`(?m)^event: (.+)$`)

// TestReadmeFirstFlow does what the README tells a newcomer to do.
func TestReadmeFirstFlow(t *testing.T) {
	t.Parallel()
	all := shellBlocks(t, readme)
	require.Equal(t, "make dev", all[0])
	require.Contains(t, read(t, "../Makefile"), "./cmd/flows dev\n", "make dev is what the test starts")
	require.Equal(t, "go run ./examples/peer", all[1])

	eachCurl(t, func(t *testing.T, in *installation) {
		out := in.run(t, strings.Join(all[2:firstFlow], "\n"))
		var events []string
		for _, m := range streamed.FindAllStringSubmatch(out, -1) {
			events = append(events, m[1])
		}
		require.Empty(t, cmp.Diff([]string{
			"run.queued", "step.queued", "run.started", "step.started", "step.completed", // score
			"step.completed",                              // route
			"step.waiting", "step.skipped", "run.waiting", // breathe, drop
			"step.completed", "step.queued", "step.started", "step.completed", "run.completed", // breathe, send
		}, events), out)

		var trace struct {
			Items []struct {
				ID     string          `json:"id"`
				Status string          `json:"status"`
				Output json.RawMessage `json:"output"`
			} `json:"items"`
		}
		require.NoError(t, json.Unmarshal([]byte(out[strings.LastIndex(out, `{"items":`):]), &trace), out)
		status := map[string]string{}
		for _, s := range trace.Items {
			status[s.ID] = s.Status
		}
		require.Empty(t, cmp.Diff(map[string]string{
			"score": "completed", "route": "completed", "breathe": "completed", "send": "completed", "drop": "skipped",
		}, status))
		require.Regexp(t, `(?s)^POST /score key=run_\w+:score \{"lead_id":"lead_42"\}\n`+
			`POST /leads key=run_\w+:send \{"lead_id":"lead_42","score":90\}\n$`, in.peer.String())
	})
}

// TestReadmeLeadEntersASegment does what the README tells a newcomer to do next.
func TestReadmeLeadEntersASegment(t *testing.T) {
	t.Parallel()
	all := shellBlocks(t, readme)
	require.Len(t, all, firstFlow+2)
	eachCurl(t, func(t *testing.T, in *installation) {
		out := in.run(t, all[2]+"\n"+all[firstFlow])
		require.Regexp(t, `"secret":"whsec_[^"]+"`, out)
		for _, call := range []string{
			`(?m)^POST /enrich key=run_\w+:enrich \{.*"lead_id":"lead_7"`,
			`(?m)^POST /enroll key=run_\w+:\w+ \{.*"lead_id":"lead_7","segment_id":"seg_trial_users","sequence_id":"seq_welcome"`,
			`(?m)^POST /done key= \{"id":"evt_\w+","type":"flow\.run\.completed"`,
		} {
			require.Eventually(t, func() bool { return regexp.MustCompile(call).MatchString(in.peer.String()) },
				30*time.Second, 20*time.Millisecond, "%s in:\n%s", call, in.peer.String())
		}
		out = in.run(t, all[2]+"\n"+all[firstFlow+1])
		require.Contains(t, out, `"status":"completed"`)
		require.Contains(t, out, `"type":"event"`)
	})
}
