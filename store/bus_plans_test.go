package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

// fillTriggers makes n triggers on types of their own, and one more on lead.created.
func fillTriggers(t *testing.T, s *store.Store, n int) (*store.Tenant, models.WorkspaceID) {
	t.Helper()
	ctx := context.Background()
	a, ws := tenant(t, s)
	w, _ := createWorkflow(t, a, "Leads")
	rows := make([]*models.Trigger, 0, n+1)
	for i := range n + 1 {
		typ := fmt.Sprintf("lead.kind_%d", i)
		switch {
		case i == n/2:
			typ = "lead.created"
		case i%100 == 0:
			typ = fmt.Sprintf("lead.kind_%d.*", i)
		}
		rows = append(rows, &models.Trigger{
			WorkspaceID: ws, ID: models.TriggerID(ids.New("trg")), Name: typ, Type: models.TriggerOnEvent, TargetType: models.TargetWorkflow,
			WorkflowID: &w.ID, EventType: typ, Enabled: true, CreatedAt: morning, UpdatedAt: morning,
		})
	}
	for from := 0; from < len(rows); from += 1000 {
		batch := rows[from:min(from+1000, len(rows))]
		_, err := s.DB().NewInsert().Model(&batch).Exec(ctx)
		require.NoError(t, err)
	}
	return a, ws
}

// TestTriggersOfOtherTypesCostNothing looks at the plan with and without statistics:
// a database that nobody has analysed must not read all triggers either.
func TestTriggersOfOtherTypesCostNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		a, ws := fillTriggers(t, s, 10_000)
		types := store.EventTypePatterns("lead.created")
		look := func() {
			t.Helper()
			triggers, waits, err := a.Listening(context.Background(), types)
			require.NoError(t, err)
			require.Equal(t, []string{"lead.created"}, triggers)
			require.Empty(t, waits)
			found, err := a.Listeners(context.Background(), "lead.created", "", 500)
			require.NoError(t, err)
			require.Len(t, found, 1)
			requireCheap(t, s, "triggers_by_event", "listening", string(ws), types)
			requireCheap(t, s, "triggers_by_event", "listeners", string(ws), "lead.created", "", 500)
			requireCheap(t, s, "triggers_by_event", "listeners", string(ws), "lead.created", string(found[0].ID), 500)
		}
		look()
		if !s.Embedded() {
			_, err := s.DB().ExecContext(context.Background(), "ANALYZE triggers")
			require.NoError(t, err)
			look()
		}
	})
}

func TestListsOfEventsAreServedByIndexes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, _ := tenant(t, s)
		const many = 20_000
		for from := 0; from < many; from += 500 {
			rows := make([]*models.Event, 500)
			for i := range rows {
				at := morning.Add(time.Duration(from+i) * time.Second)
				rows[i] = &models.Event{
					ID: models.EventID(ids.NewSource([]byte{byte(from), byte(from >> 8), byte(i), byte(i >> 8)}, at).Next("evt")), ExternalID: fmt.Sprint(from + i),
					Source: []string{"crm", "crm", "crm", "flows"}[i%4], Type: []string{"lead.created", "lead.lost"}[i%100/99], Data: []byte(`{}`),
					OccurredAt: at, ReceivedAt: at,
				}
			}
			_, err := a.AddEvents(ctx, rows)
			require.NoError(t, err)
		}
		if !s.Embedded() {
			_, err := s.DB().ExecContext(ctx, "ANALYZE events")
			require.NoError(t, err)
		}
		after, before := morning.Add(time.Hour), morning.Add(2*time.Hour)
		for name, f := range map[string]store.EventFilter{
			"none": {}, "type": {Type: "lead.created"}, "rare type": {Type: "lead.lost"}, "type of nobody": {Type: "lead.x"}, "source": {Source: "flows"},
			"both": {Type: "lead.created", Source: "flows"}, "time": {ReceivedAfter: &after, ReceivedBefore: &before},
			"type, time": {Type: "lead.lost", ReceivedAfter: &after, ReceivedBefore: &before},
		} {
			for _, page := range []store.Page{{Limit: 50}, {Limit: 50, After: ids.Lowest("evt", before)}} {
				sql := a.EventsSQL(f, page)
				if s.Embedded() {
					text := strings.Join(explain(t, s, "EXPLAIN QUERY PLAN ", sql), "\n")
					require.NotContains(t, text, "TEMP B-TREE", "%s\n%s", name, text)
					require.NotContains(t, text, "SCAN event\n", "%s\n%s", name, text)
					continue
				}
				text := strings.Join(explain(t, s, "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) ", sql), "\n")
				require.NotContains(t, text, "Seq Scan", "%s\n%s", name, text)
				for _, m := range sortedRows.FindAllStringSubmatch(text, -1) {
					require.LessOrEqual(t, len(m[1]), 3, "%s sorts more than a page\n%s", name, text)
				}
			}
		}
		rows := pages(t, 700, func(p store.Page) ([]*models.Event, error) {
			return a.Events(ctx, store.EventFilter{Type: "lead.lost"}, p)
		},
			func(e *models.Event) string { return string(e.ID) })
		require.Len(t, rows, many/100)
		timed, err := a.Events(ctx, store.EventFilter{ReceivedAfter: &after, ReceivedBefore: &before}, store.Page{Limit: 5000})
		require.NoError(t, err)
		require.Len(t, timed, 3599)
	})
}

// A workspace that floods the product is one that the statistics know nothing of, and
// plans were made while its table was small.
func TestMatchingReadsWhatItMatches(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		calm, _ := tenant(t, s)
		a, ws := tenant(t, s)
		fill := func(a *store.Tenant, n int) (all []string) {
			t.Helper()
			rows := make([]*models.Event, n)
			for i := range rows {
				rows[i] = &models.Event{
					ID: models.EventID(ids.New(models.EventPrefix)), ExternalID: fmt.Sprint(i), Source: "crm", Type: "lead.created",
					Data: []byte(`{}`), OccurredAt: morning, ReceivedAt: morning, AttendAt: new(morning),
				}
				all = append(all, string(rows[i].ID))
			}
			_, err := a.AddEvents(ctx, rows)
			require.NoError(t, err)
			return all
		}
		look := func(events []string) {
			t.Helper()
			index := "events_workspace_id_external_id_source_key"
			if s.Embedded() {
				index = "(workspace_id=? AND external_id=? AND source=?)"
			}
			requireCheap(t, s, index, "known", []string{string(ws), string(ws)}, []string{"1", "none"}, []string{"crm", "crm"})
			if s.Embedded() {
				claim := a.ClaimSQL([]models.EventID{"evt_1", "evt_2"}, morning, morning.Add(time.Second))
				require.Contains(t, strings.Join(explain(t, s, "EXPLAIN QUERY PLAN ", claim), "\n"), "workspace_id=? AND id=?")
				return
			}
			for range 6 { // first with plans of their own, were it not for the settings of the connections
				requireCheap(t, s, "events_pkey", "claim", string(ws), events, morning, morning)
				none := []string{}
				requireCheap(t, s, "events_pkey", "record", string(ws), events, none, morning, morning, none, none, none, none, none, none, []time.Time{})
			}
		}
		fill(calm, 100)
		look(fill(calm, 100)[:32])
		if !s.Embedded() {
			_, err := s.DB().ExecContext(ctx, "ANALYZE events")
			require.NoError(t, err)
		}
		many := 5000
		if s.Embedded() {
			many = 200 // its plans follow from the statement alone
		}
		for range 2 {
			look(fill(a, many)[100:132])
			if !s.Embedded() {
				_, err := s.DB().ExecContext(ctx, "ANALYZE events")
				require.NoError(t, err)
			}
		}
	})
}
