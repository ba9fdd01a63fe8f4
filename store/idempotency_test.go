package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

func newRequest(key string) *models.IdempotencyKey {
	return &models.IdempotencyKey{
		Route: "POST /workflows", Key: key, BodyHash: []byte{1, 0, 255}, Seed: ids.NewSeed(), CreatedAt: morning, LockedUntil: morning.Add(time.Minute),
	}
}

// requestAt is the same request made again later.
func requestAt(key string, at time.Time) *models.IdempotencyKey {
	r := newRequest(key)
	r.CreatedAt, r.LockedUntil = at, at.Add(time.Minute)
	return r
}

func TestOneOfManyEqualRequestsIsAnswered(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, _ := tenant(t, s)
		// Three moments at which many come at once: nothing is there, the lock of a
		// request that never ended is over, the answer is too old to be kept.
		for _, now := range []time.Time{morning, morning.Add(2 * time.Minute), morning.Add(25 * time.Hour)} {
			const requests = 32
			var group sync.WaitGroup
			start, won, errs := make(chan struct{}), make(chan *models.IdempotencyKey, requests), make(chan error, requests)
			for range requests {
				group.Go(func() {
					<-start
					row, mine, err := a.BeginRequest(ctx, requestAt("k", now), now)
					errs <- err
					if mine {
						won <- row
					}
				})
			}
			close(start)
			group.Wait()
			close(won)
			close(errs)
			for err := range errs {
				require.NoError(t, err)
			}
			require.Len(t, won, 1, "at %s", now)
			require.Equal(t, now.Add(time.Minute), (<-won).LockedUntil)
		}
	})
}

func TestRequest(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, ws := tenant(t, s)
		want := newRequest("k")
		row, mine, err := a.BeginRequest(ctx, want, morning)
		require.NoError(t, err)
		require.True(t, mine)
		first := *want
		first.WorkspaceID = ws
		require.Empty(t, cmp.Diff(&first, row))

		// While it is being answered.
		got, mine, err := a.BeginRequest(ctx, newRequest("k"), morning.Add(59*time.Second))
		require.NoError(t, err)
		require.False(t, mine)
		require.Empty(t, cmp.Diff(&first, got))

		// The one who should have answered is gone.
		now := morning.Add(2 * time.Minute)
		other := requestAt("k", now)
		other.BodyHash = []byte{9}
		got, mine, err = a.BeginRequest(ctx, other, now)
		require.NoError(t, err)
		require.False(t, mine, "another body never takes over")
		require.Empty(t, cmp.Diff(&first, got))
		second, mine, err := a.BeginRequest(ctx, requestAt("k", now), now)
		require.NoError(t, err)
		require.True(t, mine)
		require.Equal(t, first.Seed, second.Seed)
		require.Equal(t, first.CreatedAt, second.CreatedAt)
		require.Equal(t, now.Add(time.Minute), second.LockedUntil)

		// It was only slow: it cannot take the right away any more.
		require.NoError(t, a.AbandonRequest(ctx, row))
		require.NoError(t, a.ReleaseRequest(ctx, row))
		_, mine, err = a.BeginRequest(ctx, requestAt("k", now), now)
		require.NoError(t, err)
		require.False(t, mine)

		// Nobody knows what it did: the next one need not wait for the lock.
		require.NoError(t, a.ReleaseRequest(ctx, second))
		now = now.Add(time.Second)
		second, mine, err = a.BeginRequest(ctx, requestAt("k", now), now)
		require.NoError(t, err)
		require.True(t, mine)
		require.Equal(t, first.Seed, second.Seed)
		require.Equal(t, first.CreatedAt, second.CreatedAt)

		second.Status, second.Headers, second.Body = 201, []byte("Location: x"), []byte{0, 1, '\''}
		require.NoError(t, a.FinishRequest(ctx, second))
		late := *row
		late.Status = 500
		require.NoError(t, a.FinishRequest(ctx, &late), "the first answer stays")
		require.NoError(t, a.AbandonRequest(ctx, second), "an answer is not forgotten")
		got, mine, err = a.BeginRequest(ctx, requestAt("k", now), morning.Add(23*time.Hour))
		require.NoError(t, err)
		require.False(t, mine)
		require.Empty(t, cmp.Diff(second, got))

		// Kept for a day, whether pruning was in time or not.
		now = morning.Add(24 * time.Hour)
		third, mine, err := a.BeginRequest(ctx, requestAt("k", now), now)
		require.NoError(t, err)
		require.True(t, mine)
		require.NotEqual(t, first.Seed, third.Seed)
		require.Zero(t, third.Status)
		require.NoError(t, a.FinishRequest(ctx, second), "the row is not his any more")
		require.NoError(t, a.AbandonRequest(ctx, third))
		_, mine, err = a.BeginRequest(ctx, requestAt("k", now), now)
		require.NoError(t, err)
		require.True(t, mine, "what had no effect may be made again")

		// Another route is another request.
		elsewhere := requestAt("k", now)
		elsewhere.Route = "POST /agents"
		_, mine, err = a.BeginRequest(ctx, elsewhere, now)
		require.NoError(t, err)
		require.True(t, mine)
	})
}
