package api

import (
	"context"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store/storetest"
)

func TestTheQuotaComesBackLittleByLittle(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := newLocalLimiter(6, func() time.Time { return now }) // one every ten seconds
	for i := range 6 {
		v := l.take("a")
		require.True(t, v.allowed)
		require.Equal(t, 5-i, v.remaining)
		require.Equal(t, time.Duration(i+1)*10*time.Second, v.reset)
	}
	require.False(t, l.peek("a").allowed)
	v := l.take("a")
	require.Equal(t, verdict{reset: time.Minute, retryAfter: 10 * time.Second}, v)
	require.True(t, l.take("b").allowed, "others are not held up")
	now = now.Add(9 * time.Second)
	require.Equal(t, time.Second, l.take("a").retryAfter)
	now = now.Add(time.Second)
	require.True(t, l.take("a").allowed)
	require.False(t, l.take("a").allowed)
	now = now.Add(time.Hour)
	require.Equal(t, 5, l.take("a").remaining, "no more is saved up than the quota")
}

func TestALocalLimiterDoesNotGrowForEver(t *testing.T) {
	t.Parallel()
	now := time.Now()
	l := newLocalLimiter(60, func() time.Time { return now })
	for i := range mostKeys + 10 {
		l.take(strconv.Itoa(i))
		now = now.Add(time.Millisecond)
	}
	require.LessOrEqual(t, len(l.full), mostKeys)
}

// untroubled is for limiters whose Redis answers, however slow the machine is.
const untroubled = time.Minute

// redises gives a client of every Redis there is.
func redises(t *testing.T, test func(t *testing.T, rdb *redis.Client)) {
	t.Helper()
	run := func(name string, options func(t *testing.T) *redis.Options) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redis.NewClient(options(t))
			t.Cleanup(func() { require.NoError(t, rdb.Close()) })
			test(t, rdb)
		})
	}
	run("miniredis", func(t *testing.T) *redis.Options { return &redis.Options{Addr: testkit.Miniredis(t).Addr()} })
	if testkit.HaveRedis() {
		run("redis", func(t *testing.T) *redis.Options {
			opt, err := redis.ParseURL(testkit.RedisURL(t))
			require.NoError(t, err)
			return opt
		})
	}
}

func TestProcessesCountTogether(t *testing.T) {
	t.Parallel()
	redises(t, func(t *testing.T, rdb *redis.Client) {
		// The local ones allow everything: only Redis can refuse.
		one := newLimiter(10, untroubled, rdb, newLocalLimiter(1e6, time.Now), obs.Discard())
		two := newLimiter(10, untroubled, rdb, newLocalLimiter(1e6, time.Now), obs.Discard())
		t.Cleanup(func() { require.NoError(t, one.close()); require.NoError(t, two.close()) })
		for i := range 10 {
			l := one
			if i%2 == 1 {
				l = two
			}
			v := l.take(t.Context(), "k")
			require.True(t, v.allowed)
			require.InDelta(t, 9-i, v.remaining, 1)
		}
		v := two.take(t.Context(), "k")
		require.False(t, v.allowed)
		require.Zero(t, v.remaining)
		require.InDelta(t, 6, v.retryAfter.Seconds(), 1.5)
		require.True(t, two.take(t.Context(), "other").allowed)
		ttl, err := rdb.PTTL(t.Context(), "flows:rate:k").Result()
		require.NoError(t, err)
		require.InDelta(t, 60, ttl.Seconds(), 2, "counters go away by themselves")
	})
}

// A Redis that accepts connections and says nothing is the worst kind of away.
func TestRedisAwayCostsNoRequestAndLittleTime(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	for name, addr := range map[string]string{"silent": silent.Addr().String(), "refused": closed.Addr().String(), "unreachable": "192.0.2.1:6379"} {
		rdb := redis.NewClient(&redis.Options{Addr: addr})
		l := newLimiter(5, redisPatience, rdb, newLocalLimiter(5, time.Now), obs.Discard())
		began := time.Now()
		for range 5 {
			require.True(t, l.take(context.Background(), "k").allowed, name)
		}
		require.False(t, l.take(context.Background(), "k").allowed, "%s: this process goes on counting", name)
		require.Less(t, time.Since(began), time.Second, name)
		require.NoError(t, l.close())
		require.NoError(t, l.close())
		require.NoError(t, rdb.Close())
	}
}

// A Redis that hangs costs those who have asked it their patience, once; whoever
// waited behind them, and whoever comes during the rest, does not ask.
func TestRedisIsAskedOnceWhileItHangs(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	reached := make(chan net.Conn, 100)
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				close(reached)
				return
			}
			reached <- conn
		}
	}()
	now := time.Now()
	rdb := redis.NewClient(&redis.Options{Addr: silent.Addr().String()})
	l := newLimiter(100, redisPatience, rdb, newLocalLimiter(100, func() time.Time { return now }), obs.Discard())
	asked := make(chan struct{})
	go func() { defer close(asked); l.take(t.Context(), "k") }()
	first := <-reached
	var behind sync.WaitGroup
	for range 5 { // the same caller's other requests, which wait for the first
		behind.Go(func() { require.True(t, l.take(t.Context(), "k").allowed) })
	}
	<-asked
	behind.Wait()
	for i := range 20 {
		_, err := l.ask(t.Context(), strconv.Itoa(i), 1)
		require.ErrorIs(t, err, errResting)
	}
	require.Empty(t, reached, "nobody else has asked")

	now = now.Add(redisRest)
	_, err = l.ask(t.Context(), "k", 1)
	require.NotErrorIs(t, err, errResting, "after a rest one tries again")
	_, err = l.ask(t.Context(), "k", 1)
	require.ErrorIs(t, err, errResting)
	require.NoError(t, first.Close())
	require.NoError(t, silent.Close())
	for conn := range reached {
		require.NoError(t, conn.Close())
	}
	require.NoError(t, l.close())
	require.NoError(t, rdb.Close())
}

func TestRedisIsCountedWithAgainOnceItIsBack(t *testing.T) {
	t.Parallel()
	mini := testkit.Miniredis(t)
	now := time.Now()
	rdb := redis.NewClient(&redis.Options{Addr: mini.Addr()})
	l := newLimiter(10, untroubled, rdb, newLocalLimiter(10, func() time.Time { return now }), obs.Discard())
	t.Cleanup(func() { require.NoError(t, l.close()); require.NoError(t, rdb.Close()) })
	mini.SetError("LOADING")
	_, err := l.ask(t.Context(), "k", 1)
	require.ErrorContains(t, err, "LOADING")
	mini.SetError("")
	_, err = l.ask(t.Context(), "k", 1)
	require.ErrorIs(t, err, errResting)
	now = now.Add(redisRest)
	for range 2 {
		_, err = l.ask(t.Context(), "k", 1)
		require.NoError(t, err)
	}
}

func TestTooManyRequestsAreToldWhenToGoOn(t *testing.T) {
	t.Parallel()
	redises(t, func(t *testing.T, rdb *redis.Client) {
		s := storetest.SQLite(t) // its limiter counts in the process
		if testkit.HavePostgres() {
			s = storetest.Postgres(t)
		}
		b := setup(t, s, options{cfg: Config{RateLimit: 5}, redis: rdb})
		for i := range 5 {
			got := b.call(t, "GET", "/whoami", "")
			require.Equal(t, 200, got.status)
			require.Equal(t, `"default";q=5;w=60`, got.header.Get("RateLimit-Policy"))
			require.Regexp(t, `^"default";r=`+strconv.Itoa(4-i)+`;t=\d+$`, got.header.Get("RateLimit"))
		}
		got := b.call(t, "GET", "/whoami", "")
		require.Equal(t, 429, got.status)
		require.Equal(t, "rate_limited", got.str(t, "code"))
		after, err := strconv.Atoi(got.header.Get("Retry-After"))
		require.NoError(t, err)
		require.InDelta(t, 12, after, 1)
		require.Regexp(t, `^"default";r=0;t=\d+$`, got.header.Get("RateLimit"))
		other := b.newKey(t, b.ws, models.ScopeAll)
		require.Equal(t, 200, b.as(t, other, "GET", "/whoami", "").status, "another key has a quota of its own")
		require.Equal(t, 200, b.as(t, "", "GET", "/livez", "").status)
	})
}

func TestStrangersAreHeldUpByAddress(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{cfg: Config{RateLimit: 5, TrustedProxies: []string{"0.0.0.0/32", "10.0.0.0/8"}}})
	for range 5 {
		require.Equal(t, 401, b.as(t, "", "GET", "/whoami", "").status)
	}
	got := b.as(t, "", "GET", "/whoami", "")
	require.Equal(t, 429, got.status)
	require.NotEmpty(t, got.header.Get("Retry-After"))
	require.Equal(t, 429, b.as(t, "tnx_AAAAAAAA_"+b.key[13:], "GET", "/whoami", "").status)
	require.Equal(t, 401, b.as(t, "", "GET", "/whoami", "", "X-Forwarded-For", "203.0.113.9").status, "behind the proxy there is another address")
	require.Equal(t, 401, b.as(t, "", "GET", "/whoami", "", "X-Forwarded-For", "203.0.113.7, 10.1.2.3").status)
	for range 4 {
		b.as(t, "", "GET", "/whoami", "", "X-Forwarded-For", "198.51.100.1, 203.0.113.9")
	}
	require.Equal(t, 429, b.as(t, "", "GET", "/whoami", "", "X-Forwarded-For", "198.51.100.99, 203.0.113.9").status, "what a stranger writes does not count")
}

func TestProxiesAreAddressesOrNetworks(t *testing.T) {
	t.Parallel()
	_, err := parseProxies([]string{"10.0.0.0/8", "::1", "192.0.2.1"})
	require.NoError(t, err)
	_, err = parseProxies([]string{"loadbalancer"})
	require.ErrorContains(t, err, "loadbalancer")
}

func TestRequestsThatAreCountedTogetherHearWhatTheyWouldAlone(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	for _, used := range []int{0, 1, 7, 9, 10} {
		full := now.Add(time.Duration(used) * window / 10)
		var alone []verdict
		allowed := 0
		for at := full; len(alone) < 6; {
			var v verdict
			v, at = decide(now, at, 10)
			alone = append(alone, v)
			if v.allowed {
				allowed++
			}
		}
		require.Equal(t, alone, verdicts(6, allowed, full.Sub(now), 10), used)
	}
	redises(t, func(t *testing.T, rdb *redis.Client) {
		l := newLimiter(10, untroubled, rdb, newLocalLimiter(1e6, time.Now), obs.Discard())
		t.Cleanup(func() { require.NoError(t, l.close()) })
		for _, want := range [][]bool{{true, true, true, true, true, true}, {true, true, true, true, false, false}, {false, false, false, false, false, false}} {
			got, err := l.ask(t.Context(), "k", 6)
			require.NoError(t, err)
			for i, v := range got {
				require.Equal(t, want[i], v.allowed)
				require.Equal(t, v.allowed, v.retryAfter == 0)
			}
		}
	})
}
