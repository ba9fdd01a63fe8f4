package engine_test

import (
	"encoding/json"
	"errors"
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
)

const oneStep = `{"steps":[{"id":"a","type":"connector","connector":"core","action":"set","input":{"v":"{{ payload }}"}}],"edges":[]}`

// controlled makes a workflow with settings.
func (b *bundle) controlled(graph, settings string) models.WorkflowID {
	b.t.Helper()
	wf := models.WorkflowID(ids.New(models.WorkflowPrefix))
	v := b.version(wf, graph, settings)
	require.NoError(b.t, b.store.For(b.ws).CreateWorkflow(b.ctx, &models.Workflow{
		WorkspaceID: b.ws, ID: wf, Name: "wf", Status: models.WorkflowActive,
		Version: 1, LastVersion: 1, Tags: []string{}, Revision: 1, CreatedAt: b.clock.Now(), UpdatedAt: b.clock.Now(),
	}, v))
	return wf
}

func (b *bundle) version(wf models.WorkflowID, graph, settings string) *models.Version {
	b.t.Helper()
	var g models.Graph
	require.NoError(b.t, json.Unmarshal([]byte(graph), &g))
	errs, _, err := b.eng.Check(b.ctx, b.ws, engine.Draft{Graph: &g, Settings: json.RawMessage(settings)})
	require.NoError(b.t, err)
	require.Empty(b.t, errs)
	v := &models.Version{WorkspaceID: b.ws, WorkflowID: wf, Number: 1, Graph: &g, Settings: json.RawMessage(settings), CreatedAt: b.clock.Now()}
	v.Hash, err = v.ContentHash()
	require.NoError(b.t, err)
	return v
}

func (b *bundle) tryStart(e *engine.Engine, wf models.WorkflowID, payload string) (*models.Run, error) {
	return e.Start(b.ctx, engine.StartRequest{
		Workspace: b.ws, Workflow: wf, ID: models.RunID(ids.New(models.RunPrefix)), Payload: json.RawMessage(payload), Trigger: models.TriggerManual,
	})
}

func (b *bundle) ref(run *models.Run) store.RunRef {
	return store.RunRef{Workspace: b.ws, Run: run.ID}
}

func (b *bundle) log(id models.RunID) []*models.RunEvent {
	b.t.Helper()
	log, err := b.store.For(b.ws).RunEvents(b.ctx, id, 0, 200)
	require.NoError(b.t, err)
	return log
}

// settled waits until what follows commits has happened: no run asks for attention
// before the clock moves.
func (b *bundle) settled() {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		due, err := b.store.DueRuns(b.ctx, b.clock.Now().Add(30*time.Second), 1)
		require.NoError(b.t, err)
		return len(due) == 0
	}, 30*time.Second, 2*time.Millisecond)
}

func limited(err error) *models.ConflictError {
	c, ok := errors.AsType[*models.ConflictError](err)
	if !ok || c.Code != models.CodeConcurrencyLimit {
		return nil
	}
	return c
}

const (
	leads    = 8
	atOnce   = 64
	perLead  = `{"concurrency":{"key":"payload.lead_id","limit":1,"policy":%q}}`
	ofALead  = `{"lead_id":"lead_%d","n":%d}`
	waitFlow = `{"steps":[{"id":"w","type":"wait","approval":{}}],"edges":[]}`
)

// startMany starts runs for leads at once, through two engines as two processes do.
func (b *bundle) startMany(wf models.WorkflowID, other *engine.Engine) (runs []*models.Run, errs []error) {
	b.t.Helper()
	engines := []*engine.Engine{b.eng, other}
	runs, errs = make([]*models.Run, atOnce), make([]error, atOnce)
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range runs {
		wg.Go(func() {
			<-begin
			runs[i], errs[i] = b.tryStart(engines[i%2], wf, fmt.Sprintf(ofALead, i%leads, i))
		})
	}
	close(begin)
	wg.Wait()
	return runs, errs
}

func TestNeverMoreRunsOfAKeyAreActiveThanItsLimit(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		wf := b.controlled(oneStep, fmt.Sprintf(perLead, "queue"))
		other := b.engine()
		var runs []*models.Run
		var errs []error
		started := make(chan struct{})
		go func() {
			defer close(started)
			runs, errs = b.startMany(wf, other)
		}()
		// Workers are at it meanwhile, and move the clock, so that the log tells the order.
		var mu sync.Mutex
		active, most := map[string]int{}, 0
		work := func(e *engine.Engine, d engine.Delivery) {
			w, err := e.Claim(b.ctx, engine.ClaimRequest{Task: d.Task, Worker: "w"})
			if err != nil || w == nil {
				return
			}
			var in struct {
				V struct {
					Lead string `json:"lead_id"`
				} `json:"v"`
			}
			if err := json.Unmarshal(w.Input, &in); err != nil {
				t.Error(err)
			}
			mu.Lock()
			active[in.V.Lead]++
			most = max(most, active[in.V.Lead])
			mu.Unlock()
			b.clock.Advance(time.Millisecond)
			mu.Lock()
			active[in.V.Lead]--
			mu.Unlock()
			if _, err = e.Finish(b.ctx, engine.FinishRequest{Lease: w.Lease, Output: w.Input}); err != nil {
				t.Error(err)
			}
		}
		require.Eventually(t, func() bool {
			var wg sync.WaitGroup
			for i, d := range b.queue.take() {
				if !d.Wake {
					wg.Go(func() { work([]*engine.Engine{b.eng, other}[i%2], d) })
				}
			}
			wg.Wait()
			done, err := b.store.For(b.ws).Runs(b.ctx, store.RunFilter{Statuses: []models.RunStatus{models.RunCompleted}}, store.Page{Limit: 2 * atOnce})
			return err == nil && len(done) == atOnce
		}, 3*time.Minute, 2*time.Millisecond, "none is lost")
		<-started
		for i, err := range errs {
			require.NoError(t, err, i)
		}
		require.Equal(t, 1, most, "never two at once")

		// The stored log says the same: by lead, no two runs overlap.
		type span struct{ from, to time.Time }
		byLead := map[int][]span{}
		for i, r := range runs {
			var s span
			for _, e := range b.log(r.ID) {
				switch {
				case e.Type == models.EventStepQueued:
					s.from = e.At
				case e.Type.Terminal():
					s.to = e.At
				}
			}
			require.False(t, s.from.IsZero() || s.to.IsZero())
			byLead[i%leads] = append(byLead[i%leads], s)
		}
		for lead, spans := range byLead {
			require.Len(t, spans, atOnce/leads)
			slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
			for i := 1; i < len(spans); i++ {
				require.False(t, spans[i].from.Before(spans[i-1].to), "lead %d: %v", lead, spans)
			}
		}
		b.settled()
	})
}

func TestASkippedStartIsRefusedAndLeavesOneRun(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		wf := b.controlled(waitFlow, fmt.Sprintf(perLead, "skip"))
		runs, errs := b.startMany(wf, b.engine())
		started := map[int]models.RunID{}
		for i, r := range runs {
			if errs[i] == nil {
				require.NotContains(t, started, i%leads)
				started[i%leads] = r.ID
			}
		}
		require.Len(t, started, leads)
		for i, err := range errs {
			if err == nil {
				continue
			}
			c := limited(err)
			require.NotNil(t, c, err)
			require.Equal(t, started[i%leads], c.Run, "it names the run that is in the way")
		}
		rows, err := b.store.For(b.ws).Runs(b.ctx, store.RunFilter{WorkflowID: &wf}, store.Page{Limit: 200})
		require.NoError(t, err)
		require.Len(t, rows, leads, "a skipped start leaves nothing")

		_, err = b.eng.Decide(b.ctx, store.RunRef{Workspace: b.ws, Run: started[0]}, "w", engine.Decision{Approved: true})
		require.NoError(t, err)
		_, err = b.tryStart(b.eng, wf, fmt.Sprintf(ofALead, 0, 0))
		require.NoError(t, err, "there is room again")
	})
}

func TestTheLatestStartTakesTheOthersPlace(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		wf := b.controlled(waitFlow, fmt.Sprintf(perLead, "cancel_running"))
		runs, errs := b.startMany(wf, b.engine())
		for i, err := range errs {
			require.NoError(t, err, i)
		}
		b.settled()
		left := map[int][]*models.Run{}
		last := map[int]int64{}
		for i, r := range runs {
			now := b.run(b.ref(r))
			last[i%leads] = max(last[i%leads], now.SlotSeq)
			if now.Status == models.RunCancelled {
				log := b.log(r.ID)
				require.Contains(t, string(log[len(log)-1].Data), "took its place")
				why, err := b.eng.Why(b.ctx, b.ref(r))
				require.NoError(t, err)
				require.Regexp(t, `^The run is cancelled: run run_\w+ took its place\.$`, why.Summary)
				continue
			}
			require.Equal(t, models.RunWaiting, now.Status)
			left[i%leads] = append(left[i%leads], now)
		}
		for lead := range leads {
			require.Len(t, left[lead], 1, "exactly one is left of lead %d", lead)
			require.Equal(t, last[lead], left[lead][0].SlotSeq, "the one that came last")
		}
		latest, err := b.tryStart(b.eng, wf, fmt.Sprintf(ofALead, 0, 99))
		require.NoError(t, err)
		b.settled()
		require.Equal(t, models.RunWaiting, b.run(b.ref(latest)).Status)
		require.Equal(t, models.RunCancelled, b.run(b.ref(left[0][0])).Status)
	})
}

// TestASlotThatWasNotHandedOnIsFoundByTheSweep ends a run in a process that dies
// right after its commit.
func TestASlotThatWasNotHandedOnIsFoundByTheSweep(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"queue", "cancel_running"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, b *bundle) {
				wf := b.controlled(waitFlow, fmt.Sprintf(perLead, policy))
				first, err := b.tryStart(b.eng, wf, fmt.Sprintf(ofALead, 0, 1))
				require.NoError(t, err)
				dying := b.engine()
				dying.ForgetLines()
				second, err := b.tryStart(dying, wf, fmt.Sprintf(ofALead, 0, 2))
				require.NoError(t, err)
				if policy == "queue" {
					_, err = dying.Decide(b.ctx, b.ref(first), "w", engine.Decision{Approved: true})
					require.NoError(t, err)
				}
				held := b.run(b.ref(second))
				require.Equal(t, models.RunQueued, held.Status)
				require.Equal(t, models.HoldConcurrency, held.Hold)

				_, err = b.eng.Sweep(b.ctx, 100)
				require.NoError(t, err)
				require.Equal(t, models.HoldConcurrency, b.run(b.ref(second)).Hold, "it is given time first")
				b.clock.Advance(10 * time.Second)
				_, err = b.eng.Sweep(b.ctx, 100)
				require.NoError(t, err)
				b.settled()
				require.Equal(t, models.RunWaiting, b.run(b.ref(second)).Status)
				require.True(t, b.run(b.ref(first)).Status.Ended())
			})
		})
	}
}

func TestARunInLineSaysSoAndLeavesItCleanly(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		wf := b.controlled(waitFlow, `{"concurrency":{"limit":1}}`)
		var runs []*models.Run
		for range 4 {
			r, err := b.tryStart(b.eng, wf, `{}`)
			require.NoError(t, err)
			runs = append(runs, r)
		}
		require.Equal(t, models.RunWaiting, runs[0].Status)
		why, err := b.eng.Why(b.ctx, b.ref(runs[2]))
		require.NoError(t, err)
		require.Equal(t, models.RunQueued, why.Status)
		require.Len(t, why.WaitingOn, 1)
		on := why.WaitingOn[0]
		require.Equal(t, "concurrency", on.Kind)
		require.Equal(t, 1, *on.Ahead)
		require.Equal(t, []models.RunID{runs[0].ID}, on.Holders)
		require.Contains(t, why.Summary, "one run is ahead of it")

		_, err = b.eng.Cancel(b.ctx, b.ref(runs[1]))
		require.NoError(t, err)
		_, err = b.eng.Pause(b.ctx, b.ref(runs[2]))
		require.NoError(t, err)
		require.Nil(t, b.run(b.ref(runs[1])).StartedAt, "it never began")
		_, err = b.eng.Decide(b.ctx, b.ref(runs[0]), "w", engine.Decision{Approved: true})
		require.NoError(t, err)
		b.settled()
		require.Equal(t, models.RunPaused, b.run(b.ref(runs[2])).Status, "who is paused is passed")
		require.Equal(t, models.RunWaiting, b.run(b.ref(runs[3])).Status)

		_, err = b.eng.Resume(b.ctx, b.ref(runs[2]))
		require.NoError(t, err)
		b.settled()
		require.Equal(t, models.RunQueued, b.run(b.ref(runs[2])).Status)
		_, err = b.eng.Pause(b.ctx, b.ref(runs[3]))
		require.NoError(t, err)
		b.settled()
		require.Equal(t, models.HoldConcurrency, b.run(b.ref(runs[2])).Hold, "a paused run keeps its slot")
		_, err = b.eng.Cancel(b.ctx, b.ref(runs[3]))
		require.NoError(t, err)
		b.settled()
		require.Equal(t, models.RunWaiting, b.run(b.ref(runs[2])).Status)
	})
}

func TestARerunWaitsForItsTurnAndKeepsWhatItKeeps(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		wf := b.controlled(`{"steps":[
			{"id":"a","type":"connector","connector":"core","action":"set"},
			{"id":"w","type":"wait","approval":{}}],"edges":[{"from":"a","to":"w"}]}`, `{"concurrency":{"limit":1}}`)
		first, err := b.tryStart(b.eng, wf, `{}`)
		require.NoError(t, err)
		b.work(b.eng, echo)
		_, err = b.eng.Decide(b.ctx, b.ref(first), "w", engine.Decision{Approved: true})
		require.NoError(t, err)
		b.settled()
		second, err := b.tryStart(b.eng, wf, `{}`)
		require.NoError(t, err)
		again, err := b.eng.Rerun(b.ctx, b.ref(first), engine.RerunRequest{ID: models.RunID(ids.New(models.RunPrefix)), FromStep: "w"})
		require.NoError(t, err)
		require.Equal(t, models.HoldConcurrency, again.Hold)
		_, err = b.eng.Cancel(b.ctx, b.ref(second))
		require.NoError(t, err)
		b.settled()
		require.Equal(t, models.RunWaiting, b.run(b.ref(again)).Status)
		require.Equal(t, models.StepCompleted, b.trace(b.ref(again))["a"].Status)
	})
}

func TestStartsThatFollowEachOtherBecomeOneRun(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		wf := b.controlled(oneStep, `{"debounce":{"key":"payload.lead_id","period":"10s","max":"25s"}}`)
		first, err := b.tryStart(b.eng, wf, `{"lead_id":"l","n":1}`)
		require.NoError(t, err)
		require.Equal(t, models.RunQueued, first.Status)
		for n := 2; n <= 4; n++ {
			b.clock.Advance(8 * time.Second)
			_, err = b.eng.Sweep(b.ctx, 100)
			require.NoError(t, err)
			_, err = b.tryStart(b.eng, wf, fmt.Sprintf(`{"lead_id":"l","n":%d}`, n))
			c := limited(err)
			require.NotNil(t, c, err)
			require.Equal(t, first.ID, c.Run)
		}
		why, err := b.eng.Why(b.ctx, b.ref(first))
		require.NoError(t, err)
		require.Equal(t, "debounce", why.WaitingOn[0].Kind)
		require.Equal(t, first.CreatedAt.Add(25*time.Second), why.WaitingOn[0].Until.UTC(), "max counts from the first start")
		_, err = b.eng.Sweep(b.ctx, 100)
		require.NoError(t, err)
		require.Empty(t, slices.DeleteFunc(b.queue.take(), func(d engine.Delivery) bool { return d.Wake }), "nothing has begun")

		b.clock.Advance(time.Second)
		_, err = b.engine().Sweep(b.ctx, 100) // another process: what was pending is in the database
		require.NoError(t, err)
		b.work(b.eng, echo)
		run := b.run(b.ref(first))
		require.Equal(t, models.RunCompleted, run.Status)
		require.JSONEq(t, `{"a":{"v":{"lead_id":"l","n":4}}}`, string(run.Output), "it begins with what came last")

		next, err := b.tryStart(b.eng, wf, `{"lead_id":"l","n":5}`)
		require.NoError(t, err)
		require.NotEqual(t, first.ID, next.ID, "the next start opens another window")
	})
}

func TestOfManyStartsAtOnceOneRunGathersAll(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		wf := b.controlled(oneStep, `{"debounce":{"key":"payload.lead_id","period":"10s"}}`)
		runs, errs := b.startMany(wf, b.engine())
		for lead := range leads {
			var made []models.RunID
			var into []models.RunID
			for i := lead; i < atOnce; i += leads {
				if errs[i] == nil {
					made = append(made, runs[i].ID)
					continue
				}
				c := limited(errs[i])
				require.NotNil(t, c, errs[i])
				into = append(into, c.Run)
			}
			require.Len(t, made, 1)
			require.Len(t, into, atOnce/leads-1)
			require.Equal(t, made, slices.Compact(into))
		}
		b.clock.Advance(11 * time.Second)
		_, err := b.eng.Sweep(b.ctx, 100)
		require.NoError(t, err)
		b.work(b.eng, echo)
		rows, err := b.store.For(b.ws).Runs(b.ctx, store.RunFilter{WorkflowID: &wf}, store.Page{Limit: 200})
		require.NoError(t, err)
		require.Len(t, rows, leads)
		for _, r := range rows {
			require.Equal(t, models.RunCompleted, r.Status)
		}
	})
}

func TestGatheredStartsObeyTheLimitWhenTheyBegin(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]models.RunStatus{"queue": models.RunQueued, "skip": models.RunCancelled} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, b *bundle) {
				wf := b.controlled(waitFlow, fmt.Sprintf(`{"debounce":{"period":"10s"},"concurrency":{"limit":1,"policy":%q}}`, policy))
				var runs []*models.Run
				for range 2 {
					r, err := b.tryStart(b.eng, wf, `{}`)
					require.NoError(t, err)
					runs = append(runs, r)
					b.clock.Advance(10 * time.Second)
					_, err = b.eng.Sweep(b.ctx, 100)
					require.NoError(t, err)
				}
				b.settled()
				require.Equal(t, models.RunWaiting, b.run(b.ref(runs[0])).Status)
				second := b.run(b.ref(runs[1]))
				require.Equal(t, want, second.Status)
				if policy == "skip" {
					require.Equal(t, models.CodeConcurrencyLimit, second.Error.Code)
				}
			})
		})
	}
}

func TestARunThatTakesTooLongIsEnded(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		wf := b.controlled(`{"steps":[
			{"id":"a","type":"connector","connector":"core","action":"set"},
			{"id":"w","type":"wait","approval":{}}],"edges":[]}`, `{"timeout":"30s"}`)
		ref := b.start(wf, `{}`)
		work, err := b.eng.Claim(b.ctx, engine.ClaimRequest{Task: b.queue.take()[1].Task, Worker: "w1"})
		require.NoError(t, err)
		require.NotNil(t, work)
		b.clock.Advance(10 * time.Second)
		_, err = b.eng.Pause(b.ctx, ref)
		require.NoError(t, err)
		b.clock.Advance(time.Hour)
		_, err = b.eng.Heartbeat(b.ctx, "w1", []engine.Lease{work.Lease})
		require.NoError(t, err)
		_, err = b.eng.Sweep(b.ctx, 100)
		require.NoError(t, err)
		require.Equal(t, models.RunPaused, b.run(ref).Status)
		_, err = b.eng.Resume(b.ctx, ref)
		require.NoError(t, err)
		b.clock.Advance(19 * time.Second)
		_, err = b.eng.Sweep(b.ctx, 100)
		require.NoError(t, err)
		require.False(t, b.run(ref).Status.Ended(), "a pause does not count")
		b.clock.Advance(time.Second)
		_, err = b.eng.Sweep(b.ctx, 100)
		require.NoError(t, err)
		run := b.run(ref)
		require.Equal(t, models.RunFailed, run.Status)
		require.Equal(t, "run_timeout", run.Error.Code)
		for id, s := range b.trace(ref) {
			require.Equal(t, models.StepCancelled, s.Status, id)
		}
		lost, err := b.eng.Heartbeat(b.ctx, "w1", []engine.Lease{work.Lease})
		require.NoError(t, err)
		require.Len(t, lost, 1, "who is at a step hears of it")
	})
}

func TestNewSettingsAreForNewStarts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		wf := b.controlled(waitFlow, `{"concurrency":{"limit":1}}`)
		var runs []*models.Run
		for range 2 {
			r, err := b.tryStart(b.eng, wf, `{}`)
			require.NoError(t, err)
			runs = append(runs, r)
		}
		_, _, err := b.store.For(b.ws).AddVersion(b.ctx, wf, nil, b.version(wf, waitFlow, `{"concurrency":{"limit":1,"policy":"skip"}}`), b.clock.Now())
		require.NoError(t, err)
		_, err = b.tryStart(b.eng, wf, `{}`)
		require.NotNil(t, limited(err), "runs of all versions count")
		require.Equal(t, models.HoldConcurrency, b.run(b.ref(runs[1])).Hold)
	})
}

func TestARepeatedControlledStartIsTheSameRun(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		for _, settings := range []string{`{"concurrency":{"limit":1,"policy":"skip"}}`, `{"debounce":{"period":"1m"}}`} {
			wf := b.controlled(waitFlow, settings)
			req := engine.StartRequest{Workspace: b.ws, Workflow: wf, ID: models.RunID(ids.New(models.RunPrefix)), Trigger: models.TriggerManual}
			first, err := b.eng.Start(b.ctx, req)
			require.NoError(t, err)
			again, err := b.eng.Start(b.ctx, req)
			require.NoError(t, err)
			require.Equal(t, first.ID, again.ID)
			require.Equal(t, first.LastSeq, again.LastSeq, "nothing happened")
		}
	})
}

func TestSettingsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		var g models.Graph
		require.NoError(t, json.Unmarshal([]byte(oneStep), &g))
		for settings, want := range map[string]string{
			`[]`:                                                 "[settings]: settings is an object",
			`{"colour":"red"}`:                                   `[settings colour]: there is no "colour" in settings`,
			`{"timeout":5}`:                                      "[settings timeout]: a duration is text",
			`{"timeout":"soon"}`:                                 "[settings timeout]: ",
			`{"timeout":"0s"}`:                                   "[settings timeout]: ",
			`{"priority":"urgent"}`:                              `[settings priority]: priority is one of low, normal, high`,
			`{"concurrency":{}}`:                                 "[settings concurrency]: concurrency is empty",
			`{"concurrency":{"key":"payload.a"}}`:                "[settings concurrency limit]: concurrency needs a limit",
			`{"concurrency":{"limit":0}}`:                        "[settings concurrency limit]: the limit is a whole number from 1 to 1000",
			`{"concurrency":{"limit":1.5}}`:                      "[settings concurrency limit]: the limit is a whole number",
			`{"concurrency":{"limit":1,"key":1}}`:                "[settings concurrency key]: a key is text",
			`{"concurrency":{"limit":1,"policy":"drop"}}`:        "[settings concurrency policy]: policy is one of",
			`{"concurrency":{"limit":1,"key":"payload."}}`:       "[settings concurrency key]: ",
			`{"concurrency":{"limit":1,"key":"steps.a.output"}}`: "[settings concurrency key]: ",
			`{"concurrency":{"limit":1,"key":"run.id"}}`:         "[settings concurrency key]: a key is made before the run is",
			`{"debounce":{"key":"payload.a"}}`:                   "[settings debounce period]: debounce needs a period",
			`{"debounce":{"period":"10s","max":"5s"}}`:           "[settings debounce max]: max is at least as long as period",
		} {
			errs, _, err := b.eng.Check(b.ctx, b.ws, engine.Draft{Graph: &g, Settings: json.RawMessage(settings)})
			require.NoError(t, err)
			require.Len(t, errs, 1, "%s: %v", settings, errs)
			said := fmt.Sprintf("%v: %s", errs[0].Loc, errs[0].Msg)
			require.True(t, strings.HasPrefix(said, want), "%s: %s", settings, said)
		}
		for _, settings := range []string{``, `null`, `{}`, `{"concurrency":null,"timeout":"7d"}`} {
			errs, _, err := b.eng.Check(b.ctx, b.ws, engine.Draft{Graph: &g, Settings: json.RawMessage(settings)})
			require.NoError(t, err)
			require.Empty(t, errs, settings)
		}
		wf := b.controlled(oneStep, `{"concurrency":{"key":"payload.lead.id","limit":1}}`)
		_, err := b.tryStart(b.eng, wf, `{}`)
		require.ErrorIs(t, err, models.ErrInvalid)
	})
}

// TestAWorkflowWithoutSettingsAsksNothingMore holds the price of all this to what it
// was: a start, and a step claimed and finished.
func TestAWorkflowWithoutSettingsAsksNothingMore(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		counted := func(wf models.WorkflowID) int64 {
			b.start(wf, `{}`) // compiles the version
			b.work(b.eng, echo)
			before := b.store.Statements()
			b.start(wf, `{}`)
			b.work(b.eng, echo)
			return b.store.Statements() - before
		}
		plain := counted(b.workflow(oneStep))
		require.Equal(t, plain, counted(b.controlled(oneStep, `{"priority":"high","timeout":"1h"}`)))
		require.Less(t, plain, counted(b.controlled(oneStep, `{"concurrency":{"limit":1}}`)))
	})
}
