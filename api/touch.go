package api

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/10ex/flows/models"
)

// touchEvery is how exact last_used_at is.
const touchEvery = time.Minute

// touches gathers which keys were used, so that noting it costs a request nothing
// and the database one statement a while. It may be used concurrently.
type touches struct {
	mu      sync.Mutex
	written map[models.KeyID]time.Time // when its use was last noted
	pending map[models.KeyID]bool
}

func newTouches() *touches {
	return &touches{written: map[models.KeyID]time.Time{}, pending: map[models.KeyID]bool{}}
}

// note remembers that key was used.
func (t *touches) note(key *models.APIKey, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := t.written[key.ID]
	if key.LastUsedAt != nil && key.LastUsedAt.After(last) {
		last = *key.LastUsedAt // by another process
	}
	if now.Sub(last) >= touchEvery {
		t.written[key.ID] = now
		t.pending[key.ID] = true
	}
}

// flush writes what was noted. What cannot be written is forgotten: the next use
// of the key, a minute on, notes it again.
func (t *touches) flush(now time.Time, write func(ids []models.KeyID, at time.Time) error) error {
	t.mu.Lock()
	ids := slices.Sorted(maps.Keys(t.pending))
	clear(t.pending)
	if len(t.written) > mostKeys {
		clear(t.written)
	}
	t.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	return write(ids, now)
}

func (a *API) flushTouches(ctx context.Context) error {
	return a.touched.flush(a.now(), func(ids []models.KeyID, at time.Time) error {
		return a.store.TouchKeys(ctx, ids, at)
	})
}
