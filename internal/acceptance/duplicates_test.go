package acceptance_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/tasks"
)

// Every task comes three times more than it should, before its time, in it, and
// after it.
func TestRepeatedDeliveriesDoNothing(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	alone(t)
	const runs = 100
	f := newFleet(t, "plain")
	s := newSink(t)
	require.NoError(t, f.want(http.StatusCreated, "POST", "/agents", []byte(s.agentOf()), nil))
	wf := f.workflow(t, s.tenSteps())
	queue := asynq.NewClientFromRedisClient(f.redis)

	started := f.triggerAll(t, wf, 16, runs)
	repeat := func(first int) {
		inParallel(t, 8, runs, func(i int) error {
			for _, id := range tenIDs {
				for attempt := 1; attempt <= 2; attempt++ {
					for delivery := range 3 {
						one := tasks.Step{
							Workspace: f.workspace, Run: started[i], Step: id, Iteration: -1, Attempt: attempt, Delivery: first + delivery,
						}
						_, err := queue.EnqueueContext(t.Context(), tasks.NewStep(one), asynq.TaskID(one.ID()), asynq.Queue(tasks.QueueDefault))
						if err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
							return fmt.Errorf("repeat %s: %w", one.ID(), err)
						}
					}
				}
			}
			return nil
		})
	}
	repeat(1000) // nobody is there yet
	f.startAll(t, 2, 1)
	repeat(2000)
	f.settle(t, wf)
	repeat(3000)

	require.Equal(t, map[string]int{"completed": runs}, f.count(t, wf))
	sum := f.requireTenSteps(t, s, started)
	require.Zero(t, sum)
	for _, id := range started {
		one, err := f.tell(id)
		require.NoError(t, err)
		count := map[string]int{}
		for _, e := range one.events {
			if e.Type == "step.started" {
				count[fmt.Sprintf("%s %d", *e.StepID, e.Data.Attempt)]++
			}
		}
		for name, n := range count {
			require.Equalf(t, 1, n, "run %s: step and attempt %s", id, name)
		}
	}
	f.requireNothingLeft(t)
	f.requireEmptyQueue(t)
	f.requireNoErrors(t)
}
