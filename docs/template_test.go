package docs_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/store"
	"github.com/10ex/flows/templates"
)

// TestStartFromATemplate does what the page tells its reader to do, step by step.
func TestStartFromATemplate(t *testing.T) {
	t.Parallel()
	eachCurl(t, func(t *testing.T, in *installation) {
		out := in.run(t, strings.Join(shellBlocks(t, "how-to/start-from-a-template.md"), "\necho\n"))
		require.Contains(t, out, `"slug":"lead-to-sequence"`)
		require.Contains(t, out, `"template":{"slug":"lead-to-sequence","version":1}`)
		require.Contains(t, out, `"event_type":"lead.segment_entered"`)
		require.Contains(t, out, `"sequence_id":"{{ inputs.sequence }}"`)
		require.Contains(t, out, `"template":{"slug":"our-welcome","version":1}`)
		require.Contains(t, out, `"sequence_id":"seq_spring"`)
		require.NotContains(t, out, `"status":4`, "nothing is refused")
		require.Eventually(t, func() bool {
			return strings.Contains(in.peer.String(), `"lead_id":"lead_7","segment_id":"seg_trial_users","sequence_id":"seq_welcome"}`)
		}, 20*time.Second, 20*time.Millisecond, "the lead joins the sequence")
	})
}

//go:generate go test . -run ^TestTemplatesPageListsTheGallery$ -update

// TestTemplatesPageListsTheGallery holds the page to the files.
func TestTemplatesPageListsTheGallery(t *testing.T) {
	t.Parallel()
	g, err := templates.Load()
	require.NoError(t, err)
	var rows [][]string
	for _, tpl := range g.All() {
		var schema struct{ Properties map[string]json.RawMessage }
		require.NoError(t, json.Unmarshal(tpl.Document.Inputs, &schema))
		var inputs []string
		for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
			inputs = append(inputs, code(name))
		}
		var starts []string
		for _, raw := range tpl.Document.Triggers {
			var trg struct {
				EventType string `json:"event_type"`
			}
			require.NoError(t, json.Unmarshal(raw, &trg))
			if trg.EventType == "" {
				starts = append(starts, "at set times")
				continue
			}
			starts = append(starts, code(trg.EventType))
		}
		rows = append(rows, []string{code(tpl.Slug), tpl.Description, strings.Join(starts, " "), strings.Join(inputs, " ")})
	}
	holds(t, "reference/templates.md", "gallery", table([]string{"template", "what it does", "started by", "inputs"}, rows))
	require.Contains(t, read(t, "reference/templates.md"), fmt.Sprintf("has %d templates", store.MaxTemplates))
}
