package enginetest

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/core"
	"github.com/10ex/flows/connectors/http"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// world is what a scenario happens in.
type world struct {
	t      *testing.T
	store  *store.Store
	engine *engine.Engine
	clock  *clock.Fake
	queue  *queue
	jobs   jobs
	ws     models.WorkspaceID
	wf     models.WorkflowID

	place   string // of the line being played
	run     store.RunRef
	holding map[string]*engine.Work // steps a worker is at, as the scenario names them
	came    *models.Event           // the last that came in over the bus
	refused error                   // by the last command, until a line expects it
}

// queue is a queue that delivers only what it is asked for.
type queue struct {
	mu         sync.Mutex
	deliveries []engine.Delivery
}

func (q *queue) Enqueue(_ context.Context, ds []engine.Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.deliveries = append(q.deliveries, ds...)
}

func (q *queue) take(which func(engine.Delivery) bool) []engine.Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	var taken, left []engine.Delivery
	for _, d := range q.deliveries {
		if which(d) {
			taken = append(taken, d)
		} else {
			left = append(left, d)
		}
	}
	q.deliveries = left
	return taken
}

type noWatchers struct{}

func (noWatchers) Notify(context.Context, []engine.Notice) {}

func newWorld(t *testing.T, s *store.Store) *world {
	t.Helper()
	// The connectors are those of the product, so that a scenario cannot name what is
	// not there.
	registry, err := connectors.NewRegistry(core.Connector{}, http.New(nil)) // it is asked what there is, never to do it
	require.NoError(t, err)
	w := &world{
		t: t, store: s, queue: &queue{}, holding: map[string]*engine.Work{},
		clock: clock.NewFake(time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)),
		ws:    models.WorkspaceID(ids.New(models.WorkspacePrefix)), wf: models.WorkflowID(ids.New(models.WorkflowPrefix)),
	}
	w.engine, err = engine.New(engine.Deps{
		Store: s, Clock: w.clock, Enqueuer: w.queue, Jobs: &w.jobs, Notifier: noWatchers{}, Catalogue: connectors.NewCatalogue(registry, nil),
	}, engine.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.engine.Close(context.Background())) })
	require.NoError(t, s.CreateWorkspace(w.t.Context(), &models.Workspace{ID: w.ws, Name: "scenario", CreatedAt: w.clock.Now()}))
	return w
}

// makeAgents makes every agent a flow names.
func (w *world) makeAgents(v *models.Version) {
	made := map[string]bool{}
	for _, s := range v.Graph.Steps {
		if s.Type != models.StepTypeAgent || s.Agent == "" || made[s.Agent] {
			continue
		}
		made[s.Agent] = true
		require.NoError(w.t, w.store.For(w.ws).CreateAgent(w.t.Context(), &models.Agent{
			ID: models.AgentID(ids.New(models.AgentPrefix)), Slug: s.Agent, Name: s.Agent, Kind: "http",
			Config: json.RawMessage(`{"url":"http://127.0.0.1"}`), CreatedAt: w.clock.Now(), UpdatedAt: w.clock.Now(),
		}))
	}
}

func (w *world) check(v *models.Version) []models.FieldError {
	errs, _, err := w.engine.Check(w.t.Context(), w.ws, engine.Draft{Graph: v.Graph, InputSchema: v.InputSchema, Output: v.Output, Settings: v.Settings})
	require.NoError(w.t, err)
	return errs
}

func (w *world) save(v *models.Version) {
	w.t.Helper()
	w.makeAgents(v)
	require.Empty(w.t, w.check(v))
	now := w.clock.Now()
	v.WorkspaceID, v.WorkflowID, v.Number, v.CreatedAt = w.ws, w.wf, 1, now
	var err error
	v.Hash, err = v.ContentHash()
	require.NoError(w.t, err)
	require.NoError(w.t, w.store.For(w.ws).CreateWorkflow(w.t.Context(), &models.Workflow{
		WorkspaceID: w.ws, ID: w.wf, Name: "A flow", Status: models.WorkflowActive, Version: 1, LastVersion: 1,
		Tags: []string{}, Revision: 1, CreatedAt: now, UpdatedAt: now,
	}, v))
}
