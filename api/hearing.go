package api

import (
	"context"

	"github.com/10ex/flows/internal/deltas"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// hearing is what models say in a run from some moment on. The zero one hears nothing
// yet.
type hearing struct {
	ref  store.RunRef
	said <-chan deltas.Delta
	stop func()
}

// hear has a hearing begin, unless it hears the run already.
func (a *API) hear(h *hearing, ref store.RunRef) {
	if a.deps.Deltas == nil || h.stop != nil && h.ref == ref {
		return
	}
	h.end()
	h.ref = ref
	h.said, h.stop = a.deps.Deltas.Watch(ref.Workspace, ref.Run)
}

// end ends it. It may be called twice.
func (h *hearing) end() {
	if h.stop != nil {
		h.stop()
		h.said, h.stop = nil, nil
	}
}

type hearingKey struct{}

// hearBefore begins to hear a run that is about to start, where its stream will be the
// answer: what a model says before the answer is under way would be missed.
func (a *API) hearBefore(ctx context.Context, run models.RunID) {
	if h, ok := ctx.Value(hearingKey{}).(*hearing); ok {
		a.hear(h, store.RunRef{Workspace: workspace(ctx), Run: run})
	}
}
