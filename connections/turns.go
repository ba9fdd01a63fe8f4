package connections

import (
	"context"
	"sync"

	"github.com/10ex/flows/models"
)

// turns lets one caller at a time do something about a connection. The zero value
// works.
type turns struct {
	mu   sync.Mutex
	held map[models.ConnectionID]*turn
}

type turn struct {
	free  chan struct{} // holds a value while nobody has the turn
	users int
}

// take waits for the turn; release gives it on.
func (t *turns) take(ctx context.Context, id models.ConnectionID) (release func(), err error) {
	t.mu.Lock()
	if t.held == nil {
		t.held = map[models.ConnectionID]*turn{}
	}
	one := t.held[id]
	if one == nil {
		one = &turn{free: make(chan struct{}, 1)}
		one.free <- struct{}{}
		t.held[id] = one
	}
	one.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(t.held, id)
		}
	}
	select {
	case <-one.free:
		return func() { one.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
