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
	const backlog, urgent, concurrency = 60, 5, 2
	for name, url := range redisURLs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, url, worker.Config{Concurrency: concurrency})
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
			for range concurrency {
				receive(t, b.connector.started) // every slot is taken
			}
			for i := range urgent {
				put(fmt.Sprintf("high%d", i), "high")
			}
			// As many as a queue brings at once are with the worker before a slot gets free:
			// how soon it does that is not what this is about.
			left := urgent
			brought := func() bool {
				n, err := b.broker.Client().LLen(t.Context(), "asynq:{default-high}:pending").Result()
				return err == nil && int(n) <= max(0, left-concurrency)
			}
			var order []string
			for range backlog + urgent {
				require.Eventually(t, brought, limit, time.Millisecond)
				b.connector.release <- struct{}{}
				step := receive(t, b.engine.finished).Lease.Ref.Step
				order = append(order, step)
				if step[:4] == "high" {
					left--
				}
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
