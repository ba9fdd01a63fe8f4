package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/tasks"
)

// channelQueue is a queue that costs nothing, to see the engine by itself.
type channelQueue chan tasks.Step

func (q channelQueue) Enqueue(_ context.Context, ds []engine.Delivery) {
	for _, d := range ds {
		if !d.Wake {
			q <- d.Task
		}
	}
}

// endings lets a client wait for the end of its run.
type endings struct {
	mu   sync.Mutex
	runs map[models.RunID]chan struct{}
}

func newEndings() *endings { return &endings{runs: map[models.RunID]chan struct{}{}} }

func (e *endings) Notify(_ context.Context, notices []engine.Notice) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range notices {
		if ch, ok := e.runs[n.Run]; ok && n.Ended {
			close(ch)
			delete(e.runs, n.Run)
		}
	}
}

func (e *endings) expect(run models.RunID) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	ch := make(chan struct{})
	e.runs[run] = ch
	return ch
}

type anyAction struct{}

func (anyAction) Knows(context.Context, string, string, []string) (known bool, missing []string, err error) {
	return true, nil, nil
}

// TakesConnections says no.
func (anyAction) TakesConnections(context.Context, string, string) (of []string, required bool, err error) {
	return nil, false, nil
}

// engineAlone runs graphs of several lengths through the engine and the database
// without queue or network, to see what a step costs there and whether it grows.
func (b *bench) engineAlone(ctx context.Context) error {
	u, err := withSchema(ctx, b.database)
	if err != nil {
		return err
	}
	st, err := store.Open(ctx, store.Config{URL: u, MaxConns: 10})
	if err != nil {
		return err
	}
	defer st.Close()
	if _, err := st.Migrate(ctx); err != nil {
		return err
	}
	ws := models.WorkspaceID(ids.New(models.WorkspacePrefix))
	if err := st.CreateWorkspace(ctx, &models.Workspace{ID: ws, Name: "bench", CreatedAt: time.Now()}); err != nil {
		return err
	}
	for _, c := range []struct{ steps, runs int }{{3, 1600}, {10, 640}, {100, 64}, {1000, 32}, {10, 640}} {
		q, ends := make(channelQueue, 1_000_000), newEndings()
		eng, err := engine.New(engine.Deps{
			Store: st, Clock: clock.System{}, Enqueuer: q, Notifier: ends, Catalogue: anyAction{},
		}, engine.Config{})
		if err != nil {
			return err
		}
		wf, err := saveLinear(ctx, st, ws, c.steps)
		if err != nil {
			return err
		}
		runs := b.times(c.runs)
		cpu := b.servers.postgresCPU()
		began := time.Now()
		if err := drive(ctx, eng, q, ends, ws, wf, runs); err != nil {
			return err
		}
		took := time.Since(began)
		steps := float64(runs * c.steps)
		name := fmt.Sprintf("engine, %d runs of %d steps", runs, c.steps)
		b.addf(name, "steps/s", "%.0f", steps/took.Seconds())
		b.addf(name, "postgres CPU ms/step", "%.3f", float64((b.servers.postgresCPU()-cpu).Microseconds())/1000/steps)
		if err := eng.Close(ctx); err != nil {
			return err
		}
	}
	return nil
}

func saveLinear(ctx context.Context, st *store.Store, ws models.WorkspaceID, n int) (models.WorkflowID, error) {
	w := &models.Workflow{
		WorkspaceID: ws, ID: models.WorkflowID(ids.New(models.WorkflowPrefix)), Name: fmt.Sprintf("linear %d", n), Status: models.WorkflowActive,
		Version: 1, LastVersion: 1, Tags: []string{}, Revision: 1, CreatedAt: time.Now(), UpdatedAt: time.Now(),
	}
	v := &models.Version{WorkspaceID: ws, WorkflowID: w.ID, Number: 1, Graph: linear(n), CreatedAt: time.Now(), Hash: "x"}
	return w.ID, st.For(ws).CreateWorkflow(ctx, w, v)
}

func linear(n int) *models.Graph {
	g := &models.Graph{}
	for i := range n {
		s := models.GraphStep{ID: fmt.Sprintf("s%d", i), Type: models.StepTypeConnector, Connector: "core", Action: "set", Input: json.RawMessage(`{"n":"{{ payload.n }}"}`)}
		if i > 0 {
			s.Input = json.RawMessage(fmt.Sprintf(`{"n":"{{ steps.s%d.output.n + 1 }}"}`, i-1))
			g.Edges = append(g.Edges, models.Edge{From: fmt.Sprintf("s%d", i-1), To: s.ID})
		}
		g.Steps = append(g.Steps, s)
	}
	return g
}

// clients is how many runs are in flight: the same for every graph, for the size
// of a group, and so the cost of a step, depends on it.
const clients = 32

// drive lets every client start a run, wait for its end and start the next, while
// 64 workers execute steps.
func drive(ctx context.Context, eng *engine.Engine, q channelQueue, ends *endings, ws models.WorkspaceID, wf models.WorkflowID, runs int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var started atomic.Int64
	var driving, working sync.WaitGroup
	for range clients {
		driving.Go(func() {
			for started.Add(1) <= int64(runs) {
				id := models.RunID(ids.New(models.RunPrefix))
				ended := ends.expect(id)
				_, err := eng.Start(ctx, engine.StartRequest{
					Workspace: ws, Workflow: wf, ID: id, Payload: json.RawMessage(`{"n":1}`), Trigger: models.TriggerManual,
				})
				if err != nil {
					cancel(err)
					return
				}
				select {
				case <-ended:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for range 64 {
		working.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case t := <-q:
					w, err := eng.Claim(ctx, engine.ClaimRequest{Task: t, Worker: "bench"})
					if err == nil && w != nil {
						_, err = eng.Finish(ctx, engine.FinishRequest{Lease: w.Lease, Output: w.Input})
					}
					if err != nil {
						cancel(err)
						return
					}
				}
			}
		})
	}
	driving.Wait()
	err := context.Cause(ctx)
	cancel(nil)
	working.Wait()
	return err
}
