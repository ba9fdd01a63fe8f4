package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store/storetest"
)

func (b *bundle) agent(t testing.TB, slugs ...string) {
	t.Helper()
	for _, slug := range slugs {
		got := b.call(t, "POST", "/agents", `{"slug":"`+slug+`","kind":"http","config":{"url":"https://example.com"}}`)
		require.Equal(t, 201, got.status, got.body)
	}
}

func TestAWorkflowIsMadeOfATemplate(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		b.agent(t, "lead-enricher", "adder")
		body := `{"name":"Trials","inputs":{"segment_id":"say \"hi\"","sequence_id":"seq_1","sequencer":"adder"}}`
		got := b.call(t, "POST", "/templates/lead-to-sequence/workflows", body, "Idempotency-Key", "one")
		require.Equal(t, 201, got.status, got.body)
		id := got.str(t, "id")
		require.Equal(t, base+"/workflows/"+id, got.header.Get("Location"))
		require.Equal(t, `"1"`, got.header.Get("ETag"))
		require.Equal(t, "Trials", got.str(t, "name"))
		require.Equal(t, "active", got.str(t, "status"))
		require.Empty(t, cmp.Diff(map[string]any{"slug": "lead-to-sequence", "version": 1.0}, got.get(t, "template")))
		require.Equal(t, "lead-enricher", got.str(t, "graph.steps.0.agent"))
		require.Equal(t, "adder", got.str(t, "graph.steps.1.agent"))
		require.Equal(t, "seq_1", got.str(t, "graph.steps.1.input.sequence_id"))
		require.Equal(t, "{{ payload.lead_id }}", got.str(t, "graph.steps.1.input.lead_id"))
		require.Equal(t, `string(event.data.segment_id) == "say \"hi\""`, got.str(t, "triggers.0.filter"))
		require.Equal(t, id, got.str(t, "triggers.0.workflow_id"))
		require.Equal(t, "30d", got.str(t, "triggers.0.dedupe.window"))

		again := b.call(t, "POST", "/templates/lead-to-sequence/workflows", body, "Idempotency-Key", "one")
		require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
		require.Equal(t, got.body, again.body)

		// It is a workflow like any other.
		kept := b.call(t, "GET", "/workflows/"+id, "")
		require.Empty(t, cmp.Diff(kept.get(t, "graph"), got.get(t, "graph")))
		list := b.call(t, "GET", "/triggers?workflow_id="+id, "")
		require.Equal(t, got.str(t, "triggers.0.id"), list.str(t, "items.0.id"))
	})
}

func TestWhatIsWrongWithInputsIsSaidOfThem(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		b.agent(t, "sequence-enroller", "adder")
		ask := func(inputs string) answer {
			return b.call(t, "POST", "/templates/lead-to-sequence/workflows", `{"inputs":`+inputs+`}`)
		}
		for name, tc := range map[string]struct{ inputs, loc, msg string }{
			"missing":       {`{"segment_id":"s"}`, `["body","inputs","sequence_id"]`, `is required`},
			"none":          {`null`, `["body","inputs","segment_id"]`, `is required`},
			"extra":         {`{"segment_id":"s","sequence_id":"q","color":"red"}`, `["body","inputs","color"]`, "is not a known field"},
			"wrong":         {`{"segment_id":7,"sequence_id":"q"}`, `["body","inputs","segment_id"]`, "must be string"},
			"no object":     {`[]`, `["body","inputs"]`, "object"},
			"braces":        {`{"segment_id":"{{ payload.x }}","sequence_id":"q"}`, `["body","inputs","segment_id"]`, "must not hold {{"},
			"unknown agent": {`{"segment_id":"s","sequence_id":"q","enricher":"nobody"}`, `["body","inputs","enricher"]`, `there is no agent \"nobody\": make it with POST`},
			"default agent": {`{"segment_id":"s","sequence_id":"q"}`, `["body","inputs","enricher"]`, `lead-enricher`},
			"bad duration":  {`{"segment_id":"s","sequence_id":"q","enricher":"adder","again_after":"soon"}`, `["body","inputs","again_after"]`, "duration"},
		} {
			got := ask(tc.inputs)
			require.Equal(t, 422, got.status, name+got.body)
			require.Contains(t, got.body, `"loc":`+tc.loc, name)
			require.Contains(t, got.body, tc.msg, name)
		}
		require.Equal(t, 404, b.call(t, "POST", "/templates/nothing/workflows", `{"inputs":{}}`).status)
		require.Equal(t, 404, b.call(t, "POST", "/templates/NO%20SLUG/workflows", `{"inputs":{}}`).status)
		require.Equal(t, 404, b.call(t, "GET", "/templates/nothing", "").status)
		require.Equal(t, 422, b.call(t, "POST", "/templates/lead-to-sequence/workflows", `{"input":{}}`).status)
		require.Empty(t, b.call(t, "GET", "/workflows", "").get(t, "items"), "nothing half-done stays behind")
		require.Empty(t, b.call(t, "GET", "/triggers", "").get(t, "items"))
	})
}

// ownGraph is a workflow to publish, with values that inputs can stand for.
const ownGraph = `{"steps":[
	{"id":"route","type":"branch"},
	{"id":"crm","type":"connector","connector":"core","action":"set","input":{"to":"crm","score":80,"text":"crm and more","when":"{{ payload.x }}"}},
	{"id":"cool","type":"wait","for":"2h"}],
	"edges":[{"from":"route","to":"crm","when":"payload.score > 80 && payload.source == 'crm'"},{"from":"route","to":"cool","default":true}]}`

func (b *bundle) own(t testing.TB) string {
	t.Helper()
	got := b.call(t, "POST", "/workflows", `{"name":"Own","graph":`+ownGraph+`,"settings":{"timeout":"2h"}}`)
	require.Equal(t, 201, got.status, got.body)
	id := got.str(t, "id")
	for _, trigger := range []string{
		`"type":"event","event_type":"lead.created","filter":"event.data.score > 80","source":"crm"`,
		`"type":"schedule","cron":"0 9 * * *","enabled":false`,
		`"type":"webhook","verify":"none"`,
	} {
		got := b.call(t, "POST", "/triggers", `{"workflow_id":"`+id+`",`+trigger+`}`)
		require.Equal(t, 201, got.status, got.body)
	}
	return id
}

const ownInputs = `{"properties":{"floor":{"default":80,"title":"Score"},"where":{"default":"crm"},"pause":{"default":"2h","pattern":"h$"}}}`

func TestAWorkflowIsPublishedAsATemplate(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf := b.own(t)
		got := b.call(t, "POST", "/templates", `{"slug":"mine","workflow_id":"`+wf+`","name":"Mine","inputs":`+ownInputs+`}`)
		require.Equal(t, 201, got.status, got.body)
		require.Equal(t, base+"/templates/mine", got.header.Get("Location"))
		require.EqualValues(t, 1, got.get(t, "version"))
		require.Equal(t, "published", got.str(t, "status"))
		require.Equal(t, "own", got.str(t, "category"))
		require.Equal(t, false, got.get(t, "builtin"))
		require.Empty(t, cmp.Diff([]any{"event", "schedule"}, got.get(t, "trigger_types")))
		require.Empty(t, cmp.Diff(map[string]any{"agents": []any{}, "connectors": []any{"core"}}, got.get(t, "requires")))
		require.Equal(t, "payload.score > {{ inputs.floor }} && payload.source == {{ inputs.where }}", got.str(t, "graph.edges.0.when"))
		require.Empty(t, cmp.Diff(map[string]any{
			"to": "{{ inputs.where }}", "score": "{{ inputs.floor }}", "text": "crm and more", "when": "{{ payload.x }}",
		}, got.get(t, "graph.steps.1.input")))
		require.Equal(t, "crm", got.str(t, "graph.steps.1.id"), "what holds the graph together stays")
		require.Equal(t, "{{ inputs.pause }}", got.str(t, "graph.steps.2.for"))
		require.Equal(t, "event.data.score > {{ inputs.floor }}", got.str(t, "triggers.0.filter"))
		require.Equal(t, "{{ inputs.where }}", got.str(t, "triggers.0.source"))
		require.Len(t, got.get(t, "triggers"), 2, "an address that is a secret is not published")
		require.Equal(t, false, got.get(t, "inputs.additionalProperties"))
		require.Equal(t, "number", got.get(t, "inputs.properties.floor.type"))
		read := b.call(t, "GET", "/templates/mine", "")
		require.Empty(t, cmp.Diff(got.get(t, "graph"), read.get(t, "graph")))
		require.NotContains(t, read.body, wf)

		// With its defaults it gives the workflow back; with others, another one.
		made := b.call(t, "POST", "/templates/mine/workflows", `{}`)
		require.Equal(t, 201, made.status, made.body)
		require.Equal(t, "Mine", made.str(t, "name"))
		was := b.call(t, "GET", "/workflows/"+wf, "")
		require.Equal(t, was.get(t, "graph.steps"), made.get(t, "graph.steps"))
		require.Equal(t, `payload.score > 80 && payload.source == "crm"`, made.str(t, "graph.edges.0.when"))
		require.Equal(t, was.get(t, "settings"), made.get(t, "settings"))
		require.Equal(t, false, made.get(t, "triggers.1.enabled"))
		other := b.call(t, "POST", "/templates/mine/workflows", `{"inputs":{"floor":9.5,"where":"web","pause":"5h"}}`)
		require.Equal(t, 201, other.status, other.body)
		require.Equal(t, `payload.score > 9.5 && payload.source == "web"`, other.str(t, "graph.edges.0.when"))
		require.InDelta(t, 9.5, other.get(t, "graph.steps.1.input.score"), 0)
		require.Equal(t, "5h", other.str(t, "settings.timeout"))
		wrong := b.call(t, "POST", "/templates/mine/workflows", `{"inputs":{"pause":"a month h"}}`)
		require.Equal(t, 422, wrong.status, wrong.body)
		require.Contains(t, wrong.body, `"loc":["body","inputs","pause"]`)

		// The next version, and what it is made of.
		next := b.call(t, "POST", "/templates", `{"slug":"mine","workflow_id":"`+wf+`","name":"Mine 2","status":"draft","category":"x"}`)
		require.Equal(t, 201, next.status, next.body)
		require.EqualValues(t, 2, next.get(t, "version"))
		require.Equal(t, got.str(t, "created_at"), next.str(t, "created_at"))
		made = b.call(t, "POST", "/templates/mine/workflows", `{"inputs":{}}`)
		require.Equal(t, 201, made.status, "a draft can be tried: "+made.body)
		require.Empty(t, cmp.Diff(map[string]any{"slug": "mine", "version": 2.0}, made.get(t, "template")))
		require.Equal(t, 422, b.call(t, "POST", "/templates/mine/workflows", `{"inputs":{"floor":1}}`).status)
		gone := b.call(t, "POST", "/templates", `{"slug":"mine","workflow_id":"`+wf+`","name":"Mine","status":"deprecated"}`)
		require.Equal(t, 201, gone.status, gone.body)
		require.Equal(t, 200, b.call(t, "GET", "/templates/mine", "").status)
		refused := b.call(t, "POST", "/templates/mine/workflows", `{}`)
		require.Equal(t, 409, refused.status, refused.body)
		require.Equal(t, models.CodeInvalidState, refused.str(t, "code"))

		// Repeated, it is published once.
		body := `{"slug":"once","workflow_id":"` + wf + `","name":"Once"}`
		first := b.call(t, "POST", "/templates", body, "Idempotency-Key", "k")
		require.Equal(t, first.body, b.call(t, "POST", "/templates", body, "Idempotency-Key", "k").body)
		require.Equal(t, 1.0, b.call(t, "GET", "/templates/once", "").get(t, "version"))

		// Nobody else sees it.
		stranger := b.newKey(t, b.workspace(t), models.ScopeAll)
		require.Equal(t, 404, b.as(t, stranger, "GET", "/templates/mine", "").status)
		require.Equal(t, 404, b.as(t, stranger, "POST", "/templates/mine/workflows", `{}`).status)
		require.NotContains(t, b.as(t, stranger, "GET", "/templates", "").body, `"mine"`)
		require.Equal(t, 404, b.as(t, stranger, "POST", "/templates", `{"slug":"mine","workflow_id":"`+wf+`","name":"Stolen"}`).status)
	})
}

func TestWhatCannotBePublished(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf := b.own(t)
		odd := b.workflow(t, `{"steps":[{"id":"a","type":"wait","for":"1h","name":"{{ inputs.x }}"}],"edges":[]}`)
		put := b.call(t, "PUT", "/workflows/"+wf+"/graph", `{"graph":`+waiting+`}`)
		require.Equal(t, 200, put.status, put.body)
		require.Equal(t, 200, b.call(t, "POST", "/workflows/"+wf+"/versions/1/archive", "").status)
		gone := b.workflow(t, passing)
		require.Equal(t, 204, b.call(t, "DELETE", "/workflows/"+gone, "").status)
		for name, tc := range map[string]struct {
			body   string
			status int
			says   string
		}{
			"slug of the gallery":  {`"slug":"lead-to-sequence","workflow_id":"` + wf + `"`, 409, `"code":"conflict"`},
			"bad slug":             {`"slug":"Mine!","workflow_id":"` + wf + `"`, 422, `"loc":["body","slug"]`},
			"archived workflow":    {`"slug":"a","workflow_id":"` + gone + `"`, 409, `"code":"invalid_state"`},
			"archived version":     {`"slug":"a","workflow_id":"` + wf + `","version":1`, 409, `"code":"version_archived"`},
			"no such version":      {`"slug":"a","workflow_id":"` + wf + `","version":9`, 404, `"code":"not_found"`},
			"no id":                {`"slug":"a","workflow_id":"nothing"`, 404, `"code":"not_found"`},
			"unused input":         {`"slug":"a","workflow_id":"` + wf + `","inputs":{"properties":{"x":{"default":"nowhere"}}}`, 422, `"loc":["body","inputs","properties","x","default"]`},
			"no default":           {`"slug":"a","workflow_id":"` + wf + `","inputs":{"properties":{"x":{"type":"string"}}}`, 422, `"loc":["body","inputs","properties","x"]`},
			"default is a list":    {`"slug":"a","workflow_id":"` + wf + `","inputs":{"properties":{"x":{"default":[]}}}`, 422, "must be text or a number"},
			"default has braces":   {`"slug":"a","workflow_id":"` + wf + `","inputs":{"properties":{"x":{"default":"{{ payload.x }}"}}}`, 422, "must not hold {{"},
			"two of one default":   {`"slug":"a","workflow_id":"` + wf + `","inputs":{"properties":{"x":{"default":"1h"},"y":{"default":"1h"}}}`, 422, "x has the same default"},
			"name is no word":      {`"slug":"a","workflow_id":"` + wf + `","inputs":{"properties":{"a b":{"default":"1h"}}}`, 422, "must be a word"},
			"no schema of objects": {`"slug":"a","workflow_id":"` + wf + `","inputs":{"type":"array"}`, 422, `"loc":["body","inputs"]`},
			"no schema":            {`"slug":"a","workflow_id":"` + wf + `","inputs":{"properties":{"x":{"type":"frog"}}}`, 422, `"loc":["body","inputs"`},
			"reads inputs already": {`"slug":"a","workflow_id":"` + odd + `"`, 422, "reads as {{ inputs"},
		} {
			got := b.call(t, "POST", "/templates", `{"name":"N",`+tc.body+`}`)
			require.Equal(t, tc.status, got.status, name+got.body)
			require.Contains(t, got.body, tc.says, name)
		}
		require.NotContains(t, b.call(t, "GET", "/templates", "").body, `"builtin":false`)
	})
}

func TestTheGalleryIsListed(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf := b.workflow(t, passing)
		publish := func(slug, more string) {
			got := b.call(t, "POST", "/templates", `{"slug":"`+slug+`","workflow_id":"`+wf+`","name":"Own `+slug+`"`+more+`}`)
			require.Equal(t, 201, got.status, got.body)
		}
		publish("first", "")
		publish("second", `,"category":"alerts","status":"draft"`)
		publish("first", "")
		slugs := func(query string) (out []string) {
			for cursor := ""; ; {
				got := b.call(t, "GET", "/templates?"+query+cursor, "")
				require.Equal(t, 200, got.status, got.body)
				for _, item := range got.get(t, "items").([]any) {
					row := item.(map[string]any)
					require.NotContains(t, row, "graph")
					require.Contains(t, row, "inputs")
					out = append(out, row["slug"].(string))
				}
				next, _ := got.get(t, "next_cursor").(string)
				if next == "" {
					return out
				}
				cursor = "&cursor=" + next
			}
		}
		all := slugs("")
		require.Equal(t, []string{"second", "first"}, all[:2], "the own first, the newest first; a next version moves nothing")
		require.Contains(t, all[2:], "lead-to-sequence")
		for _, limit := range []string{"1", "2", "3", "200"} {
			require.Empty(t, cmp.Diff(all, slugs("limit="+limit)), limit)
		}
		require.Equal(t, []string{"second"}, slugs("status=draft"))
		require.Equal(t, all, slugs("status=draft,published"))
		require.Equal(t, []string{"first"}, slugs("category=own"))
		require.Equal(t, []string{"lead-to-sequence"}, slugs("q=JOINS+SEQUENCE"))
		require.Equal(t, []string{"second"}, slugs("q=OWN+sec"))
		require.Equal(t, []string{"daily-digest"}, slugs("trigger_type=schedule"))
		require.Contains(t, slugs("trigger_type=event"), "lead-to-sequence")
		require.Equal(t, []string{"lead-to-sequence"}, slugs("created_after=2026-11-24T09:09:30Z&created_before=2026-11-24T09:10:30Z"))
		require.Empty(t, slugs("created_after=2100-01-01T00:00:00Z"))
		require.Equal(t, 422, b.call(t, "GET", "/templates?status=new", "").status)
		require.Equal(t, 422, b.call(t, "GET", "/templates?limit=0", "").status)
		require.Equal(t, 400, b.call(t, "GET", "/templates?cursor=x", "").status)
		require.Equal(t, 400, b.call(t, "GET", "/templates?cursor="+encodeCursor(b.ws, "templates", "x"), "").status)
	})
}

func TestAWorkspaceHasAnEndOfTemplates(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	wf := b.workflow(t, passing)
	publish := func(n int) answer {
		return b.call(t, "POST", "/templates", fmt.Sprintf(`{"slug":"t%d","workflow_id":%q,"name":"T"}`, n, wf))
	}
	for n := range 500 {
		require.Equal(t, 201, publish(n).status)
	}
	got := publish(500)
	require.Equal(t, 409, got.status, got.body)
	require.Contains(t, got.body, "500 templates")
	require.Equal(t, 201, publish(7).status, "the next version of one that is there")
	require.Equal(t, 201, strings.Count(b.call(t, "GET", "/templates?limit=200", "").body, `"slug"`)+1)
}
