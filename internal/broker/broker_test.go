package broker_test

import (
	"bytes"
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/internal/broker"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is how long a test waits for what must happen.
const limit = 30 * time.Second

func open(t *testing.T, cfg broker.Config) *broker.Broker {
	t.Helper()
	b, err := broker.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// each runs test on the embedded Redis and on a server, with two brokers on one
// server, as two processes have them.
func each(t *testing.T, test func(t *testing.T, a, b *broker.Broker)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		url := "redis://" + testkit.Miniredis(t).Addr()
		test(t, open(t, broker.Config{URL: url}), open(t, broker.Config{URL: url}))
	})
	if testkit.HaveRedis() {
		t.Run("redis", func(t *testing.T) {
			t.Parallel()
			url := testkit.RedisURL(t)
			test(t, open(t, broker.Config{URL: url}), open(t, broker.Config{URL: url}))
		})
	}
}

func TestPublishReachesOtherProcessesOnly(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, a, b *broker.Broker) {
		channel := ids.New("channel") // logical databases share channels
		ctx, cancel := context.WithCancel(t.Context())
		heardA, heardB := make(chan string, 100), make(chan string, 100)
		done := make(chan struct{}, 2)
		listen := func(x *broker.Broker, heard chan string) {
			x.Subscribe(ctx, channel, func(m []byte) { heard <- string(m) })
			done <- struct{}{}
		}
		go listen(a, heardA)
		go listen(b, heardB)
		require.Eventually(t, func() bool {
			return a.Client().PubSubNumSub(t.Context(), channel).Val()[channel] == 2
		}, limit, time.Millisecond)

		for _, m := range []string{`{"n":1}`, `{"n":2}`, `{"n":3}`} {
			a.Publish(channel, []byte(m))
		}
		for _, want := range []string{`{"n":1}`, `{"n":2}`, `{"n":3}`} {
			require.Equal(t, want, receive(t, heardB))
		}
		b.Publish(channel, []byte("from b"))
		require.Equal(t, "from b", receive(t, heardA), "a must not have heard itself before")

		cancel()
		<-done
		<-done
	})
}

func TestLaneGivesTheNewestFirstAndEachOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, a, b *broker.Broker) {
		a.PushLane("quick", []byte("1"), []byte("2"))
		r := b.ReadLanes("slow", "quick")
		defer func() { require.NoError(t, r.Close()) }()
		for _, want := range []string{"2", "1"} {
			lane, got, err := r.Pop(t.Context(), limit)
			require.NoError(t, err)
			require.Equal(t, "quick", lane)
			require.Equal(t, want, string(got))
		}
	})
}

func TestAServerThatRefusesIsNoneThatIsAway(t *testing.T) {
	t.Parallel()
	ping := func(url string) error {
		b := open(t, broker.Config{URL: url})
		return b.Ping(t.Context())
	}
	closed := testkit.Miniredis(t)
	guarded := testkit.Miniredis(t)
	guarded.RequireAuth("secret")
	require.True(t, broker.Refused(ping("redis://"+guarded.Addr())), "no password")
	require.True(t, broker.Refused(ping("redis://:wrong@"+guarded.Addr())))
	require.NoError(t, ping("redis://:secret@"+guarded.Addr()))
	if testkit.HaveRedis() {
		url := testkit.RedisURL(t)
		require.True(t, broker.Refused(ping(url[:strings.LastIndex(url, "/")]+"/1000000")), "no such database")
	}
	addr := closed.Addr()
	closed.Close()
	err := ping("redis://" + addr)
	require.Error(t, err)
	require.False(t, broker.Refused(err))
}

func TestLaneHoldsNoMoreThanItsCap(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, a, _ *broker.Broker) {
		const entries, most = 2000, 512
		for i := range entries {
			a.PushLane("quick", []byte(strconv.Itoa(i)))
		}
		require.Eventually(t, func() bool {
			return a.Client().LIndex(t.Context(), "flows:lane:quick", 0).Val() == strconv.Itoa(entries-1)
		}, limit, time.Millisecond)
		require.LessOrEqual(t, a.Client().LLen(t.Context(), "flows:lane:quick").Val(), int64(most))
		require.Positive(t, a.Client().PTTL(t.Context(), "flows:lane:quick").Val())
	})
}

func TestCloseEndsAPopThatWaits(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, a, _ *broker.Broker) {
		r := a.ReadLanes("quick")
		ended := make(chan error, 1)
		go func() {
			_, _, err := r.Pop(context.Background(), time.Minute)
			ended <- err
		}()
		require.NoError(t, r.Close())
		require.Error(t, receive(t, ended))
	})
}

func TestNothingHoldsTheCallerUpWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never answers
	require.NoError(t, err)
	defer l.Close()
	b := open(t, broker.Config{URL: "redis://" + l.Addr().String()})
	start := time.Now()
	for range 10_000 {
		b.Publish("channel", []byte("x"))
		b.PushLane("quick", []byte("x"))
	}
	require.Less(t, time.Since(start), 5*time.Second)
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	require.Error(t, b.Ping(ctx))
}

func TestEmbedded(t *testing.T) {
	t.Parallel()
	b := open(t, broker.Config{})
	require.True(t, b.Embedded())
	require.NoError(t, b.Ping(t.Context()))
	require.NoError(t, b.CheckPolicy(t.Context()))

	t.Run("a long pipeline gets through", func(t *testing.T) {
		value := strings.Repeat("x", 10_000)
		pipe := b.Client().Pipeline()
		for range 200 {
			pipe.Echo(t.Context(), value)
		}
		answers, err := pipe.Exec(t.Context())
		require.NoError(t, err)
		for _, a := range answers {
			require.Equal(t, value, a.(*redis.StringCmd).Val())
		}
	})
	t.Run("keys expire", func(t *testing.T) {
		require.NoError(t, b.Client().Set(t.Context(), "key", 1, time.Second).Err())
		require.Eventually(t, func() bool {
			return b.Client().Exists(t.Context(), "key").Val() == 0
		}, limit, 10*time.Millisecond)
	})
	t.Run("asynq can use it", func(t *testing.T) {
		client := asynq.NewClient(b)
		_, err := client.Enqueue(asynq.NewTask("type", nil))
		require.NoError(t, err)
		require.NoError(t, client.Close())
	})
}

func TestCheckPolicyIsLoudAboutEviction(t *testing.T) {
	t.Parallel()
	server := testkit.Miniredis(t) // knows no CONFIG
	var log bytes.Buffer
	b := open(t, broker.Config{URL: "redis://" + server.Addr(), Log: obs.NewLogger(&log, nil, false)})
	require.Error(t, b.CheckPolicy(t.Context()), "a Redis that does not tell is for the caller to judge")

	policy := "allkeys-lru"
	require.NoError(t, server.Server().Register("CONFIG", answerPolicy(&policy)))
	require.NoError(t, b.CheckPolicy(t.Context()))
	require.Contains(t, log.String(), "noeviction")
	require.Contains(t, log.String(), "allkeys-lru")

	log.Reset()
	policy = "noeviction"
	require.NoError(t, b.CheckPolicy(t.Context()))
	require.Empty(t, log.String())
}

func TestOpenNamesNoPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"redis://user:hunter2@host:port", "http://user:hunter2@host", "hunter2"} {
		_, err := broker.Open(broker.Config{URL: url})
		require.ErrorContains(t, err, "redis://")
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(limit):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}
