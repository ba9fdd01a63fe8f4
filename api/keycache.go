package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/10ex/flows/internal/apikey"
	"github.com/10ex/flows/models"
)

// keyFinder finds the row of a key by its public part.
type keyFinder interface {
	KeyByPrefix(ctx context.Context, prefix string) (*models.APIKey, error)
}

const (
	// keyTTL is how long a key is believed without asking the database: the
	// longest a revocation by another process can stay unnoticed.
	keyTTL = 3 * time.Second
	// mostKeys bounds the cache; past it all is forgotten, which costs a query each.
	mostKeys = 10_000
)

// keyCache remembers live keys for seconds. It may be used concurrently.
type keyCache struct {
	from keyFinder

	mu   sync.Mutex
	kept map[string]keptKey // by prefix
	// drops counts revocations, so that a look-up that began before one does not
	// put the key back after it.
	drops int64
}

type keptKey struct {
	key   *models.APIKey
	until time.Time
}

func newKeyCache(from keyFinder) *keyCache {
	return &keyCache{from: from, kept: map[string]keptKey{}}
}

// cached gives the key a bearer proves if it is remembered, else nil.
func (k *keyCache) cached(bearer string, now time.Time) *models.APIKey {
	prefix, secret, ok := apikey.Parse(bearer)
	if !ok {
		return nil
	}
	k.mu.Lock()
	have := k.kept[prefix]
	k.mu.Unlock()
	if have.key == nil || !now.Before(have.until) || !have.key.Live(now) || !apikey.Matches(have.key.Hash, secret) {
		return nil
	}
	return have.key
}

// noHash takes as long to compare with as a real one.
var noHash = make([]byte, 32)

// find gives the live key a bearer proves, or ErrUnauthorized.
func (k *keyCache) find(ctx context.Context, bearer string, now time.Time) (*models.APIKey, error) {
	prefix, secret, ok := apikey.Parse(bearer)
	if !ok {
		return nil, models.ErrUnauthorized
	}
	key, err := k.byPrefix(ctx, prefix, now)
	if errors.Is(err, models.ErrUnauthorized) {
		apikey.Matches(noHash, secret)
	}
	if err != nil {
		return nil, err
	}
	if !apikey.Matches(key.Hash, secret) {
		return nil, models.ErrUnauthorized
	}
	return key, nil
}

// byPrefix gives the live key with a prefix, or ErrUnauthorized. Whoever asks has
// to have seen proof of the secret, now or before.
func (k *keyCache) byPrefix(ctx context.Context, prefix string, now time.Time) (*models.APIKey, error) {
	k.mu.Lock()
	have, drops := k.kept[prefix], k.drops
	k.mu.Unlock()
	if have.key != nil && now.Before(have.until) && have.key.Live(now) {
		return have.key, nil
	}
	key, err := k.from.KeyByPrefix(ctx, prefix)
	switch {
	case errors.Is(err, models.ErrNotFound):
		return nil, models.ErrUnauthorized
	case err != nil:
		return nil, err
	case !key.Live(now):
		return nil, models.ErrUnauthorized
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.drops == drops {
		if len(k.kept) >= mostKeys {
			clear(k.kept)
		}
		k.kept[prefix] = keptKey{key, now.Add(keyTTL)}
	}
	return key, nil
}

// drop forgets a key at once.
func (k *keyCache) drop(prefix string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drops++
	delete(k.kept, prefix)
}
