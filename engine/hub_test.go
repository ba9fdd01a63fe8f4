package engine_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

func told(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func notice(run string, ended bool) []engine.Notice {
	return []engine.Notice{{Workspace: "ws", Run: models.RunID(run), Ended: ended}}
}

func TestHubTellsOnceUntilTheWatcherLooks(t *testing.T) {
	t.Parallel()
	h := engine.NewHub()
	grown, stop := h.Watch(store.RunRef{Workspace: "ws", Run: "a"})
	h.Publish(notice("b", false))
	require.False(t, told(grown), "another run")
	h.Publish(notice("a", false))
	h.Publish(notice("a", false))
	require.True(t, told(grown))
	require.False(t, told(grown))
	stop()
	stop()
	h.Publish(notice("a", true))
	require.False(t, told(grown))
}

func TestHubTellsOfTheEndOnlyWhoWaitsForIt(t *testing.T) {
	t.Parallel()
	h := engine.NewHub()
	ref := store.RunRef{Workspace: "ws", Run: "a"}
	ended, stop := h.WatchEnd(ref)
	defer stop()
	h.Publish(notice("a", false))
	require.False(t, told(ended))
	h.Publish(notice("a", true))
	require.True(t, told(ended))

	late, stop := h.WatchEnd(ref)
	defer stop()
	require.True(t, told(late), "it ended before the watching began")
	for i := range 10_000 {
		h.Publish(notice(fmt.Sprint(i), true))
	}
	forgotten, stop := h.WatchEnd(ref)
	defer stop()
	require.False(t, told(forgotten))
}
