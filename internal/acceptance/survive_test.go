package acceptance_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The fleet is as the README starts it. It does its work, and then the same work
// while a worker dies and Redis forgets.
func TestAFleetSurvivesTheLossOfAWorkerAndOfRedis(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	done := alone(t)
	const runs = 500
	f := newFleet(t, "plain")
	workers := f.startAll(t, 2, 2)
	s := newSink(t)
	require.NoError(t, f.want(http.StatusCreated, "POST", "/agents", []byte(s.agentOf()), nil))

	t.Run("all goes well", func(t *testing.T) {
		wf := f.workflow(t, s.tenSteps())
		start := time.Now()
		started := f.triggerAll(t, wf, 16, runs)
		accepted := time.Since(start)
		f.settle(t, wf)
		t.Logf("%d runs: accepted in %s, ended in %s", runs, accepted, time.Since(start))
		require.Equal(t, map[string]int{"completed": runs}, f.count(t, wf))
		sum := f.requireTenSteps(t, s, started)
		require.Zero(t, sum, "no worker was lost, so nothing was done twice")
		f.requireNothingLeft(t)
		f.requireEmptyQueue(t)
		f.requireNoErrors(t)
	})

	t.Run("all goes wrong", func(t *testing.T) {
		wf := f.workflow(t, s.tenSteps())
		s.slow(50 * time.Millisecond) // so that the worker holds steps when it dies
		victim := workers[0]
		started := f.triggerAll(t, wf, 16, runs)
		ended := func(n int) func() bool {
			return func() bool {
				return f.number(t, `SELECT count(*) FROM runs WHERE workflow_id = $1 AND status = 'completed'`, wf) >= n
			}
		}
		waitFor(t, endLimit, "some runs to end", ended(runs/10))
		require.NoError(t, f.redis.FlushDB(t.Context()).Err())
		waitFor(t, endLimit, "more runs to end", ended(runs/5))
		waitFor(t, endLimit, "the worker to hold steps", func() bool {
			return f.number(t, `SELECT count(*) FROM steps WHERE status = 'running' AND worker_id = $1`, victim.workerID(t)) > 2
		})
		killed := victim.kill(t)
		waitFor(t, endLimit, "what the other worker can do", ended(runs-40)) // it held 20, and the other has 20
		done()
		f.settle(t, wf)
		require.Equal(t, map[string]int{"completed": runs}, f.count(t, wf))
		sum := f.requireTenSteps(t, s, started)
		require.Positive(t, sum.lost, "the worker held steps")
		f.requireRecovered(t, started, killed)
		f.requireNothingLeft(t)
		f.requireNoErrors(t)
	})
}

// recovery is how soon a step must run again whose worker died.
const recovery = 25 * time.Second

// requireRecovered checks how soon the steps ran again that a worker held when it
// was killed.
func (f *fleet) requireRecovered(t *testing.T, runs []string, killed time.Time) {
	t.Helper()
	var after []time.Duration
	for _, id := range runs {
		one, err := f.tell(id)
		require.NoError(t, err)
		for _, st := range one.steps {
			for i, a := range st.Attempts {
				if a.Error != nil && a.Error.Code == "worker_lost" {
					require.Less(t, i+1, len(st.Attempts), "there is another attempt")
					after = append(after, st.Attempts[i+1].StartedAt.Sub(killed))
				}
			}
		}
	}
	slices.Sort(after)
	t.Logf("%d steps were lost and ran again after %s to %s", len(after), after[0], after[len(after)-1])
	require.LessOrEqual(t, after[len(after)-1], recovery)
}

// The race detector makes everything slow, so it watches fewer runs.
func TestAFleetHasNoDataRaces(t *testing.T) {
	t.Parallel()
	if !haveServers() || !raceDetector {
		return
	}
	alone(t)
	const runs = 100
	f := newFleet(t, "race")
	f.startAll(t, 2, 2)
	s := newSink(t)
	require.NoError(t, f.want(http.StatusCreated, "POST", "/agents", []byte(s.agentOf()), nil))
	wf := f.workflow(t, s.tenSteps())
	started := f.triggerAll(t, wf, 16, runs)
	f.settle(t, wf)
	require.Equal(t, map[string]int{"completed": runs}, f.count(t, wf))
	require.Zero(t, f.requireTenSteps(t, s, started).repeats)
	f.requireNothingLeft(t)
	for _, p := range f.procs {
		p.terminate(t)
	}
	for _, p := range f.procs {
		<-p.done
		require.Zero(t, p.code, "%s ended well, and without a race", p.name)
	}
	f.requireNoErrors(t)
}
