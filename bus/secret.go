package bus

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/10ex/flows/models"
)

// secretPrefix stands in front of secrets of webhooks that are made here.
const secretPrefix = "whsec_"

const (
	secretBytes = 32
	tokenBytes  = 24 // 192 bits
	// oldSecretLife is how long the secret before counts beside the new one.
	oldSecretLife = 24 * time.Hour
	// leastSecret and mostSecret bound secrets from outside.
	leastSecret, mostSecret = 16, 256
)

// errNoSeal tells that secrets cannot be kept here.
var errNoSeal = errors.New("bus: there is no key to seal secrets with")

// newSecret makes a secret. The whole text is the key of a plain HMAC, and what stands
// behind the prefix is that of Standard Webhooks, in base64.
func newSecret() string {
	b := make([]byte, secretBytes)
	_, _ = rand.Read(b) // never fails: documented in crypto/rand
	return secretPrefix + base64.StdEncoding.EncodeToString(b)
}

// newToken makes the part of an address that nobody can guess.
func newToken() string {
	b := make([]byte, tokenBytes)
	_, _ = rand.Read(b) // never fails: documented in crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)
}

// tokenHash is what is kept of a token: nobody can make the address of it again. The
// token is random, so there is nothing to slow guesses down for.
func tokenHash(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}

// sealSecret encrypts a secret for its trigger.
func (b *Bus) sealSecret(trg *models.Trigger, secret string) ([]byte, error) {
	if b.deps.Seal == nil {
		return nil, errNoSeal
	}
	return b.deps.Seal.Seal([]byte(secret), string(trg.WorkspaceID), string(trg.ID)), nil
}

func (b *Bus) openSecret(trg *models.Trigger, sealed []byte) (string, error) {
	if b.deps.Seal == nil {
		return "", errNoSeal
	}
	plain, err := b.deps.Seal.Open(sealed, string(trg.WorkspaceID), string(trg.ID))
	return string(plain), err
}

// secrets gives the secrets that count now, the newest first. There are none where
// none was set.
func (b *Bus) secrets(trg *models.Trigger, now time.Time) ([]string, error) {
	var out []string
	if trg.Secret != nil {
		s, err := b.openSecret(trg, trg.Secret)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if trg.OldSecret != nil && trg.OldSecretUntil != nil && now.Before(*trg.OldSecretUntil) {
		s, err := b.openSecret(trg, trg.OldSecret)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// hasSecret tells whether a trigger of that kind signs something or has something
// proved.
func hasSecret(trg *models.Trigger) bool {
	return trg.TargetType == models.TargetWebhook ||
		trg.Type == models.TriggerOnWebhook && trg.Verify != models.VerifyNone
}

// SetSecret gives a trigger, whose workspace and id are known, a secret that was made
// elsewhere. Another one it had no longer counts.
func (b *Bus) SetSecret(trg *models.Trigger, secret string) error {
	wrong := func(typ, msg string) error {
		return &models.InvalidError{Fields: []models.FieldError{{Loc: []any{"secret"}, Msg: msg, Type: typ}}}
	}
	switch {
	case !hasSecret(trg):
		return wrong("invalid", "only inbound webhooks with a proof and triggers whose target is a webhook have it")
	case len(secret) < leastSecret || len(secret) > mostSecret:
		return wrong("limit", "must have 16 to 256 characters")
	case !printable(secret):
		return wrong("pattern", "must be printable text")
	case !fitsStandard(trg, secret):
		return wrong("pattern", "must be base64, with or without whsec_ in front, as Standard Webhooks have it")
	}
	sealed, err := b.sealSecret(trg, secret)
	if err != nil {
		return err
	}
	trg.Secret, trg.OldSecret, trg.OldSecretUntil = sealed, nil, nil
	return nil
}

// fitsStandard tells whether a secret is of the form that Standard Webhooks need,
// where they are used.
func fitsStandard(trg *models.Trigger, secret string) bool {
	if trg.TargetType != models.TargetWebhook && trg.Verify != models.VerifyStandard {
		return true
	}
	_, ok := standardKey(secret)
	return ok
}

// Rotated is a trigger with a new secret, which is shown this once.
type Rotated struct {
	Trigger *models.Trigger
	Secret  string
}

// RotateSecret gives a trigger a new secret. The one before counts for 24 hours more.
func (b *Bus) RotateSecret(ctx context.Context, ws models.WorkspaceID, id models.TriggerID) (*Rotated, error) {
	now := b.now()
	secret := newSecret()
	trg, err := b.store.For(ws).UpdateTrigger(ctx, id, now, func(trg *models.Trigger) error {
		if !hasSecret(trg) {
			return models.Conflict(models.CodeInvalidState, "trigger %s has no secret: it neither signs nor verifies anything", trg.ID)
		}
		sealed, err := b.sealSecret(trg, secret)
		if err != nil {
			return err
		}
		until := now.Add(oldSecretLife)
		if trg.Secret != nil {
			trg.OldSecret, trg.OldSecretUntil = trg.Secret, &until
		}
		trg.Secret = sealed
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Rotated{Trigger: trg, Secret: secret}, nil
}
