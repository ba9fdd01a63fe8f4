package api

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSettingsAreKeptAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		const settings = `{"timeout":"2h","concurrency":{"key":"payload.lead_id","limit":1},"debounce":{"period":"10s"},"priority":"high"}`
		made := b.call(t, "POST", "/workflows", `{"name":"x","graph":`+waiting+`,"settings":`+settings+`}`)
		require.Equal(t, 201, made.status, made.body)
		wf := made.str(t, "id")
		require.Equal(t, "payload.lead_id", made.str(t, "settings.concurrency.key"))
		require.Equal(t, "2h", b.call(t, "GET", "/workflows/"+wf, "").str(t, "settings.timeout"))
		require.Equal(t, "high", b.call(t, "GET", "/workflows/"+wf+"/versions/1", "").str(t, "settings.priority"))

		exported := b.call(t, "GET", "/workflows/"+wf+"/export", "")
		imported := b.call(t, "POST", "/workflows/import", exported.body)
		require.Equal(t, 201, imported.status, imported.body)
		require.Equal(t, "10s", imported.str(t, "settings.debounce.period"))

		next := b.call(t, "PUT", "/workflows/"+wf+"/graph", `{"graph":`+waiting+`,"settings":null}`)
		require.Equal(t, 200, next.status, next.body)
		require.InDelta(t, 2, next.get(t, "version"), 0)
		require.Nil(t, next.get(t, "settings"))
		b.check(t, []want{
			{name: "unknown", method: "POST", path: "/workflows", body: `{"name":"x","graph":` + waiting + `,"settings":{"colour":"red"}}`, status: 422, code: "invalid"},
			{name: "no limit", method: "POST", path: "/workflows", body: `{"name":"x","graph":` + waiting + `,"settings":{"concurrency":{}}}`, status: 422, code: "invalid"},
			{
				name: "bad key", method: "POST", path: "/workflows", body: `{"name":"x","graph":` + waiting + `,"settings":{"concurrency":{"limit":1,"key":"payload. >"}}}`,
				status: 422, loc: "[body settings concurrency key]",
			},
			{
				name: "validated", method: "POST", path: "/workflows/validate", body: `{"graph":` + waiting + `,"settings":{"timeout":"soon"}}`,
				status: 200, has: []string{"valid", "false", "errors.0.loc", "[body settings timeout]"},
			},
		})
	})
}

func TestAStartThatMakesNoRunIsAConflictThatNamesOne(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		for name, settings := range map[string]string{
			"skipped": `{"concurrency":{"key":"payload.lead_id","limit":1,"policy":"skip"}}`,
			"folded":  `{"debounce":{"key":"payload.lead_id","period":"1m"}}`,
		} {
			wf := "/workflows/" + b.call(t, "POST", "/workflows", `{"name":"x","graph":`+waiting+`,"settings":`+settings+`}`).str(t, "id")
			first := b.call(t, "POST", wf+"/trigger", `{"payload":{"lead_id":"a"}}`)
			require.Equal(t, 202, first.status, first.body)
			second := b.call(t, "POST", wf+"/trigger", `{"payload":{"lead_id":"a"}}`)
			require.Equal(t, 409, second.status, name)
			require.Equal(t, "concurrency_limit", second.str(t, "code"))
			require.Equal(t, first.str(t, "id"), second.str(t, "run_id"))
			b.check(t, []want{{
				name: "a row an item", method: "POST", path: wf + "/trigger/batch", status: 202,
				body: `{"items":[{"payload":{"lead_id":"b"}},{"payload":{"lead_id":"a"}}]}`,
				has:  []string{"items.1.error.code", "concurrency_limit"},
			}})
		}
	})
}

func TestWhyTellsWhoseTurnItIs(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf := "/workflows/" + b.call(t, "POST", "/workflows", `{"name":"x","graph":`+waiting+`,"settings":{"concurrency":{"limit":1}}}`).str(t, "id")
		first := b.call(t, "POST", wf+"/trigger", `{}`).str(t, "id")
		second := b.call(t, "POST", wf+"/trigger", `{}`).str(t, "id")
		b.check(t, []want{{
			name: "in line", method: "GET", path: "/runs/" + second + "/why", status: 200,
			has: []string{"status", "queued", "waiting_on.0.kind", "concurrency", "waiting_on.0.ahead", "0", "waiting_on.0.step_id", "<nil>", "waiting_on.0.held_by.0", first},
		}})
	})
}
