package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/tasks"
)

// office keeps the jobs of an engine until somebody does them.
type office struct {
	mu   sync.Mutex
	jobs []tasks.Job
}

func (o *office) EnqueueJobs(_ context.Context, jobs []tasks.Job) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.jobs = append(o.jobs, jobs...)
}

func (o *office) take() []tasks.Job {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.jobs
	o.jobs = nil
	return out
}

// withJobs makes an engine whose jobs wait in an office.
func (b *bundle) withJobs() (*engine.Engine, *office) {
	o := &office{}
	e, err := engine.New(engine.Deps{
		Store: b.store, Clock: b.clock, Enqueuer: b.queue, Jobs: o, Notifier: silent{}, Catalogue: catalogue{},
	}, engine.Config{})
	require.NoError(b.t, err)
	b.t.Cleanup(func() { require.NoError(b.t, e.Close(context.Background())) })
	return e, o
}

// do does jobs as a worker does, and tells whether there were any.
func (b *bundle) do(e *engine.Engine, jobs []tasks.Job) bool {
	for _, j := range jobs {
		if j.Type == tasks.TypeLookback {
			require.NoError(b.t, e.LookBackJob(b.ctx, j))
			continue
		}
		ev, err := b.store.For(models.WorkspaceID(j.Workspace)).Event(b.ctx, models.EventID(j.ID))
		require.NoError(b.t, err)
		_, err = e.MatchWaits(b.ctx, ev)
		require.NoError(b.t, err)
	}
	return len(jobs) > 0
}

// newEvent makes an event that has just come.
func (b *bundle) newEvent(typ, data string) *models.Event {
	now := b.clock.Now()
	id := models.EventID(ids.At(models.EventPrefix, now, 0))
	return &models.Event{
		WorkspaceID: b.ws, ID: id, ExternalID: string(id), Source: "crm", Type: typ, Data: json.RawMessage(data), OccurredAt: now, ReceivedAt: now,
	}
}

func (b *bundle) store1(ev *models.Event) {
	_, err := b.store.For(b.ws).AddEvents(b.ctx, []*models.Event{ev})
	require.NoError(b.t, err)
}

// publish keeps an event and brings it to waits.
func (b *bundle) publish(e *engine.Engine, typ, data string) int {
	ev := b.newEvent(typ, data)
	b.store1(ev)
	woken, err := e.MatchWaits(b.ctx, ev)
	require.NoError(b.t, err)
	return woken
}

const replied = `{"steps":[
	{"id":"a","type":"connector","connector":"core","action":"set"},
	{"id":"w","type":"wait","event":{"type":"lead.replied","match":"event.data.lead == payload.lead"}}],
	"edges":[{"from":"a","to":"w"}]}`

// take claims the first step of a run in the queue, and leaves the rest there.
func (b *bundle) take(e *engine.Engine, ref store.RunRef) *engine.Work {
	b.t.Helper()
	all := b.queue.take()
	for i, d := range all {
		if d.Task.Run == string(ref.Run) {
			b.queue.Enqueue(b.ctx, slices.Delete(slices.Clone(all), i, i+1))
			w, err := e.Claim(b.ctx, engine.ClaimRequest{Task: d.Task, Worker: "w1"})
			require.NoError(b.t, err)
			require.NotNil(b.t, w)
			return w
		}
	}
	require.Fail(b.t, "nothing is in the queue")
	return nil
}

func (b *bundle) wokenOnce(ref store.RunRef, by models.EventID) {
	b.t.Helper()
	require.Equal(b.t, models.RunCompleted, b.run(ref).Status)
	require.Contains(b.t, string(b.trace(ref)["w"].Output), string(by))
	log, err := b.store.For(b.ws).RunEvents(b.ctx, ref.Run, 0, 100)
	require.NoError(b.t, err)
	ends := 0
	for _, e := range log {
		if e.StepID == "w" && e.Type == models.EventStepCompleted {
			ends++
		}
	}
	require.Equal(b.t, 1, ends)
}

func TestAnEventAndAWaitThatOpensMeetOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		e, jobs := b.withJobs()
		other, _ := b.withJobs() // another process
		wf := b.workflow(replied)
		for _, order := range []string{"before", "after", "both look late", "at once"} {
			times := 1
			if order == "at once" {
				times = 40
			}
			for i := range times {
				payload := fmt.Sprintf(`{"lead":"%s%d"}`, order, i)
				ref := b.start(wf, payload)
				work := b.take(e, ref)
				ev := b.newEvent("lead.replied", payload)
				open := func() {
					if _, err := e.Finish(b.ctx, engine.FinishRequest{Lease: work.Lease, Output: json.RawMessage(`{}`)}); err != nil {
						panic(err)
					}
				}
				look := func() { b.do(e, jobs.take()) }
				match := func() {
					if _, err := other.MatchWaits(b.ctx, ev); err != nil {
						panic(err)
					}
				}
				switch order {
				case "before":
					b.store1(ev)
					match()
					open()
					look()
				case "after":
					open()
					look()
					b.store1(ev)
					match()
				case "both look late":
					open()
					b.store1(ev)
					match()
					look()
				default:
					barrier := make(chan struct{})
					var wg sync.WaitGroup
					wg.Go(func() { <-barrier; open(); look() })
					wg.Go(func() { <-barrier; b.store1(ev); match() })
					close(barrier)
					wg.Wait()
				}
				b.wokenOnce(ref, ev.ID)
				match() // to do it again changes nothing
				b.wokenOnce(ref, ev.ID)
			}
		}
		require.Empty(t, jobs.take())
	})
}

func TestAWaitWhoseJobIsLostLooksBackAllTheSame(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		e, jobs := b.withJobs()
		ref := b.start(b.workflow(replied), `{"lead":"l1"}`)
		ev := b.newEvent("lead.replied", `{"lead":"l1"}`)
		b.store1(ev)
		b.work(e, echo)
		require.Len(t, jobs.take(), 1, "lost")
		require.Equal(t, models.RunWaiting, b.run(ref).Status)

		_, err := e.Sweep(b.ctx, 100)
		require.NoError(t, err)
		require.Empty(t, jobs.take(), "it is not late yet")
		b.clock.Advance(6 * time.Second)
		_, err = e.Sweep(b.ctx, 100)
		require.NoError(t, err)
		again := jobs.take()
		require.Len(t, again, 1)
		require.Positive(t, again[0].Try, "the first task may hold its id")
		b.do(e, again)
		b.wokenOnce(ref, ev.ID)
	})
}

func TestTheFirstOfTheEventsBeforeEndsAWait(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		e, jobs := b.withJobs()
		wf := b.workflow(replied)
		early := b.newEvent("lead.replied", `{"lead":"l1","n":0}`)
		b.store1(early)
		b.clock.Advance(time.Second)
		ref := b.start(wf, `{"lead":"l1"}`)
		var first *models.Event
		for i := range 450 { // more than a page, and than what is looked at together
			b.clock.Advance(time.Millisecond)
			lead := "l2"
			if i >= 300 {
				lead = "l1"
			}
			ev := b.newEvent("lead.replied", fmt.Sprintf(`{"lead":%q,"n":%d}`, lead, i))
			b.store1(ev)
			if i == 300 {
				first = ev
			}
		}
		b.work(e, echo)
		// The next event is there before the wait has looked back: it is not the first.
		b.clock.Advance(time.Millisecond)
		require.Equal(t, 1, b.publish(e, "lead.replied", `{"lead":"l1","n":999}`))
		b.wokenOnce(ref, first.ID)
		b.do(e, jobs.take())
		b.wokenOnce(ref, first.ID)
	})
}

func TestOneEventWakesTheWaitsOfManyRuns(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		e, jobs := b.withJobs()
		keyed := b.workflow(`{"steps":[{"id":"w","type":"wait","event":{"type":"lead.*","match":"event.data.lead == payload.lead"}}]}`)
		open := b.workflow(`{"steps":[{"id":"w","type":"wait","event":{"type":"lead.replied","match":"event.data.n > payload.n"}}]}`)
		start := func(wf models.WorkflowID, n int, payload string) (refs []store.RunRef) {
			var mu sync.Mutex
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					id := models.RunID(ids.New(models.RunPrefix))
					_, err := e.Start(b.ctx, engine.StartRequest{Workspace: b.ws, Workflow: wf, ID: id, Payload: json.RawMessage(payload), Trigger: models.TriggerManual})
					if err != nil {
						panic(err)
					}
					mu.Lock()
					defer mu.Unlock()
					refs = append(refs, store.RunRef{Workspace: b.ws, Run: id})
				})
			}
			wg.Wait()
			return refs
		}
		mine, others := start(keyed, store.WaitsPage+10, `{"lead":7}`), start(keyed, 10, `{"lead":8}`)
		low, high := start(open, 10, `{"n":1}`), start(open, 10, `{"n":9}`)
		b.do(e, jobs.take())
		before := b.store.Statements()
		require.Zero(t, b.publish(e, "lead.replied", `{"lead":"7","n":0}`), "text is no number")
		require.Zero(t, b.publish(e, "lead.gone", `{"lead":6,"n":5}`))
		require.Less(t, b.store.Statements()-before, int64(100), "waits with another key are not asked")

		ev := b.newEvent("lead.replied", `{"lead":7.0,"n":5}`)
		b.store1(ev)
		var wg sync.WaitGroup
		total := make([]int, 2)
		for i := range total { // the same event in two hands
			wg.Go(func() {
				n, err := e.MatchWaits(b.ctx, ev)
				if err != nil {
					panic(err)
				}
				total[i] = n
			})
		}
		wg.Wait()
		require.Equal(t, len(mine)+len(low), total[0]+total[1])
		for _, ref := range append(mine, low...) {
			b.wokenOnce(ref, ev.ID)
		}
		for _, ref := range append(others, high...) {
			require.Equal(t, models.RunWaiting, b.run(ref).Status)
		}
	})
}

func TestAnEventWithVeryManyFieldsFindsItsWaits(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		e, jobs := b.withJobs()
		ref := b.start(b.workflow(replied), `{"lead":"l1"}`)
		other := b.start(b.workflow(replied), `{"lead":"l2"}`)
		b.work(e, echo)
		b.do(e, jobs.take())
		fields := []string{`"lead":"l1"`}
		for i := range 1000 {
			fields = append(fields, fmt.Sprintf(`"f%d":%d`, i, i))
		}
		require.Equal(t, 1, b.publish(e, "lead.replied", "{"+strings.Join(fields, ",")+"}"))
		require.Equal(t, models.RunCompleted, b.run(ref).Status)
		require.Equal(t, models.RunWaiting, b.run(other).Status)
	})
}

func TestTheKeyOfAWaitDependsOnNothingThatChanges(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		e, jobs := b.withJobs()
		// slow is still at work when the wait opens.
		ref := b.start(b.workflow(`{"steps":[
			{"id":"slow","type":"connector","connector":"core","action":"set"},
			{"id":"w","type":"wait","event":{"type":"x","match":"event.data.s == steps.slow.status && event.data.v == steps.slow.output?.v"}}]}`), `{}`)
		b.do(e, jobs.take())
		require.Zero(t, b.publish(e, "x", `{"s":"running","v":1}`))
		b.work(e, func(*engine.Work) engine.FinishRequest {
			return engine.FinishRequest{Output: json.RawMessage(`{"v":1}`)}
		})
		require.Zero(t, b.publish(e, "x", `{"s":"completed","v":2}`))
		require.Equal(t, 1, b.publish(e, "x", `{"s":"completed","v":1}`))
		require.Equal(t, models.RunCompleted, b.run(ref).Status)
	})
}

func TestARunHearsOfOthersButNotOfItself(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		e, jobs := b.withJobs()
		watch := b.workflow(`{"steps":[
			{"id":"w","type":"wait","event":{"type":"flow.run.*","match":"event.type != \"flow.run.waiting\" || event.data.run_id == run.id"}}]}`)
		watcher, err := e.Start(b.ctx, engine.StartRequest{
			Workspace: b.ws, Workflow: watch, ID: models.RunID(ids.New(models.RunPrefix)), Trigger: models.TriggerManual, Depth: 3,
		})
		require.NoError(t, err)
		for b.do(e, jobs.take()) { // until nothing is left
		}
		ref := store.RunRef{Workspace: b.ws, Run: watcher.ID}
		require.Equal(t, models.RunWaiting, b.run(ref).Status, "its own events are not for it")

		other, err := e.Start(b.ctx, engine.StartRequest{
			Workspace: b.ws, Workflow: b.workflow(`{"steps":[{"id":"s","type":"connector","connector":"core","action":"set"}]}`),
			ID: models.RunID(ids.New(models.RunPrefix)), Trigger: models.TriggerManual, Depth: 4,
		})
		require.NoError(t, err)
		b.work(e, echo)
		for b.do(e, jobs.take()) { // until nothing is left
		}
		require.Equal(t, models.RunCompleted, b.run(ref).Status)
		var out struct {
			Type string
			Data struct {
				RunID models.RunID `json:"run_id"`
			}
		}
		require.NoError(t, json.Unmarshal(b.trace(ref)["w"].Output, &out))
		require.Equal(t, models.FlowRunStarted, out.Type)
		require.Equal(t, other.ID, out.Data.RunID)

		events, err := b.store.For(b.ws).Events(b.ctx, store.EventFilter{Source: models.SourceFlows}, store.Page{Limit: 50})
		require.NoError(t, err)
		require.Len(t, events, 5)
		for _, ev := range events {
			want := 4
			if *ev.RunID == other.ID {
				want = 5
			}
			require.Equal(t, want, ev.Depth)
		}
		again, err := e.Rerun(b.ctx, store.RunRef{Workspace: b.ws, Run: other.ID}, engine.RerunRequest{ID: models.RunID(ids.New(models.RunPrefix))})
		require.NoError(t, err)
		require.Equal(t, 4, b.run(store.RunRef{Workspace: b.ws, Run: again.ID}).Depth)
	})
}

// An event about a run is written by a transaction that began before the wait for it
// was there, and ends after the wait has looked back: neither sees the other, and
// nobody matches the event.
func TestAWaitFindsAnEventAboutARunThatNobodyKnewToListenFor(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		e, jobs := b.withJobs()
		wf := b.workflow(`{"steps":[{"id":"w","type":"wait","event":{"type":"flow.run.completed"}}]}`)
		ev := b.newEvent(models.FlowRunCompleted, `{"status":"completed"}`)
		ev.Source = models.SourceFlows
		started := make(chan store.RunRef, 1)
		if b.store.Embedded() { // who writes is alone: the other order cannot be
			started <- b.start(wf, `{}`)
			b.store1(ev)
		} else {
			require.NoError(t, b.store.WithRuns(b.ctx, nil, func(*store.RunTx) (*store.Changes, error) {
				ref := b.startWith(e, wf)
				b.do(e, jobs.take())
				started <- ref
				quiet := *ev
				return &store.Changes{BusEvents: []*models.Event{&quiet}}, nil
			}))
		}
		ref := <-started
		if b.store.Embedded() {
			b.clock.Advance(6 * time.Second)
			_, err := b.eng.Sweep(b.ctx, 100)
			require.NoError(t, err)
			b.wokenOnce(ref, ev.ID)
			return
		}
		require.Equal(t, models.RunWaiting, b.run(ref).Status)
		b.clock.Advance(2*time.Minute + time.Second)
		_, err := e.Sweep(b.ctx, 100)
		require.NoError(t, err)
		b.do(e, jobs.take())
		b.wokenOnce(ref, ev.ID)

		b.clock.Advance(time.Hour)
		_, err = e.Sweep(b.ctx, 100)
		require.NoError(t, err)
		require.Empty(t, jobs.take(), "it looks back no more")
	})
}

func (b *bundle) startWith(e *engine.Engine, wf models.WorkflowID) store.RunRef {
	id := models.RunID(ids.New(models.RunPrefix))
	_, err := e.Start(b.ctx, engine.StartRequest{Workspace: b.ws, Workflow: wf, ID: id, Trigger: models.TriggerManual})
	require.NoError(b.t, err)
	return store.RunRef{Workspace: b.ws, Run: id}
}

func TestAPausedRunKeepsTheEventItWaitedFor(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		e, jobs := b.withJobs()
		ref := b.start(b.workflow(`{"steps":[
			{"id":"w","type":"wait","event":{"type":"x"}},
			{"id":"s","type":"connector","connector":"core","action":"set"}],"edges":[{"from":"w","to":"s"}]}`), `{}`)
		b.do(e, jobs.take())
		_, err := e.Pause(b.ctx, ref)
		require.NoError(t, err)
		require.Equal(t, 1, b.publish(e, "x", `{}`))
		require.Empty(t, b.queue.take())
		_, err = e.Resume(b.ctx, ref)
		require.NoError(t, err)
		b.work(e, echo)
		require.Equal(t, models.RunCompleted, b.run(ref).Status)
	})
}
