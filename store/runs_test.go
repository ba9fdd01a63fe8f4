package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

// runIDAt makes an id as it is made at that time.
func runIDAt(rnd *rand.Rand, at time.Time) models.RunID {
	var u uuid.UUID
	ms := uint64(at.UnixMilli())
	for i := range u {
		if u[i] = byte(rnd.Uint32()); i < 6 {
			u[i] = byte(ms >> (40 - 8*i))
		}
	}
	return models.RunID(ids.Format("run", u))
}

func TestRunIsGivenBackAsItWasMade(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		run := newRun(morning)
		trigger, event, parent := models.TriggerID("trg_1"), models.EventID("evt_1"), models.RunID("run_1")
		run.TriggerID, run.EventID, run.RerunOf = &trigger, &event, &parent
		run.Status, run.StartedAt, run.FinishedAt = models.RunFailed, new(morning), new(morning)
		run.Error = &models.RunError{StepID: "a", Code: "http_500", Message: "it's \\u0000 gone"}
		run.Output = json.RawMessage(`{"b":1.50,"a":[null,12345678901234567890]}`)
		run.Metadata = map[string]string{`it's "q"`: `\u0000 \ ?`, "": ""}
		save(t, s, &store.Changes{NewRuns: []*models.Run{run}})
		a := s.For(run.WorkspaceID)
		got, err := a.Run(ctx, run.ID)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(run, got))

		list, err := a.Runs(ctx, store.RunFilter{Metadata: run.Metadata}, store.Page{})
		require.NoError(t, err)
		run.Payload, run.Output = nil, nil
		require.Empty(t, cmp.Diff([]*models.Run{run}, list), "a list has neither payload nor output")
		_, err = a.Run(ctx, "run_nowhere")
		require.ErrorIs(t, err, models.ErrNotFound)
	})
}

// What the engine writes comes from outside too, and a step that cannot be kept
// would be repeated for ever.
func TestWhatCannotBeKeptIsReplacedInRuns(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		const bad, good = "a\x00b\xffc", "a\uFFFDb\uFFFDc"
		badJSON, goodJSON := json.RawMessage("{\"a\":\"\\u0000\xff\\\\u0000\"}"), json.RawMessage("{\"a\":\"\\ufffd\uFFFD\\\\u0000\"}")
		run := newRun(morning)
		run.WorkflowName, run.Payload, run.Metadata = bad, badJSON, map[string]string{"k": bad}
		run.Error = &models.RunError{StepID: "a", Message: bad}
		step := newStep(run, "a", models.NoIteration, morning)
		step.Input, step.Output, step.Usage, step.Reason, step.WorkerID = badJSON, badJSON, badJSON, bad, bad
		step.Error, step.Taken = &models.StepError{Message: bad}, []string{bad}
		event := &models.RunEvent{WorkspaceID: run.WorkspaceID, RunID: run.ID, Seq: 1, Type: models.EventRunQueued, At: morning, StepID: bad, Data: badJSON}
		attempt := &models.StepAttempt{WorkspaceID: run.WorkspaceID, RunID: run.ID, StepID: "a", Iteration: -1, Number: 1, Status: models.StepFailed, Error: &models.StepError{Message: bad}}
		wait := &models.Wait{WorkspaceID: run.WorkspaceID, RunID: run.ID, StepID: "a", EventType: bad, OpenedAt: morning}
		save(t, s, &store.Changes{
			NewRuns: []*models.Run{run}, NewSteps: []*models.Step{step}, Events: []*models.RunEvent{event},
			Attempts: []*models.StepAttempt{attempt}, NewWaits: []*models.Wait{wait},
		})
		save(t, s, &store.Changes{Runs: []*models.Run{run}, Steps: []*models.Step{step}})

		a := s.For(run.WorkspaceID)
		gotRun, err := a.Run(ctx, run.ID)
		require.NoError(t, err)
		run.WorkflowName, run.Payload, run.Metadata, run.Error.Message = good, goodJSON, map[string]string{"k": good}, good
		require.Empty(t, cmp.Diff(run, gotRun))
		steps, err := a.Steps(ctx, run.ID)
		require.NoError(t, err)
		step.Input, step.Output, step.Usage, step.Reason, step.WorkerID = goodJSON, goodJSON, goodJSON, good, good
		step.Error.Message, step.Taken = good, []string{good}
		require.Empty(t, cmp.Diff([]*models.Step{step}, steps))
		events, err := a.RunEvents(ctx, run.ID, 0, 1)
		require.NoError(t, err)
		event.StepID, event.Data = good, goodJSON
		require.Empty(t, cmp.Diff([]*models.RunEvent{event}, events))
		attempts, err := a.Attempts(ctx, run.ID)
		require.NoError(t, err)
		attempt.Error.Message = good
		require.Empty(t, cmp.Diff([]*models.StepAttempt{attempt}, attempts))
	})
}

// Every combination of filters is compared with the same question put to a slice.
func TestRunsAreFiltered(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		rnd := rand.New(rand.NewPCG(3, 4))
		a, ws := tenant(t, s)
		workflows := []models.WorkflowID{"wf_a", "wf_b", "wf_c"}
		triggers := []models.TriggerID{"trg_a", "trg_b"}
		pairs := []map[string]string{nil, {"k": "a"}, {"k": "b", "team": "it's"}, {"team": "it's"}, {"a": `k":"b`}}
		var all []*models.Run
		for i := range 200 {
			at := morning.Add(time.Duration(i)*10*time.Minute + time.Duration(rnd.IntN(1000))*time.Microsecond)
			r := &models.Run{
				WorkspaceID: ws, ID: runIDAt(rnd, at), WorkflowID: workflows[rnd.IntN(3)], WorkflowVersion: 1, LastSeq: 1, CreatedAt: at,
				Status: models.RunStatuses[rnd.IntN(len(models.RunStatuses))], TriggerType: models.TriggerTypes[rnd.IntN(len(models.TriggerTypes))],
				Metadata: pairs[rnd.IntN(len(pairs))],
			}
			if r.Status.Ended() {
				r.FinishedAt = &at
			}
			if rnd.IntN(2) == 0 {
				r.TriggerID = &triggers[rnd.IntN(2)]
			}
			all = append(all, r)
		}
		save(t, s, &store.Changes{NewRuns: all})
		slices.Reverse(all) // newest first

		maybe := func() bool { return rnd.IntN(3) == 0 }
		for range 80 {
			var f store.RunFilter
			if maybe() {
				f.WorkflowID = &workflows[rnd.IntN(3)]
			}
			if maybe() {
				f.TriggerID = &triggers[rnd.IntN(2)]
			}
			if maybe() {
				for range 1 + rnd.IntN(4) { // some twice
					f.Statuses = append(f.Statuses, models.RunStatuses[rnd.IntN(7)])
				}
			}
			if maybe() {
				for range 1 + rnd.IntN(3) {
					f.TriggerTypes = append(f.TriggerTypes, models.TriggerTypes[rnd.IntN(6)])
				}
			}
			if maybe() {
				f.CreatedAfter = &all[rnd.IntN(200)].CreatedAt
			}
			if maybe() {
				f.CreatedBefore = &all[rnd.IntN(200)].CreatedAt
			}
			if maybe() {
				f.Metadata = pairs[rnd.IntN(len(pairs))]
			}
			var want []models.RunID
			for _, r := range all {
				if matches(f, r) {
					want = append(want, r.ID)
				}
			}
			rows := pages(t, 20+rnd.IntN(100), func(p store.Page) ([]*models.Run, error) { return a.Runs(ctx, f, p) },
				func(r *models.Run) string { return string(r.ID) })
			var got []models.RunID
			for _, r := range rows {
				got = append(got, r.ID)
			}
			text, err := json.Marshal(f)
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(want, got), "%s", text)
		}
	})
}

func matches(f store.RunFilter, r *models.Run) bool {
	for k, v := range f.Metadata {
		if have, ok := r.Metadata[k]; !ok || have != v {
			return false
		}
	}
	return (f.WorkflowID == nil || r.WorkflowID == *f.WorkflowID) &&
		(f.TriggerID == nil || r.TriggerID != nil && *r.TriggerID == *f.TriggerID) &&
		(len(f.Statuses) == 0 || slices.Contains(f.Statuses, r.Status)) &&
		(len(f.TriggerTypes) == 0 || slices.Contains(f.TriggerTypes, r.TriggerType)) &&
		(f.CreatedAfter == nil || r.CreatedAt.After(*f.CreatedAfter)) &&
		(f.CreatedBefore == nil || r.CreatedAt.Before(*f.CreatedBefore))
}

func TestTimeOfCreationDecidesNotTheTimeInTheID(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		rnd := rand.New(rand.NewPCG(5, 6))
		a, ws := tenant(t, s)
		// A host whose clock is ahead made the first id; the second is of a request
		// that was made again half an hour later.
		for i, off := range []time.Duration{30 * time.Second, -30 * time.Minute} {
			r := newRun(morning.Add(time.Duration(i) * time.Microsecond))
			r.WorkspaceID, r.ID = ws, runIDAt(rnd, morning.Add(off))
			save(t, s, &store.Changes{NewRuns: []*models.Run{r}})
		}
		before, after := morning.Add(time.Microsecond), morning
		for name, f := range map[string]store.RunFilter{"before": {CreatedBefore: &before}, "after": {CreatedAfter: &after}} {
			rows, err := a.Runs(context.Background(), f, store.Page{})
			require.NoError(t, err)
			require.Len(t, rows, 1, name)
			require.Equal(t, name == "before", rows[0].CreatedAt.Equal(morning))
		}
	})
}

func TestPagesHoldWhileRunsArrive(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, ws := tenant(t, s)
		add := func(n int) {
			var rows []*models.Run
			for range n {
				r := newRun(morning)
				r.WorkspaceID = ws
				rows = append(rows, r)
			}
			save(t, s, &store.Changes{NewRuns: rows})
		}
		add(30)
		seen := map[models.RunID]bool{}
		got := pages(t, 7, func(p store.Page) ([]*models.Run, error) {
			defer add(3)
			return a.Runs(ctx, store.RunFilter{Statuses: []models.RunStatus{"queued", "running"}}, p)
		}, func(r *models.Run) string { return string(r.ID) })
		for _, r := range got {
			seen[r.ID] = true
		}
		require.Len(t, got, 30)
		require.Len(t, seen, 30)
		rows, err := a.Runs(ctx, store.RunFilter{}, store.Page{})
		require.NoError(t, err)
		require.Len(t, rows, 48)
	})
}

func TestTraceOfARun(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		run := newRun(morning)
		a := s.For(run.WorkspaceID)
		at := func(n int) *time.Time { v := morning.Add(time.Duration(n) * time.Second); return &v }
		step := func(id string, iteration int, started *time.Time) *models.Step {
			st := newStep(run, id, iteration, morning)
			st.StartedAt, st.Output = started, json.RawMessage(`{"x":1}`)
			return st
		}
		attempt := func(id string, iteration, number int, started *time.Time) *models.StepAttempt {
			return &models.StepAttempt{
				WorkspaceID: run.WorkspaceID, RunID: run.ID, StepID: id, Iteration: iteration, Number: number, Status: models.StepFailed,
				QueuedAt: new(morning), StartedAt: started, FinishedAt: started, Error: &models.StepError{Code: "http_500", Status: 500, Retryable: true},
			}
		}
		attempts := []*models.StepAttempt{attempt("again", -1, 1, at(1)), attempt("again", -1, 2, at(5)), attempt("list", 0, 1, at(0)), attempt("list", 0, 2, at(0))}
		var events []*models.RunEvent
		for seq := range int64(120) {
			events = append(events, &models.RunEvent{
				WorkspaceID: run.WorkspaceID, RunID: run.ID, Seq: seq + 1, Type: models.EventStepQueued, StepID: fmt.Sprint(seq), At: *at(int(seq)), Data: json.RawMessage(`{"attempt":1}`),
			})
		}
		save(t, s, &store.Changes{
			NewRuns: []*models.Run{run},
			NewSteps: []*models.Step{
				step("never", -1, nil), step("also-never", -1, nil), step("b", -1, at(2)), step("a", -1, at(2)),
				step("again", -1, at(9)), step("list", -1, at(3)), step("list", 0, at(0)),
			},
			Attempts: attempts, Events: events,
		})

		steps, err := a.Steps(ctx, run.ID)
		require.NoError(t, err)
		var order []string
		for _, st := range steps {
			order = append(order, st.StepID)
			require.Equal(t, models.NoIteration, st.Iteration)
		}
		require.Equal(t, []string{"again", "a", "b", "list", "also-never", "never"}, order)
		require.Empty(t, cmp.Diff(step("again", -1, at(9)), steps[0]))

		gotAttempts, err := a.Attempts(ctx, run.ID)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(attempts[:2], gotAttempts), "a list's items are left out")

		log, err := a.RunEvents(ctx, run.ID, 0, 0)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(events[:50], log))
		log, err = a.RunEvents(ctx, run.ID, 117, 200)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(events[117:], log))
	})
}
