package api

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
)

func TestSchedulesOverHTTP(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf := b.workflow(t, passing)
		got := b.call(t, "POST", "/triggers", `{"type":"schedule","workflow_id":"`+wf+`","cron":"0 * * * *","timezone":"Europe/Berlin","missed":"all"}`)
		require.Equal(t, 201, got.status, got.body)
		var trg struct {
			ID         models.TriggerID
			NextFireAt time.Time `json:"next_fire_at"`
		}
		require.NoError(t, json.Unmarshal([]byte(got.body), &trg))
		require.True(t, trg.NextFireAt.After(time.Now()))

		// As if nobody had looked for a while.
		due := trg.NextFireAt.Add(-3 * time.Hour)
		_, err := b.store.For(b.ws).UpdateTrigger(t.Context(), trg.ID, time.Now().UTC(), func(t *models.Trigger) error {
			t.NextFireAt = &due
			return nil
		})
		require.NoError(t, err)
		fired, _, err := b.bus.FireDue(t.Context(), 10)
		require.NoError(t, err)
		require.Equal(t, 3, fired)

		type ticks struct {
			Items []struct {
				DueAt   time.Time `json:"due_at"`
				Outcome string
				RunID   string `json:"run_id"`
			}
			NextCursor *string `json:"next_cursor"`
		}
		read := func(query string) (l ticks) {
			got := b.call(t, "GET", "/triggers/"+string(trg.ID)+"/ticks?limit=2"+query, "")
			require.Equal(t, 200, got.status, got.body)
			require.NoError(t, json.Unmarshal([]byte(got.body), &l))
			return l
		}
		first := read("")
		require.Len(t, first.Items, 2)
		require.Equal(t, due.Add(2*time.Hour), first.Items[0].DueAt)
		require.Equal(t, "fired", first.Items[0].Outcome)
		second := read("&cursor=" + *first.NextCursor)
		require.Len(t, second.Items, 1)
		require.Equal(t, due, second.Items[0].DueAt)
		require.Nil(t, second.NextCursor)
		run := b.call(t, "GET", "/runs/"+second.Items[0].RunID, "")
		require.Equal(t, 200, run.status, run.body)
		require.Contains(t, run.body, `"trigger":{"type":"schedule","id":"`+string(trg.ID)+`"`)

		for body, loc := range map[string]string{
			`{"type":"schedule","workflow_id":"` + wf + `","cron":"61 * * * *"}`:                            `["body","cron"]`,
			`{"type":"schedule","workflow_id":"` + wf + `"}`:                                                `["body","cron"]`,
			`{"type":"schedule","workflow_id":"` + wf + `","cron":"0 9 * * *","timezone":"Mars/Olympus"}`:   `["body","timezone"]`,
			`{"type":"schedule","workflow_id":"` + wf + `","cron":"0 9 * * *","missed":"maybe"}`:            `["body","missed"]`,
			`{"type":"schedule","workflow_id":"` + wf + `","cron":"0 9 * * *","event_type":"lead.created"}`: `["body","event_type"]`,
			`{"type":"schedule","target_type":"webhook","url":"https://example.com","cron":"0 9 * * *"}`:    `["body","target_type"]`,
		} {
			got := b.call(t, "POST", "/triggers", body)
			require.Equal(t, 422, got.status, got.body)
			require.Contains(t, got.body, loc)
		}
	})
}
