package tasks_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/tasks"
)

// each runs test on an in-process Redis and on a real one.
func each(t *testing.T, test func(t *testing.T, r *redis.Client)) {
	t.Helper()
	run := func(name, url string) {
		opt, err := redis.ParseURL(url)
		require.NoError(t, err)
		r := redis.NewClient(opt)
		t.Cleanup(func() { require.NoError(t, r.Close()) })
		t.Run(name, func(t *testing.T) { test(t, r) })
	}
	run("miniredis", "redis://"+testkit.Miniredis(t).Addr())
	if testkit.HaveRedis() {
		run("redis", testkit.RedisURL(t))
	}
}

func step(name string, attempt int) tasks.Step {
	return tasks.Step{Workspace: "ws_1", Run: "run_1", Step: name, Iteration: -1, Attempt: attempt}
}

func TestEnqueueDeliversEachOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r *redis.Client) {
		c := tasks.NewClient(r, testkit.Logger(t), tasks.ClientConfig{})
		var entries []tasks.Entry
		for i := range 100 {
			entries = append(entries, tasks.Entry{Step: step("a", i+1)})
		}
		entries = append(entries, tasks.Entry{Step: step("pause", 0), Wake: true})
		c.Enqueue(t.Context(), entries)
		require.Equal(t, tasks.ClientStats{Enqueued: 101}, c.Stats())
		c.Enqueue(t.Context(), entries[:10])
		require.Equal(t, tasks.ClientStats{Enqueued: 101, Repeated: 10}, c.Stats(), "the same delivery again is no failure")

		inspector := asynq.NewInspectorFromRedisClient(r)
		quick, err := inspector.ListPendingTasks(tasks.QueueDefault, asynq.PageSize(1000))
		require.NoError(t, err)
		require.Len(t, quick, 100)
		for _, info := range quick {
			require.Equal(t, tasks.TypeStep, info.Type)
			require.Zero(t, info.Retention)
			require.Positive(t, info.MaxRetry, "a task without retries is archived when its worker dies")
			require.Greater(t, info.Timeout, 24*time.Hour)
			got, err := tasks.DecodeStep(info.Payload)
			require.NoError(t, err)
			require.Equal(t, got.ID(), info.ID)
		}
		waits, err := inspector.ListPendingTasks(tasks.QueueSystem)
		require.NoError(t, err)
		require.Len(t, waits, 1)
		require.Equal(t, tasks.TypeWake, waits[0].Type)
	})
}

func TestADelayedTaskIsNeverEarly(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r *redis.Client) {
		c := tasks.NewClient(r, testkit.Logger(t), tasks.ClientConfig{})
		whole := time.Now().Add(time.Hour).Truncate(time.Second)
		at := map[string]time.Time{
			"whole": whole, "justAfter": whole.Add(time.Microsecond), "justBefore": whole.Add(-time.Microsecond),
		}
		for name, due := range at {
			c.Enqueue(t.Context(), []tasks.Entry{{Step: step(name, 1), At: due}})
		}
		inspector := asynq.NewInspectorFromRedisClient(r)
		for name, due := range at {
			info, err := inspector.GetTaskInfo(tasks.QueueDefault, step(name, 1).ID())
			require.NoError(t, err)
			require.Equal(t, asynq.TaskStateScheduled, info.State)
			require.False(t, info.NextProcessAt.Before(due), name)
			require.Less(t, info.NextProcessAt.Sub(due), time.Second, name)
		}
	})
}

func TestACallerThatLeavesTakesNoTaskWithIt(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r *redis.Client) {
		c := tasks.NewClient(r, testkit.Logger(t), tasks.ClientConfig{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c.Enqueue(ctx, []tasks.Entry{{Step: step("a", 1)}})
		require.Equal(t, tasks.ClientStats{Enqueued: 1}, c.Stats())
	})
}

func TestARedisThatIsAwayCostsOneTimeout(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never answers
	require.NoError(t, err)
	defer l.Close()
	r := redis.NewClient(&redis.Options{Addr: l.Addr().String(), ContextTimeoutEnabled: true})
	defer func() { require.NoError(t, r.Close()) }()
	c := tasks.NewClient(r, testkit.Logger(t), tasks.ClientConfig{Timeout: 50 * time.Millisecond, Rest: time.Hour})

	entries := make([]tasks.Entry, 1000)
	for i := range entries {
		entries[i].Step = step("a", i)
	}
	start := time.Now()
	c.Enqueue(t.Context(), entries)
	c.Enqueue(t.Context(), entries)
	require.Less(t, time.Since(start), 5*time.Second, "one timeout each would be 100 s")
	require.Equal(t, tasks.ClientStats{Lost: 2000}, c.Stats())
}

func TestAnnounceMakesQueuesSeenAfterTheirLoss(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r *redis.Client) {
		c := tasks.NewClient(r, testkit.Logger(t), tasks.ClientConfig{})
		c.Enqueue(t.Context(), []tasks.Entry{{Step: step("a", 1)}})
		require.NoError(t, r.FlushDB(t.Context()).Err())
		c.Enqueue(t.Context(), []tasks.Entry{{Step: step("a", 2)}})
		require.NoError(t, c.Announce(t.Context()))
		queues, err := asynq.NewInspectorFromRedisClient(r).Queues()
		require.NoError(t, err)
		require.ElementsMatch(t, []string{
			"default-high", "default", "default-low", "agents-high", "agents", "agents-low", "system",
		}, queues)
	})
}
