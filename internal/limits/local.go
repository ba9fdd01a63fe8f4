package limits

import (
	"math"
	"sync"
	"time"
)

// local counts in this process.
type local struct {
	now func() time.Time

	mu     sync.Mutex
	states map[string]*state
}

// state is what is known of one key.
type state struct {
	full    time.Time // when the whole Count is there again (GCRA)
	blocked time.Time // nothing before
	in      map[string]time.Time
	waiting map[string]time.Time
	took    time.Duration
}

// mostStates bounds the keys that are remembered.
const mostStates = 10_000

func newLocal(now func() time.Time) *local { return &local{now: now, states: map[string]*state{}} }

// of gives the state of a key. The lock is held.
func (l *local) of(key string, now time.Time) *state {
	s := l.states[key]
	if s != nil {
		return s
	}
	if len(l.states) >= mostStates {
		for k, s := range l.states {
			if s.idle(now) {
				delete(l.states, k)
			}
		}
		if len(l.states) >= mostStates {
			clear(l.states) // as many busy ones: forgetting is kinder than growing
		}
	}
	s = &state{in: map[string]time.Time{}, waiting: map[string]time.Time{}, took: firstGuess}
	l.states[key] = s
	return s
}

func (s *state) idle(now time.Time) bool {
	return !s.full.After(now) && !s.blocked.After(now) && len(s.in) == 0
}

// localLease is how long a holder counts here: who holds a place in this process
// cannot fall silent without it.
const localLease = 24 * time.Hour

func (l *local) enter(key, holder string, limit Limit, hasTurn bool) Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	return l.of(key, now).enter(now, holder, limit, hasTurn)
}

// enter is the rule; enterScript is the same in Redis.
func (s *state) enter(now time.Time, holder string, limit Limit, hasTurn bool) Verdict {
	var share time.Duration
	if limit.Count > 0 {
		share = limit.Per / time.Duration(limit.Count)
	}
	if s.blocked.After(now) {
		at := latest(s.full, s.blocked)
		if limit.Count > 0 {
			s.full = at.Add(share)
			at = latest(s.full.Add(-limit.Per), s.blocked)
		} else {
			s.full = at.Add(pace)
			at = s.full
		}
		return Verdict{CauseBlock, at.Sub(now)}
	}
	if limit.Count > 0 && !hasTurn {
		s.full = latest(s.full, now).Add(share)
		if at := s.full.Add(-limit.Per); at.After(now) {
			return Verdict{CauseRate, at.Sub(now)}
		}
	}
	if limit.Concurrency > 0 {
		drop(s.in, now)
		drop(s.waiting, now)
		if _, already := s.in[holder]; !already && len(s.in) >= limit.Concurrency {
			s.waiting[holder] = now.Add(waiterLife)
			rounds := math.Ceil(float64(len(s.waiting)) / float64(limit.Concurrency))
			return Verdict{CauseConcurrency, min(max(time.Duration(float64(s.took)*rounds), leastGuess), mostGuess)}
		}
		s.in[holder] = now.Add(localLease)
		delete(s.waiting, holder)
	}
	return Verdict{}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// drop forgets those whose time is over.
func drop(until map[string]time.Time, now time.Time) {
	for name, at := range until {
		if !at.After(now) {
			delete(until, name)
		}
	}
}

func (l *local) leave(key, holder string, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.states[key]
	if s == nil {
		return
	}
	delete(s.in, holder)
	s.took = (s.took*4 + took) / 5
}

func (l *local) block(key string, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	s := l.of(key, now)
	s.blocked = latest(s.blocked, now.Add(d))
}
