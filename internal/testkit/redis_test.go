package testkit

import (
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestRedisURLGivesEachCallItsOwnDatabaseAndEmptiesIt(t *testing.T) {
	t.Parallel()
	if !HaveRedis() {
		return
	}

	var used []*redis.Options
	ok := t.Run("inner", func(t *testing.T) {
		for range 3 {
			opt, err := redis.ParseURL(RedisURL(t))
			require.NoError(t, err)
			require.NotZero(t, opt.DB)
			used = append(used, opt)

			client := open(t, opt)
			require.Zero(t, client.DBSize(t.Context()).Val())
			require.NoError(t, client.Set(t.Context(), "key", "value", 0).Err())
		}
		require.NotEqual(t, used[0].DB, used[1].DB)
		require.NotEqual(t, used[0].DB, used[2].DB)
		require.NotEqual(t, used[1].DB, used[2].DB)
	})
	require.True(t, ok)

	registry := *used[0]
	registry.DB = 0
	for _, opt := range used {
		// Nobody else may have taken it meanwhile: take it before looking.
		ok, err := tryDatabase(t.Context(), open(t, &registry), opt, opt.DB, "looking")
		require.NoError(t, err)
		if ok {
			require.Zero(t, open(t, opt).DBSize(t.Context()).Val())
			require.NoError(t, releaseDatabase(t.Context(), open(t, &registry), opt, opt.DB, "looking"))
		}
	}
}

func open(t *testing.T, opt *redis.Options) *redis.Client {
	t.Helper()
	client := redis.NewClient(opt)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// The rules of the lease are tested on an in-process server: they need one whose
// every key is known.
func TestDatabaseLease(t *testing.T) {
	t.Parallel()

	setup := func(t *testing.T) (*redis.Client, *redis.Options) {
		t.Helper()
		opt := &redis.Options{Addr: Miniredis(t).Addr()}
		return open(t, opt), opt
	}

	t.Run("a database is taken once until it is given back", func(t *testing.T) {
		t.Parallel()
		registry, opt := setup(t)
		take := func(token string) bool {
			ok, err := tryDatabase(t.Context(), registry, opt, 3, token)
			require.NoError(t, err)
			return ok
		}
		require.True(t, take("a"))
		require.False(t, take("b"))
		require.NoError(t, releaseDatabase(t.Context(), registry, opt, 3, "a"))
		require.True(t, take("b"))
		require.Error(t, releaseDatabase(t.Context(), registry, opt, 3, "a"), "the lease is b's now")
	})

	t.Run("somebody's data is never touched", func(t *testing.T) {
		t.Parallel()
		registry, opt := setup(t)
		theirs := open(t, &redis.Options{Addr: opt.Addr, DB: 3})
		require.NoError(t, theirs.Set(t.Context(), "theirs", "1", 0).Err())

		ok, err := tryDatabase(t.Context(), registry, opt, 3, "a")
		require.NoError(t, err)
		require.False(t, ok)
		require.Equal(t, "1", theirs.Get(t.Context(), "theirs").Val())
	})

	t.Run("what a killed test left is emptied when its lease is over", func(t *testing.T) {
		t.Parallel()
		registry, opt := setup(t)
		ok, err := tryDatabase(t.Context(), registry, opt, 3, "killed")
		require.NoError(t, err)
		require.True(t, ok)
		left := open(t, &redis.Options{Addr: opt.Addr, DB: 3})
		require.NoError(t, left.Set(t.Context(), "left", "1", 0).Err())
		require.NoError(t, registry.Del(t.Context(), leaseKeys+strconv.Itoa(3)).Err())

		ok, err = tryDatabase(t.Context(), registry, opt, 3, "next")
		require.NoError(t, err)
		require.True(t, ok)
		require.Zero(t, left.DBSize(t.Context()).Val())
	})
}
