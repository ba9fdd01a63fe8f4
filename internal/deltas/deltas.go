// Package deltas passes on what models say while they say it, to whoever follows the
// run at that moment. Nobody keeps it: a watcher that is slow, late or elsewhere
// misses some, and the whole answer is in the step's output.
//
// It imports models only.
package deltas

import (
	"sync"

	"github.com/10ex/flows/models"
)

// Delta is a bit of what a model says.
type Delta struct {
	Workspace models.WorkspaceID `json:"ws"`
	Run       models.RunID       `json:"run"`
	Step      string             `json:"step_id"`
	Iteration *int               `json:"iteration,omitempty"`
	Attempt   int                `json:"attempt"`
	Turn      int                `json:"turn"`
	Text      string             `json:"text"`
}

// waiting is how many a watcher may be behind before it misses some.
const waiting = 64

type run struct {
	workspace models.WorkspaceID
	id        models.RunID
}

// Hub passes deltas on within a process. It may be used concurrently.
type Hub struct {
	mu       sync.Mutex
	watchers map[run]map[chan Delta]struct{}
}

// NewHub makes a Hub.
func NewHub() *Hub { return &Hub{watchers: map[run]map[chan Delta]struct{}{}} }

// Watch gives what is said in a run from now on. stop ends that and may be called
// twice.
func (h *Hub) Watch(ws models.WorkspaceID, id models.RunID) (said <-chan Delta, stop func()) {
	ch, key := make(chan Delta, waiting), run{ws, id}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers[key] == nil {
		h.watchers[key] = map[chan Delta]struct{}{}
	}
	h.watchers[key][ch] = struct{}{}
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers[key], ch)
		if len(h.watchers[key]) == 0 {
			delete(h.watchers, key)
		}
	}
}

// Publish passes a delta on. It never blocks.
func (h *Hub) Publish(d Delta) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.watchers[run{d.Workspace, d.Run}] {
		select {
		case ch <- d:
		default:
		}
	}
}
