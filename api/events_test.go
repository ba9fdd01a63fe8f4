package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store/storetest"
)

func (b *bundle) trigger(t testing.TB, wf, more string) string {
	t.Helper()
	got := b.call(t, "POST", "/triggers", `{"type":"event","workflow_id":"`+wf+`"`+more+`}`)
	require.Equal(t, 201, got.status, got.body)
	require.Equal(t, base+"/triggers/"+got.str(t, "id"), got.header.Get("Location"))
	return got.str(t, "id")
}

func TestALeadCreatedEventRunsAFlow(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf := b.workflow(t, passing)
		trg := b.trigger(t, wf, `,"event_type":"lead.*","source":"crm","filter":"event.data.score > 80","payload":{"lead_id":"{{ event.data.lead_id }}"},"dedupe":{"key":"event.data.lead_id","window":"1h"}`)

		// As the 10ex platform writes it.
		sent := b.call(t, "POST", "/events", `{"id":"evt_8f","type":"lead.created","company_id":"c0ffee","occurred_at":"2026-05-14T10:30:00+02:00","data":{"lead_id":"L1","score":91}}`)
		require.Equal(t, 202, sent.status, sent.body)
		id := sent.str(t, "id")
		require.Equal(t, base+"/events/"+id, sent.header.Get("Location"))
		require.NotContains(t, sent.body, "duplicate")

		got := b.call(t, "GET", "/events/"+id, "")
		require.Equal(t, 200, got.status, got.body)
		for field, want := range map[string]any{
			"external_id": "evt_8f", "type": "lead.created", "source": "crm", "occurred_at": "2026-05-14T08:30:00.000000Z", "status": "matched",
			"run_id": nil, "trigger_id": nil, "data.lead_id": "L1",
			"matches.0.trigger_id": trg, "matches.0.outcome": "fired", "matches.0.reason": nil, "matches.0.delivery_id": nil,
		} {
			require.Equal(t, want, got.get(t, field), field)
		}
		run := b.call(t, "GET", "/runs/"+got.str(t, "matches.0.run_id"), "")
		require.Equal(t, 200, run.status)
		require.JSONEq(t, `{"type":"event","id":"`+trg+`","event_id":"`+id+`"}`, asJSON(t, run.get(t, "trigger")))
		require.JSONEq(t, `{"lead_id":"L1"}`, asJSON(t, run.get(t, "payload")))

		again := b.call(t, "POST", "/events", `{"id":"evt_8f","type":"lead.created","source":"crm","data":{"lead_id":"L9","score":99}}`)
		require.Equal(t, 202, again.status)
		require.JSONEq(t, `{"id":"`+id+`","duplicate":true}`, again.body)
		same := b.call(t, "POST", "/events", `{"type":"lead.updated","source":"crm","data":{"lead_id":"L1","score":99}}`)
		got = b.call(t, "GET", "/events/"+same.str(t, "id"), "")
		require.Equal(t, "ignored", got.str(t, "matches.0.outcome"))
		require.Contains(t, got.str(t, "matches.0.reason"), id)
		require.Len(t, b.call(t, "GET", "/runs?trigger_id="+trg, "").get(t, "items"), 1)
		shown := b.call(t, "GET", "/triggers/"+trg, "")
		require.NotNil(t, shown.get(t, "last_fired_at"))
	})
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}

func TestEventsThatCannotBeKeptAreRefused(t *testing.T) {
	t.Parallel()
	each(t, options{cfg: Config{MaxBody: 8 << 20}}, func(t *testing.T, b *bundle) {
		for name, tc := range map[string]struct {
			body   string
			status int
			loc    string // of the first error
			typ    string
		}{
			"no JSON":              {`{`, 400, "", ""},
			"nothing":              {`{}`, 422, "[body data]", "missing"},
			"no data":              {`{"type":"a"}`, 422, "[body data]", "missing"},
			"no type":              {`{"data":{}}`, 422, "[body type]", "missing"},
			"type of nothing":      {`{"type":"","data":{}}`, 422, "[body type]", "limit"},
			"long type":            {`{"type":"` + strings.Repeat("a", 201) + `","data":{}}`, 422, "[body type]", "limit"},
			"type with a star":     {`{"type":"lead.*","data":{}}`, 422, "[body type]", "pattern"},
			"type with a space":    {`{"type":"lead created","data":{}}`, 422, "[body type]", "pattern"},
			"type no text":         {`{"type":1,"data":{}}`, 422, "[body type]", "type"},
			"lifecycle type":       {`{"type":"flow.run.completed","data":{}}`, 422, "[body type]", "reserved"},
			"our source":           {`{"type":"a","source":"flows","data":{}}`, 422, "[body source]", "reserved"},
			"our source, shouted":  {`{"type":"a","source":"Flows","data":{}}`, 422, "[body source]", "reserved"},
			"long source":          {`{"type":"a","source":"` + strings.Repeat("a", 65) + `","data":{}}`, 422, "[body source]", "limit"},
			"source of two words":  {`{"type":"a","source":"a b","data":{}}`, 422, "[body source]", "pattern"},
			"long id":              {`{"type":"a","id":"` + strings.Repeat("é", 128) + `","data":{}}`, 422, "[body id]", "limit"},
			"id with a line break": {`{"type":"a","id":"a\nb","data":{}}`, 422, "[body id]", "pattern"},
			"no time":              {`{"type":"a","occurred_at":"yesterday","data":{}}`, 422, "[body occurred_at]", "format"},
			"time out of mind":     {`{"type":"a","occurred_at":"0001-01-02T00:00:00Z","data":{}}`, 422, "[body occurred_at]", "limit"},
			"NUL":                  {`{"type":"a","data":{"x":"\u0000"}}`, 422, "", ""},
			"too deep":             {`{"type":"a","data":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`, 422, "", ""},
			"unknown field":        {`{"type":"a","data":{},"odd":1}`, 422, "[body odd]", "unknown_field"},
			"2 MB":                 {`{"type":"a","data":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "", ""},
		} {
			got := b.call(t, "POST", "/events", tc.body)
			require.Equal(t, tc.status, got.status, "%s: %s", name, got.body)
			if tc.loc != "" {
				require.Equal(t, tc.loc, sprint(got.get(t, "errors.0.loc")), name)
				require.Equal(t, tc.typ, got.get(t, "errors.0.type"), name)
			}
		}
		require.Empty(t, b.call(t, "GET", "/events", "").get(t, "items"), "nothing is left behind")
	})
}

func TestWhateverIsJSONIsData(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		for _, data := range []string{`null`, `1.5`, `"text"`, `[1,"two",null]`, `{"a":{"b":"é\u2028<>"}}`, `{}`} {
			sent := b.call(t, "POST", "/events", `{"type":"a","data":`+data+`}`)
			require.Equal(t, 202, sent.status, sent.body)
			got := b.call(t, "GET", "/events/"+sent.str(t, "id"), "")
			require.JSONEq(t, data, asJSON(t, got.get(t, "data")))
			require.Equal(t, sent.str(t, "id"), got.str(t, "external_id"))
			require.Equal(t, "api", got.str(t, "source"))
			require.Empty(t, got.get(t, "matches"))
		}
	})
}

func TestABatchAnswersOneRowEach(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		got := b.call(t, "POST", "/events/batch", `{"items":[{"id":"1","type":"a","data":{}},{"type":"flow.x","data":{}},{"id":"1","type":"a","data":{}},{"id":"2","type":"a","source":"flows","data":{}},{"id":"1","type":"a","source":"crm","data":{}}]}`)
		require.Equal(t, 202, got.status, got.body)
		require.Len(t, got.get(t, "items"), 5)
		require.Equal(t, got.str(t, "items.0.id"), got.str(t, "items.2.id"))
		require.Equal(t, true, got.get(t, "items.2.duplicate"))
		require.NotEqual(t, got.str(t, "items.0.id"), got.str(t, "items.4.id"))
		require.Equal(t, "invalid", got.str(t, "items.1.error.code"))
		require.Equal(t, "[body items 1 type]", sprint(got.get(t, "items.1.error.errors.0.loc")))
		require.Equal(t, "[body items 3 source]", sprint(got.get(t, "items.3.error.errors.0.loc")))
		require.Len(t, b.call(t, "GET", "/events", "").get(t, "items"), 2)

		items := strings.TrimSuffix(strings.Repeat(`{"type":"b","data":{}},`, 500), ",")
		got = b.call(t, "POST", "/events/batch", `{"items":[`+items+`]}`)
		require.Equal(t, 202, got.status)
		require.Len(t, got.get(t, "items"), 500)
		require.Equal(t, 422, b.call(t, "POST", "/events/batch", `{"items":[`+items+`,{"type":"b","data":{}}]}`).status)
		require.Equal(t, 422, b.call(t, "POST", "/events/batch", `{"items":[]}`).status)
		only := b.call(t, "POST", "/events/batch", `{"items":[{"type":"flow.x","data":{}}]}`)
		require.Equal(t, 202, only.status, "each row says for itself what became of it")
	})
}

func TestListsOfEventsFilterAndPage(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		var items []string
		for i := range 30 {
			items = append(items, fmt.Sprintf(`{"type":"%s","source":"%s","data":{"n":%d}}`, []string{"a", "b", "c"}[i%3], []string{"crm", "x"}[i%2], i))
		}
		require.Equal(t, 202, b.call(t, "POST", "/events/batch", `{"items":[`+strings.Join(items, ",")+`]}`).status)
		for query, want := range map[string]int{
			"": 30, "type=a": 10, "source=x": 15, "type=b&source=crm": 5, "type=*": 0, "created_after=2020-01-01T00:00:00Z": 30,
			"created_after=2120-01-01T00:00:00Z": 0, "created_before=2020-01-01T00:00:00Z": 0,
		} {
			seen := map[string]bool{}
			for cursor := ""; ; {
				got := b.call(t, "GET", "/events?limit=4&"+query+cursor, "")
				require.Equal(t, 200, got.status, got.body)
				for _, item := range got.get(t, "items").([]any) {
					row := item.(map[string]any)
					require.NotContains(t, row, "data")
					require.False(t, seen[row["id"].(string)])
					seen[row["id"].(string)] = true
				}
				next := got.get(t, "next_cursor")
				if next == nil {
					break
				}
				cursor = "&cursor=" + next.(string)
			}
			require.Len(t, seen, want, query)
		}
		require.Equal(t, 404, b.call(t, "GET", "/events/evt_1", "").status)
	})
}

func TestTriggersThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf, gone := b.workflow(t, passing), b.workflow(t, passing)
		require.Equal(t, 204, b.call(t, "DELETE", "/workflows/"+gone, "").status)
		target := `"workflow_id":"` + wf + `"`
		for name, tc := range map[string]struct{ body, loc, typ string }{
			"no type":            {`{` + target + `}`, "[body type]", "missing"},
			"unknown type":       {`{"type":"moon",` + target + `}`, "[body type]", "enum"},
			"no event type":      {`{"type":"event",` + target + `}`, "[body event_type]", "missing"},
			"star inside":        {`{"type":"event","event_type":"lead.*.x",` + target + `}`, "[body event_type]", "pattern"},
			"two stars":          {`{"type":"event","event_type":"lead.**",` + target + `}`, "[body event_type]", "pattern"},
			"long event type":    {`{"type":"event","event_type":"` + strings.Repeat("a", 201) + `",` + target + `}`, "[body event_type]", "limit"},
			"bad source":         {`{"type":"event","event_type":"a","source":"a b",` + target + `}`, "[body source]", "pattern"},
			"no workflow":        {`{"type":"event","event_type":"a"}`, "[body workflow_id]", "missing"},
			"unknown workflow":   {`{"type":"event","event_type":"a","workflow_id":"wf_01jz0000000000000000000000"}`, "[body workflow_id]", "unknown"},
			"no id":              {`{"type":"event","event_type":"a","workflow_id":"w"}`, "[body workflow_id]", "unknown"},
			"archived workflow":  {`{"type":"event","event_type":"a","workflow_id":"` + gone + `"}`, "[body workflow_id]", "archived"},
			"filter":             {`{"type":"event","event_type":"a","filter":"event.data.x >",` + target + `}`, "[body filter]", "expression"},
			"filter of a number": {`{"type":"event","event_type":"a","filter":"1 + 1",` + target + `}`, "[body filter]", "expression"},
			"filter of a run":    {`{"type":"event","event_type":"a","filter":"payload.x == 1",` + target + `}`, "[body filter]", "expression"},
			"payload":            {`{"type":"event","event_type":"a","payload":{"x":["{{ event. }}"]},` + target + `}`, "[body payload x 0]", "expression"},
			"payload of a run":   {`{"type":"event","event_type":"a","payload":{"x":"{{ run.id }}"},` + target + `}`, "[body payload x]", "expression"},
			"dedupe key":         {`{"type":"event","event_type":"a","dedupe":{"key":"event..","window":"1h"},` + target + `}`, "[body dedupe key]", "expression"},
			"dedupe window":      {`{"type":"event","event_type":"a","dedupe":{"key":"event.id","window":"soon"},` + target + `}`, "[body dedupe window]", "duration"},
			"no window":          {`{"type":"event","event_type":"a","dedupe":{"key":"event.id"},` + target + `}`, "[body dedupe window]", "missing"},
			"window of nothing":  {`{"type":"event","event_type":"a","dedupe":{"key":"event.id","window":"0s"},` + target + `}`, "[body dedupe window]", "duration"},
			"payload of a step":  {`{"type":"event","event_type":"a","payload":{"x":"{{ steps.a.output }}"},` + target + `}`, "[body payload x]", "expression"},
			"no cron":            {`{"type":"schedule",` + target + `}`, "[body cron]", "missing"},
			"cron of an event":   {`{"type":"event","event_type":"a","cron":"@hourly",` + target + `}`, "[body cron]", "invalid"},
			"filter of a cron":   {`{"type":"schedule","cron":"@hourly","filter":"true",` + target + `}`, "[body filter]", "invalid"},
			"unknown field":      {`{"type":"event","event_type":"a","odd":1,` + target + `}`, "[body odd]", "unknown_field"},
			"long name":          {`{"type":"event","event_type":"a","name":"` + strings.Repeat("a", 201) + `",` + target + `}`, "[body name]", "limit"},
		} {
			got := b.call(t, "POST", "/triggers", tc.body)
			require.Equal(t, 422, got.status, "%s: %s", name, got.body)
			require.Equal(t, tc.loc, sprint(got.get(t, "errors.0.loc")), "%s: %s", name, got.body)
			require.Equal(t, tc.typ, got.get(t, "errors.0.type"), name)
		}
		at := b.call(t, "POST", "/triggers", `{"type":"event","event_type":"a","filter":"event.data.x >",`+target+`}`)
		require.Contains(t, at.str(t, "errors.0.msg"), "line 1, column ")
		at = b.call(t, "POST", "/triggers", `{"type":"event","event_type":"a","filter":"lead.x",`+target+`}`)
		require.Contains(t, at.str(t, "errors.0.msg"), "known are trigger, event;", "a run's names are not offered")
		require.Empty(t, b.call(t, "GET", "/triggers", "").get(t, "items"), "nothing is left behind")
	})
}

func TestATriggerIsChangedAndDeleted(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf := b.workflow(t, passing)
		trg := b.trigger(t, wf, `,"event_type":"lead.*","source":"crm","filter":"true","payload":{"a":1},"dedupe":{"key":"event.id","window":"1h"}`)
		path := "/triggers/" + trg
		got := b.call(t, "PATCH", path, `{"name":"New","event_type":"deal.won"}`)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, "New", got.str(t, "name"))
		require.Equal(t, "deal.won", got.str(t, "event_type"))
		require.Equal(t, "crm", got.str(t, "source"), "what is not there stays")
		require.NotNil(t, got.get(t, "dedupe"))
		got = b.call(t, "PATCH", path, `{"source":null,"filter":null,"payload":null,"dedupe":null,"name":null}`)
		require.Equal(t, 200, got.status, got.body)
		for _, field := range []string{"source", "filter", "payload", "dedupe"} {
			require.Nil(t, got.get(t, field), field)
		}
		require.Equal(t, "New", got.str(t, "name"))
		require.Equal(t, got.body, b.call(t, "GET", path, "").body)
		for body, loc := range map[string]string{
			`{"filter":"event. "}`: "[body filter]", `{"event_type":""}`: "[body event_type]", `{"cron":"@hourly"}`: "[body cron]",
			`{"dedupe":{"key":"event.id"}}`: "[body dedupe window]", `{"dedupe":5}`: "[body dedupe]",
			`{"type":"schedule"}`: "[body type]", `{"workflow_id":"x"}`: "[body workflow_id]",
		} {
			bad := b.call(t, "PATCH", path, body)
			require.Equal(t, 422, bad.status, "%s: %s", body, bad.body)
			require.Equal(t, loc, sprint(bad.get(t, "errors.0.loc")), body)
		}
		require.Equal(t, got.body, b.call(t, "GET", path, "").body, "nothing has changed")

		event := func() string {
			sent := b.call(t, "POST", "/events", `{"type":"deal.won","data":{}}`)
			return b.call(t, "GET", "/events/"+sent.str(t, "id"), "").body
		}
		require.Contains(t, event(), `"fired"`)
		require.Equal(t, false, b.call(t, "PATCH", path, `{"enabled":false}`).get(t, "enabled"))
		require.Contains(t, event(), `"matches":[]`)
		require.Equal(t, 200, b.call(t, "PATCH", path, `{"enabled":true}`).status)
		require.Contains(t, event(), `"fired"`)
		require.Equal(t, 200, b.call(t, "PATCH", "/workflows/"+wf, `{"status":"paused"}`).status)
		require.Contains(t, event(), "is paused")
		require.Equal(t, 204, b.call(t, "DELETE", "/workflows/"+wf, "").status)
		require.Contains(t, event(), "is archived")

		require.Equal(t, 204, b.call(t, "DELETE", path, "").status)
		require.Equal(t, 404, b.call(t, "GET", path, "").status)
		require.Equal(t, 404, b.call(t, "DELETE", path, "").status)
		require.Equal(t, 404, b.call(t, "PATCH", path, `{"name":"x"}`).status)
		require.Contains(t, event(), `"matches":[]`)
	})
}

func TestListsOfTriggersFilter(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		one, two := b.workflow(t, passing), b.workflow(t, passing)
		b.trigger(t, one, `,"event_type":"a"`)
		b.trigger(t, two, `,"event_type":"a","enabled":false`)
		b.trigger(t, two, `,"event_type":"b.*"`)
		for query, want := range map[string]int{
			"": 3, "workflow_id=" + two: 2, "type=event": 3, "type=schedule": 0, "target_type=webhook": 0, "target_type=workflow": 3,
			"event_type=a": 2, "event_type=b.*": 1, "enabled=true": 2, "enabled=false": 1, "enabled=false&event_type=a": 1, "workflow_id=nobody": 0,
		} {
			got := b.call(t, "GET", "/triggers?"+query, "")
			require.Equal(t, 200, got.status, got.body)
			require.Len(t, got.get(t, "items"), want, query)
		}
		require.Equal(t, 422, b.call(t, "GET", "/triggers?type=moon", "").status)
		first := b.call(t, "GET", "/triggers?limit=2", "")
		rest := b.call(t, "GET", "/triggers?limit=2&cursor="+first.str(t, "next_cursor"), "")
		require.Len(t, rest.get(t, "items"), 1)
		require.Nil(t, rest.get(t, "next_cursor"))
	})
}

func TestATriggerIsTriedWithoutFiring(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		trg := b.trigger(t, b.workflow(t, passing), `,"event_type":"lead.*","source":"crm","filter":"event.data.score > 80","payload":{"id":"{{ event.data.id }}"},"dedupe":{"key":"event.data.id","window":"1h"}`)
		try := func(event string) answer {
			got := b.call(t, "POST", "/triggers/"+trg+"/test", `{"event":`+event+`}`)
			require.Equal(t, 200, got.status, got.body)
			return got
		}
		good := `{"type":"lead.created","source":"crm","data":{"id":"L1","score":90}}`
		for range 2 {
			require.JSONEq(t, `{"matched":true,"reason":null,"payload":{"id":"L1"}}`, try(good).body, "nothing is kept")
		}
		for event, reason := range map[string]string{
			`{"type":"deal.won","source":"crm","data":{}}`:                          "listens for lead.*, not for deal.won",
			`{"type":"lead.created","data":{}}`:                                     "listens to the source crm, not to api",
			`{"type":"lead.created","source":"crm","data":{"score":1}}`:             "the filter is false",
			`{"type":"lead.created","source":"crm","data":"x"}`:                     "the filter failed: ",
			`{"type":"lead.created","company_id":"c","data":{"score":80,"id":"x"}}`: "the filter is false",
		} {
			got := try(event)
			require.Equal(t, false, got.get(t, "matched"), event)
			require.Contains(t, got.str(t, "reason"), reason)
			require.Nil(t, got.get(t, "payload"))
		}
		for event, loc := range map[string]string{
			`{"type":"","data":{}}`: "[body event type]", `{"type":"a b","data":{}}`: "[body event type]", `{"type":"a","source":"a b","data":{}}`: "[body event source]",
		} {
			got := b.call(t, "POST", "/triggers/"+trg+"/test", `{"event":`+event+`}`)
			require.Equal(t, 422, got.status, "%s: %s", event, got.body)
			require.Equal(t, loc, sprint(got.get(t, "errors.0.loc")), event)
		}
		require.Contains(t, try(`{"type":"flow.run.failed","source":"flows","data":{}}`).str(t, "reason"), "not for flow.run.failed", "which cannot be sent")
		require.Empty(t, b.call(t, "GET", "/events", "").get(t, "items"))
		require.Empty(t, b.call(t, "GET", "/runs", "").get(t, "items"))

		require.Equal(t, 202, b.call(t, "POST", "/events", good).status)
		require.Contains(t, try(good).str(t, "reason"), "with the same key came before it")
		require.Equal(t, 200, b.call(t, "PATCH", "/triggers/"+trg, `{"enabled":false,"dedupe":null}`).status)
		require.Equal(t, "the trigger is disabled", try(good).str(t, "reason"))
	})
}

// away is a bus whose store cannot be reached.
type away struct{ Bus }

func (away) Publish(context.Context, models.WorkspaceID, []*models.Event) ([]bus.Receipt, error) {
	return nil, models.ErrUnavailable
}

func TestAnEventThatIsNotStoredIsNotPromised(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{deps: func(d *Deps) { d.Bus = away{d.Bus} }})
	for path, body := range map[string]string{"/events": `{"type":"a","data":{}}`, "/events/batch": `{"items":[{"type":"a","data":{}}]}`} {
		got := b.call(t, "POST", path, body)
		require.Equal(t, 503, got.status)
		require.Equal(t, "unavailable", got.str(t, "code"))
		require.NotEmpty(t, got.header.Get("Retry-After"))
	}
}
