package acceptance_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// startLimit is how long a process may take to serve. It is generous: the
	// machine may be busy with other tests.
	startLimit = time.Minute
	// endLimit is how long runs may take to end.
	endLimit = 3 * time.Minute
)

// waitFor asks again and again until it is told that what it waits for is there.
func waitFor(t *testing.T, limit time.Duration, what string, there func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !there() {
		select {
		case <-tick.C:
		case <-deadline.C:
			require.FailNowf(t, "waited in vain", "for %s, %s long", what, limit)
		}
	}
}

// inParallel calls do for 0 … n-1 from so many clients at once.
func inParallel(t *testing.T, clients, n int, do func(i int) error) {
	t.Helper()
	require.NoError(t, gather(clients, n, do))
}

// gather is inParallel for use beside the test's own goroutine.
func gather(clients, n int, do func(i int) error) error {
	var (
		mu    sync.Mutex
		next  int
		first error
		wg    sync.WaitGroup
	)
	for range clients {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				over := i >= n || first != nil
				mu.Unlock()
				if over {
					return
				}
				if err := do(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}

// busy is held by the one test that loads the machine. What is measured would say
// nothing if two did.
var busy sync.Mutex

// alone waits until no other test loads the machine. The test is alone until it
// calls what is returned, or ends.
func alone(t *testing.T) (done func()) {
	t.Helper()
	busy.Lock()
	done = sync.OnceFunc(busy.Unlock)
	t.Cleanup(done)
	return done
}
