package worker

import (
	"context"
	"slices"
	"sync"
)

// slots bound how much a process does at once, whoever brings the work. Steps of
// agents may take minutes each, so they can never have the last slots: quick
// steps always find some.
type slots struct {
	mu      sync.Mutex
	free    int
	agents  int       // of the free ones, how many agents may still take
	waiters []*waiter // by rank, and then as they came
	came    int
	passed  int           // how often in a row somebody was passed by one who came later
	opened  chan struct{} // closed when a slot is free
}

type waiter struct {
	agent bool
	rank  int // those of a higher one go first
	since int // counts those who wait
	given chan struct{}
}

// newSlots makes n slots, of which a quarter is kept from agents, unless there
// is no other work to keep them for.
func newSlots(n int, onlyAgents bool) *slots {
	agents := n
	if !onlyAgents && n > 1 {
		agents = n - max(1, n/4)
	}
	s := &slots{free: n, agents: agents, opened: make(chan struct{})}
	close(s.opened)
	return s
}

func (s *slots) fits(agent bool) bool { return s.free > 0 && (!agent || s.agents > 0) }

func (s *slots) take(agent bool) {
	s.free--
	if agent {
		s.agents--
	}
	if s.free == 0 {
		s.opened = make(chan struct{})
	}
}

// try takes a slot if one is free and nobody waits for it.
func (s *slots) try(agent bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fits(agent) || s.waits(agent) {
		return false
	}
	s.take(agent)
	return true
}

func (s *slots) waits(agent bool) bool {
	for _, w := range s.waiters {
		if w.agent == agent {
			return true
		}
	}
	return false
}

// acquire waits for a slot. Who has the higher rank is served first, and of those
// who have the same, who came first.
func (s *slots) acquire(ctx context.Context, agent bool, rank int) error {
	s.mu.Lock()
	if s.fits(agent) && !s.waits(agent) {
		s.take(agent)
		s.mu.Unlock()
		return nil
	}
	s.came++
	w := &waiter{agent: agent, rank: rank, since: s.came, given: make(chan struct{})}
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
	for i, other := range s.waiters {
		if other == w {
			s.waiters = append(s.waiters[:i], s.waiters[i+1:]...)
			break
		}
	}
	return context.Cause(ctx)
}

// release gives a slot back.
func (s *slots) release(agent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
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
	for {
		next, oldest := -1, -1
		for i, w := range s.waiters {
			if !s.fits(w.agent) {
				continue
			}
			if next < 0 {
				next = i
			}
			if oldest < 0 || w.since < s.waiters[oldest].since {
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
		s.take(w.agent)
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
