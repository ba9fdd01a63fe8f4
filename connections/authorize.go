package connections

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"golang.org/x/oauth2"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/models"
)

const (
	stateBytes = 32
	// stateLife is how long somebody has to say yes at the other side.
	stateLife = 10 * time.Minute
)

// pending is what has to be known when somebody comes back from the other side.
type pending struct {
	Verifier string `json:"verifier"`
	Redirect string `json:"redirect_uri"`
}

// Authorization is where somebody has to go to say yes.
type Authorization struct {
	URL       string
	ExpiresAt time.Time
}

// Authorize begins to authorise a connection: somebody goes to the address with a
// browser, says yes, and comes back to redirect with what Return needs. An earlier
// beginning no longer counts.
func (s *Service) Authorize(ctx context.Context, ws models.WorkspaceID, id models.ConnectionID, redirect string) (*Authorization, error) {
	state, verifier := newState(), oauth2.GenerateVerifier()
	out := &Authorization{ExpiresAt: s.clock.Now().Add(stateLife)}
	_, err := s.store.For(ws).UpdateConnection(ctx, id, func(row *models.Connection) error {
		a, err := authOf(row)
		if err != nil {
			return err
		}
		if a.Type != connectors.AuthOAuth2 || a.Grant != grantCode {
			return models.Conflict(models.CodeInvalidState, "connection %s is not authorised by a person: its auth is not oauth2 with authorization_code", id)
		}
		if row.Pending, err = s.seal(row, sealedPending, pending{verifier, redirect}); err != nil {
			return err
		}
		row.StateHash, row.StateExpiresAt = hashOf(state), &out.ExpiresAt
		out.URL = config(a, "", redirect).AuthCodeURL(state, append(options(a), oauth2.S256ChallengeOption(verifier))...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ErrDenied says that nothing came of an authorisation: it was not begun here, has
// come back before or too late, or the other side said no.
var ErrDenied = errors.New("the authorisation is not valid, or no longer")

// Return ends what Authorize began: state, which only who was sent away has, tells of
// which connection, and counts once. denied is the word of the other side for no.
func (s *Service) Return(ctx context.Context, state, code, denied string) (*models.Connection, error) {
	row, err := s.store.ConnectionByState(ctx, hashOf(state))
	if errors.Is(err, models.ErrNotFound) {
		return nil, ErrDenied
	}
	if err != nil {
		return nil, err
	}
	t := s.store.For(row.WorkspaceID)
	var sealed []byte
	row, err = t.UpdateConnection(ctx, row.ID, func(have *models.Connection) error {
		if !bytes.Equal(have.StateHash, hashOf(state)) || have.StateExpiresAt == nil || !s.clock.Now().Before(*have.StateExpiresAt) {
			return ErrDenied
		}
		sealed = have.Pending
		have.StateHash, have.Pending, have.StateExpiresAt = nil, nil, nil
		return nil
	})
	switch {
	case errors.Is(err, models.ErrNotFound):
		return nil, ErrDenied
	case err != nil:
		return nil, err
	case denied != "" || code == "":
		return nil, ErrDenied
	}
	open, err := s.unsealed(ctx, row)
	if err != nil {
		return nil, err
	}
	var p pending
	if err := s.open(row, sealedPending, sealed, &p); err != nil {
		return nil, s.unreadable(ctx, row, err)
	}
	got, err := s.exchange(ctx, open.Auth, open.Secrets[connectors.SecretClientSecret], p.Redirect, code, p.Verifier)
	if err != nil {
		return nil, open.Redactor().Error(err)
	}
	return t.UpdateConnection(context.WithoutCancel(ctx), row.ID, func(have *models.Connection) error {
		if !sameJSON(have.Config, row.Config) {
			return ErrDenied
		}
		if err := s.keepToken(have, got); err != nil {
			return err
		}
		have.Status, have.LastCheckedAt, have.LastError = models.ConnectionOK, new(s.clock.Now()), ""
		return nil
	})
}

func newState() string {
	b := make([]byte, stateBytes)
	_, _ = rand.Read(b) // never fails: documented in crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)
}

// hashOf is what is kept of a state. It is random, so there is nothing to slow down.
func hashOf(state string) []byte {
	h := sha256.Sum256([]byte(state))
	return h[:]
}

func authOf(row *models.Connection) (connectors.Auth, error) {
	var c struct {
		Auth connectors.Auth `json:"auth"`
	}
	err := json.Unmarshal(row.Config, &c)
	return c.Auth, err
}
