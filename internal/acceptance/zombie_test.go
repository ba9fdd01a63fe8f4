//go:build unix

package acceptance_test

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/tasks"
)

// A worker stands still, as a machine does that is suspended, for longer than it
// may hold its steps; then it goes on as if nothing had been.
func TestAWorkerThatStoodStillHarmsNothing(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	done := alone(t)
	const runs = 200
	f := newFleet(t, "plain")
	zombie := f.startAll(t, 2, 2)[0]
	s := newSink(t)
	require.NoError(t, f.want(http.StatusCreated, "POST", "/agents", []byte(s.agentOf()), nil))
	s.slow(50 * time.Millisecond)
	wf := f.workflow(t, s.tenSteps())
	started := f.triggerAll(t, wf, 16, runs)
	waitFor(t, endLimit, "the worker to hold steps", func() bool {
		return f.number(t, `SELECT count(*) FROM steps WHERE status = 'running' AND worker_id = $1`, zombie.workerID(t)) > 2
	})
	require.NoError(t, zombie.cmd.Process.Signal(syscall.SIGSTOP))
	stopped := time.Now()
	waitFor(t, endLimit, "what the other worker can do", func() bool {
		return f.number(t, `SELECT count(*) FROM runs WHERE workflow_id = $1 AND status = 'completed'`, wf) >= runs-40
	})
	done()
	f.settle(t, wf)
	t.Logf("all runs had ended %s after the worker stood still", time.Since(stopped))
	require.NoError(t, zombie.cmd.Process.Signal(syscall.SIGCONT))
	require.Equal(t, map[string]int{"completed": runs}, f.count(t, wf))
	require.Positive(t, f.requireTenSteps(t, s, started).lost)

	// What it does now counts again.
	more := f.workflow(t, s.tenSteps())
	waitFor(t, endLimit, "the worker to work again", func() bool {
		f.triggerMore(t, more, 10)
		return f.number(t, `SELECT count(*) FROM steps WHERE worker_id = $1 AND status = 'completed' AND started_at > $2`,
			zombie.workerID(t), stopped.Add(time.Second)) > 0
	})
	f.settle(t, more)
	// Its late results were thrown away: nothing has changed.
	require.Equal(t, map[string]int{"completed": runs}, f.count(t, wf))
	f.requireTenSteps(t, s, started)
	f.requireNothingLeft(t)
	f.requireNoErrors(t, "leases are over")
}

// Operators delete and archive tasks, and pause queues.
func TestNothingIsLostInTheQueue(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	done := alone(t)
	const (
		runs  = 200
		times = 20
	)
	f := newFleet(t, "plain")
	f.startAll(t, 2, 2)
	s := newSink(t)
	require.NoError(t, f.want(http.StatusCreated, "POST", "/agents", []byte(s.agentOf()), nil))
	wf := f.workflow(t, s.tenSteps())
	s.slow(20 * time.Millisecond) // so that there is something in the queue
	inspector := asynq.NewInspectorFromRedisClient(f.redis)
	for queue := range tasks.Queues {
		require.NoError(t, f.redis.SAdd(t.Context(), "asynq:queues", queue).Err())
		require.NoError(t, inspector.PauseQueue(queue))
	}
	started := f.triggerAll(t, wf, 16, runs)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	taken := 0
	for i := range times {
		<-tick.C
		for queue := range tasks.Queues {
			for _, meddle := range [](func(string) (int, error)){
				inspector.DeleteAllScheduledTasks, inspector.DeleteAllRetryTasks,
				[]func(string) (int, error){inspector.ArchiveAllPendingTasks, inspector.DeleteAllPendingTasks}[i%2],
			} {
				n, err := meddle(queue)
				require.NoError(t, err)
				taken += n
			}
		}
	}
	for queue := range tasks.Queues {
		require.NoError(t, inspector.UnpauseQueue(queue))
	}
	mended := time.Now()
	done()
	f.settle(t, wf)
	t.Logf("%d tasks were taken away; all runs had ended %s later", taken, time.Since(mended))
	require.Positive(t, taken)
	require.LessOrEqual(t, time.Since(mended), 90*time.Second)
	require.Equal(t, map[string]int{"completed": runs}, f.count(t, wf))
	require.Zero(t, f.requireTenSteps(t, s, started))
	f.requireNoErrors(t)
}
