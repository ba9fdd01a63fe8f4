package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

const (
	// groupEvents bounds the events that are stored together.
	groupEvents = 500
	// groupTimeout bounds the storing of a group.
	groupTimeout = 15 * time.Second
)

// gathering stores what several callers publish at the same time together: a lone
// one goes at once, and what comes while a group is being stored makes the next,
// which one of its own callers stores. What is new is to be matched, also together:
// else one workspace could fill the queue with tasks before which those of others wait.
type gathering struct {
	store *store.Store
	jobs  Jobs

	mu      sync.Mutex
	busy    bool // a caller is storing a group
	waiting []*share
}

// share is what one caller publishes.
type share struct {
	events []*models.Event
	lead   chan struct{} // closed when the next group is this caller's to store
	done   chan struct{} // closed when it is stored, or has failed
	kept   []models.EventID
	err    error
}

// add stores events and gives the id of each. Their workspaces are set.
func (g *gathering) add(ctx context.Context, events []*models.Event) ([]models.EventID, error) {
	me := &share{events: events, lead: make(chan struct{}), done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, me)
	if !g.busy {
		g.busy = true
		close(g.waiting[0].lead)
	}
	g.mu.Unlock()
	select {
	case <-me.done:
	case <-me.lead:
		g.storeGroup(ctx)
	case <-ctx.Done():
		if !g.leave(me) {
			return me.kept, me.err
		}
		return nil, ctx.Err()
	}
	return me.kept, me.err
}

// leave takes back a share that nobody has begun to store. It is false where it was
// stored meanwhile.
func (g *gathering) leave(me *share) bool {
	g.mu.Lock()
	for i, s := range g.waiting {
		if s != me {
			continue
		}
		g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
		select {
		case <-me.lead: // it was this caller's turn
			g.next()
		default:
		}
		g.mu.Unlock()
		return true
	}
	g.mu.Unlock()
	<-me.done
	return false
}

// next lets the first that waits store the next group.
func (g *gathering) next() {
	if g.busy = len(g.waiting) > 0; g.busy {
		close(g.waiting[0].lead)
	}
}

// storeGroup stores what waits, as much as fits.
func (g *gathering) storeGroup(ctx context.Context) {
	g.mu.Lock()
	n, events := 0, 0
	for n < len(g.waiting) && (n == 0 || events+len(g.waiting[n].events) <= groupEvents) {
		events += len(g.waiting[n].events)
		n++
	}
	group := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	g.mu.Unlock()

	// The others must not suffer from this caller going away.
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), groupTimeout)
	defer stop()
	g.storeShares(ctx, group)
	for _, s := range group {
		close(s.done)
	}
	g.mu.Lock()
	g.next()
	g.mu.Unlock()
}

func (g *gathering) storeShares(ctx context.Context, group []*share) {
	var all []*models.Event
	for _, s := range group {
		all = append(all, s.events...)
	}
	kept, err := g.store.AddEvents(ctx, all)
	if err != nil && len(group) > 1 && !errors.Is(err, models.ErrUnavailable) {
		// One of them is at fault, and the others must not suffer from it.
		for _, s := range group {
			s.kept, s.err = g.store.AddEvents(ctx, s.events)
		}
	} else {
		for _, s := range group {
			if s.err = err; err == nil {
				s.kept, kept = kept[:len(s.events):len(s.events)], kept[len(s.events):]
			}
		}
	}
	var fresh []store.DueEvent
	for _, s := range group {
		for i, id := range s.kept {
			if e := s.events[i]; e.ID == id {
				fresh = append(fresh, store.DueEvent{Workspace: e.WorkspaceID, ID: id})
			}
		}
	}
	g.jobs.EnqueueJobs(ctx, matchJobs(fresh))
}
