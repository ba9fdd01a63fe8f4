package tasks_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/tasks"
)

func TestAJobComesBackAsItWent(t *testing.T) {
	t.Parallel()
	want := tasks.Job{Type: tasks.TypeLookback, Workspace: "ws_1", ID: "run_1", Extra: "pause", Try: 2}
	task := tasks.NewJob(want)
	require.Equal(t, tasks.TypeLookback, task.Type())
	got, err := tasks.DecodeJob(task.Type(), task.Payload())
	require.NoError(t, err)
	got.Version = 0 // the constructor's matter
	require.Empty(t, cmp.Diff(want, got))
	require.Equal(t, "lookback:run_1:pause:2", got.TaskID())
	require.Equal(t, "match:evt_1:0", tasks.Job{Type: tasks.TypeMatch, ID: "evt_1"}.TaskID())
	for _, typ := range []string{tasks.TypeMatch, tasks.TypeDeliver, tasks.TypeTick, tasks.TypeLookback} {
		require.True(t, tasks.IsJob(typ))
	}
	require.False(t, tasks.IsJob(tasks.TypeStep))
	for _, payload := range []string{`{`, `{"v":2,"ws":"a","id":"b"}`, `{"v":1,"ws":"a"}`} {
		_, err := tasks.DecodeJob(tasks.TypeMatch, []byte(payload))
		require.ErrorIs(t, err, tasks.ErrPayload)
		require.ErrorIs(t, err, asynq.SkipRetry)
	}
}

func TestTheSameTryAtAJobIsOneTask(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r *redis.Client) {
		c := tasks.NewClient(r, testkit.Logger(t), tasks.ClientConfig{})
		job := tasks.Job{Type: tasks.TypeMatch, Workspace: "ws_1", ID: "evt_1"}
		again, later := job, job
		again.Try, later.ID, later.At = 1, "evt_2", time.Now().Add(time.Hour)
		c.EnqueueJobs(t.Context(), []tasks.Job{job, again, later})
		c.EnqueueJobs(t.Context(), []tasks.Job{job})
		require.Equal(t, tasks.ClientStats{Enqueued: 3, Repeated: 1}, c.Stats())
		inspector := asynq.NewInspectorFromRedisClient(r)
		for id, state := range map[string]asynq.TaskState{
			"match:evt_1:0": asynq.TaskStatePending, "match:evt_1:1": asynq.TaskStatePending, "match:evt_2:0": asynq.TaskStateScheduled,
		} {
			info, err := inspector.GetTaskInfo(tasks.QueueSystem, id)
			require.NoError(t, err)
			require.Equal(t, state, info.State)
		}
	})
}
