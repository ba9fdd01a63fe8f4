package testkit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

const (
	// leaseTTL frees a logical database whose test was killed. It is longer
	// than any test binary may run.
	leaseTTL = time.Hour
	// leaseWait is how long a test waits for a logical database. A server with
	// the usual 16 of them makes tests wait for each other.
	leaseWait = 2 * time.Minute
	// usedKeys and leaseKeys live in logical database 0, which no test is given.
	leaseKeys = "flows:testkit:lease:"
	usedKeys  = "flows:testkit:used:"
)

// HaveRedis tells whether tests on a real Redis run. Under CI=true they always
// do.
func HaveRedis() bool { return have(redisVariable) }

// RedisURL returns the URL of an empty logical database that belongs to the test
// alone, across processes too, and is emptied when it ends. A database that
// holds keys which no test made is never touched.
//
// Logical databases share two things that tests must keep apart by themselves:
// publish/subscribe channels, and commands on the whole server (FLUSHALL,
// CONFIG SET).
func RedisURL(t testing.TB) string {
	t.Helper()
	opt, err := redis.ParseURL(need(t, redisVariable))
	if err != nil {
		t.Fatalf("%s: %v", redisVariable, err)
	}
	ctx, stop := context.WithTimeout(context.Background(), leaseWait)
	defer stop()

	opt.DB = 0
	registry := redis.NewClient(opt)
	defer registry.Close()
	db, token, err := leaseDatabase(ctx, registry, opt)
	if err != nil {
		t.Fatalf("get a logical database of the test Redis: %v", err)
	}
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), adminTimeout)
		defer stop()
		registry := redis.NewClient(opt)
		defer registry.Close()
		if err := releaseDatabase(ctx, registry, opt, db, token); err != nil {
			t.Errorf("give back logical database %d of the test Redis: %v", db, err)
		}
	})
	return databaseURL(t, db)
}

// databaseURL returns the server's URL with another logical database in it.
func databaseURL(t testing.TB, db int) string {
	t.Helper()
	u, err := url.Parse(need(t, redisVariable))
	if err != nil {
		t.Fatalf("%s is no URL", redisVariable) // the error would show the password
	}
	query := u.Query()
	query.Del("db")
	u.RawQuery = query.Encode()
	u.Path = "/" + strconv.Itoa(db)
	return u.String()
}

// leaseDatabase takes a free logical database and empties it.
func leaseDatabase(ctx context.Context, registry *redis.Client, opt *redis.Options) (db int, token string, err error) {
	count, err := databaseCount(ctx, registry)
	if err != nil {
		return 0, "", err
	}
	token = strconv.FormatUint(rand.Uint64(), 36)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		// A random place to begin at keeps processes out of each other's way.
		first := rand.IntN(count - 1)
		for i := range count - 1 {
			db := 1 + (first+i)%(count-1)
			ok, err := tryDatabase(ctx, registry, opt, db, token)
			if err != nil {
				return 0, "", err
			}
			if ok {
				return db, token, nil
			}
		}
		select {
		case <-ctx.Done():
			return 0, "", fmt.Errorf("all %d are taken: %w", count-1, ctx.Err())
		case <-tick.C:
		}
	}
}

func databaseCount(ctx context.Context, registry *redis.Client) (int, error) {
	config, err := registry.ConfigGet(ctx, "databases").Result()
	if err != nil {
		return 0, fmt.Errorf("ask how many there are: %w", err)
	}
	count, err := strconv.Atoi(config["databases"])
	if err != nil || count < 2 {
		return 0, fmt.Errorf("the server has %q logical databases, tests need at least 2", config["databases"])
	}
	return count, nil
}

// tryDatabase takes one logical database if nobody has it and what it holds, if
// anything, was left by a test.
func tryDatabase(ctx context.Context, registry *redis.Client, opt *redis.Options, db int, token string) (bool, error) {
	name := strconv.Itoa(db)
	taken, err := registry.SetNX(ctx, leaseKeys+name, token, leaseTTL).Result()
	if err != nil || !taken {
		return false, err
	}
	own, err := registry.Exists(ctx, usedKeys+name).Result()
	if err != nil {
		return false, err
	}
	client := openDatabase(opt, db)
	defer client.Close()
	if own == 0 {
		size, err := client.DBSize(ctx).Result()
		if err != nil {
			return false, err
		}
		if size > 0 { // somebody's data; the lease stays so that nobody asks again
			return false, nil
		}
		// The mark comes before the first key of the test, so that the data
		// of a test that was killed is known to be ours.
		if err := registry.Set(ctx, usedKeys+name, "1", 0).Err(); err != nil {
			return false, err
		}
	}
	return true, client.FlushDB(ctx).Err()
}

// releaseDatabase empties a logical database and gives it back, unless the lease
// has run out and is another's.
func releaseDatabase(ctx context.Context, registry *redis.Client, opt *redis.Options, db int, token string) error {
	key := leaseKeys + strconv.Itoa(db)
	holder, err := registry.Get(ctx, key).Result()
	if err != nil {
		return fmt.Errorf("read the lease: %w", err)
	}
	if holder != token {
		return fmt.Errorf("the lease ran out after %s", leaseTTL)
	}
	client := openDatabase(opt, db)
	defer client.Close()
	if err := client.FlushDB(ctx).Err(); err != nil {
		return err
	}
	return registry.Del(ctx, key).Err()
}

func openDatabase(opt *redis.Options, db int) *redis.Client {
	own := *opt
	own.DB = db
	return redis.NewClient(&own)
}

// Miniredis returns an in-process Redis that belongs to the test alone and ends
// with it. Its clock stands still: a test moves it with FastForward.
func Miniredis(t testing.TB) *miniredis.Miniredis {
	t.Helper()
	return miniredis.RunT(t)
}
