package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

// openWaits opens n waits of a type, each with a key of its own.
func openWaits(t *testing.T, s *store.Store, ws models.WorkspaceID, eventType string, n int) []*models.Wait {
	t.Helper()
	const batch = 10_000
	var all []*models.Wait
	for from := 0; from < n; from += batch {
		var waits []*models.Wait
		for i := from; i < min(from+batch, n); i++ {
			waits = append(waits, &models.Wait{
				WorkspaceID: ws, RunID: models.RunID(ids.New("run")), StepID: "w", EventType: eventType,
				MatchKey: fmt.Sprintf("%016x", i), OpenedAt: morning,
			})
		}
		save(t, s, &store.Changes{NewWaits: waits})
		all = append(all, waits...)
	}
	return all
}

var touched = regexp.MustCompile(`^\s*Buffers: shared hit=(\d+)`)

// requireCheap holds a plan to the index, and to few pages of it.
func requireCheap(t *testing.T, s *store.Store, index, which string, args ...any) {
	t.Helper()
	plan, err := s.Plan(context.Background(), which, args...)
	require.NoError(t, err)
	text := strings.Join(plan, "\n")
	require.Contains(t, text, index, "%s\n%s", which, text)
	require.NotContains(t, text, "Seq Scan", "%s\n%s", which, text)
	require.NotRegexp(t, `SCAN (w|waits|events)\b`, text, which)
	for _, line := range plan {
		if m := touched.FindStringSubmatch(line); m != nil { // the first is the whole statement
			pages, err := strconv.Atoi(m[1])
			require.NoError(t, err)
			require.Less(t, pages, 1000, "%s\n%s", which, text)
			break
		}
	}
}

func TestManyOpenWaitsAreNoConcernOfOtherEvents(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, ws := tenant(t, s)
		b, _ := tenant(t, s)
		n := 100_000
		if s.Embedded() {
			n = 5000 // its planner knows no numbers, and it is slow where races are looked for
		}
		waits := openWaits(t, s, ws, "lead.replied", n)
		types := store.EventTypePatterns("order.paid")
		same := store.EventTypePatterns("lead.replied")
		keys := []string{"ffffffffffffffff", waits[77].MatchKey}
		for range 60 {
			keys = append(keys, ids.New("none"))
		}
		requireCheap(t, s, "waits_by_event", "groups", string(ws), types, keys)
		requireCheap(t, s, "waits_by_event", "groups", string(ws), same, keys)
		requireCheap(t, s, "waits_by_event", "of group", string(ws), "lead.replied", waits[77].MatchKey, "", "")
		requireCheap(t, s, "waits_by_event", "of type", string(ws), "lead.replied", waits[n/2].MatchKey, "", "")

		none, err := a.WaitGroups(ctx, types, keys)
		require.NoError(t, err)
		require.Empty(t, none, "an event of another type")
		none, err = b.WaitGroups(ctx, same, keys)
		require.NoError(t, err)
		require.Empty(t, none, "another workspace")
		none, err = a.WaitGroups(ctx, same, keys[:1])
		require.NoError(t, err)
		require.Empty(t, none, "another key")
		groups, err := a.WaitGroups(ctx, same, keys)
		require.NoError(t, err)
		require.Equal(t, []store.WaitGroup{{EventType: "lead.replied", MatchKey: waits[77].MatchKey}}, groups)
		page, err := a.WaitsOfGroup(ctx, groups[0], store.WaitPlace{})
		require.NoError(t, err)
		require.Len(t, page, 1)
		require.Equal(t, waits[77].RunID, page[0].RunID)

		seen := map[models.RunID]bool{}
		for after := (store.WaitPlace{}); ; {
			page, err := a.WaitsOfType(ctx, "lead.replied", after)
			require.NoError(t, err)
			for _, w := range page {
				seen[w.RunID] = true
			}
			if len(page) < store.WaitsPage {
				break
			}
			last := page[len(page)-1]
			after = store.WaitPlace{MatchKey: last.MatchKey, Run: last.RunID, Step: last.StepID}
		}
		require.Len(t, seen, len(waits))
	})
}

func TestPagesOfAGroupHoldEveryWaitOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, ws := tenant(t, s)
		const n = 2*store.WaitsPage + 3
		var waits []*models.Wait
		for i := range n {
			waits = append(waits, &models.Wait{
				WorkspaceID: ws, RunID: models.RunID(ids.New("run")), StepID: fmt.Sprintf("w%d", i%2), EventType: "x", OpenedAt: morning,
			})
		}
		save(t, s, &store.Changes{NewWaits: waits})
		seen := map[models.RunID]bool{}
		for after := (store.WaitPlace{}); ; {
			page, err := a.WaitsOfGroup(ctx, store.WaitGroup{EventType: "x"}, after)
			require.NoError(t, err)
			for _, w := range page {
				require.False(t, seen[w.RunID])
				seen[w.RunID] = true
			}
			if len(page) < store.WaitsPage {
				break
			}
			last := page[len(page)-1]
			after = store.WaitPlace{Run: last.RunID, Step: last.StepID}
		}
		require.Len(t, seen, n)
	})
}

func addEvents(t *testing.T, a *store.Tenant, typ string, n int, from time.Time) []*models.Event {
	t.Helper()
	var all []*models.Event
	for i := range n {
		at := from.Add(time.Duration(i) * time.Millisecond)
		id := models.EventID(ids.At("evt", at, 0))
		all = append(all, &models.Event{
			ID: id, ExternalID: string(id), Source: "crm", Type: typ, Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i)), OccurredAt: at, ReceivedAt: at,
		})
	}
	_, err := a.AddEvents(context.Background(), all)
	require.NoError(t, err)
	return all
}

func TestAWaitSeesEventsInTheOrderTheyCame(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, ws := tenant(t, s)
		b, _ := tenant(t, s)
		addEvents(t, b, "lead.a", 3, morning)
		addEvents(t, a, "order.paid", 800, morning)
		var want []models.EventID
		first, second := addEvents(t, a, "lead.a", 300, morning), addEvents(t, a, "lead.b", 300, morning.Add(150*time.Millisecond))
		from := first[100].ReceivedAt
		for i := 100; i < 450; i++ {
			if i < 300 {
				want = append(want, first[i].ID)
			}
			if i >= 150 {
				want = append(want, second[i-150].ID)
			}
		}
		read := func(pattern string) (got []models.EventID) {
			for after, more := models.EventID(""), true; more; {
				var page []*models.Event
				var err error
				page, more, err = a.EventsFor(ctx, pattern, from, after)
				require.NoError(t, err)
				for _, e := range page {
					after = e.ID
					got = append(got, e.ID)
				}
			}
			return got
		}
		require.ElementsMatch(t, want, read("lead.*"))
		got := read("lead.*")
		require.IsIncreasing(t, got)
		require.Len(t, read("lead.a"), 200)
		require.Empty(t, read("lead"))
		require.Empty(t, read("zzz*"))
		require.Len(t, read("*"), 800-100+len(want))
		after := ids.Lowest("evt", from)
		requireCheap(t, s, "events_by_type", "events", string(ws), "lead.a", after, from)
		if !s.Embedded() {
			requireCheap(t, s, "events_by_type", "events of types", string(ws), []string{"lead.a", "lead.b"}, after, from)
			requireCheap(t, s, "events_by_type", "types", string(ws), "lead.", 5)
		}

		for i := range 120 { // too many types to ask for each
			addEvents(t, a, fmt.Sprintf("lead.x%d", i), 1, morning.Add(time.Hour))
		}
		require.Len(t, read("lead.*"), len(want)+120)
	})
}

func TestLargeEventsComeInSmallPages(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		a, _ := tenant(t, s)
		big, err := json.Marshal(strings.Repeat("x", 900<<10))
		require.NoError(t, err)
		for i := range 6 {
			at := morning.Add(time.Duration(i) * time.Second)
			id := models.EventID(ids.At("evt", at, 0))
			_, err := a.AddEvents(context.Background(), []*models.Event{{ID: id, ExternalID: string(id), Source: "crm", Type: "big", Data: big, OccurredAt: at, ReceivedAt: at}})
			require.NoError(t, err)
		}
		page, more, err := a.EventsFor(context.Background(), "big", morning, "")
		require.NoError(t, err)
		require.True(t, more)
		require.Len(t, page, 3)
		page, more, err = a.EventsFor(context.Background(), "big", morning, page[2].ID)
		require.NoError(t, err)
		require.Len(t, page, 3)
		require.False(t, more)
	})
}

func TestEventsAboutRunsAreMatchedWhereSomebodyListens(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, ws := tenant(t, s)
		_, other := tenant(t, s)
		at := morning.Add(time.Minute)
		heard := func(ws models.WorkspaceID, typ string) bool {
			id := models.EventID(ids.New("evt"))
			e := &models.Event{
				WorkspaceID: ws, ID: id, ExternalID: string(id), Source: models.SourceFlows, Type: typ, Data: json.RawMessage(`{"status":"completed"}`),
				OccurredAt: morning, ReceivedAt: morning, Depth: 1, AttendAt: &at,
			}
			quiet := *e
			quiet.Type, quiet.ID = "flow.run.waiting", models.EventID(ids.New("evt"))
			quiet.ExternalID = string(quiet.ID)
			save(t, s, &store.Changes{BusEvents: []*models.Event{&quiet, e}})
			kept, err := s.For(ws).Event(ctx, id)
			require.NoError(t, err)
			require.Equal(t, e.AttendAt == nil, kept.AttendAt == nil)
			return kept.AttendAt != nil
		}
		trigger := func(pattern string) *models.Trigger {
			trg := &models.Trigger{
				ID: models.TriggerID(ids.New("trg")), Name: "t", Type: models.TriggerOnEvent, TargetType: models.TargetWebhook, URL: "https://x.example",
				EventType: pattern, Enabled: true, CreatedAt: morning, UpdatedAt: morning,
			}
			require.NoError(t, a.CreateTrigger(ctx, trg))
			return trg
		}
		require.False(t, heard(ws, models.FlowRunCompleted), "by nobody")
		for pattern, want := range map[string]bool{
			"flow.run.completed": true, "flow.run.*": true, "flow.*": true, "flow*": true, "flo*": true, "f*": true, "*": true, "flow.run.completed*": true,
			"flow.run.failed": false, "flow.step.*": false, "flow.run.completedx": false, "g*": false, "lead.*": false,
		} {
			trg := trigger(pattern)
			require.Equal(t, want, heard(ws, models.FlowRunCompleted), pattern)
			require.False(t, heard(other, models.FlowRunCompleted), "another workspace's is not asked")
			_, err := a.UpdateTrigger(ctx, trg.ID, morning, func(trg *models.Trigger) error { trg.Enabled = false; return nil })
			require.NoError(t, err)
			require.False(t, heard(ws, models.FlowRunCompleted), "it is disabled")
			require.NoError(t, a.DeleteTrigger(ctx, trg.ID, morning))
		}
		save(t, s, &store.Changes{NewWaits: []*models.Wait{{WorkspaceID: other, RunID: "run_1", StepID: "w", EventType: "flow.run.*", OpenedAt: morning}}})
		require.True(t, heard(other, models.FlowRunCompleted), "by a wait")
		require.False(t, heard(other, models.FlowStepFailed))
		require.False(t, heard(ws, models.FlowRunCompleted))
	})
}

// Whether anybody listens for an event about a run is asked by the transaction that
// moves the run, whatever triggers on other events there are.
func TestTriggersOfOtherTypesDoNotSlowRuns(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		if s.Embedded() {
			return // the statement is PostgreSQL's; the other one is held to its index above
		}
		ctx := context.Background()
		_, ws := fillTriggers(t, s, 10_000)
		look := func() {
			t.Helper()
			name, at := ids.New(models.EventPrefix), morning
			requireCheap(t, s, "triggers_by_event", "write", []string{string(ws)}, []string{name}, []string{name}, []string{models.SourceFlows},
				[]string{models.FlowRunCompleted}, []string{`{}`}, []time.Time{at}, []time.Time{at}, []*string{nil}, []*string{nil}, []int32{1},
				[]*time.Time{&at}, []int32{0}, []string{string(ws)}, []string{models.FlowRunCompleted}, []string{"flow.*"})
		}
		look()
		_, err := s.DB().ExecContext(ctx, "ANALYZE triggers")
		require.NoError(t, err)
		look()
	})
}

func TestWaitsLookBackOneAtATime(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, ws := tenant(t, s)
		run := newRun(morning)
		run.WorkspaceID = ws
		due := morning.Add(5 * time.Second)
		save(t, s, &store.Changes{NewRuns: []*models.Run{run}, NewWaits: []*models.Wait{
			{WorkspaceID: ws, RunID: run.ID, StepID: "w", EventType: "x", MatchKey: "k", OpenedAt: morning, AttendAt: &due},
			{WorkspaceID: ws, RunID: run.ID, StepID: "v", EventType: "x", OpenedAt: morning},
		}})
		w, created, err := a.Wait(ctx, run.ID, "w")
		require.NoError(t, err)
		require.Equal(t, "k", w.MatchKey)
		require.True(t, created.Equal(morning))
		require.True(t, w.AttendAt.Equal(due))
		none, _, err := a.Wait(ctx, run.ID, "nope")
		require.NoError(t, err)
		require.Nil(t, none)

		take := func(now time.Time) int {
			rows, err := s.TakeDueWaits(ctx, now, now.Add(time.Minute), 10)
			require.NoError(t, err)
			return len(rows)
		}
		require.Zero(t, take(morning))
		require.Equal(t, 1, take(due))
		require.Zero(t, take(due), "it is somebody's")
		require.Equal(t, 1, take(due.Add(time.Minute)))
		require.NoError(t, a.AttendWait(ctx, run.ID, "w", nil))
		require.NoError(t, a.AttendWait(ctx, run.ID, "w", &due), "it has looked back")
		require.Zero(t, take(due.Add(time.Hour)))
	})
}
