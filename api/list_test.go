package api

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
)

// lists gives the addresses of all lists in the OpenAPI document, which are those of
// the things in x, by the names of their operations.
func (b *bundle) lists(t *testing.T, x things) map[string]string {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string
			Parameters  []struct{ Name, In string }
		}
	}
	require.NoError(t, json.Unmarshal(b.api.OpenAPI(), &doc))
	fill := strings.NewReplacer("/workflows/{id}", "/workflows/"+x.workflow, "/runs/{id}/steps/{step}", "/runs/"+x.run+"/steps/each", "/runs/{id}", "/runs/"+x.run, "/triggers/{id}/ticks", "/triggers/"+x.trigger+"/ticks",
		"/triggers/{id}/deliveries", "/triggers/"+x.outbound+"/deliveries", "/connectors/{slug}", "/connectors/"+x.connector)
	found := map[string]string{}
	for path, item := range doc.Paths {
		for _, p := range item["get"].Parameters {
			if p.In == "query" && p.Name == "cursor" {
				found[item["get"].OperationID] = fill.Replace(path)
				require.NotContains(t, fill.Replace(path), "{", "of which thing is this the list?")
			}
		}
	}
	return found
}

// moreThings makes enough for every list to have a second row. The trigger in the
// answer is a schedule, which has been due, and the run is at a step over a list.
func (b *bundle) moreThings(t *testing.T) things {
	t.Helper()
	x := b.things(t)
	add := func(method, path, body string) answer {
		got := b.call(t, method, path, body)
		require.Less(t, got.status, 300, got.body)
		return got
	}
	b.workflow(t, passing)
	add("PUT", "/workflows/"+x.workflow+"/graph", `{"graph":`+passing+`}`)
	add("POST", "/workflows/"+x.workflow+"/trigger", "")
	x.run = b.run(t, `{"steps":[{"id":"each","type":"connector","connector":"core","action":"set","foreach":"1..3"}]}`)
	add("POST", "/agents", `{"slug":"machine","kind":"http","config":{"url":"https://example.com"}}`)
	event := add("POST", "/events", `{"type":"lead.created","data":{}}`).str(t, "id")
	add("POST", "/connections", `{"connector":"http","name":"second","config":{"auth":{"type":"none"},"base_url":"https://example.com"}}`)
	now := time.Now().UTC()
	require.NoError(t, b.store.For(b.ws).AddDelivery(t.Context(), &models.Delivery{
		ID: models.DeliveryID(ids.New(models.DeliveryPrefix)), TriggerID: models.TriggerID(x.outbound), EventID: models.EventID(event),
		Status: models.DeliveryPending, AttendAt: &now, CreatedAt: now,
	}))
	x.trigger = add("POST", "/triggers", `{"type":"schedule","workflow_id":"`+x.workflow+`","cron":"0 * * * *","missed":"all"}`).str(t, "id")
	due := now.Truncate(time.Hour).Add(-3 * time.Hour)
	_, err := b.store.For(b.ws).UpdateTrigger(t.Context(), models.TriggerID(x.trigger), now, func(trg *models.Trigger) error {
		trg.NextFireAt = &due
		return nil
	})
	require.NoError(t, err)
	_, _, err = b.bus.FireDue(t.Context(), 10)
	require.NoError(t, err)
	return x
}

// A cursor is a place in one list of one workspace. Whatever else is sent is refused
// by the name of the parameter, and never becomes another page.
func TestListsTakeTheirOwnCursorsOnly(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		other := *b
		other.ws = b.workspace(t)
		other.key = b.newKey(t, other.ws, models.ScopeAll)
		lists := b.lists(t, b.moreThings(t))
		cursors := map[string]string{}
		for name, path := range lists {
			got := b.call(t, "GET", path+"?limit=1", "")
			require.Equal(t, 200, got.status, got.body)
			cursors[name] = got.str(t, "next_cursor")
			require.Equal(t, 200, b.call(t, "GET", path+"?cursor="+cursors[name], "").status, name)
		}
		require.Greater(t, len(lists), 10)
		theirs := map[string]string{}
		for name, path := range other.lists(t, other.moreThings(t)) {
			theirs[name] = other.call(t, "GET", path+"?limit=1", "").str(t, "next_cursor")
		}
		for name, path := range lists {
			refused := func(what, cursor string, statuses ...int) {
				got := b.call(t, "GET", path+"?cursor="+cursor, "")
				require.Contains(t, append(statuses, 400), got.status, "%s: %s: %s", name, what, got.body)
				require.Equal(t, "[query cursor]", sprint(got.get(t, "errors.0.loc")), "%s: %s: %s", name, what, got.body)
				if got.status == 400 {
					require.Equal(t, codeInvalidCursor, got.str(t, "code"))
				}
			}
			own := cursors[name]
			refused("of another workspace", theirs[name])
			for from, cursor := range cursors {
				if from != name {
					refused("of "+from, cursor)
				}
			}
			refused("garbage", "garbage")
			refused("not base64", "%25%25")
			refused("cut off", own[:len(own)-4])
			refused("more than there is", own+"AAAA")
			refused("null", base64.RawURLEncoding.EncodeToString([]byte("null")))
			refused("very long", strings.Repeat("A", 1001), 422)
			for _, place := range []string{"", "\x00", "x", "' OR 1=1 --", "-1", "07", "1/x", "wf_", "key_zzzzzzzzzzzzzzzzzzzzzzzzz\n", "9223372036854775808", "ümlaut"} {
				if name == "list-actions" || name == "list-connectors" {
					place = "\n" + place // nearly all words could be one of theirs
				}
				refused("forged with "+strconv.Quote(place), moved(t, own, place))
			}
		}
	})
}

// moved forges a cursor of the same list.
func moved(t *testing.T, own, place string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(own)
	require.NoError(t, err)
	var c cursor
	require.NoError(t, json.Unmarshal(text, &c))
	c.After = place
	text, err = json.Marshal(c)
	require.NoError(t, err)
	return base64.RawURLEncoding.EncodeToString(text)
}
