package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

// bundle is an engine on a real store whose queue is a list in the test.
type bundle struct {
	t     *testing.T
	ctx   context.Context
	store *store.Store
	clock *clock.Fake
	queue *queue
	eng   *engine.Engine
	ws    models.WorkspaceID
}

type queue struct {
	mu         sync.Mutex
	deliveries []engine.Delivery
	lost       bool // what is enqueued is gone
}

func (q *queue) Enqueue(_ context.Context, ds []engine.Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.lost {
		q.deliveries = append(q.deliveries, ds...)
	}
}

func (q *queue) take() []engine.Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := q.deliveries
	q.deliveries = nil
	return out
}

type silent struct{}

func (silent) Notify(context.Context, []engine.Notice) {}

type catalogue struct{}

func (catalogue) Knows(_ context.Context, _, connector string, actions []string) (known bool, missing []string, err error) {
	return connector == "core", slices.DeleteFunc(slices.Clone(actions), func(a string) bool { return a == "set" || a == "fail" }), nil
}

// TakesConnections says no.
func (catalogue) TakesConnections(context.Context, string, string) (of []string, required bool, err error) {
	return nil, false, nil
}

func each(t *testing.T, test func(t *testing.T, b *bundle)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, s *store.Store) { test(t, setup(t, s)) })
}

func setup(t *testing.T, s *store.Store) *bundle {
	b := &bundle{
		t: t, ctx: context.Background(), store: s, queue: &queue{},
		clock: clock.NewFake(time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)), ws: models.WorkspaceID(ids.New(models.WorkspacePrefix)),
	}
	require.NoError(t, s.CreateWorkspace(b.ctx, &models.Workspace{ID: b.ws, Name: "test", CreatedAt: b.clock.Now()}))
	b.eng = b.engine()
	return b
}

// engine makes another engine on the same store, as another process would.
func (b *bundle) engine() *engine.Engine {
	e, err := engine.New(engine.Deps{
		Store: b.store, Clock: b.clock, Enqueuer: b.queue, Notifier: silent{}, Catalogue: catalogue{},
	}, engine.Config{})
	require.NoError(b.t, err)
	b.t.Cleanup(func() { require.NoError(b.t, e.Close(context.Background())) })
	return e
}

func (b *bundle) workflow(graph string) models.WorkflowID {
	b.t.Helper()
	var g models.Graph
	require.NoError(b.t, json.Unmarshal([]byte(graph), &g))
	errs, _, err := b.eng.Check(b.ctx, b.ws, engine.Draft{Graph: &g})
	require.NoError(b.t, err)
	require.Empty(b.t, errs)
	w := &models.Workflow{
		WorkspaceID: b.ws, ID: models.WorkflowID(ids.New(models.WorkflowPrefix)), Name: "wf", Status: models.WorkflowActive,
		Version: 1, LastVersion: 1, Tags: []string{}, Revision: 1, CreatedAt: b.clock.Now(), UpdatedAt: b.clock.Now(),
	}
	v := &models.Version{WorkspaceID: b.ws, WorkflowID: w.ID, Number: 1, Graph: &g, CreatedAt: b.clock.Now()}
	v.Hash, err = v.ContentHash()
	require.NoError(b.t, err)
	require.NoError(b.t, b.store.For(b.ws).CreateWorkflow(b.ctx, w, v))
	return w.ID
}

func (b *bundle) start(wf models.WorkflowID, payload string) store.RunRef {
	b.t.Helper()
	run, err := b.eng.Start(b.ctx, engine.StartRequest{
		Workspace: b.ws, Workflow: wf, ID: models.RunID(ids.New(models.RunPrefix)), Payload: json.RawMessage(payload), Trigger: models.TriggerManual,
	})
	require.NoError(b.t, err)
	return store.RunRef{Workspace: b.ws, Run: run.ID}
}

func (b *bundle) run(ref store.RunRef) *models.Run {
	b.t.Helper()
	run, err := b.store.For(ref.Workspace).Run(b.ctx, ref.Run)
	require.NoError(b.t, err)
	return run
}

func (b *bundle) trace(ref store.RunRef) map[string]engine.StepTrace {
	b.t.Helper()
	rows, err := b.eng.Trace(b.ctx, ref)
	require.NoError(b.t, err)
	out := map[string]engine.StepTrace{}
	for _, r := range rows {
		out[r.ID] = r
	}
	return out
}

// work does what is in the queue, as a worker would, until nothing is left. Waits
// are left alone.
func (b *bundle) work(e *engine.Engine, result func(w *engine.Work) engine.FinishRequest) {
	b.t.Helper()
	for {
		ds := slices.DeleteFunc(b.queue.take(), func(d engine.Delivery) bool { return d.Wake })
		if len(ds) == 0 {
			return
		}
		var wg sync.WaitGroup
		for _, d := range ds {
			wg.Go(func() {
				w, err := e.Claim(b.ctx, engine.ClaimRequest{Task: d.Task, Worker: "w1"})
				if err != nil || w == nil {
					return
				}
				req := result(w)
				req.Lease = w.Lease
				_, err = e.Finish(b.ctx, req)
				if err != nil {
					panic(err)
				}
			})
		}
		wg.Wait()
	}
}

// echo ends every step well, with its input as output.
func echo(w *engine.Work) engine.FinishRequest { return engine.FinishRequest{Output: w.Input} }

const diamond = `{"steps":[
	{"id":"a","type":"connector","connector":"core","action":"set","input":{"v":"{{ payload.v }}"}},
	{"id":"b","type":"connector","connector":"core","action":"set","input":{"v":"{{ steps.a.output.v + 1 }}"}},
	{"id":"c","type":"connector","connector":"core","action":"set","input":{"v":"{{ steps.a.output.v + 2 }}"}},
	{"id":"d","type":"connector","connector":"core","action":"set","input":{"sum":"{{ steps.b.output.v + steps.c.output.v }}","p":"{{ payload.v }}"}}],
	"edges":[{"from":"a","to":"b"},{"from":"a","to":"c"},{"from":"b","to":"d"},{"from":"c","to":"d"}]}`

func TestADiamondRunsThroughTheStore(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := b.start(b.workflow(diamond), `{"v":10}`)
		b.work(b.eng, echo)
		run := b.run(ref)
		require.Equal(t, models.RunCompleted, run.Status, run.Error)
		require.JSONEq(t, `{"d":{"sum":23,"p":10}}`, string(run.Output))
		for id, s := range b.trace(ref) {
			require.Equal(t, models.StepCompleted, s.Status, id)
			require.Len(t, s.Attempts, 1)
		}
		log, err := b.store.For(b.ws).RunEvents(b.ctx, ref.Run, 0, 100)
		require.NoError(t, err)
		for i, e := range log {
			require.EqualValues(t, i+1, e.Seq)
		}
		require.Len(t, log, 3+4*3)
	})
}

func TestManyRunsShareCommitsAndKeepApart(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		wf := b.workflow(diamond)
		refs := make([]store.RunRef, 60)
		var wg sync.WaitGroup
		for i := range refs {
			wg.Go(func() {
				run, err := b.eng.Start(b.ctx, engine.StartRequest{
					Workspace: b.ws, Workflow: wf, ID: models.RunID(ids.New(models.RunPrefix)),
					Payload: json.RawMessage(fmt.Sprintf(`{"v":%d}`, i)), Trigger: models.TriggerManual,
				})
				if err == nil {
					refs[i] = store.RunRef{Workspace: b.ws, Run: run.ID}
				}
			})
		}
		wg.Wait()
		b.work(b.eng, echo)
		for i, ref := range refs {
			run := b.run(ref)
			require.Equal(t, models.RunCompleted, run.Status)
			require.JSONEq(t, fmt.Sprintf(`{"d":{"sum":%d,"p":%d}}`, 2*i+3, i), string(run.Output))
		}
	})
}

func TestSiblingsInTwoProcessesOpenAJoinOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		other := b.engine()
		const width = 20
		graph := models.Graph{Steps: []models.GraphStep{{ID: "join", Type: models.StepTypeConnector, Connector: "core", Action: "set"}}}
		for i := range width {
			id := fmt.Sprintf("s%d", i)
			graph.Steps = append(graph.Steps, models.GraphStep{ID: id, Type: models.StepTypeConnector, Connector: "core", Action: "set"})
			graph.Edges = append(graph.Edges, models.Edge{From: id, To: "join"})
		}
		raw, err := json.Marshal(graph)
		require.NoError(t, err)
		ref := b.start(b.workflow(string(raw)), `{}`)

		var works []*engine.Work
		for _, d := range b.queue.take() {
			w, err := b.eng.Claim(b.ctx, engine.ClaimRequest{Task: d.Task, Worker: "w1"})
			require.NoError(t, err)
			works = append(works, w)
		}
		require.Len(t, works, width)
		barrier := make(chan struct{})
		var wg sync.WaitGroup
		for i, w := range works {
			e := b.eng
			if i%2 == 1 {
				e = other
			}
			wg.Go(func() {
				<-barrier
				if _, err := e.Finish(b.ctx, engine.FinishRequest{Lease: w.Lease, Output: json.RawMessage(`1`)}); err != nil {
					panic(err)
				}
			})
		}
		close(barrier)
		wg.Wait()
		require.Len(t, b.queue.take(), 1, "the join is delivered once")
		require.Equal(t, 1, b.run(ref).ActiveSteps)
	})
}

func TestOneOfManyClaimsWins(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		other := b.engine()
		b.start(b.workflow(diamond), `{"v":1}`)
		task := b.queue.take()[0].Task
		won := make(chan *engine.Work, 32)
		var wg sync.WaitGroup
		for i := range 32 {
			e := []*engine.Engine{b.eng, other}[i%2]
			wg.Go(func() {
				if w, err := e.Claim(b.ctx, engine.ClaimRequest{Task: task, Worker: fmt.Sprint(i)}); err == nil && w != nil {
					won <- w
				}
			})
		}
		wg.Wait()
		require.Len(t, won, 1)
	})
}

func TestAClaimMadeAgainIsTheSameClaim(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := b.start(b.workflow(diamond), `{"v":1}`)
		d := b.queue.take()[0]
		req := engine.ClaimRequest{Task: d.Task, Worker: "w1", Token: engine.NewToken()}
		first, err := b.eng.Claim(b.ctx, req)
		require.NoError(t, err)
		require.NotNil(t, first)
		seq := b.run(ref).LastSeq
		other, err := b.eng.Claim(b.ctx, engine.ClaimRequest{Task: d.Task, Worker: "w1", Token: engine.NewToken()})
		require.NoError(t, err)
		require.Nil(t, other, "another claim of the same worker comes second")

		b.clock.Advance(15 * time.Second)
		_, err = b.eng.Pause(b.ctx, ref) // what is under way goes on
		require.NoError(t, err)
		again, err := b.engine().Claim(b.ctx, req)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(first, again))
		require.Equal(t, seq+1, b.run(ref).LastSeq, "only the pause is told")
		b.clock.Advance(15 * time.Second) // the lease began anew
		_, err = b.eng.Sweep(b.ctx, 10)
		require.NoError(t, err)
		_, err = b.eng.Finish(b.ctx, engine.FinishRequest{Lease: again.Lease, Output: again.Input})
		require.NoError(t, err)
		again, err = b.eng.Claim(b.ctx, req)
		require.NoError(t, err)
		require.Nil(t, again, "it is over")
	})
}

func TestFinishClaimsTheSuccessorInTheSameCommit(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := b.start(b.workflow(`{"steps":[
			{"id":"a","type":"connector","connector":"core","action":"set"},
			{"id":"b","type":"connector","connector":"core","action":"set","input":{"from":"{{ steps.a.output }}"}}],
			"edges":[{"from":"a","to":"b"}]}`), `{}`)
		w, err := b.eng.Claim(b.ctx, engine.ClaimRequest{Task: b.queue.take()[0].Task, Worker: "w1"})
		require.NoError(t, err)
		next, err := b.eng.Finish(b.ctx, engine.FinishRequest{
			Lease: w.Lease, Output: json.RawMessage(`7`), Next: &engine.NextClaim{Worker: "w1", Queues: []string{"default"}},
		})
		require.NoError(t, err)
		require.NotNil(t, next)
		require.Equal(t, "b", next.Step.ID)
		require.JSONEq(t, `{"from":7}`, string(next.Input))
		require.Equal(t, string(ref.Run)+":b", next.IdempotencyKey)
		ds := b.queue.take()
		require.Len(t, ds, 1, "its task is enqueued all the same")
		require.True(t, ds[0].Begun)
		again, err := b.eng.Claim(b.ctx, engine.ClaimRequest{Task: ds[0].Task, Worker: "w2"})
		require.NoError(t, err)
		require.Nil(t, again)
		next, err = b.eng.Finish(b.ctx, engine.FinishRequest{
			Lease: next.Lease, Output: json.RawMessage(`8`), Next: &engine.NextClaim{Worker: "w1", Queues: []string{"default"}},
		})
		require.NoError(t, err)
		require.Nil(t, next, "nothing follows the last step")
		require.Equal(t, models.RunCompleted, b.run(ref).Status)
	})
}

func TestTheSweepRepairsWhatTheQueueLost(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.queue.lost = true
		ref := b.start(b.workflow(diamond), `{"v":1}`)
		for range 3 { // one for each layer of the diamond
			res, err := b.eng.Sweep(b.ctx, 100)
			require.NoError(t, err)
			require.Zero(t, res.Redelivered, "too early to tell")
			b.clock.Advance(6 * time.Second)
			b.queue.lost = false
			res, err = b.eng.Sweep(b.ctx, 100)
			require.NoError(t, err)
			require.Positive(t, res.Redelivered)
			ds := b.queue.take()
			b.queue.lost = true
			for _, d := range ds {
				w, err := b.eng.Claim(b.ctx, engine.ClaimRequest{Task: d.Task, Worker: "w1"})
				require.NoError(t, err)
				_, err = b.eng.Finish(b.ctx, engine.FinishRequest{Lease: w.Lease, Output: w.Input})
				require.NoError(t, err)
			}
		}
		require.Equal(t, models.RunCompleted, b.run(ref).Status)
	})
}

func TestALostWorkerIsReplacedAndItsResultDropped(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := b.start(b.workflow(diamond), `{"v":1}`)
		zombie, err := b.eng.Claim(b.ctx, engine.ClaimRequest{Task: b.queue.take()[0].Task, Worker: "w1"})
		require.NoError(t, err)
		b.clock.Advance(15 * time.Second)
		lost, err := b.eng.Heartbeat(b.ctx, "w1", []engine.Lease{zombie.Lease})
		require.NoError(t, err)
		require.Empty(t, lost)
		b.clock.Advance(15 * time.Second) // the beat moved the end of the lease
		res, err := b.eng.Sweep(b.ctx, 100)
		require.NoError(t, err)
		require.Zero(t, res.LeasesLost)
		b.clock.Advance(6 * time.Second)
		res, err = b.eng.Sweep(b.ctx, 100)
		require.NoError(t, err)
		require.Equal(t, 1, res.LeasesLost)
		lost, err = b.eng.Heartbeat(b.ctx, "w1", []engine.Lease{zombie.Lease})
		require.NoError(t, err)
		require.Equal(t, []engine.Lease{zombie.Lease}, lost)
		abandoned, err := b.eng.Abandoned(b.ctx, lost)
		require.NoError(t, err)
		require.Empty(t, abandoned, "another worker will do it")
		_, err = b.eng.Finish(b.ctx, engine.FinishRequest{Lease: zombie.Lease, Output: json.RawMessage(`1`)})
		require.ErrorIs(t, err, engine.ErrLeaseLost)
		require.ErrorIs(t, b.eng.BeginEffect(b.ctx, zombie.Lease, false), engine.ErrLeaseLost)
		b.work(b.eng, echo)
		require.Equal(t, models.RunCompleted, b.run(ref).Status)
		abandoned, err = b.eng.Abandoned(b.ctx, lost)
		require.NoError(t, err)
		require.Empty(t, abandoned, "another worker has done it")
		require.Len(t, b.trace(ref)["a"].Attempts, 2)
		require.Equal(t, "worker_lost", b.trace(ref)["a"].Attempts[0].Error.Code)
	})
}

func TestWaitsAreWokenBySweepWhenDue(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := b.start(b.workflow(`{"steps":[{"id":"w","type":"wait","for":"2d"},{"id":"z","type":"connector","connector":"core","action":"set"}],"edges":[{"from":"w","to":"z"}]}`), `{}`)
		require.Equal(t, models.RunWaiting, b.run(ref).Status)
		require.Empty(t, b.queue.take(), "beyond the horizon nothing is in the queue")
		why, err := b.eng.Why(b.ctx, ref)
		require.NoError(t, err)
		require.Equal(t, "timer", why.WaitingOn[0].Kind)
		require.Equal(t, `Step "w" waits until 2026-05-03T08:00:00Z.`, why.Summary)
		b.clock.Advance(48 * time.Hour)
		res, err := b.eng.Sweep(b.ctx, 100)
		require.NoError(t, err)
		require.Equal(t, 1, res.Woken)
		b.work(b.eng, echo)
		require.Equal(t, models.RunCompleted, b.run(ref).Status)
	})
}

func TestForeachRunsThroughTheStore(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := b.start(b.workflow(`{"steps":[{"id":"f","type":"connector","connector":"core","action":"set","foreach":"payload.leads","max_parallel":3,"input":{"lead":"{{ item }}"}},
			{"id":"n","type":"connector","connector":"core","action":"set","input":{"count":"{{ len(steps.f.output) }}"}}],"edges":[{"from":"f","to":"n"}]}`), `{"leads":[1,2,3,4,5,6,7]}`)
		b.work(b.eng, echo)
		run := b.run(ref)
		require.Equal(t, models.RunCompleted, run.Status, run.Error)
		require.JSONEq(t, `{"n":{"count":7}}`, string(run.Output))
		require.JSONEq(t, `[{"lead":1},{"lead":2},{"lead":3},{"lead":4},{"lead":5},{"lead":6},{"lead":7}]`, string(b.trace(ref)["f"].Output))
		require.Equal(t, &engine.IterationsTrace{Total: 7, Completed: 7}, b.trace(ref)["f"].Iterations)
	})
}

func TestCancelAndPauseThroughTheStore(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		wf := b.workflow(diamond)
		ref := b.start(wf, `{"v":1}`)
		w, err := b.eng.Claim(b.ctx, engine.ClaimRequest{Task: b.queue.take()[0].Task, Worker: "w1"})
		require.NoError(t, err)
		run, err := b.eng.Pause(b.ctx, ref)
		require.NoError(t, err)
		require.Equal(t, models.RunPaused, run.Status)
		_, err = b.eng.Finish(b.ctx, engine.FinishRequest{Lease: w.Lease, Output: w.Input})
		require.NoError(t, err)
		require.Empty(t, b.queue.take())
		b.clock.Advance(time.Hour)
		res, err := b.eng.Sweep(b.ctx, 100)
		require.NoError(t, err)
		require.Zero(t, res.Redelivered, "a paused run is left alone")
		run, err = b.eng.Resume(b.ctx, ref)
		require.NoError(t, err)
		require.Equal(t, models.RunRunning, run.Status)
		b.work(b.eng, echo)
		require.Equal(t, models.RunCompleted, b.run(ref).Status)
		_, err = b.eng.Cancel(b.ctx, ref)
		require.ErrorIs(t, err, models.ErrConflict)

		ref = b.start(wf, `{"v":1}`)
		w, err = b.eng.Claim(b.ctx, engine.ClaimRequest{Task: b.queue.take()[0].Task, Worker: "w1"})
		require.NoError(t, err)
		for range 2 {
			run, err = b.eng.Cancel(b.ctx, ref)
			require.NoError(t, err)
			require.Equal(t, models.RunCancelled, run.Status)
		}
		lost, err := b.eng.Heartbeat(b.ctx, "w1", []engine.Lease{w.Lease})
		require.NoError(t, err)
		require.Len(t, lost, 1, "the worker is told by its next beat")
		gone := w.Lease
		gone.Ref.Run, gone.Token = "run_gone", "lease_gone"
		abandoned, err := b.eng.Abandoned(b.ctx, append(lost, gone))
		require.NoError(t, err)
		require.Equal(t, []engine.Lease{w.Lease, gone}, abandoned, "and that nobody goes on with it")
		require.Len(t, b.trace(ref), 4, "every step is in the trace of a run that has ended")
	})
}

func TestRerunFromAStepKeepsWhatCameBefore(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := b.start(b.workflow(diamond), `{"v":1}`)
		bDone := make(chan struct{}) // else the failure of c would halt the run before b has run
		b.work(b.eng, func(w *engine.Work) engine.FinishRequest {
			switch w.Step.ID {
			case "b":
				close(bDone)
			case "c":
				<-bDone
				return engine.FinishRequest{Error: &models.StepError{Code: "boom", Message: "no"}}
			}
			return echo(w)
		})
		require.Equal(t, models.RunFailed, b.run(ref).Status)
		again, err := b.eng.Rerun(b.ctx, ref, engine.RerunRequest{ID: models.RunID(ids.New("run")), FromStep: "c"})
		require.NoError(t, err)
		require.Equal(t, ref.Run, *again.RerunOf)
		var ran []string
		b.work(b.eng, func(w *engine.Work) engine.FinishRequest {
			ran = append(ran, w.Step.ID)
			return echo(w)
		})
		require.Equal(t, []string{"c", "d"}, ran)
		got := b.run(store.RunRef{Workspace: b.ws, Run: again.ID})
		require.Equal(t, models.RunCompleted, got.Status)
		require.JSONEq(t, `{"d":{"sum":5,"p":1}}`, string(got.Output))
		_, err = b.eng.Rerun(b.ctx, ref, engine.RerunRequest{ID: models.RunID(ids.New("run")), FromStep: "nope"})
		require.ErrorIs(t, err, models.ErrInvalid)
	})
}

func TestARepeatedStartIsTheSameRun(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		wf, id := b.workflow(diamond), models.RunID(ids.New("run"))
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				run, err := b.eng.Start(b.ctx, engine.StartRequest{Workspace: b.ws, Workflow: wf, ID: id, Payload: json.RawMessage(`{"v":1}`), Trigger: models.TriggerManual})
				if err != nil || run.ID != id {
					panic(err)
				}
			})
		}
		wg.Wait()
		require.Len(t, b.queue.take(), 1)
	})
}

func TestATraceTellsStepsOfOneMomentInTheirOrder(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := b.start(b.workflow(`{"steps":[{"id":"last","type":"wait","for":"1h"},{"id":"never","type":"connector","connector":"core","action":"set"},
			{"id":"a_wait","type":"wait","until":"2020-01-01T00:00:00Z"},{"id":"the_branch","type":"branch"},{"id":"skipped","type":"wait","for":"1h"}],
			"edges":[{"from":"the_branch","to":"a_wait","default":true},{"from":"the_branch","to":"skipped","when":"false"},
			{"from":"a_wait","to":"last"},{"from":"last","to":"never"}]}`), `{}`)
		_, err := b.eng.Cancel(b.ctx, ref)
		require.NoError(t, err)
		steps, err := b.eng.Trace(b.ctx, ref)
		require.NoError(t, err)
		var order []string
		for _, s := range steps {
			order = append(order, s.ID)
		}
		require.Equal(t, []string{"the_branch", "a_wait", "last", "skipped", "never"}, order)
	})
}

func TestForeachBoundsWhatItGathers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := b.start(b.workflow(`{"steps":[{"id":"f","type":"connector","connector":"core","action":"set","foreach":"1..17"}],"edges":[]}`), `{}`)
		large, err := json.Marshal(strings.Repeat("x", 1<<20))
		require.NoError(t, err)
		b.work(b.eng, func(*engine.Work) engine.FinishRequest { return engine.FinishRequest{Output: large} })
		run := b.run(ref)
		require.Equal(t, models.RunFailed, run.Status)
		require.Equal(t, &models.RunError{StepID: "f", Code: "foreach_limit", Message: "the outputs of all iterations together exceed 16 MiB"}, run.Error)
	})
}

func TestIterationsThatEndTogetherBeginTheNext(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := b.start(b.workflow(`{"steps":[{"id":"f","type":"connector","connector":"core","action":"set","foreach":"1..300","max_parallel":100,"input":{"v":"{{ item }}"}}],"edges":[]}`), `{}`)
		b.work(b.eng, echo)
		require.Equal(t, models.RunCompleted, b.run(ref).Status)
		require.Equal(t, &engine.IterationsTrace{Total: 300, Completed: 300}, b.trace(ref)["f"].Iterations)
	})
}

func TestAValueTooDeepToReadFailsTheStepThatReadsIt(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := b.start(b.workflow(`{"steps":[{"id":"f","type":"connector","connector":"core","action":"set","foreach":"[1]"},
			{"id":"w","type":"wait","for":"1m"},{"id":"n","type":"connector","connector":"core","action":"set","input":{"v":"{{ steps.f.output }}"}}],
			"edges":[{"from":"f","to":"w"},{"from":"w","to":"n"}]}`), `{}`)
		deep := json.RawMessage(strings.Repeat("[", 64) + strings.Repeat("]", 64)) // and one more, as the item of a list
		b.work(b.eng, func(*engine.Work) engine.FinishRequest { return engine.FinishRequest{Output: deep} })
		b.clock.Advance(time.Minute)
		_, err := b.eng.Sweep(b.ctx, 10)
		require.NoError(t, err)
		require.Equal(t, &models.RunError{
			StepID: "n", Code: "expression", Message: `input: the output of step "f": the value nests deeper than 64 levels`,
		}, b.run(ref).Error)
	})
}

func TestAResultThatCannotBePlannedHarmsNothingElse(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := b.start(b.workflow(`{"steps":[{"id":"f","type":"connector","connector":"core","action":"set","foreach":"[1]"}],"edges":[]}`), `{}`)
		w, err := b.eng.Claim(b.ctx, engine.ClaimRequest{Task: b.queue.take()[0].Task, Worker: "w1"})
		require.NoError(t, err)
		_, err = b.eng.Finish(b.ctx, engine.FinishRequest{Lease: w.Lease, Output: json.RawMessage(`{not JSON`)})
		require.ErrorContains(t, err, "cannot be planned")
		_, err = b.eng.Finish(b.ctx, engine.FinishRequest{Lease: w.Lease, Output: json.RawMessage(`1`)})
		require.NoError(t, err)
		require.Equal(t, models.RunCompleted, b.run(ref).Status)
	})
}

func TestAStartRepeatedInAnotherProcessIsTheSameRun(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		wf, other := b.workflow(diamond), b.engine()
		for range 20 {
			id := models.RunID(ids.New("run"))
			errs := make([]error, 4)
			var wg sync.WaitGroup
			for i := range errs {
				e := []*engine.Engine{b.eng, other}[i%2]
				wg.Go(func() {
					_, errs[i] = e.Start(b.ctx, engine.StartRequest{Workspace: b.ws, Workflow: wf, ID: id, Payload: json.RawMessage(`{"v":1}`), Trigger: models.TriggerManual})
				})
			}
			wg.Wait()
			require.NoError(t, errors.Join(errs...))
			require.Len(t, b.queue.take(), 1)
		}
	})
}

func TestAClosedEngineSaysSo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := b.start(b.workflow(diamond), `{"v":1}`)
		e, err := engine.New(engine.Deps{Store: b.store, Clock: b.clock, Enqueuer: b.queue, Notifier: silent{}, Catalogue: catalogue{}}, engine.Config{})
		require.NoError(t, err)
		require.NoError(t, e.Close(b.ctx))
		for range 20 { // it may be handed in all the same
			_, err = e.Cancel(b.ctx, ref)
			require.ErrorIs(t, err, models.ErrUnavailable)
		}
	})
}

func TestAStepThatCannotBeAttendedToKeepsNobodyFromIt(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		b.queue.lost = true
		wf := b.workflow(diamond)
		broken := b.start(wf, `{"v":1}`)
		// A run whose version is not there: nothing of it can be planned.
		require.NoError(t, b.store.WithRuns(b.ctx, nil, func(*store.RunTx) (*store.Changes, error) {
			run := *b.run(broken)
			run.ID, run.WorkflowVersion = models.RunID(ids.New("run")), 99
			now := b.clock.Now()
			return &store.Changes{NewRuns: []*models.Run{&run}, NewSteps: []*models.Step{{
				WorkspaceID: run.WorkspaceID, RunID: run.ID, StepID: "a", Iteration: models.NoIteration, Type: models.StepTypeConnector,
				Status: models.StepQueued, Attempt: 1, DueAt: &now, AttendAt: &now, QueuedAt: &now,
			}}}, nil
		}))
		b.clock.Advance(10 * time.Second)
		b.queue.lost = false
		res, err := b.eng.Sweep(b.ctx, 1) // the broken one is the most overdue
		require.NoError(t, err)
		require.Zero(t, res.Redelivered)
		res, err = b.eng.Sweep(b.ctx, 1)
		require.NoError(t, err)
		require.Equal(t, 1, res.Redelivered)
	})
}
