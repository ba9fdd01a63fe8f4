package worker

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAgentsNeverHaveTheLastSlots(t *testing.T) {
	t.Parallel()
	each := strconv.Itoa // a workspace for each
	for total, share := range map[int]int{1: 1, 2: 1, 4: 3, 20: 15} {
		s := newSlots(total, false)
		for i := range share {
			require.True(t, s.try(each(i), true))
		}
		require.False(t, s.try("agents", true))
		for i := range total - share {
			require.True(t, s.try(each(i), false))
		}
		require.False(t, s.try("quick", false))
	}
	s := newSlots(4, true)
	for i := range 4 {
		require.True(t, s.try(each(i), true), "where there is nothing else to do, agents have all")
	}
}

func TestNoWorkspaceHasTheLastSlots(t *testing.T) {
	t.Parallel()
	for total, share := range map[int]int{1: 1, 2: 2, 3: 2, 8: 7, 100: 88} {
		s := newSlots(total, false)
		for range share {
			require.True(t, s.try("busy", false))
		}
		require.False(t, s.try("busy", false) && share < total)
		if share < total {
			require.True(t, s.try("quiet", false))
		}
		s.release("busy", false)
		require.True(t, s.try("busy", false))
	}
}

// TestWhoHoldsFewerIsServedFirst lets a flood of one workspace wait, and then another
// one come: by the release of one slot it has its own.
func TestWhoHoldsFewerIsServedFirst(t *testing.T) {
	t.Parallel()
	s := newSlots(3, false)
	require.True(t, s.try("busy", false))
	require.True(t, s.try("busy", false))
	require.True(t, s.try("other", false))
	got := make(chan string, 8)
	ctx, leave := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer leave()
	wait := func(workspace string, rank int) {
		s.mu.Lock()
		before := len(s.waiters)
		s.mu.Unlock()
		waiting.Go(func() {
			if s.acquire(ctx, workspace, false, rank) == nil {
				got <- workspace
			}
		})
		require.Eventually(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.waiters) == before+1
		}, 10*time.Second, time.Millisecond)
	}
	for range 5 {
		wait("busy", 1)
	}
	wait("quiet", -1)
	require.True(t, s.outdone("busy"), "its chain of steps ends here")
	require.False(t, s.outdone("quiet"))
	s.release("busy", false)
	require.Equal(t, "quiet", <-got, "whatever its rank and whenever it came")
	require.False(t, s.outdone("busy"))
	s.release("other", false)
	require.Equal(t, "busy", <-got, "what nobody else wants")
	s.release("quiet", false)
	s.mu.Lock()
	free, held := s.free, s.held["busy"]
	s.mu.Unlock()
	require.Equal(t, 1, free, "the last one is for the next that comes")
	require.Equal(t, 2, held)
	require.True(t, s.try("late", false), "which does not stand in line behind the flood")
}

func TestAWorkspaceUsesALaneWithinItsShare(t *testing.T) {
	t.Parallel()
	l := newLaneShares()
	allowed := 0
	for range 10 * laneBurst {
		if l.allow("busy") {
			allowed++
		}
	}
	require.GreaterOrEqual(t, allowed, laneBurst)
	require.Less(t, allowed, 10*laneBurst)
	require.True(t, l.allow("quiet"))
}

func TestSlotsAreGivenInTheOrderOfAsking(t *testing.T) {
	t.Parallel()
	s := newSlots(1, false)
	require.True(t, s.try("ws", false))
	got := make(chan int, 3)
	for i := range 3 {
		go func() {
			if s.acquire(context.Background(), "ws", false, 0) == nil {
				got <- i
			}
		}()
		require.Eventually(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.waiters) == i+1
		}, 10*time.Second, time.Millisecond)
	}
	for want := range 3 {
		s.release("ws", false)
		require.Equal(t, want, <-got)
	}
}

func TestWhoDoesNotWaitForASlotGetsNone(t *testing.T) {
	t.Parallel()
	s := newSlots(1, false)
	require.True(t, s.try("ws", false))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.acquire(ctx, "ws", false, 0), context.Canceled)
	require.False(t, s.waiting())
	s.release("ws", false)
	require.True(t, s.try("ws", false))
}

func TestASlotChangesItsKindWithinTheShare(t *testing.T) {
	t.Parallel()
	s := newSlots(2, false) // one of them for agents
	require.True(t, s.try("ws", false))
	require.True(t, s.change(false, true))
	require.False(t, s.try("ws", true))
	require.True(t, s.try("ws", false))
	require.False(t, s.change(false, true), "the share is used up")
	require.True(t, s.change(true, false))
	require.True(t, s.change(false, true))
}

func TestSlotsAddUpUnderLoad(t *testing.T) {
	t.Parallel()
	const total = 5
	s := newSlots(total, false)
	var busy, agents, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			agent := i%2 == 0
			for range 200 {
				ctx, stop := context.WithTimeout(t.Context(), time.Duration(i)*50*time.Microsecond)
				err := s.acquire(ctx, "ws", agent, i%3-1)
				stop()
				if err != nil {
					continue
				}
				n := busy.Add(1)
				most.Store(max(n, most.Load()))
				if agent {
					agents.Add(1)
				}
				if n > total || agents.Load() > total-1 {
					t.Errorf("%d busy, %d of them agents", n, agents.Load())
				}
				if agent {
					agents.Add(-1)
				}
				busy.Add(-1)
				s.release("ws", agent)
			}
		})
	}
	wg.Wait()
	require.Positive(t, most.Load())
	require.Equal(t, total, s.free)
	require.Equal(t, total-1, s.agents)
	require.NoError(t, s.awaitFree(t.Context()))
}

func TestAwaitFreeWaitsForARelease(t *testing.T) {
	t.Parallel()
	s := newSlots(1, false)
	require.NoError(t, s.awaitFree(t.Context()))
	require.True(t, s.try("ws", false))
	free := make(chan error, 1)
	go func() { free <- s.awaitFree(context.Background()) }()
	s.release("ws", false)
	require.NoError(t, <-free)
}

// waitInLine has somebody wait for a slot and returns when that one stands in line.
func waitInLine(t *testing.T, s *slots, rank int, got chan<- int) {
	t.Helper()
	s.mu.Lock()
	before := len(s.waiters)
	s.mu.Unlock()
	go func() {
		if s.acquire(context.Background(), "ws", false, rank) == nil {
			got <- rank
		}
	}()
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.waiters) == before+1
	}, 10*time.Second, time.Millisecond)
}

func TestWhoHasTheHigherRankIsServedFirst(t *testing.T) {
	t.Parallel()
	s := newSlots(1, false)
	require.True(t, s.try("ws", false))
	got := make(chan int, 6)
	for _, rank := range []int{-1, 0, -1, 1, 0, 1} {
		waitInLine(t, s, rank, got)
	}
	for _, want := range []int{1, 1, 0, 0, -1, -1} {
		s.release("ws", false)
		require.Equal(t, want, <-got)
	}
}

func TestNobodyIsPassedForEver(t *testing.T) {
	t.Parallel()
	s := newSlots(1, false)
	require.True(t, s.try("ws", false))
	got := make(chan int, 20)
	waitInLine(t, s, -1, got)
	for range 10 {
		waitInLine(t, s, 1, got)
	}
	var order []int
	for range 11 {
		s.release("ws", false)
		order = append(order, <-got)
	}
	require.Equal(t, []int{1, 1, 1, 1, 1, 1, 1, -1, 1, 1, 1}, order)
}
