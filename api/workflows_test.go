package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
)

// want is one request and what it must get.
type want struct {
	name         string
	method, path string
	body         string
	headers      []string
	status       int
	code         string   // of the problem
	loc          string   // of its first error, as printed
	has          []string // pairs of a place in the answer and what stands there
}

// check makes the requests in order.
func (b *bundle) check(t *testing.T, list []want) {
	t.Helper()
	for _, w := range list {
		got := b.call(t, w.method, w.path, w.body, w.headers...)
		require.Equal(t, w.status, got.status, "%s: %s", w.name, got.body)
		if w.code != "" {
			require.Equal(t, w.code, got.str(t, "code"), w.name)
		}
		if w.loc != "" {
			require.Equal(t, w.loc, sprint(got.get(t, "errors.0.loc")), "%s: %s", w.name, got.body)
		}
		for i := 0; i < len(w.has); i += 2 {
			require.Equal(t, w.has[i+1], sprint(got.get(t, w.has[i])), "%s: %s", w.name, w.has[i])
		}
	}
}

func TestAWorkflowIsCreatedTriggeredAndRead(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		got := b.call(t, "POST", "/workflows", `{"name":"Leads","graph":`+passing+`}`)
		require.Equal(t, 201, got.status, got.body)
		require.Equal(t, `"1"`, got.header.Get("ETag"))
		id := got.str(t, "id")
		require.Equal(t, base+"/workflows/"+id, got.header.Get("Location"))

		read := b.call(t, "GET", "/workflows/"+id, "")
		require.Equal(t, 200, read.status)
		require.Equal(t, got.body, read.body)

		run := b.call(t, "POST", "/workflows/"+id+"/trigger", `{"payload":{"lead":"l_1"}}`)
		require.Equal(t, 202, run.status, run.body)
		require.Equal(t, base+"/runs/"+run.str(t, "id"), run.header.Get("Location"))
		done := b.call(t, "GET", "/runs/"+run.str(t, "id"), "")
		require.Equal(t, "completed", done.str(t, "status"), done.body)
	})
}

func TestAWorkflowHasExactlyTheFieldsOfTheContract(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		got := b.call(t, "POST", "/workflows", `{"name":"Leads","description":"d","tags":["b","a","b"],"status":"paused",
			"graph":`+passing+`,"input_schema":{"type":"object"},"output":{"n":"{{ payload.n }}"}}`)
		require.Equal(t, 201, got.status, got.body)
		var w map[string]any
		mustUnmarshal(t, []byte(got.body), &w)
		require.Regexp(t, `^wf_[0-9a-z]{26}$`, w["id"])
		require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`, w["created_at"])
		require.Equal(t, w["created_at"], w["updated_at"])
		for _, name := range []string{"id", "created_at", "updated_at"} {
			delete(w, name)
		}
		require.Equal(t, map[string]any{
			"name": "Leads", "description": "d", "status": "paused", "version": 1.0, "tags": []any{"b", "a"}, "template": nil,
			"graph":        map[string]any{"steps": []any{map[string]any{"id": "route", "type": "branch"}}, "edges": []any{}},
			"input_schema": map[string]any{"type": "object"}, "output": map[string]any{"n": "{{ payload.n }}"}, "settings": nil,
		}, w)
		row := b.call(t, "GET", "/workflows", "").get(t, "items.0").(map[string]any)
		for _, big := range []string{"graph", "input_schema", "output", "settings"} {
			require.NotContains(t, row, big)
		}
	})
}

func TestCreatingWorkflows(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		graph := func(g string) string { return `{"name":"x","graph":` + g + `}` }
		b.check(t, []want{
			{name: "no body", method: "POST", path: "/workflows", status: 400, code: "malformed"},
			{name: "no name", method: "POST", path: "/workflows", body: `{"graph":` + passing + `}`, status: 422, loc: "[body name]"},
			{name: "no graph", method: "POST", path: "/workflows", body: `{"name":"x"}`, status: 422, loc: "[body graph]"},
			{name: "null graph", method: "POST", path: "/workflows", body: `{"name":"x","graph":null}`, status: 422, loc: "[body graph]"},
			{name: "empty name", method: "POST", path: "/workflows", body: `{"name":"","graph":` + passing + `}`, status: 422, loc: "[body name]"},
			{name: "long name", method: "POST", path: "/workflows", body: `{"name":"` + strings.Repeat("ü", 201) + `","graph":` + passing + `}`, status: 422, loc: "[body name]"},
			{name: "archived from the start", method: "POST", path: "/workflows", body: `{"name":"x","status":"archived","graph":` + passing + `}`, status: 422, loc: "[body status]"},
			{name: "empty tag", method: "POST", path: "/workflows", body: `{"name":"x","tags":["a"," "],"graph":` + passing + `}`, status: 422, loc: "[body tags 1]"},
			{name: "own id", method: "POST", path: "/workflows", body: `{"id":"wf_1","name":"x","graph":` + passing + `}`, status: 422, loc: "[body id]"},
			{name: "no steps", method: "POST", path: "/workflows", body: graph(`{"steps":[],"edges":[]}`), status: 422, loc: "[body graph steps]"},
			{name: "no edges is fine", method: "POST", path: "/workflows", body: graph(`{"steps":[{"id":"a","type":"branch"}]}`), status: 201},
			{name: "unknown field of a step", method: "POST", path: "/workflows", body: graph(`{"steps":[{"id":"a","type":"branch","agnt":"x"}]}`), status: 422, loc: "[body graph steps 0 agnt]"},
			{name: "step type", method: "POST", path: "/workflows", body: graph(`{"steps":[{"id":"a","type":"loop"}]}`), status: 422, loc: "[body graph steps 0 type]"},
			{name: "step id", method: "POST", path: "/workflows", body: graph(`{"steps":[{"id":"1a","type":"branch"}]}`), status: 422, loc: "[body graph steps 0 id]"},
			{name: "unknown agent", method: "POST", path: "/workflows", body: graph(`{"steps":[{"id":"a","type":"agent","agent":"nobody"}]}`), status: 422, loc: "[body graph steps 0 agent]"},
			{name: "unknown connector", method: "POST", path: "/workflows", body: graph(`{"steps":[{"id":"a","type":"connector","connector":"nope","action":"x"}]}`), status: 422, loc: "[body graph steps 0 connector]"},
			{name: "unknown action", method: "POST", path: "/workflows", body: graph(`{"steps":[{"id":"a","type":"connector","connector":"core","action":"x"}]}`), status: 422, loc: "[body graph steps 0 action]"},
			{name: "edge to nowhere", method: "POST", path: "/workflows", body: graph(`{"steps":[{"id":"a","type":"branch"}],"edges":[{"from":"a","to":"b","default":true}]}`), status: 422, loc: "[body graph edges 0 to]"},
			{
				name: "cycle", method: "POST", path: "/workflows", status: 422, loc: "[body graph edges]", has: []string{"errors.0.type", "cycle"},
				body: graph(`{"steps":[{"id":"a","type":"connector","connector":"core","action":"set"},{"id":"b","type":"connector","connector":"core","action":"set"}],
					"edges":[{"from":"a","to":"b"},{"from":"b","to":"a"}]}`),
			},
			{name: "bad expression", method: "POST", path: "/workflows", body: graph(`{"steps":[{"id":"a","type":"branch","if":"payload. >"}]}`), status: 422, loc: "[body graph steps 0 if]"},
			{name: "bad join", method: "POST", path: "/workflows", body: graph(`{"steps":[{"id":"a","type":"branch","join":"most"}]}`), status: 422, loc: "[body graph steps 0 join]"},
			{name: "bad schema", method: "POST", path: "/workflows", body: `{"name":"x","graph":` + passing + `,"input_schema":{"type":"thing"}}`, status: 422},
			{name: "remote schema", method: "POST", path: "/workflows", body: `{"name":"x","graph":` + passing + `,"input_schema":{"$ref":"https://example.com/s.json"}}`, status: 422},
			{name: "1001 steps", method: "POST", path: "/workflows", body: graph(manySteps(1001)), status: 422, loc: "[body graph steps]"},
			{name: "1000 steps", method: "POST", path: "/workflows", body: graph(manySteps(1000)), status: 201},
		})
		require.Len(t, b.call(t, "GET", "/workflows", "").get(t, "items"), 2, "nothing is left of what was refused")
	})
}

func manySteps(n int) string {
	steps := make([]string, n)
	for i := range steps {
		steps[i] = fmt.Sprintf(`{"id":"s%d","type":"branch"}`, i)
	}
	return `{"steps":[` + strings.Join(steps, ",") + `],"edges":[]}`
}

func TestChangingAWorkflow(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		p := "/workflows/" + b.workflow(t, passing)
		missing := "/workflows/" + ids.New("wf")
		b.check(t, []want{
			{name: "stale", method: "PATCH", path: p, body: `{"name":"b"}`, headers: []string{"If-Match", `"7"`}, status: 412, code: "precondition_failed"},
			{name: "weak", method: "PATCH", path: p, body: `{"name":"b"}`, headers: []string{"If-Match", `W/"1"`}, status: 412},
			{name: "not a tag", method: "PATCH", path: p, body: `{"name":"b"}`, headers: []string{"If-Match", `1`}, status: 412},
			{name: "right", method: "PATCH", path: p, body: `{"name":"b","tags":["x"]}`, headers: []string{"If-Match", `"1"`}, status: 200, has: []string{"name", "b", "tags", "[x]", "version", "1"}},
			{name: "now stale", method: "PATCH", path: p, body: `{"name":"c"}`, headers: []string{"If-Match", `"1"`}, status: 412},
			{name: "one of several", method: "PATCH", path: p, body: `{"name":"c"}`, headers: []string{"If-Match", `"1", "2"`}, status: 200},
			{name: "none of several", method: "PATCH", path: p, body: `{"name":"d"}`, headers: []string{"If-Match", `"1", "2"`}, status: 412},
			{name: "any", method: "PATCH", path: p, body: `{"description":"d"}`, headers: []string{"If-Match", `*`}, status: 200, has: []string{"name", "c", "description", "d"}},
			{name: "none", method: "PATCH", path: p, body: `{"status":"paused"}`, status: 200, has: []string{"status", "paused"}},
			{name: "not active", method: "POST", path: p + "/trigger", status: 409, code: "workflow_not_active"},
			{name: "graph is not for PATCH", method: "PATCH", path: p, body: `{"graph":` + passing + `}`, status: 422, loc: "[body graph]"},
			{name: "odd status", method: "PATCH", path: p, body: `{"status":"gone"}`, status: 422, loc: "[body status]"},
			{name: "nothing", method: "PATCH", path: p, body: `{}`, status: 200},
			{name: "missing", method: "PATCH", path: missing, body: `{"name":"x"}`, status: 404},
			{name: "missing, with a condition", method: "PATCH", path: missing, body: `{"name":"x"}`, headers: []string{"If-Match", `"1","2"`}, status: 404},
			{name: "no id", method: "GET", path: "/workflows/abc", status: 404, code: "not_found"},
			{name: "id of another kind", method: "GET", path: "/workflows/" + ids.New("run"), status: 404},
			{name: "delete, stale", method: "DELETE", path: p, headers: []string{"If-Match", `"1"`}, status: 412},
			{name: "delete", method: "DELETE", path: p, status: 204},
			{name: "delete again", method: "DELETE", path: p, status: 204},
			{name: "delete missing", method: "DELETE", path: missing, status: 404},
			{name: "still readable", method: "GET", path: p, status: 200, has: []string{"status", "archived"}},
			{name: "versions too", method: "GET", path: p + "/versions", status: 200, has: []string{"items.0.version", "1"}},
			{name: "not listed", method: "GET", path: "/workflows", status: 200, has: []string{"items", "[]"}},
			{name: "unless asked for", method: "GET", path: "/workflows?status=archived,paused", status: 200, has: []string{"items.0.status", "archived"}},
			{name: "archived: no change", method: "PATCH", path: p, body: `{"name":"x"}`, status: 409, code: "invalid_state"},
			{name: "archived: no version", method: "PUT", path: p + "/graph", body: `{"graph":` + waiting + `}`, status: 409, code: "invalid_state"},
			{name: "back again", method: "PATCH", path: p, body: `{"status":"active"}`, status: 200, has: []string{"status", "active"}},
		})
	})
}

func TestVersions(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		p := "/workflows/" + b.workflow(t, passing)
		two := `{"graph":{"steps":[{"id":"other","type":"branch"}]},"input_schema":{"type":"object","required":["n"]}}`
		b.check(t, []want{
			{name: "stale", method: "PUT", path: p + "/graph", body: two, headers: []string{"If-Match", `"9"`}, status: 412},
			{name: "the same", method: "PUT", path: p + "/graph", body: `{"graph":` + passing + `}`, status: 200, has: []string{"version", "1"}},
			{name: "the same, spelled otherwise", method: "PUT", path: p + "/graph", body: `{"settings":null,"graph":{"edges":[],"steps":[{"type":"branch","id":"route"}]}}`, status: 200, has: []string{"version", "1"}},
			{name: "second", method: "PUT", path: p + "/graph", body: two, headers: []string{"If-Match", `"1"`}, status: 200, has: []string{"version", "2", "graph.steps.0.id", "other"}},
			{name: "bad", method: "PUT", path: p + "/graph", body: `{"graph":{"steps":[{"id":"a","type":"agent","agent":"nobody"}]}}`, status: 422, loc: "[body graph steps 0 agent]"},
			{name: "missing", method: "PUT", path: "/workflows/" + ids.New("wf") + "/graph", body: two, status: 404},
			{name: "list", method: "GET", path: p + "/versions", status: 200, has: []string{"items.0.version", "2", "items.0.current", "true", "items.1.version", "1", "items.1.current", "false", "next_cursor", "<nil>"}},
			{name: "first", method: "GET", path: p + "/versions/1", status: 200, has: []string{"graph.steps.0.id", "route", "current", "false", "archived_at", "<nil>"}},
			{name: "third", method: "GET", path: p + "/versions/3", status: 404},
			{name: "not a number", method: "GET", path: p + "/versions/x", status: 404},
			{name: "odd number", method: "GET", path: p + "/versions/01", status: 404},
			{name: "huge number", method: "GET", path: p + "/versions/99999999999999999999", status: 404},
			{name: "back to the first", method: "POST", path: p + "/versions/1/activate", status: 200, has: []string{"version", "1", "graph.steps.0.id", "route"}},
			{name: "archive the current", method: "POST", path: p + "/versions/1/archive", status: 409, code: "invalid_state"},
			{name: "archive the other", method: "POST", path: p + "/versions/2/archive", status: 200, has: []string{"version", "2", "current", "false"}},
			{name: "again", method: "POST", path: p + "/versions/2/archive", status: 200},
			{name: "activate archived", method: "POST", path: p + "/versions/2/activate", status: 409, code: "version_archived"},
			{name: "trigger archived", method: "POST", path: p + "/trigger", body: `{"version":2,"payload":{"n":1}}`, status: 409, code: "version_archived"},
			{name: "third", method: "PUT", path: p + "/graph", body: `{"graph":` + waiting + `}`, status: 200, has: []string{"version", "3"}},
			{name: "run of an old one", method: "POST", path: p + "/trigger", body: `{"version":1}`, status: 202, has: []string{"workflow_version", "1"}},
			{name: "run of a missing one", method: "POST", path: p + "/trigger", body: `{"version":9}`, status: 404},
			{name: "activate missing", method: "POST", path: p + "/versions/9/activate", status: 404},
			{name: "archive missing", method: "POST", path: p + "/versions/9/archive", status: 404},
			{name: "activate, stale", method: "POST", path: p + "/versions/1/activate", headers: []string{"If-Match", `"1"`}, status: 412},
		})
		require.Contains(t, b.call(t, "GET", p+"/versions/2", "").body, `"archived_at":"20`)
		require.NotContains(t, b.call(t, "GET", p+"/versions", "").body, "graph")
	})
}

func TestValidatingSaysEverythingAndSavesNothing(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		v := func(name, body string, has ...string) want {
			return want{name: name, method: "POST", path: "/workflows/validate", body: body, status: 200, has: has}
		}
		b.check(t, []want{
			v("good", `{"graph":`+passing+`}`, "valid", "true", "errors", "[]"),
			v("shape", `{"graph":{"steps":[{"id":"a","typ":"branch"}]}}`, "valid", "false", "errors.0.loc", "[body graph steps 0 typ]", "errors.1.loc", "[body graph steps 0 type]"),
			v("not a graph", `{"graph":"x"}`, "valid", "false", "errors.0.loc", "[body graph]"),
			v("meaning", `{"graph":{"steps":[{"id":"a","type":"agent","agent":"nobody"},{"id":"a","type":"branch"}]}}`, "valid", "false", "errors.0.type", "duplicate", "errors.1.type", "unknown"),
			v("schema", `{"graph":`+passing+`,"input_schema":{"type":"thing"}}`, "valid", "false"),
			v("a number too large for its field", `{"graph":{"steps":[{"id":"a","type":"branch","max_parallel":1e30}]}}`, "valid", "false"),
			{name: "no graph", method: "POST", path: "/workflows/validate", body: `{}`, status: 422, loc: "[body graph]"},
		})
		require.Equal(t, "[]", sprint(b.call(t, "GET", "/workflows", "").get(t, "items")))
	})
}

func TestAnExportCanBeImported(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		require.Equal(t, 201, b.call(t, "POST", "/agents", `{"slug":"robot","kind":"http","config":{"url":"https://example.com"}}`).status)
		made := b.call(t, "POST", "/workflows", `{"name":"Leads","description":"d","tags":["a"],"input_schema":{"type":"object"},"output":{"x":1},
			"graph":{"steps":[{"id":"a","type":"agent","agent":"robot","retry":{"max_attempts":4,"jitter":false}},{"id":"b","type":"connector","connector":"core","action":"set","input":{"x":"{{ steps.a.output }}"},"join":{"count":1}}],"edges":[{"from":"a","to":"b"}]}}`)
		require.Equal(t, 201, made.status, made.body)
		doc := b.call(t, "GET", "/workflows/"+made.str(t, "id")+"/export", "")
		require.Equal(t, 200, doc.status)
		require.Equal(t, "flows.workflow", doc.str(t, "format"))
		require.Equal(t, "[robot]", sprint(doc.get(t, "requires.agents")))
		require.Equal(t, "[core]", sprint(doc.get(t, "requires.connectors")))
		require.NotContains(t, doc.body, string(b.ws))

		copied := b.call(t, "POST", "/workflows/import", doc.body)
		require.Equal(t, 201, copied.status, copied.body)
		require.NotEqual(t, made.str(t, "id"), copied.str(t, "id"))
		for _, name := range []string{"name", "description", "tags", "graph", "input_schema", "output", "settings"} {
			require.Equal(t, made.get(t, name), copied.get(t, name), name)
		}
		stranger := b.newKey(t, b.workspace(t), models.ScopeAll)
		refused := b.as(t, stranger, "POST", "/workflows/import", doc.body)
		require.Equal(t, 422, refused.status)
		require.Equal(t, "[body graph steps 0 agent]", sprint(refused.get(t, "errors.0.loc")))
		for from, to := range map[string]string{`"flows.workflow"`: `"other"`, `"format_version":1`: `"format_version":2`} {
			bad := b.call(t, "POST", "/workflows/import", strings.Replace(doc.body, from, to, 1))
			require.Equal(t, 422, bad.status, to)
		}
	})
}

func TestListsArePagedWithoutGapsWhileRowsArrive(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		var all []string
		for range 7 {
			all = append([]string{b.workflow(t, passing)}, all...)
		}
		var seen []string
		path := "/workflows?limit=3"
		for path != "" {
			got := b.call(t, "GET", path, "")
			require.Equal(t, 200, got.status, got.body)
			for _, item := range got.get(t, "items").([]any) {
				seen = append(seen, item.(map[string]any)["id"].(string))
			}
			b.workflow(t, passing) // newer than all of them
			path = ""
			if next, ok := got.get(t, "next_cursor").(string); ok {
				path = "/workflows?limit=3&cursor=" + next
			}
		}
		require.Equal(t, all, seen)
		cursor := b.call(t, "GET", "/workflows?limit=1", "").str(t, "next_cursor")
		b.check(t, []want{
			{name: "limit 0", method: "GET", path: "/workflows?limit=0", status: 422, loc: "[query limit]"},
			{name: "limit 201", method: "GET", path: "/workflows?limit=201", status: 422, loc: "[query limit]"},
			{name: "limit x", method: "GET", path: "/workflows?limit=x", status: 422, loc: "[query limit]"},
			{name: "limit 200", method: "GET", path: "/workflows?limit=200", status: 200},
			{name: "garbage", method: "GET", path: "/workflows?cursor=garbage", status: 400, code: "invalid_cursor"},
			{name: "not base64", method: "GET", path: "/workflows?cursor=%00", status: 400, code: "invalid_cursor"},
			{name: "of another list", method: "GET", path: "/runs?cursor=" + cursor, status: 400, code: "invalid_cursor"},
			{name: "not UTF-8", method: "GET", path: "/workflows?q=%ff", status: 400, code: "malformed"},
			{name: "not UTF-8 in a tag", method: "GET", path: "/workflows?tag=%c3%28", status: 400, code: "malformed"},
			{name: "not UTF-8 in metadata", method: "GET", path: "/runs?metadata.a=%ff", status: 400, code: "malformed"},
			{name: "not an escape", method: "GET", path: "/runs?metadata.a=%zz", status: 400, code: "malformed"},
			{name: "not UTF-8 in the path", method: "GET", path: "/workflows/%ff", status: 400, code: "malformed"},
			{name: "NUL in metadata", method: "GET", path: "/runs?metadata.a=%00", status: 422, code: "invalid"},
			{name: "NUL in the path", method: "GET", path: "/workflows/%00", status: 404},
			{name: "odd status", method: "GET", path: "/workflows?status=gone", status: 422, loc: "[query status 0]"},
		})
	})
}

func TestWorkflowsAreFoundByTagTextAndStatus(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		for _, w := range []string{`"name":"Lead intake","tags":["crm"]`, `"name":"Digest","description":"Daily LEADS, 100%","status":"paused"`, `"name":"Other","tags":["crm","x"]`} {
			require.Equal(t, 201, b.call(t, "POST", "/workflows", `{`+w+`,"graph":`+passing+`}`).status)
		}
		for query, names := range map[string][]string{
			"?tag=crm": {"Other", "Lead intake"}, "?q=lead": {"Digest", "Lead intake"}, "?q=100%25": {"Digest"}, "?q=_": {}, "?status=paused": {"Digest"},
			"?status=active,paused&tag=x": {"Other"}, "?tag=cr": {}, "?q=%00": nil,
		} {
			got := b.call(t, "GET", "/workflows"+query, "")
			if names == nil {
				require.Equal(t, 422, got.status, query)
				continue
			}
			found := []string{}
			for _, item := range got.get(t, "items").([]any) {
				found = append(found, item.(map[string]any)["name"].(string))
			}
			require.Equal(t, names, found, query)
		}
	})
}

func TestWhatIsSentIsGivenBackAsItWas(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		payload := `{"big":123456789012345678901234567890,"small":0.1000,"html":"<b>&amp;</b>","emoji":"😀","esc":"\u00e9\n\"","nested":[[{}]],"null":null}`
		wf := b.workflow(t, passing)
		run := b.call(t, "POST", "/workflows/"+wf+"/trigger", `{"payload":`+payload+`}`)
		require.Equal(t, 202, run.status, run.body)
		got := b.call(t, "GET", "/runs/"+run.str(t, "id"), "")
		var body struct{ Payload json.RawMessage }
		mustUnmarshal(t, []byte(got.body), &body)
		require.JSONEq(t, payload, string(body.Payload))
		require.Contains(t, string(body.Payload), "123456789012345678901234567890")
	})
}
