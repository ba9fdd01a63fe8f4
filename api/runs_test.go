package api

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
)

func TestARunHasExactlyTheFieldsOfTheContract(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf := b.workflow(t, waiting)
		got := b.call(t, "POST", "/workflows/"+wf+"/trigger", `{"payload":{"a":1},"metadata":{"team":"sales"}}`)
		require.Equal(t, 202, got.status, got.body)
		read := b.call(t, "GET", "/runs/"+got.str(t, "id"), "")
		var r map[string]any
		mustUnmarshal(t, []byte(read.body), &r)
		require.Regexp(t, `^run_[0-9a-z]{26}$`, r["id"])
		for _, name := range []string{"created_at", "started_at"} {
			require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`, r[name])
			delete(r, name)
		}
		delete(r, "id")
		require.Equal(t, map[string]any{
			"workflow_id": wf, "workflow_version": 1.0, "status": "waiting", "trigger": map[string]any{"type": "manual", "id": nil, "event_id": nil},
			"payload": map[string]any{"a": 1.0}, "output": nil, "error": nil, "rerun_of": nil, "metadata": map[string]any{"team": "sales"}, "finished_at": nil,
			"usage": nil,
		}, r)
		row := b.call(t, "GET", "/runs", "").get(t, "items.0").(map[string]any)
		require.NotContains(t, row, "payload")
		require.NotContains(t, row, "output")
	})
}

func TestPayloadsAreCheckedBeforeARunExists(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		made := b.call(t, "POST", "/workflows", `{"name":"x","graph":`+passing+`,"input_schema":{"type":"object","required":["lead"],
			"properties":{"lead":{"type":"object","properties":{"score":{"type":"number","maximum":100}}},"n":{"type":"integer","default":7}}}}`)
		p := "/workflows/" + made.str(t, "id")
		b.check(t, []want{
			{name: "nothing", method: "POST", path: p + "/trigger", status: 422, code: "invalid", loc: "[body payload lead]"},
			{name: "deep", method: "POST", path: p + "/trigger", body: `{"payload":{"lead":{"score":101}}}`, status: 422, loc: "[body payload lead score]"},
			{name: "defaults", method: "POST", path: p + "/trigger", body: `{"payload":{"lead":{"score":1}}}`, status: 202, has: []string{"payload.n", "7"}},
			{
				name: "batch", method: "POST", path: p + "/trigger/batch", body: `{"items":[{"payload":{"lead":{}}},{"payload":{}},{"version":9,"payload":{"lead":{}}},{"metadata":{"":"x"}}]}`, status: 202,
				has: []string{
					"items.1.error.code", "invalid", "items.1.error.errors.0.loc", "[body items 1 payload lead]", "items.2.error.code", "not_found",
					"items.3.error.errors.0.loc", "[body items 3 metadata ]",
				},
			},
			{name: "two runs", method: "GET", path: "/runs", status: 200, has: []string{"items.1.status", "completed"}},
			{name: "no items", method: "POST", path: p + "/trigger/batch", body: `{"items":[]}`, status: 422, loc: "[body items]"},
			{name: "501 items", method: "POST", path: p + "/trigger/batch", body: `{"items":[` + strings.Repeat(`{},`, 500) + `{}]}`, status: 422, loc: "[body items]"},
			{name: "missing", method: "POST", path: "/workflows/" + ids.New("wf") + "/trigger/batch", body: `{"items":[{}]}`, status: 404},
			{name: "missing", method: "POST", path: "/workflows/" + ids.New("wf") + "/trigger", status: 404},
		})
		require.Len(t, b.call(t, "GET", "/runs", "").get(t, "items"), 2)
	})
}

func TestABatchOf500Starts500RunsInOrder(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf := b.workflow(t, passing)
		items := make([]string, 500)
		for i := range items {
			items[i] = fmt.Sprintf(`{"metadata":{"n":"%d"}}`, i)
		}
		body := `{"items":[` + strings.Join(items, ",") + `]}`
		got := b.call(t, "POST", "/workflows/"+wf+"/trigger/batch", body, "Idempotency-Key", "k")
		require.Equal(t, 202, got.status, got.body)
		b.forgetAnswer(t, "POST "+base+"/workflows/"+wf+"/trigger/batch", "k")
		again := b.call(t, "POST", "/workflows/"+wf+"/trigger/batch", body, "Idempotency-Key", "k")
		require.Equal(t, got.body, again.body, "a repeat after a crash finds the same runs")
		for i, item := range got.get(t, "items").([]any) {
			if i%100 == 7 {
				run := b.call(t, "GET", "/runs/"+item.(map[string]any)["run_id"].(string), "")
				require.Equal(t, fmt.Sprint(i), run.str(t, "metadata.n"))
			}
		}
		seen, cursor := 0, ""
		for {
			page := b.call(t, "GET", "/runs?limit=200"+cursor, "")
			seen += len(page.get(t, "items").([]any))
			next, ok := page.get(t, "next_cursor").(string)
			if !ok {
				break
			}
			cursor = "&cursor=" + next
		}
		require.Equal(t, 500, seen)
	})
}

func TestRunsAreFound(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		quick, slow := b.workflow(t, passing), b.workflow(t, waiting)
		b.call(t, "POST", "/workflows/"+quick+"/trigger", `{"metadata":{"team":"sales","region.eu":"x y"}}`)
		cut := b.call(t, "POST", "/workflows/"+slow+"/trigger", `{"metadata":{"team":"sales"}}`).str(t, "created_at")
		b.call(t, "POST", "/workflows/"+slow+"/trigger", ``)
		for query, n := range map[string]int{
			"": 3, "?workflow_id=" + quick: 1, "?status=waiting": 2, "?status=waiting,completed": 3, "?status=failed": 0, "?trigger_type=manual,event": 3,
			"?trigger_type=schedule": 0, "?metadata.team=sales": 2, "?metadata.team=sales&metadata.region.eu=x+y": 1, "?metadata.team=ops": 0,
			"?created_after=" + cut: 1, "?created_before=" + cut: 1, "?workflow_id=nothing": 0, "?trigger_id=trg_1": 0,
			"?created_after=" + url.QueryEscape("2020-01-01T00:00:00+02:00"): 3, "?limit=2": 2,
		} {
			got := b.call(t, "GET", "/runs"+query, "")
			require.Equal(t, 200, got.status, got.body)
			require.Len(t, got.get(t, "items"), n, query)
		}
		b.check(t, []want{
			{name: "status", method: "GET", path: "/runs?status=done", status: 422, loc: "[query status 0]"},
			{name: "trigger", method: "GET", path: "/runs?trigger_type=x", status: 422, loc: "[query trigger_type 0]"},
			{name: "time", method: "GET", path: "/runs?created_after=yesterday", status: 422, loc: "[query created_after]"},
		})
	})
}

func TestPauseResumeCancelRerun(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		p, done := "/runs/"+b.run(t, waiting), "/runs/"+b.run(t, passing)
		missing := "/runs/" + ids.New("run")
		b.check(t, []want{
			{name: "why", method: "GET", path: p + "/why", status: 200, has: []string{"status", "waiting", "waiting_on.0.step_id", "ask", "waiting_on.0.kind", "approval"}},
			{name: "pause", method: "POST", path: p + "/pause", status: 200, has: []string{"status", "paused"}},
			{name: "pause again", method: "POST", path: p + "/pause", status: 200, has: []string{"status", "paused"}},
			{name: "resume", method: "POST", path: p + "/resume", status: 200, has: []string{"status", "waiting"}},
			{name: "resume again", method: "POST", path: p + "/resume", status: 200, has: []string{"status", "waiting"}},
			{name: "cancel", method: "POST", path: p + "/cancel", status: 200, has: []string{"status", "cancelled"}},
			{name: "cancel again", method: "POST", path: p + "/cancel", status: 200},
			{name: "pause cancelled", method: "POST", path: p + "/pause", status: 409, code: "invalid_state"},
			{name: "resume finished", method: "POST", path: done + "/resume", status: 409, code: "invalid_state"},
			{name: "cancel finished", method: "POST", path: done + "/cancel", status: 409, code: "invalid_state"},
			{name: "why finished", method: "GET", path: done + "/why", status: 200, has: []string{"waiting_on", "[]"}},
			{name: "rerun", method: "POST", path: done + "/rerun", status: 202, has: []string{"rerun_of", strings.TrimPrefix(done, "/runs/")}},
			{name: "rerun with another payload", method: "POST", path: done + "/rerun", body: `{"payload":{"x":1}}`, status: 202, has: []string{"payload.x", "1"}},
			{name: "rerun of a missing version", method: "POST", path: done + "/rerun", body: `{"version":9}`, status: 404},
			{name: "rerun, unknown field", method: "POST", path: done + "/rerun", body: `{"step":"x"}`, status: 422, loc: "[body step]"},
			{name: "steps", method: "GET", path: done + "/steps", status: 200, has: []string{"items.0.id", "route", "items.0.type", "branch", "items.0.status", "completed", "items.0.attempts", "[]"}},
			{name: "no id", method: "GET", path: "/runs/x", status: 404},
		})
		for _, action := range []string{"", "/steps", "/events", "/why", "/stream"} {
			require.Equal(t, 404, b.call(t, "GET", missing+action, "").status, action)
		}
		for _, action := range []string{"/pause", "/resume", "/cancel", "/rerun", "/steps/ask/approve", "/steps/ask/reject"} {
			require.Equal(t, 404, b.call(t, "POST", missing+action, "").status, action)
		}
	})
}

func TestApprovals(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		yes, no := "/runs/"+b.run(t, waiting), "/runs/"+b.run(t, waiting)
		b.check(t, []want{
			{name: "no such step", method: "POST", path: yes + "/steps/nothing/approve", status: 409, code: "invalid_state"},
			{name: "no such name", method: "POST", path: yes + "/steps/1/approve", status: 404},
			{name: "unknown field", method: "POST", path: yes + "/steps/ask/approve", body: `{"yes":true}`, status: 422, loc: "[body yes]"},
			{name: "approve", method: "POST", path: yes + "/steps/ask/approve", body: `{"comment":"fine","data":{"n":1}}`, status: 200, has: []string{"status", "completed"}},
			{name: "twice", method: "POST", path: yes + "/steps/ask/approve", status: 409},
			{name: "reject", method: "POST", path: no + "/steps/ask/reject", body: `{"comment":"no"}`, status: 200},
			{name: "not waiting", method: "POST", path: "/runs/" + b.run(t, passing) + "/steps/route/approve", status: 409},
		})
		step := b.call(t, "GET", yes+"/steps", "")
		require.Contains(t, step.body, `"comment":"fine"`)
		require.Contains(t, step.body, b.key[4:12], "the log says whose key it was")
	})
}

func TestBulk(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf := b.workflow(t, waiting)
		var runs []string
		for range 4 {
			runs = append(runs, b.call(t, "POST", "/workflows/"+wf+"/trigger", `{"metadata":{"k":"v"}}`).str(t, "id"))
		}
		ended := b.run(t, passing)
		list := `["` + strings.Join(append(runs[:2:2], ended, ids.New("run"), "x", runs[0]), `","`) + `"]`
		b.check(t, []want{
			{name: "dry", method: "POST", path: "/runs/bulk", body: `{"action":"cancel","filter":{"status":["waiting"]},"dry_run":true}`, status: 200, has: []string{"matched", "4", "succeeded", "0", "dry_run", "true"}},
			{name: "named", method: "POST", path: "/runs/bulk", body: `{"action":"pause","ids":` + list + `}`, status: 200, has: []string{
				"matched", "5", "succeeded", "2", "failed", "3", "items.2.error.code", "invalid_state", "items.3.error.code", "not_found", "items.4.error.code", "not_found",
			}},
			{name: "found", method: "POST", path: "/runs/bulk", body: `{"action":"resume","filter":{"workflow_id":"` + wf + `","status":["paused"],"metadata":{"k":"v"}}}`, status: 200, has: []string{"matched", "2", "succeeded", "2", "more", "false"}},
			{name: "cancel", method: "POST", path: "/runs/bulk", body: `{"action":"cancel","filter":{"status":["waiting"],"created_after":"2020-01-01T00:00:00Z"}}`, status: 200, has: []string{"succeeded", "4"}},
			{name: "rerun", method: "POST", path: "/runs/bulk", body: `{"action":"rerun","ids":["` + ended + `"]}`, status: 202, has: []string{"succeeded", "1"}},
			{name: "both", method: "POST", path: "/runs/bulk", body: `{"action":"cancel","ids":["a"],"filter":{}}`, status: 422, loc: "[body]"},
			{name: "neither", method: "POST", path: "/runs/bulk", body: `{"action":"cancel"}`, status: 422, loc: "[body]"},
			{name: "odd action", method: "POST", path: "/runs/bulk", body: `{"action":"delete","ids":["a"]}`, status: 422, loc: "[body action]"},
			{name: "odd filter", method: "POST", path: "/runs/bulk", body: `{"action":"cancel","filter":{"state":"x"}}`, status: 422, loc: "[body filter state]"},
			{name: "odd status", method: "POST", path: "/runs/bulk", body: `{"action":"cancel","filter":{"status":["x"]}}`, status: 422, loc: "[body filter status 0]"},
			{name: "nothing matches", method: "POST", path: "/runs/bulk", body: `{"action":"cancel","filter":{"workflow_id":"x"}}`, status: 200, has: []string{"matched", "0"}},
			{name: "501 ids", method: "POST", path: "/runs/bulk", body: `{"action":"cancel","ids":["x"` + strings.Repeat(`,"x"`, 500) + `]}`, status: 422, loc: "[body ids]"},
		})
	})
}

func TestOperationsWithoutABodyTakeNone(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf := b.workflow(t, waiting)
		run := b.call(t, "POST", "/workflows/"+wf+"/trigger", "").str(t, "id")
		for _, path := range []string{
			"/runs/" + run + "/pause", "/runs/" + run + "/resume", "/runs/" + run + "/cancel",
			"/workflows/" + wf + "/versions/1/activate",
		} {
			b.check(t, []want{
				{name: "a field", method: "POST", path: path, body: `{"dry_run":true}`, status: 422, loc: "[body dry_run]"},
				{name: "not an object", method: "POST", path: path, body: `[]`, status: 422, loc: "[body]"},
				{name: "not JSON", method: "POST", path: path, body: "not json", status: 400, code: "malformed"},
				{name: "blanks", method: "POST", path: path, body: " ", status: 400, code: "malformed"},
			})
			require.Equal(t, 415, b.sent(t, path, "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}).status)
			require.Equal(t, 415, b.sent(t, path, "{}", []string{"Content-Encoding", "gzip"}).status)
		}
		require.Equal(t, "waiting", b.status(t, run))
		b.check(t, []want{{name: "delete", method: "DELETE", path: "/workflows/" + wf, body: `{"x":1}`, status: 422, loc: "[body x]"}})
		for _, headers := range [][]string{
			nil, {"Content-Length", "0"}, {"Content-Type", "application/json"}, {"Content-Type", "application/x-www-form-urlencoded"}, {"Content-Encoding", "gzip"},
		} {
			require.Equal(t, 200, b.call(t, "POST", "/runs/"+run+"/pause", "", headers...).status, headers)
		}
		require.Equal(t, 200, b.call(t, "POST", "/runs/"+run+"/cancel", " {} ").status)
	})
}

func TestAFilterOfManyRunsChoosesThoseTheActionCanChange(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf := b.workflow(t, waiting)
		start := func() string { return b.call(t, "POST", "/workflows/"+wf+"/trigger", "").str(t, "id") }
		bulk := func(action string) want {
			return want{name: action, method: "POST", path: "/runs/bulk", body: `{"action":"` + action + `","filter":{"workflow_id":"` + wf + `"}}`}
		}
		open, ended := start(), []string{start(), start()} // the open one is the oldest
		for _, run := range ended {
			require.Equal(t, 200, b.call(t, "POST", "/runs/"+run+"/cancel", "").status)
		}
		for _, step := range []struct{ action, state string }{{"pause", "paused"}, {"resume", "waiting"}, {"cancel", "cancelled"}} {
			dry := b.call(t, "POST", "/runs/bulk", `{"action":"`+step.action+`","dry_run":true,"filter":{"workflow_id":"`+wf+`"}}`)
			require.Equal(t, "1 "+open, sprint(dry.get(t, "matched"))+" "+dry.str(t, "items.0.id"))
			w := bulk(step.action)
			w.status, w.has = 200, []string{"matched", "1", "succeeded", "1", "more", "false", "items.0.id", open}
			b.check(t, []want{w})
			require.Equal(t, step.state, b.status(t, open))
			w.has = []string{"matched", "0"}
			b.check(t, []want{w})
		}
		later := start()
		again := bulk("rerun")
		again.status, again.has = 202, []string{"matched", "3", "succeeded", "3", "items.2.id", open}
		b.check(t, []want{again})
		require.Equal(t, "waiting", b.status(t, later))
		b.check(t, []want{{
			name: "a status that is named", method: "POST", path: "/runs/bulk", status: 202,
			body: `{"action":"rerun","filter":{"workflow_id":"` + wf + `","status":["waiting"],"created_before":"2020-01-01T00:00:00Z"}}`,
			has:  []string{"matched", "0"},
		}})
	})
}

func TestManyRunsAreChangedInSeveralRequests(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf := b.workflow(t, waiting)
		first := b.call(t, "POST", "/workflows/"+wf+"/trigger", "").str(t, "id")
		items := `{"items":[{}` + strings.Repeat(",{}", mostBulk-1) + `]}`
		require.Equal(t, 202, b.call(t, "POST", "/workflows/"+wf+"/trigger/batch", items).status)
		ask := func(cursor string) answer {
			return b.call(t, "POST", "/runs/bulk", `{"action":"cancel","dry_run":true,"filter":{"workflow_id":"`+wf+`"}`+cursor+`}`)
		}
		got := ask("")
		require.Equal(t, "500 true", sprint(got.get(t, "matched"))+" "+sprint(got.get(t, "more")))
		cursor := `,"cursor":"` + got.str(t, "next_cursor") + `"`
		got = ask(cursor)
		require.Equal(t, "1 false", sprint(got.get(t, "matched"))+" "+sprint(got.get(t, "more")))
		require.Equal(t, first, got.str(t, "items.0.id"))
		require.Nil(t, got.get(t, "next_cursor"))
		b.check(t, []want{
			{name: "a cursor of another list", method: "POST", path: "/runs/bulk", status: 400, loc: "[body cursor]",
				body: `{"action":"cancel","filter":{},"cursor":"` + b.call(t, "GET", "/runs?limit=1", "").str(t, "next_cursor") + `"}`},
			{name: "a cursor beside ids", method: "POST", path: "/runs/bulk", status: 422, loc: "[body cursor]",
				body: `{"action":"cancel","ids":["` + first + `"]` + cursor + `}`},
		})
	})
}

func TestTheLogOfARunIsPaged(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		run := b.run(t, passing)
		whole := b.stored(t, run)
		require.Greater(t, len(whole), 2)
		first := b.call(t, "GET", "/runs/"+run+"/events?limit=2", "")
		require.Equal(t, "1", sprint(first.get(t, "items.0.seq")))
		require.Nil(t, first.get(t, "items.0.step_id"))
		rest := b.call(t, "GET", "/runs/"+run+"/events?limit=200&cursor="+first.str(t, "next_cursor"), "")
		require.Equal(t, "3", sprint(rest.get(t, "items.0.seq")))
		require.Len(t, rest.get(t, "items"), len(whole)-2)
		require.Equal(t, "[]", sprint(b.call(t, "GET", "/runs/"+run+"/events?after=99", "").get(t, "items")))
	})
}
