package tasks_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/tasks"
)

func TestPayloadsComeBackAsTheyWent(t *testing.T) {
	t.Parallel()
	want := tasks.Step{Workspace: "ws_1", Run: "run_1", Step: "a", Iteration: 3, Attempt: 2, Delivery: 1}
	for typ, task := range map[string]*asynq.Task{tasks.TypeStep: tasks.NewStep(want), tasks.TypeWake: tasks.NewWake(want)} {
		require.Equal(t, typ, task.Type())
		got, err := tasks.DecodeStep(task.Payload())
		require.NoError(t, err)
		got.Version = 0 // the constructor's matter
		require.Empty(t, cmp.Diff(want, got))
	}
}

func TestIDNamesOneDelivery(t *testing.T) {
	t.Parallel()
	s := tasks.Step{Run: "run_1", Step: "a", Iteration: -1, Attempt: 2, Delivery: 1}
	require.Equal(t, "run_1:a:2:1", s.ID())
	s.Iteration = 0
	require.Equal(t, "run_1:a:0:2:1", s.ID())
}

func TestDecodeRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	for name, payload := range map[string]string{
		"not JSON":      `{`,
		"other version": `{"v":2,"ws":"ws_1","run":"run_1","step":"a"}`,
		"no version":    `{"ws":"ws_1","run":"run_1","step":"a"}`,
		"no run":        `{"v":1,"ws":"ws_1","step":"a"}`,
	} {
		_, err := tasks.DecodeStep([]byte(payload))
		require.ErrorIs(t, err, tasks.ErrPayload, name)
		require.ErrorIs(t, err, asynq.SkipRetry, name)
	}
}
