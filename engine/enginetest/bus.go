package enginetest

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/tasks"
)

// jobs keeps what the engine leaves to others until the line is over.
type jobs struct {
	mu   sync.Mutex
	left []tasks.Job
}

func (j *jobs) EnqueueJobs(_ context.Context, more []tasks.Job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.left = append(j.left, more...)
}

func (j *jobs) take() []tasks.Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := j.left
	j.left = nil
	return out
}

// doJobs does what a worker does for the bus, until nothing is left.
func (w *world) doJobs() {
	w.t.Helper()
	for todo := w.jobs.take(); len(todo) > 0; todo = w.jobs.take() {
		for _, j := range todo {
			if j.Type == tasks.TypeLookback {
				require.NoError(w.t, w.engine.LookBackJob(w.t.Context(), j), w.place)
				continue
			}
			ev, err := w.store.For(w.ws).Event(w.t.Context(), models.EventID(j.ID))
			require.NoError(w.t, err, w.place)
			_, err = w.engine.MatchWaits(w.t.Context(), ev)
			require.NoError(w.t, err, w.place)
		}
	}
}

// arrives has an event come in over the bus.
func (w *world) arrives(m []string) {
	w.t.Helper()
	now := w.clock.Now()
	data := w.json(m[2])
	if data == nil {
		data = json.RawMessage("{}")
	}
	id := models.EventID(ids.NewSource(ids.NewSeed(), now).Next(models.EventPrefix))
	w.came = &models.Event{
		ID: id, ExternalID: string(id), Source: "crm", Type: m[1], Data: data, OccurredAt: now, ReceivedAt: now,
	}
	_, err := w.store.For(w.ws).AddEvents(w.t.Context(), []*models.Event{w.came})
	require.NoError(w.t, err, w.place)
	_, err = w.engine.MatchWaits(w.t.Context(), w.came)
	require.NoError(w.t, err, w.place)
}

// startOnEvent starts a run as a trigger does for the event that came last.
func (w *world) startOnEvent(m []string) {
	w.t.Helper()
	require.NotNil(w.t, w.came, "%s: no event has come", w.place)
	id := models.RunID(ids.New(models.RunPrefix))
	_, w.refused = w.engine.Start(w.t.Context(), engine.StartRequest{
		Workspace: w.ws, Workflow: w.wf, ID: id, Payload: w.json(m[1]), Trigger: models.TriggerEvent, EventID: &w.came.ID, Depth: w.came.Depth,
	})
	w.run = store.RunRef{Workspace: w.ws, Run: id}
}

// busHeard gives what the bus was told of the run, in order.
func (w *world) busHeard() []*models.Event {
	w.t.Helper()
	var heard []*models.Event
	for after, more := models.EventID(""), true; more; {
		page, again, err := w.store.For(w.ws).EventsFor(w.t.Context(), "*", w.theRun().CreatedAt, after)
		require.NoError(w.t, err, w.place)
		for _, e := range page {
			after = e.ID
			if e.RunID != nil && *e.RunID == w.run.Run {
				heard = append(heard, e)
			}
		}
		more = again
	}
	return heard
}

// busEnds holds the end of what the bus was told to types of events.
func (w *world) busEnds(m []string) {
	w.t.Helper()
	want := strings.Fields(m[1])
	var got []string
	for _, e := range w.busHeard() {
		got = append(got, e.Type)
	}
	require.GreaterOrEqual(w.t, len(got), len(want), "%s: the bus heard %v", w.place, got)
	require.Equal(w.t, want, got[len(got)-len(want):], w.place)
}

// busSaid holds fields of the last event of a type to values.
func (w *world) busSaid(m []string) {
	w.t.Helper()
	var want, got map[string]any
	require.NoError(w.t, json.Unmarshal(w.json(m[2]), &want), w.place)
	for _, e := range w.busHeard() {
		if e.Type == m[1] {
			got = nil
			require.NoError(w.t, json.Unmarshal(e.Data, &got), w.place)
		}
	}
	require.NotNil(w.t, got, "%s: the bus has not heard of it", w.place)
	for k, v := range want {
		require.Equal(w.t, v, got[k], "%s: %s", w.place, k)
	}
}
