package limits

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// untroubled is for limiters whose Redis answers, however slow the machine is.
const untroubled = time.Minute

// each runs a test on limiters of two processes: ones that share a Redis of each
// kind, and, as the same one twice, one that counts alone.
func each(t *testing.T, test func(t *testing.T, one, two *Limiter)) {
	t.Helper()
	open := func(t *testing.T, rdb *redis.Client) *Limiter {
		l := New(Config{Redis: rdb, Patience: untroubled})
		t.Cleanup(l.Close)
		return l
	}
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		l := open(t, nil)
		test(t, l, l)
	})
	shared := func(name string, options func(t *testing.T) *redis.Options) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redis.NewClient(options(t))
			t.Cleanup(func() { require.NoError(t, rdb.Close()) })
			test(t, open(t, rdb), open(t, rdb))
		})
	}
	shared("miniredis", func(t *testing.T) *redis.Options { return &redis.Options{Addr: testkit.Miniredis(t).Addr()} })
	if testkit.HaveRedis() {
		shared("redis", func(t *testing.T) *redis.Options {
			opt, err := redis.ParseURL(testkit.RedisURL(t))
			require.NoError(t, err)
			return opt
		})
	}
}

const slack = 10 * time.Second // of times that are hours apart

func TestSoManyBeginAtOnceAndTheOthersKnowTheirTurn(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, one, two *Limiter) {
		limit := Limit{Count: 4, Per: 4 * time.Hour}
		enter := func(l *Limiter, who string, hasTurn bool) Verdict {
			return l.Enter(t.Context(), "k", who, limit, hasTurn)
		}
		for i := range 4 {
			l := one
			if i%2 == 1 {
				l = two
			}
			require.Equal(t, Verdict{}, enter(l, strconv.Itoa(i), false))
		}
		for i := range 3 {
			v := enter(two, "late"+strconv.Itoa(i), false)
			require.Equal(t, CauseRate, v.Cause)
			require.InDelta(t, time.Duration(i+1)*time.Hour, v.Wait, float64(slack), "each has a turn of its own")
		}
		require.Equal(t, Verdict{}, enter(one, "late0", true), "a turn that was kept is not counted again")
		v := enter(one, "last", false)
		require.InDelta(t, 4*time.Hour, v.Wait, float64(slack))
		require.Equal(t, Verdict{}, one.Enter(t.Context(), "other", "a", limit, false))
	})
}

func TestABlockHoldsForAllAndThenTheyComeOneByOne(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, one, two *Limiter) {
		one.Block(t.Context(), "k", 2*time.Hour)
		one.Block(t.Context(), "k", time.Hour) // shorter: nothing new
		for i := range 5 {
			v := two.Enter(t.Context(), "k", strconv.Itoa(i), Limit{}, i%2 == 0)
			require.Equal(t, CauseBlock, v.Cause, "with a turn or without")
			require.InDelta(t, 2*time.Hour, v.Wait, float64(slack))
		}
		require.Equal(t, Verdict{}, two.Enter(t.Context(), "other", "a", Limit{}, false))

		limit := Limit{Count: 2, Per: 2 * time.Hour}
		two.Block(t.Context(), "paced", time.Hour)
		for i, hours := range []int{1, 1, 2, 3} {
			v := one.Enter(t.Context(), "paced", strconv.Itoa(i), limit, false)
			require.Equal(t, CauseBlock, v.Cause)
			require.InDelta(t, time.Duration(hours)*time.Hour, v.Wait, float64(slack), "after the block the rate holds: %d", i)
		}
	})
}

func TestAfterABlockTheyDoNotComeAllAtOnce(t *testing.T) {
	t.Parallel()
	now := time.Now()
	l := newLocal(func() time.Time { return now })
	l.block("k", time.Minute)
	for i := range 5 {
		require.Equal(t, Verdict{CauseBlock, time.Minute + time.Duration(i+1)*pace}, l.enter("k", strconv.Itoa(i), Limit{}, true))
	}
}

func TestABlockEnds(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, one, two *Limiter) {
		one.Block(t.Context(), "k", time.Second) // long enough to be seen on a busy machine
		require.Equal(t, CauseBlock, two.Enter(t.Context(), "k", "a", Limit{}, false).Cause)
		require.Eventually(t, func() bool {
			return two.Enter(t.Context(), "k", "a", Limit{}, true) == Verdict{}
		}, 10*time.Second, 5*time.Millisecond)
	})
}

func TestSoManyAreAtItAtOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, one, two *Limiter) {
		limit := Limit{Concurrency: 2}
		enter := func(l *Limiter, who string) Verdict { return l.Enter(t.Context(), "k", who, limit, false) }
		require.Equal(t, Verdict{}, enter(one, "a"))
		require.Equal(t, Verdict{}, enter(two, "b"))
		require.Equal(t, Verdict{}, enter(two, "b"), "who is in may ask again")
		var guesses []time.Duration
		for _, who := range []string{"c", "d", "e", "c"} {
			v := enter(one, who)
			require.Equal(t, CauseConcurrency, v.Cause)
			guesses = append(guesses, v.Wait)
		}
		require.Equal(t, []time.Duration{firstGuess, firstGuess, 2 * firstGuess, 2 * firstGuess}, guesses, "who waits counts once")
		one.Leave(t.Context(), "k", "a", limit, time.Second)
		require.Equal(t, Verdict{}, enter(two, "c"))
		require.Equal(t, CauseConcurrency, enter(one, "d").Cause)
	})
}

func TestNeverMoreAtOnceThanAllowed(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, one, two *Limiter) {
		limit := Limit{Concurrency: 3}
		var in, most, done atomic.Int64
		var wg sync.WaitGroup
		for i := range 24 {
			l, who := one, fmt.Sprint("h", i)
			if i%2 == 0 {
				l = two
			}
			wg.Go(func() {
				for done.Load() < 200 {
					if (l.Enter(t.Context(), "k", who, limit, false) != Verdict{}) {
						continue
					}
					most.Store(max(most.Load(), in.Add(1)))
					in.Add(-1)
					l.Leave(t.Context(), "k", who, limit, time.Millisecond)
					done.Add(1)
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, most.Load(), int64(3))
		require.Positive(t, most.Load())
	})
}

func TestWhoFallsSilentLosesItsPlace(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: testkit.Miniredis(t).Addr()})
	t.Cleanup(func() { require.NoError(t, rdb.Close()) })
	const lease = 2 * time.Second // what is left after a renewal is more than a busy machine holds the next one up
	limit := Limit{Concurrency: 1}
	alive, dead := New(Config{Redis: rdb, Lease: lease, Patience: untroubled}), New(Config{Redis: rdb, Lease: lease, Patience: untroubled})
	t.Cleanup(alive.Close)
	require.Equal(t, Verdict{}, dead.Enter(t.Context(), "a", "x", limit, false))
	require.Equal(t, Verdict{}, alive.Enter(t.Context(), "b", "y", limit, false))
	dead.Close() // its process is gone: nobody renews the lease
	require.Eventually(t, func() bool {
		return alive.Enter(t.Context(), "a", "z", limit, false) == Verdict{}
	}, 10*time.Second, 5*time.Millisecond)
	require.Equal(t, CauseConcurrency, alive.Enter(t.Context(), "b", "z", limit, false).Cause, "a lease that is renewed holds")
}

func TestWithoutRedisAProcessCountsForItself(t *testing.T) {
	t.Parallel()
	m := testkit.Miniredis(t)
	rdb := redis.NewClient(&redis.Options{Addr: m.Addr(), MaxRetries: -1})
	t.Cleanup(func() { require.NoError(t, rdb.Close()) })
	l := New(Config{Redis: rdb})
	t.Cleanup(l.Close)
	m.SetError("out of order")
	limit := Limit{Count: 2, Per: time.Hour, Concurrency: 2}
	require.Equal(t, Verdict{}, l.Enter(t.Context(), "k", "a", limit, false))
	require.Equal(t, Verdict{}, l.Enter(t.Context(), "k", "b", limit, false))
	require.Equal(t, CauseRate, l.Enter(t.Context(), "k", "c", limit, false).Cause)
	require.Equal(t, CauseConcurrency, l.Enter(t.Context(), "k", "c", limit, true).Cause)
	l.Leave(t.Context(), "k", "a", limit, time.Second)
	require.Equal(t, Verdict{}, l.Enter(t.Context(), "k", "c", limit, true))
}

func TestManyKeysAreForgotten(t *testing.T) {
	t.Parallel()
	now := time.Now()
	l := newLocal(func() time.Time { return now })
	for i := range mostStates + 10 {
		l.enter(strconv.Itoa(i), "a", Limit{Count: 1, Per: time.Second}, false)
		now = now.Add(time.Millisecond)
	}
	require.LessOrEqual(t, len(l.states), mostStates)
	require.Equal(t, CauseRate, l.enter(strconv.Itoa(mostStates+9), "a", Limit{Count: 1, Per: time.Second}, false).Cause, "those in use stay")
}
