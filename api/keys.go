package api

import (
	"context"
	"slices"
	"time"

	"github.com/10ex/flows/internal/apikey"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// defaultScopes is what a key may do whose maker says nothing: all of the daily
// work, but not making keys.
var defaultScopes = []models.Scope{
	models.ScopeFlowsRead, models.ScopeFlowsWrite, models.ScopeRunsRead, models.ScopeRunsWrite,
	models.ScopeEventsWrite, models.ScopeConnectionsWrite,
}

type createKeyRequest struct {
	Body struct {
		Name      string     `json:"name" minLength:"1" pattern:"^$|\\S" maxLength:"200"`
		Scopes    []string   `json:"scopes,omitempty" nullable:"false" minItems:"1" maxItems:"8" enum:"*,flows:read,flows:write,runs:read,runs:write,events:write,connections:write,admin" doc:"All but * and admin if not given"`
		ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"Never if not given"`
	}
}

// NewKey is a key that was just made. Secret and key are shown this once.
type NewKey struct {
	ID        models.KeyID   `json:"id"`
	Prefix    string         `json:"prefix"`
	Name      string         `json:"name"`
	Secret    string         `json:"secret"`
	Key       string         `json:"key" doc:"The whole bearer"`
	Scopes    []models.Scope `json:"scopes" nullable:"false"`
	CreatedAt stamp          `json:"created_at"`
	ExpiresAt maybeStamp     `json:"expires_at"`
}

type newKeyAnswer struct {
	Location string `header:"Location"`
	Body     NewKey
}

func (a *API) createKey(ctx context.Context, in *createKeyRequest) (*newKeyAnswer, error) {
	now := a.now()
	if in.Body.ExpiresAt != nil && !in.Body.ExpiresAt.After(now) {
		return nil, invalid(models.FieldError{Loc: []any{"body", "expires_at"}, Msg: "must be in the future", Type: "invalid"})
	}
	made := apikey.New()
	key := &models.APIKey{
		ID: models.KeyID(ids.Make(ctx, models.KeyPrefix)), Prefix: made.Prefix, Hash: made.Hash,
		Name: in.Body.Name, Scopes: defaultScopes, CreatedAt: now,
	}
	if in.Body.ExpiresAt != nil {
		key.ExpiresAt = new(writable(*in.Body.ExpiresAt).Truncate(time.Microsecond))
	}
	if len(in.Body.Scopes) > 0 {
		key.Scopes = nil
		for _, s := range in.Body.Scopes {
			if scope := models.Scope(s); !slices.Contains(key.Scopes, scope) {
				key.Scopes = append(key.Scopes, scope)
			}
		}
	}
	if err := a.store.For(workspace(ctx)).CreateKey(ctx, key); err != nil {
		return nil, err
	}
	a.log.InfoContext(ctx, "api key made", keyAttr(key.Prefix))
	return &newKeyAnswer{Location: adminBase + "/api-keys/" + string(key.ID), Body: NewKey{
		ID: key.ID, Prefix: key.Prefix, Name: key.Name, Secret: made.Secret, Key: made.Full,
		Scopes: key.Scopes, CreatedAt: stamp(key.CreatedAt), ExpiresAt: maybeStamp{key.ExpiresAt},
	}}, nil
}

// Key is a key as lists show it: nothing of its secret is left.
type Key struct {
	ID         models.KeyID   `json:"id"`
	Prefix     string         `json:"prefix"`
	Name       string         `json:"name"`
	Scopes     []models.Scope `json:"scopes" nullable:"false"`
	CreatedAt  stamp          `json:"created_at"`
	LastUsedAt maybeStamp     `json:"last_used_at" doc:"To the minute"`
	ExpiresAt  maybeStamp     `json:"expires_at"`
	RevokedAt  maybeStamp     `json:"revoked_at"`
}

func showKey(k *models.APIKey) Key {
	return Key{
		ID: k.ID, Prefix: k.Prefix, Name: k.Name, Scopes: k.Scopes, CreatedAt: stamp(k.CreatedAt),
		LastUsedAt: maybeStamp{k.LastUsedAt}, ExpiresAt: maybeStamp{k.ExpiresAt}, RevokedAt: maybeStamp{k.RevokedAt},
	}
}

type keysAnswer struct{ Body page[Key] }

func (a *API) listKeys(ctx context.Context, in *struct{ ListQuery }) (*keysAnswer, error) {
	p, err := readPage(ctx, in.ListQuery, byID("api-keys", models.KeyPrefix, func(k *models.APIKey) models.KeyID { return k.ID }),
		func(p store.Page) ([]*models.APIKey, error) { return a.store.For(workspace(ctx)).Keys(ctx, p) },
		showKey)
	return &keysAnswer{p}, err
}

// KeyPath is the path of one key.
type KeyPath struct {
	ID string `path:"id" doc:"Id of a key"`
}

func (a *API) revokeKey(ctx context.Context, in *KeyPath) (*struct{}, error) {
	if !models.ValidID(models.KeyPrefix, in.ID) {
		return nil, models.ErrNotFound
	}
	prefix, err := a.store.For(workspace(ctx)).RevokeKey(ctx, models.KeyID(in.ID), a.now())
	if err != nil {
		return nil, err
	}
	a.keys.drop(prefix)
	a.tellRevoked(ctx, prefix)
	a.log.InfoContext(ctx, "api key revoked", keyAttr(prefix))
	return new(struct{}), nil
}

// revokedChannel is where processes tell each other which keys to forget.
const revokedChannel = "flows:keys:revoked"

// tellRevoked spreads a revocation. Where that fails the others notice when
// what they remember runs out.
func (a *API) tellRevoked(ctx context.Context, prefix string) {
	if a.redis == nil {
		return
	}
	ctx, stop := context.WithTimeout(ctx, redisPatience)
	defer stop()
	if err := a.redis.Publish(ctx, revokedChannel, prefix).Err(); err != nil {
		a.log.WarnContext(ctx, "revocation is not spread", obs.Err(err))
	}
}

// hearRevoked forgets keys that other processes have revoked, until ctx ends.
func (a *API) hearRevoked(ctx context.Context) {
	if a.redis == nil {
		return
	}
	sub := a.redis.Subscribe(ctx, revokedChannel) // connects again by itself
	defer sub.Close()
	messages := sub.Channel()
	for {
		select {
		case <-ctx.Done():
			return
		case m, ok := <-messages:
			if !ok {
				return
			}
			a.keys.drop(m.Payload)
		}
	}
}
