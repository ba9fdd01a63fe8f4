// Package clock says what time it is. Everything that decides by time is given a
// Clock, so that tests can move it and so that all processes agree on one.
//
// It imports nothing of ours.
package clock

import (
	"context"
	"sync"
	"time"
)

// Clock tells the time: UTC, whole microseconds, so that both databases give
// back what went in.
type Clock interface{ Now() time.Time }

// System is the clock of this process.
type System struct{}

// Now is the present.
func (System) Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// Fake stands still until it is moved. It may be used concurrently.
type Fake struct {
	mu  sync.Mutex
	now time.Time
}

// NewFake starts a Fake at now.
func NewFake(now time.Time) *Fake { return &Fake{now: now.UTC().Truncate(time.Microsecond)} }

// Now is where the clock stands.
func (f *Fake) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Advance moves the clock by d and tells where it then stands.
func (f *Fake) Advance(d time.Duration) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
	return f.now
}

// Shared follows the clock of a database, so that processes on hosts whose clocks
// differ agree on what is due. Between two readings it counts with the monotonic
// clock: a host whose time jumps does not carry the engine along.
type Shared struct {
	readFunc func(context.Context) (time.Time, error)

	mu   sync.RWMutex
	base time.Time // database time at mark
	mark time.Time // with its monotonic reading
}

// NewShared makes a Shared over read, which asks the database. It stands at this
// process's time until the first Sync.
func NewShared(read func(context.Context) (time.Time, error)) *Shared {
	now := time.Now()
	return &Shared{readFunc: read, base: now, mark: now}
}

// Sync asks the database for its time and tells how far this host's clock is
// ahead of it. The owner calls it at start and then every few seconds.
func (s *Shared) Sync(ctx context.Context) (ahead time.Duration, err error) {
	sent := time.Now()
	at, err := s.readFunc(ctx)
	if err != nil {
		return 0, err
	}
	got := time.Now()
	mark := sent.Add(got.Sub(sent) / 2) // the reading was taken about half-way
	s.mu.Lock()
	s.base, s.mark = at, mark
	s.mu.Unlock()
	return mark.Round(0).Sub(at), nil
}

// Now is the database's time.
func (s *Shared) Now() time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.base.Add(time.Since(s.mark)).UTC().Truncate(time.Microsecond)
}
