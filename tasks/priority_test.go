package tasks_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/tasks"
)

func TestRankUndoesRanked(t *testing.T) {
	t.Parallel()
	for priority, want := range map[string]int{"": 0, "low": -1, "normal": 0, "high": 1} {
		queue, rank := tasks.Rank(tasks.Ranked(tasks.QueueAgents, priority))
		require.Equal(t, tasks.QueueAgents, queue)
		require.Equal(t, want, rank)
		require.Contains(t, tasks.Ranks(tasks.QueueAgents), tasks.Ranked(tasks.QueueAgents, priority))
	}
	require.Equal(t, []string{tasks.QueueSystem}, tasks.Ranks(tasks.QueueSystem))
}
