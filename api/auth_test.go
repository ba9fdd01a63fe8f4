package api

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/apikey"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store/storetest"
)

func TestARevokedKeyIsRefusedOnTheNextRequest(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		made := b.call(t, "POST", adminBase+"/api-keys", `{"name":"ci","scopes":["runs:read"]}`)
		require.Equal(t, 201, made.status, made.body)
		key := made.str(t, "key")
		require.Equal(t, "tnx_"+made.str(t, "prefix")+"_"+made.str(t, "secret"), key)
		require.Equal(t, 200, b.as(t, key, "GET", "/runs", "").status)
		require.Equal(t, 204, b.call(t, "DELETE", adminBase+"/api-keys/"+made.str(t, "id"), "").status)
		require.Equal(t, 401, b.as(t, key, "GET", "/runs", "").status)
		require.Equal(t, 204, b.call(t, "DELETE", adminBase+"/api-keys/"+made.str(t, "id"), "").status, "again changes nothing")

		listed := b.call(t, "GET", adminBase+"/api-keys", "")
		require.Equal(t, made.str(t, "id"), listed.str(t, "items.0.id"))
		require.NotNil(t, listed.get(t, "items.0.revoked_at"))
		require.NotContains(t, listed.body, "secret")
		require.NotContains(t, listed.body, "hash")
	})
}

func TestAnotherProcessHearsOfARevocation(t *testing.T) {
	t.Parallel()
	addr := testkit.Miniredis(t).Addr()
	one := setup(t, storetest.SQLite(t), options{redis: client(t, addr)})
	two := setup(t, one.store, options{redis: client(t, addr)})
	require.Equal(t, 200, two.as(t, one.key, "GET", "/runs", "").status)
	require.Eventually(t, func() bool { // until the other one listens
		n, err := client(t, addr).PubSubNumSub(t.Context(), revokedChannel).Result()
		return err == nil && n[revokedChannel] == 2
	}, 5*time.Second, 5*time.Millisecond)
	made := one.call(t, "POST", adminBase+"/api-keys", `{"name":"ci"}`)
	key := made.str(t, "key")
	require.Equal(t, 200, two.as(t, key, "GET", "/runs", "").status, "now it is remembered there")
	require.Equal(t, 204, one.call(t, "DELETE", adminBase+"/api-keys/"+made.str(t, "id"), "").status)
	require.Eventually(t, func() bool { return two.as(t, key, "GET", "/runs", "").status == 401 }, keyTTL/2, 5*time.Millisecond)
}

func client(t *testing.T, addr string) *redis.Client {
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// slowFinder lets a revocation happen between a query and its answer.
type slowFinder struct {
	key    *models.APIKey
	before func()
}

func (f slowFinder) KeyByPrefix(context.Context, string) (*models.APIKey, error) {
	f.before()
	return f.key, nil
}

func TestALookUpThatBeganBeforeARevocationIsNotRemembered(t *testing.T) {
	t.Parallel()
	made := apikey.New()
	var cache *keyCache
	cache = newKeyCache(slowFinder{
		key:    &models.APIKey{Prefix: made.Prefix, Hash: made.Hash},
		before: func() { cache.drop(made.Prefix) },
	})
	now := time.Now()
	_, err := cache.find(t.Context(), made.Full, now)
	require.NoError(t, err, "it was live when it was asked for")
	require.Nil(t, cache.cached(made.Full, now))
}

func TestARememberedKeyStillHasToProveItselfAndExpires(t *testing.T) {
	t.Parallel()
	made := apikey.New()
	now := time.Now()
	cache := newKeyCache(slowFinder{
		key: &models.APIKey{Prefix: made.Prefix, Hash: made.Hash, ExpiresAt: new(now.Add(time.Second))}, before: func() {},
	})
	_, err := cache.find(t.Context(), made.Full, now)
	require.NoError(t, err)
	require.NotNil(t, cache.cached(made.Full, now))
	forged := "tnx_" + made.Prefix + "_" + apikey.New().Secret
	require.Nil(t, cache.cached(forged, now))
	_, err = cache.find(t.Context(), forged, now)
	require.ErrorIs(t, err, models.ErrUnauthorized)
	require.Nil(t, cache.cached(made.Full, now.Add(time.Second)), "it has expired meanwhile")
}

func TestTheUseOfAKeyIsNotedOnceAMinute(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		fake := clock.NewFake(time.Now())
		b.api.clock = fake
		key := b.newKey(t, b.ws, models.ScopeRunsRead)
		prefix, _, _ := apikey.Parse(key)
		used := func() *time.Time {
			require.NoError(t, b.api.flushTouches(t.Context()))
			row, err := b.store.KeyByPrefix(t.Context(), prefix)
			require.NoError(t, err)
			return row.LastUsedAt
		}
		require.Nil(t, used())
		b.as(t, key, "GET", "/runs", "")
		first := used()
		require.NotNil(t, first)
		fake.Advance(59 * time.Second)
		b.as(t, key, "GET", "/runs", "")
		require.Equal(t, first.UnixMicro(), used().UnixMicro())
		fake.Advance(2 * time.Second)
		b.as(t, key, "GET", "/runs", "")
		require.Equal(t, fake.Now().UnixMicro(), used().UnixMicro())
	})
}

func TestKeysAreMadeWithCare(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		for name, tc := range map[string]struct{ body, loc string }{
			"no name":      {`{}`, "[body name]"},
			"odd scope":    {`{"name":"a","scopes":["root"]}`, "[body scopes 0]"},
			"no scopes":    {`{"name":"a","scopes":[]}`, "[body scopes]"},
			"in the past":  {`{"name":"a","expires_at":"2020-01-01T00:00:00Z"}`, "[body expires_at]"},
			"not a time":   {`{"name":"a","expires_at":"tomorrow"}`, "[body expires_at]"},
			"own key":      {`{"name":"a","key":"tnx_AAAAAAAA_b"}`, "[body key]"},
			"empty name":   {`{"name":""}`, "[body name]"},
			"other tenant": {`{"name":"a","workspace_id":"ws_1"}`, "[body workspace_id]"},
		} {
			got := b.call(t, "POST", adminBase+"/api-keys", tc.body)
			require.Equal(t, 422, got.status, name)
			require.Equal(t, tc.loc, sprint(got.get(t, "errors.0.loc")), name)
		}
		plain := b.call(t, "POST", adminBase+"/api-keys", `{"name":"a"}`)
		require.NotContains(t, plain.get(t, "scopes"), "admin")
		require.Equal(t, 403, b.as(t, plain.str(t, "key"), "GET", adminBase+"/api-keys", "").status)
		require.Equal(t, 200, b.as(t, plain.str(t, "key"), "GET", "/workflows", "").status)
		soon := b.call(t, "POST", adminBase+"/api-keys", `{"name":"a","expires_at":"2999-01-01T00:00:00+02:00"}`)
		require.Equal(t, "2998-12-31T22:00:00.000000Z", soon.str(t, "expires_at"))
		twice := b.call(t, "POST", adminBase+"/api-keys", `{"name":"a","scopes":["runs:read","flows:read","runs:read"]}`)
		require.Equal(t, []any{"runs:read", "flows:read"}, twice.get(t, "scopes"))
		me := b.as(t, plain.str(t, "key"), "GET", "/whoami", "")
		require.Equal(t, string(b.ws), me.str(t, "workspace_id"))
		require.Equal(t, "Acme", me.str(t, "workspace.name"))
		require.Equal(t, plain.str(t, "prefix"), me.str(t, "key_prefix"))
		require.Equal(t, plain.get(t, "scopes"), me.get(t, "scopes"))
	})
}

// Strings that Fiber hands out may be overwritten by the next request.
func TestBodiesOfManyAtOnceAreKeptIntact(t *testing.T) {
	t.Parallel()
	each(t, options{cfg: Config{RateLimit: 100_000}}, func(t *testing.T, b *bundle) {
		wf := b.workflow(t, passing)
		address := b.listen(t)
		const many = 300
		var wg sync.WaitGroup
		slots := make(chan struct{}, 32)
		want := make(map[string]string, many)
		var mu sync.Mutex
		for i := range many {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				text := string(rune('a'+i%26)) + sprint(i)
				run := b.post(t, address, "/workflows/"+wf+"/trigger", `{"payload":{"text":"`+text+`"},"metadata":{"n":"`+sprint(i)+`"}}`, "k"+sprint(i))
				mu.Lock()
				defer mu.Unlock()
				want[run] = text + " " + sprint(i)
			})
		}
		wg.Wait()
		require.Len(t, want, many)
		for run, text := range want {
			row, err := b.store.For(b.ws).Run(t.Context(), models.RunID(run))
			require.NoError(t, err)
			var payload struct{ Text string }
			mustUnmarshal(t, row.Payload, &payload)
			require.Equal(t, text, payload.Text+" "+row.Metadata["n"])
		}
	})
}
