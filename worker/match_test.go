package worker_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/tasks"
	"github.com/10ex/flows/worker"
)

// batch is what a matching was asked for.
type batch struct {
	ws     models.WorkspaceID
	events []models.EventID
	answer chan error
}

// matching gives each batch to the test, which answers it.
func matching(batches chan batch) worker.MatchFunc {
	return func(ctx context.Context, ws models.WorkspaceID, events ...models.EventID) error {
		b := batch{ws, events, make(chan error, 1)}
		select {
		case batches <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case err := <-b.answer:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func matchJob(ws string, n int) tasks.Job {
	return tasks.Job{Type: tasks.TypeMatch, Workspace: ws, ID: "evt_" + strconv.Itoa(n)}
}

func TestWorkspacesTakeTurnsWithTheirEvents(t *testing.T) {
	t.Parallel()
	batches := make(chan batch)
	b := newBenchWith(t, "", worker.Config{TaskCheckInterval: quiet}, func(d *worker.Deps) { d.Match = matching(batches) })
	d := deliverer(t, b)
	d.Attach(b.worker)
	require.NoError(t, b.worker.Start())

	for n := range 1000 {
		d.EnqueueJobs(t.Context(), []tasks.Job{matchJob("loud", n), matchJob("loud", n)})
	}
	first := receive(t, batches)
	require.Equal(t, models.WorkspaceID("loud"), first.ws)
	d.EnqueueJobs(t.Context(), []tasks.Job{matchJob("quiet", 1)})
	other := receive(t, batches)
	require.Equal(t, models.WorkspaceID("quiet"), other.ws, "the loud one has one batch in hand, whatever waits behind it")
	require.Equal(t, []models.EventID{"evt_1"}, other.events)
	other.answer <- nil
	first.answer <- errors.New("the database is away")

	// The queue brings some of them a second time, a while later.
	got := map[models.EventID]bool{}
	note := func(events []models.EventID) {
		require.LessOrEqual(t, len(events), 64)
		for _, e := range events {
			if !got[e] {
				require.Equal(t, models.EventID("evt_"+strconv.Itoa(len(got))), e, "in order")
				got[e] = true
			}
		}
	}
	note(first.events)
	for len(got) < 1000 {
		next := receive(t, batches)
		note(next.events)
		next.answer <- nil
	}

	over := make(chan struct{})
	go func() {
		for {
			select {
			case again := <-batches:
				again.answer <- nil
			case <-over:
				return
			}
		}
	}()
	b.worker.Stop(t.Context())
	close(over)
}

func TestAnEventReachesAnotherProcess(t *testing.T) {
	t.Parallel()
	urls := map[string]string{"miniredis": "redis://" + testkit.Miniredis(t).Addr()}
	if testkit.HaveRedis() {
		urls["redis"] = testkit.RedisURL(t)
	}
	for name, url := range urls {
		t.Run(name, func(t *testing.T) {
			batches := make(chan batch)
			api := newBench(t, url, worker.Config{}) // never started: has no worker
			b := newBenchWith(t, url, worker.Config{TaskCheckInterval: quiet}, func(d *worker.Deps) { d.Match = matching(batches) })
			require.NoError(t, b.worker.Start())
			deliverer(t, api).EnqueueJobs(t.Context(), []tasks.Job{matchJob("ws", 1)})
			got := receive(t, batches)
			require.Equal(t, []models.EventID{"evt_1"}, got.events)
			got.answer <- nil
		})
	}
}

func TestATaskToMatchHoldsNoPlaceInTheQueue(t *testing.T) {
	t.Parallel()
	batches := make(chan batch)
	b := newBenchWith(t, "", worker.Config{}, func(d *worker.Deps) { d.Match = matching(batches) })
	require.NoError(t, b.worker.Start())
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewJob(matchJob("ws", 1))))
	got := receive(t, batches)
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewJob(matchJob("ws", 2))), "while the first is in hand")
	got.answer <- nil
	receive(t, batches).answer <- nil
}
