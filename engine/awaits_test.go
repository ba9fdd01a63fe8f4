package engine_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// caller is a flow whose step call starts another one and waits for it.
const caller = `{"steps":[
	{"id":"call","type":"connector","connector":"core","action":"set"%s},
	{"id":"after","type":"connector","connector":"core","action":"set","input":{"got":"{{ steps.call.output }}"}},
	{"id":"failed","type":"connector","connector":"core","action":"set","input":{"why":"{{ steps.call.error.code }}"}}],
	"edges":[{"from":"call","to":"after"},{"from":"call","to":"failed","on":"error"}]}`

// callee is a flow of one step.
const callee = `{"steps":[{"id":"work","type":"connector","connector":"core","action":"set"}]}`

// calls starts a caller and has its step wait for a run of another flow.
func (b *bundle) calls(e *engine.Engine, more string) (parent, child store.RunRef) {
	b.t.Helper()
	parent = b.start(b.workflow(fmt.Sprintf(caller, more)), `{}`)
	work := b.take(e, parent)
	child = b.start(b.workflow(callee), `{}`)
	next, err := e.Finish(b.ctx, engine.FinishRequest{
		Lease: work.Lease, Output: json.RawMessage(fmt.Sprintf(`{"run_id":%q}`, child.Run)), AwaitRun: child.Run,
	})
	require.NoError(b.t, err)
	require.Nil(b.t, next)
	return parent, child
}

func TestAStepWaitsForTheEndOfARun(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		for name, tc := range map[string]struct {
			end  engine.FinishRequest
			want models.StepStatus
			says string
		}{
			"completed": {engine.FinishRequest{Output: json.RawMessage(`{"n":7}`)}, models.StepCompleted, `{"work":{"n":7}}`},
			"failed":    {engine.FinishRequest{Error: &models.StepError{Code: "no_luck", Message: "not today"}}, models.StepFailed, "no_luck"},
		} {
			for _, order := range []string{"heard", "looked", "swept"} {
				e, jobs := b.withJobs()
				parent, child := b.calls(e, "")
				require.Equal(t, models.RunWaiting, b.run(parent).Status, name)
				row := b.trace(parent)["call"]
				require.Equal(t, models.StepWaiting, row.Status)
				why, err := e.Why(b.ctx, parent)
				require.NoError(t, err)
				require.Equal(t, "run", why.WaitingOn[0].Kind)
				require.Contains(t, why.Summary, string(child.Run))
				_, err = e.Decide(b.ctx, parent, "call", engine.Decision{Approved: true})
				require.ErrorContains(t, err, "not waiting for approval")

				opening := jobs.take()
				if order == "heard" { // it looked before, and hears of the end
					b.do(e, opening)
				}
				b.endsChild(e, child, tc.end)
				switch order {
				case "heard":
					for b.do(e, jobs.take()) { // until nothing is left
					}
				case "looked":
					b.do(e, opening)
				case "swept": // all that was to be told was lost
					jobs.take()
					b.clock.Advance(time.Minute)
					_, err = e.Sweep(b.ctx, 1000)
					require.NoError(t, err)
					b.do(e, jobs.take())
				}
				row = b.trace(parent)["call"]
				require.Equal(t, tc.want, row.Status, "%s %s", name, order)
				if tc.want == models.StepCompleted {
					require.JSONEq(t, tc.says, string(row.Output))
				} else {
					require.Equal(t, tc.says, row.Error.Code)
					require.Equal(t, fmt.Sprintf(`run %s failed at step "work": not today`, child.Run), row.Error.Message)
				}
				b.work(e, echo)
				require.Equal(t, models.RunCompleted, b.run(parent).Status)
				b.nobodyWaits(parent)
			}
		}
	})
}

func TestWhoWaitsNoLongerCancelsTheRun(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		for name, end := range map[string]func(e *engine.Engine, parent store.RunRef){
			"cancelled": func(e *engine.Engine, parent store.RunRef) {
				_, err := e.Cancel(b.ctx, parent)
				require.NoError(t, err)
			},
			"timed out": func(e *engine.Engine, _ store.RunRef) {
				b.clock.Advance(2 * time.Hour)
				_, err := e.Sweep(b.ctx, 1000)
				require.NoError(t, err)
			},
		} {
			for _, lost := range []bool{false, true} {
				e, jobs := b.withJobs()
				parent, child := b.calls(e, `,"timeout":"1h"`)
				b.do(e, jobs.take())
				end(e, parent)
				if lost {
					jobs.take()
					b.clock.Advance(time.Hour)
					_, err := e.Sweep(b.ctx, 1000)
					require.NoError(t, err)
				}
				for b.do(e, jobs.take()) { // until nothing is left
				}
				require.Equal(t, models.RunCancelled, b.run(child).Status, "%s, lost: %v", name, lost)
				row := b.trace(parent)["call"]
				if name == "cancelled" {
					require.Equal(t, models.StepCancelled, row.Status)
				} else {
					require.Equal(t, models.StepFailed, row.Status)
					require.Equal(t, "timeout", row.Error.Code)
				}
				b.nobodyWaits(parent)
			}
		}
	})
}

func TestACancelledOrLostRunFailsTheStep(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		e, jobs := b.withJobs()
		parent, child := b.calls(e, "")
		_, err := e.Cancel(b.ctx, child)
		require.NoError(t, err)
		for b.do(e, jobs.take()) { // until nothing is left
		}
		require.Equal(t, "run_cancelled", b.trace(parent)["call"].Error.Code)

		parent = b.start(b.workflow(fmt.Sprintf(caller, "")), `{}`)
		work := b.take(e, parent)
		_, err = e.Finish(b.ctx, engine.FinishRequest{Lease: work.Lease, AwaitRun: models.RunID(ids.New(models.RunPrefix))})
		require.NoError(t, err)
		for b.do(e, jobs.take()) { // until nothing is left
		}
		require.Equal(t, "run_gone", b.trace(parent)["call"].Error.Code)

		// A run that is paused hears of it, and goes on with it when it is resumed.
		parent, child = b.calls(e, "")
		_, err = e.Pause(b.ctx, parent)
		require.NoError(t, err)
		b.endsChild(e, child, engine.FinishRequest{Output: json.RawMessage(`1`)})
		for b.do(e, jobs.take()) { // until nothing is left
		}
		require.Equal(t, models.RunPaused, b.run(parent).Status)
		require.Equal(t, models.StepCompleted, b.trace(parent)["call"].Status)
		_, err = e.Resume(b.ctx, parent)
		require.NoError(t, err)
		b.work(e, echo)
		require.Equal(t, models.RunCompleted, b.run(parent).Status)
	})
}

// nobodyWaits sees that no wait of a run is left.
func (b *bundle) nobodyWaits(ref store.RunRef) {
	b.t.Helper()
	w, _, err := b.store.For(b.ws).Wait(b.ctx, ref.Run, "call")
	require.NoError(b.t, err)
	require.Nil(b.t, w)
}

// endsChild finishes the one step of a run.
func (b *bundle) endsChild(e *engine.Engine, ref store.RunRef, req engine.FinishRequest) {
	b.t.Helper()
	req.Lease = b.take(e, ref).Lease
	_, err := e.Finish(b.ctx, req)
	require.NoError(b.t, err)
}

// callers is a flow whose step calls starts a run for each of its items and waits for it.
const callers = `{"steps":[
	{"id":"calls","type":"connector","connector":"core","action":"set","foreach":"payload.items","max_parallel":2%s},
	{"id":"after","type":"connector","connector":"core","action":"set","input":{"got":"{{ steps.calls.output }}"}},
	{"id":"failed","type":"connector","connector":"core","action":"set","input":{"why":"{{ steps.calls.error.code }}"}}],
	"edges":[{"from":"calls","to":"after"},{"from":"calls","to":"failed","on":"error"}]}`

// callsFor has an item of callers, the next one in line, wait for a run.
func (b *bundle) callsFor(e *engine.Engine, parent store.RunRef) (item int, child store.RunRef) {
	b.t.Helper()
	work := b.take(e, parent)
	child = b.start(b.workflow(callee), `{}`)
	_, err := e.Finish(b.ctx, engine.FinishRequest{
		Lease: work.Lease, Output: json.RawMessage(fmt.Sprintf(`{"run_id":%q}`, child.Run)), AwaitRun: child.Run,
	})
	require.NoError(b.t, err)
	return work.Ref.Iteration, child
}

// looksAll does the jobs there are, and those that come of them.
func (b *bundle) looksAll(e *engine.Engine, jobs *office) {
	for b.do(e, jobs.take()) { // until nothing is left
	}
}

// sweeps has an hour go by after what was to be told was lost.
func (b *bundle) sweeps(e *engine.Engine, jobs *office) {
	b.t.Helper()
	jobs.take()
	b.clock.Advance(time.Hour)
	_, err := e.Sweep(b.ctx, 1000)
	require.NoError(b.t, err)
}

func TestItemsWaitEachForTheirRun(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		e, jobs := b.withJobs()
		ends := func(child store.RunRef, n int) {
			b.endsChild(e, child, engine.FinishRequest{Output: json.RawMessage(fmt.Sprint(n))})
		}
		parent := b.start(b.workflow(fmt.Sprintf(callers, "")), `{"items":["a","b","c"]}`)
		first, a := b.callsFor(e, parent)
		require.Equal(t, models.RunRunning, b.run(parent).Status, "another item is in line")
		second, c := b.callsFor(e, parent)
		require.ElementsMatch(t, []int{0, 1}, []int{first, second})
		require.Equal(t, models.RunWaiting, b.run(parent).Status, "two are under way, though no worker is at them, and the third is not in line")
		row := b.trace(parent)["calls"]
		require.Equal(t, models.StepWaiting, row.Status)
		require.Equal(t, engine.IterationsTrace{Total: 3, Waiting: 2}, *row.Iterations)
		why, err := e.Why(b.ctx, parent)
		require.NoError(t, err)
		require.Equal(t, "run", why.WaitingOn[0].Kind)
		require.Contains(t, why.Summary, "0 of 3 iterations are done, 0 are under way, 2 wait for runs")
		_, err = e.Decide(b.ctx, parent, "calls", engine.Decision{Approved: true})
		require.ErrorContains(t, err, "not waiting for approval")

		opened := jobs.take()
		ends(c, 2) // before anybody looked: it is seen by the look that comes
		b.do(e, opened)
		require.Equal(t, models.StepRunning, b.trace(parent)["calls"].Status)
		third, d := b.callsFor(e, parent)
		require.Equal(t, 2, third)
		b.do(e, jobs.take())
		ends(d, 3)
		b.looksAll(e, jobs)
		require.Equal(t, models.StepWaiting, b.trace(parent)["calls"].Status, "the first one waits")

		ends(a, 1)
		b.sweeps(e, jobs)
		b.looksAll(e, jobs)
		row = b.trace(parent)["calls"]
		require.Equal(t, models.StepCompleted, row.Status)
		want := []string{`{"work":1}`, `{"work":2}`, `{"work":3}`}
		if first == 1 {
			want[0], want[1] = want[1], want[0]
		}
		require.JSONEq(t, fmt.Sprintf(`[%s,%s,%s]`, want[0], want[1], want[2]), string(row.Output))
		b.work(e, echo)
		require.Equal(t, models.RunCompleted, b.run(parent).Status)
		b.noItemWaits(parent)
	})
}

func TestAnItemWhoseRunFailsFailsTheStep(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		for _, at := range []string{"in wait", "under way", "in line"} {
			e, jobs := b.withJobs()
			parent := b.start(b.workflow(fmt.Sprintf(callers, "")), `{"items":["a","b","c"]}`)
			failed, a := b.callsFor(e, parent)
			var other store.RunRef
			var late *engine.Work
			switch at {
			case "in wait":
				_, other = b.callsFor(e, parent)
			case "under way":
				late = b.take(e, parent)
			}
			b.endsChild(e, a, engine.FinishRequest{Error: &models.StepError{Code: "no_luck", Message: "not today"}})
			b.looksAll(e, jobs)
			if late != nil { // it ends after the other has failed, and its run is not wanted any more
				require.Equal(t, models.StepRunning, b.trace(parent)["calls"].Status)
				other = b.start(b.workflow(callee), `{}`)
				_, err := e.Finish(b.ctx, engine.FinishRequest{Lease: late.Lease, AwaitRun: other.Run})
				require.NoError(t, err)
				b.looksAll(e, jobs)
			}
			row := b.trace(parent)["calls"]
			require.Equal(t, models.StepFailed, row.Status, at)
			require.Equal(t, "no_luck", row.Error.Code)
			require.Equal(t, failed, *row.Error.Iteration)
			if other.Run != "" {
				require.Equal(t, models.RunCancelled, b.run(other).Status, at)
			}
			b.work(e, echo)
			require.Equal(t, models.RunCompleted, b.run(parent).Status, at)
			b.noItemWaits(parent)
		}
	})
}

func TestItemsThatWaitNoLongerCancelTheirRuns(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		for name, end := range map[string]func(e *engine.Engine, parent store.RunRef){
			"cancelled": func(e *engine.Engine, parent store.RunRef) {
				_, err := e.Cancel(b.ctx, parent)
				require.NoError(t, err)
			},
			"timed out": func(e *engine.Engine, _ store.RunRef) {
				b.clock.Advance(2 * time.Hour)
				_, err := e.Sweep(b.ctx, 1000)
				require.NoError(t, err)
			},
		} {
			for _, lost := range []bool{false, true} {
				e, jobs := b.withJobs()
				parent := b.start(b.workflow(fmt.Sprintf(callers, `,"timeout":"1h"`)), `{"items":["a","b","c"]}`)
				_, first := b.callsFor(e, parent)
				_, second := b.callsFor(e, parent)
				b.do(e, jobs.take())
				end(e, parent)
				if lost {
					b.sweeps(e, jobs)
				}
				b.looksAll(e, jobs)
				for _, child := range []store.RunRef{first, second} {
					require.Equal(t, models.RunCancelled, b.run(child).Status, "%s, lost: %v", name, lost)
				}
				row := b.trace(parent)["calls"]
				if name == "cancelled" {
					require.Equal(t, models.StepCancelled, row.Status)
				} else {
					require.Equal(t, models.StepFailed, row.Status)
					require.Equal(t, "timeout", row.Error.Code)
				}
				b.noItemWaits(parent)
			}
		}
	})
}

// What an item starts is named after it, so an attempt after a worker's death starts
// what was started.
func TestAnItemsEffectKeepsItsNameOverWorkers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		e, _ := b.withJobs()
		parent := b.start(b.workflow(fmt.Sprintf(callers, "")), `{"items":["a"]}`)
		first := b.take(e, parent)
		b.clock.Advance(time.Minute) // it gives no sign of life
		_, err := e.Sweep(b.ctx, 1000)
		require.NoError(t, err)
		_, err = e.Finish(b.ctx, engine.FinishRequest{Lease: first.Lease, AwaitRun: models.RunID(ids.New(models.RunPrefix))})
		require.ErrorIs(t, err, engine.ErrLeaseLost)
		b.noItemWaits(parent)
		second := b.take(e, parent)
		require.Equal(t, 2, second.Attempt)
		require.Equal(t, first.IdempotencyKey, second.IdempotencyKey)
		require.Equal(t, string(parent.Run)+":calls:0", second.IdempotencyKey)
	})
}

// noItemWaits sees that no wait of the items of callers is left.
func (b *bundle) noItemWaits(ref store.RunRef) {
	b.t.Helper()
	for i := range 3 {
		w, _, err := b.store.For(b.ws).Wait(b.ctx, ref.Run, fmt.Sprintf("calls:%d", i))
		require.NoError(b.t, err)
		require.Nil(b.t, w)
	}
}
