package worker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/tasks"
	"github.com/10ex/flows/worker"
)

// TestHighPriorityOvertakesABacklog fills the queue with steps of low priority, more
// than the worker can even have in hand, and then adds a few of high priority.
func TestHighPriorityOvertakesABacklog(t *testing.T) {
	t.Parallel()
	for name, url := range redisURLs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, url, worker.Config{Concurrency: 2})
			const backlog, urgent = 60, 5
			put := func(step, priority string) {
				b.engine.add(step, "block", `{}`)
				one := task(step)
				one.Queue = tasks.Ranked(tasks.QueueDefault, priority)
				b.client.Enqueue(t.Context(), []tasks.Entry{{Step: one}})
			}
			for i := range backlog {
				put(fmt.Sprintf("low%d", i), "low")
			}
			require.NoError(t, b.worker.Start())
			for range 2 {
				receive(t, b.connector.started) // every slot is taken
			}
			for i := range urgent {
				put(fmt.Sprintf("high%d", i), "high")
			}
			require.Eventually(t, func() bool { // the first stand in line for a slot
				n, err := b.broker.Client().LLen(t.Context(), "asynq:{default-high}:pending").Result()
				return err == nil && n < urgent
			}, limit, time.Millisecond)
			var order []string
			for range backlog + urgent {
				b.connector.release <- struct{}{}
				order = append(order, receive(t, b.engine.finished).Lease.Ref.Step)
			}
			last := 0
			for i, step := range order {
				if step[:4] == "high" {
					last = i
				}
			}
			require.Less(t, last, backlog/2, "those of high priority do not wait for the backlog: %v", order)
		})
	}
}

// redisURLs are an embedded Redis and, where there is one, a real one.
func redisURLs(t *testing.T) map[string]string {
	t.Helper()
	urls := map[string]string{"embedded": ""}
	if testkit.HaveRedis() {
		urls["redis"] = testkit.RedisURL(t)
	}
	return urls
}
