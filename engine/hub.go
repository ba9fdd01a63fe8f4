package engine

import (
	"sync"

	"github.com/10ex/flows/internal/recent"
	"github.com/10ex/flows/store"
)

// Hub tells watchers in this process that the logs of their runs have grown. A
// watcher is told at most once until it looks again, so a slow one costs nothing.
type Hub struct {
	mu       sync.Mutex
	watchers map[store.RunRef]map[chan struct{}]bool // true: tell it of the end only
	// The runs that ended last: who comes to wait for the end of a run it has just
	// started may come too late to be told. Whoever is told looks for himself.
	ended *recent.Set[store.RunRef]
}

// endedKept is how many ends are remembered: some seconds' worth.
const endedKept = 8192

// NewHub makes a Hub.
func NewHub() *Hub {
	return &Hub{watchers: map[store.RunRef]map[chan struct{}]bool{}, ended: recent.NewSet[store.RunRef](endedKept)}
}

// Watch gives a channel that receives after the run's log has grown. stop ends
// the watching and may be called twice.
func (h *Hub) Watch(ref store.RunRef) (grown <-chan struct{}, stop func()) {
	return h.watch(ref, false)
}

// WatchEnd gives a channel that receives after the run has ended, at once if that
// was not long ago, and is silent before: who waits for the end has no use for
// anything else.
func (h *Hub) WatchEnd(ref store.RunRef) (ended <-chan struct{}, stop func()) {
	return h.watch(ref, true)
}

func (h *Hub) watch(ref store.RunRef, endOnly bool) (told <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers[ref] == nil {
		h.watchers[ref] = map[chan struct{}]bool{}
	}
	h.watchers[ref][ch] = endOnly
	if endOnly && h.ended.Has(ref) {
		ch <- struct{}{}
	}
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers[ref], ch)
		if len(h.watchers[ref]) == 0 {
			delete(h.watchers, ref)
		}
	}
}

// Publish tells the watchers of the runs in notices. It never blocks.
func (h *Hub) Publish(notices []Notice) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range notices {
		ref := store.RunRef{Workspace: n.Workspace, Run: n.Run}
		if n.Ended {
			h.ended.Add(ref)
		}
		for ch, endOnly := range h.watchers[ref] {
			if endOnly && !n.Ended {
				continue
			}
			select {
			case ch <- struct{}{}:
			default: // told already
			}
		}
	}
}
