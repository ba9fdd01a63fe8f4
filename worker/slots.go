package worker

import (
	"context"
	"slices"
	"sync"
)

// slots bound how much a process does at once, whoever brings the work, and share it
// out. A workspace with a flood of steps holds what nobody else wants, but never the
// last slots: the next step of another one begins at once. Nor do steps of agents,
// which may take minutes each: quick steps always find some.
type slots struct {
	mu      sync.Mutex
	free    int
	agents  int            // of the free ones, how many agents may still take
	most    int            // how many a workspace may hold
	held    map[string]int // by workspace
	waiters []*waiter      // by rank, and then as they came
	came    int
	passed  int           // how often in a row somebody was passed by one of higher rank who came later
	opened  chan struct{} // closed when a slot is free
}

type waiter struct {
	workspace string
	agent     bool
	rank      int // those of a higher one go first, within a workspace
	since     int // counts those who wait
	given     chan struct{}
}

// newSlots makes n slots. A quarter is kept from agents, unless there is no other
// work to keep them for, and an eighth from whichever workspace holds all others.
func newSlots(n int, onlyAgents bool) *slots {
	agents := n
	if !onlyAgents && n > 1 {
		agents = n - max(1, n/4)
	}
	most := n
	if n > 2 {
		most = n - max(1, n/8)
	}
	s := &slots{free: n, agents: agents, most: most, held: map[string]int{}, opened: make(chan struct{})}
	close(s.opened)
	return s
}

func (s *slots) fits(workspace string, agent bool) bool {
	return s.free > 0 && (!agent || s.agents > 0) && s.held[workspace] < s.most
}

func (s *slots) take(workspace string, agent bool) {
	s.free--
	s.held[workspace]++
	if agent {
		s.agents--
	}
	if s.free == 0 {
		s.opened = make(chan struct{})
	}
}

// try takes a slot if one is free and nobody waits who goes first.
func (s *slots) try(workspace string, agent bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fits(workspace, agent) || s.first(workspace, agent) {
		return false
	}
	s.take(workspace, agent)
	return true
}

// first tells whether somebody waits for a slot of that kind who goes before one of
// the workspace that comes now.
func (s *slots) first(workspace string, agent bool) bool {
	return slices.ContainsFunc(s.waiters, func(w *waiter) bool {
		return w.agent == agent && s.held[w.workspace] < s.most && s.held[w.workspace] <= s.held[workspace]
	})
}

// acquire waits for a slot. The workspace that holds the fewest is served first; then
// who has the higher rank, and of those who have the same, who came first.
func (s *slots) acquire(ctx context.Context, workspace string, agent bool, rank int) error {
	s.mu.Lock()
	if s.fits(workspace, agent) && !s.first(workspace, agent) {
		s.take(workspace, agent)
		s.mu.Unlock()
		return nil
	}
	s.came++
	w := &waiter{workspace: workspace, agent: agent, rank: rank, since: s.came, given: make(chan struct{})}
	at := len(s.waiters)
	for at > 0 && s.waiters[at-1].rank < rank {
		at--
	}
	s.waiters = slices.Insert(s.waiters, at, w)
	s.mu.Unlock()
	select {
	case <-w.given:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-w.given: // given and given up at the same time
		return nil
	default:
	}
	if at := slices.Index(s.waiters, w); at >= 0 {
		s.waiters = slices.Delete(s.waiters, at, at+1)
	}
	return context.Cause(ctx)
}

// release gives a slot back.
func (s *slots) release(workspace string, agent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	if s.held[workspace]--; s.held[workspace] == 0 {
		delete(s.held, workspace)
	}
	if agent {
		s.agents++
	}
	s.hand()
	if s.free > 0 {
		select {
		case <-s.opened:
		default:
			close(s.opened)
		}
	}
}

// mostPassed is how often in a row those who wait may be passed by others of higher
// rank: then it is the turn of who came first, so that nobody waits for ever.
const mostPassed = 7

// hand gives what is free to those who wait and can use it.
func (s *slots) hand() {
	for s.free > 0 {
		next, oldest := -1, -1
		for i, w := range s.waiters {
			if !s.fits(w.workspace, w.agent) {
				continue
			}
			if next < 0 || s.held[w.workspace] < s.held[s.waiters[next].workspace] {
				next, oldest = i, i // of a workspace that holds fewer
				continue
			}
			if s.held[w.workspace] == s.held[s.waiters[next].workspace] && w.since < s.waiters[oldest].since {
				oldest = i
			}
		}
		switch {
		case next < 0:
			return
		case s.waiters[next].rank == s.waiters[oldest].rank:
			s.passed = 0
		case s.passed == mostPassed:
			next, s.passed = oldest, 0
		default:
			s.passed++
		}
		w := s.waiters[next]
		s.waiters = slices.Delete(s.waiters, next, next+1)
		s.take(w.workspace, w.agent)
		close(w.given)
	}
}

// change turns a slot that is held into one for agents, or back. It fails when
// agents have their share already.
func (s *slots) change(from, to bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case from == to:
	case to && s.agents == 0:
		return false
	case to:
		s.agents--
	default:
		s.agents++
		s.hand()
	}
	return true
}

// waiting tells whether somebody waits for a slot.
func (s *slots) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiters) > 0
}

// outdone tells whether somebody waits whose workspace holds fewer slots than this
// one: its slot is due to them.
func (s *slots) outdone(workspace string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.waiters, func(w *waiter) bool { return s.held[w.workspace]+1 < s.held[workspace] })
}

// awaitFree waits until a slot is free, and does not take it.
func (s *slots) awaitFree(ctx context.Context) error {
	s.mu.Lock()
	opened := s.opened
	s.mu.Unlock()
	select {
	case <-opened:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
