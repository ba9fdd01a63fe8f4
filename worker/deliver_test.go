package worker_test

import (
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/tasks"
	"github.com/10ex/flows/worker"
)

func deliverer(t *testing.T, b *bench) *worker.Deliverer {
	t.Helper()
	d := worker.NewDeliverer(b.client, b.broker, clock.System{}, testkit.Logger(t))
	t.Cleanup(d.Close)
	return d
}

func TestADeliveryGoesToAFreeSlotAndIntoTheQueue(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{})
	d := deliverer(t, b)
	d.Attach(b.worker)
	b.engine.add("a", "echo", `1`)
	d.Enqueue(t.Context(), []engine.Delivery{{Task: task("begun"), Begun: true}, {Task: task("a")}, {Task: task("pause"), Wake: true}})
	require.Equal(t, "a", receive(t, b.engine.finished).Lease.Ref.Step)
	require.Equal(t, "pause", receive(t, b.engine.woken))
	require.Equal(t, "a", receive(t, b.engine.claims), "what has begun is not offered")
	require.Empty(t, b.engine.claims)
	d.Close()
	inspector := asynq.NewInspectorFromRedisClient(b.broker.Client())
	for _, id := range []string{"run_1:a:1:0", "run_1:begun:1:0"} {
		info, err := inspector.GetTaskInfo(tasks.QueueDefault, id)
		require.NoError(t, err, "what is offered is queued all the same")
		require.Equal(t, asynq.TaskStatePending, info.State)
	}
}

func TestADeliveryReachesAnotherProcessBeforeItsQueueDoes(t *testing.T) {
	t.Parallel()
	urls := map[string]string{"miniredis": "redis://" + testkit.Miniredis(t).Addr()}
	if testkit.HaveRedis() {
		urls["redis"] = testkit.RedisURL(t)
	}
	for name, url := range urls {
		t.Run(name, func(t *testing.T) {
			api := newBench(t, url, worker.Config{}) // never started: has no worker
			b := newBench(t, url, worker.Config{TaskCheckInterval: quiet})
			b.engine.add("a", "echo", `1`)
			require.NoError(t, b.worker.Start())
			d := deliverer(t, api)
			d.Enqueue(t.Context(), []engine.Delivery{{Task: task("a")}, {Task: task("pause"), Wake: true}})
			require.Equal(t, "a", receive(t, b.engine.finished).Lease.Ref.Step)
			require.Equal(t, "pause", receive(t, b.engine.woken))
		})
	}
}

func TestWhatIsDueSoonIsDoneWhenItIs(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{TaskCheckInterval: quiet})
	d := deliverer(t, b)
	d.Attach(b.worker)
	b.engine.add("retry", "echo", `1`)
	retry := task("retry")
	due := time.Now().Add(100 * time.Millisecond)
	d.Enqueue(t.Context(), []engine.Delivery{{Task: retry, At: due}, {Task: task("pause"), Wake: true, At: due}})
	receive(t, b.engine.finished)
	require.False(t, time.Now().Before(due))
	require.Equal(t, "pause", receive(t, b.engine.woken))

	later := []engine.Delivery{{Task: taskOf("later", ""), Wake: true, At: time.Now().Add(time.Hour)}}
	d.Enqueue(t.Context(), later)
	d.Close()
	d.Enqueue(t.Context(), later) // left to the sweep
	inspector := asynq.NewInspectorFromRedisClient(b.broker.Client())
	info, err := inspector.GetTaskInfo(tasks.QueueSystem, later[0].Task.ID())
	require.NoError(t, err)
	require.Equal(t, asynq.TaskStateScheduled, info.State)
}

func TestATaskWithoutASlotIsOfferedToOthers(t *testing.T) {
	t.Parallel()
	url := "redis://" + testkit.Miniredis(t).Addr()
	full := newBench(t, url, worker.Config{Concurrency: 1})
	full.engine.add("busy", "block", `1`)
	require.True(t, full.worker.Offer(t.Context(), task("busy")))
	receive(t, full.connector.started)
	// Another one has a slot to spare. An offer that nobody takes is soon forgotten, so
	// it is there first.
	idle := newBench(t, url, worker.Config{TaskCheckInterval: quiet})
	idle.engine.add("a", "echo", `1`)
	require.NoError(t, idle.worker.Start())
	// What waits in one process, where the queue brought it, the other one does.
	done := make(chan error, 1)
	go func() { done <- full.worker.ProcessTask(t.Context(), tasks.NewStep(taskOf("a", tasks.QueueDefault))) }()
	require.Equal(t, "a", receive(t, idle.engine.finished).Lease.Ref.Step)
	close(full.connector.release)
	require.NoError(t, receive(t, done))
	require.Equal(t, models.RunID("run_1"), receive(t, full.engine.finished).Lease.Ref.Run)
}

func taskOf(step, queue string) tasks.Step {
	s := task(step)
	s.Queue = queue
	return s
}
