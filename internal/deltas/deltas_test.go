package deltas

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWatchersHearTheirRunOnly(t *testing.T) {
	t.Parallel()
	h := NewHub()
	mine, stop := h.Watch("ws_1", "run_1")
	theirs, stopTheirs := h.Watch("ws_2", "run_1")
	h.Publish(Delta{Workspace: "ws_1", Run: "run_1", Text: "a"})
	h.Publish(Delta{Workspace: "ws_1", Run: "run_2", Text: "b"})
	require.Equal(t, "a", (<-mine).Text)
	require.Empty(t, mine)
	require.Empty(t, theirs)
	stop()
	stop()
	stopTheirs()
	h.Publish(Delta{Workspace: "ws_1", Run: "run_1", Text: "c"})
	require.Empty(t, mine)
	require.Empty(t, h.watchers)
}

func TestASlowWatcherMissesSome(t *testing.T) {
	t.Parallel()
	h := NewHub()
	slow, stop := h.Watch("ws_1", "run_1")
	defer stop()
	for range 2 * waiting {
		h.Publish(Delta{Workspace: "ws_1", Run: "run_1"})
	}
	require.Len(t, slow, waiting)
}
