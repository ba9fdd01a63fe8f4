package connections

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
)

const (
	// refreshLease is for how long one process alone may ask for a token: longer than
	// asking and writing it down may take.
	refreshLease = tokenTimeout + saveTimeout + 5*time.Second
	saveTimeout  = 10 * time.Second
	// lookPause is how often who waits for another's token looks for it.
	firstLook, lastLook = 20 * time.Millisecond, 500 * time.Millisecond
	// refusalRests is how long a client that was refused is not asked for again.
	refusalRests = time.Minute
)

var (
	errHeld  = errors.New("somebody else asks for a token")
	errMoved = errors.New("the connection is another by now")
)

// addToken puts a token that is fresh into c, and gets one where it has to. insist has
// it ask again although the other side has refused.
func (s *Service) addToken(ctx context.Context, row *models.Connection, c *connectors.Connection, insist bool) error {
	t, err := s.usable(ctx, row, c, insist)
	if err != nil {
		return gone(c.ID, err)
	}
	c.Secrets[connectors.SecretAccessToken] = t.Access
	return nil
}

func (s *Service) usable(ctx context.Context, row *models.Connection, c *connectors.Connection, insist bool) (*token, error) {
	t, err := s.tokenOf(row)
	if err != nil {
		return nil, s.unreadable(ctx, row, err)
	}
	if now := s.clock.Now(); t.fresh(now) && !suspect(row, t, now) && (!insist || row.Status != models.ConnectionUnauthorized) {
		return t, nil
	}
	// One of this process at a time; of all processes, the lease sees to it.
	release, err := s.turns.take(ctx, row.ID)
	if err != nil {
		return nil, connectors.NetworkError(ctx, err)
	}
	defer release()
	began := s.clock.Now().Truncate(time.Microsecond) // as the store keeps times
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		if row, err = s.store.For(row.WorkspaceID).Connection(ctx, row.ID); err != nil {
			return nil, err
		}
		if !sameJSON(row.Config, c.Config) {
			return nil, connectors.Retryable(connectors.CodeNotConnected, "connection %s was just changed", row.ID)
		}
		t, err := s.attempt(ctx, row, c, began, insist)
		switch {
		case errors.Is(err, errMoved):
			continue
		case !errors.Is(err, errHeld):
			return t, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, connectors.NetworkError(ctx, ctx.Err())
		}
	}
}

// suspect tells whether a step was refused with a token before its time, as happens when
// it is revoked. One that is of the last minute is kept: where the next would be refused
// as well, not every step asks for one.
func suspect(row *models.Connection, t *token, now time.Time) bool {
	return row.Status == models.ConnectionUnauthorized && !aboutTokens[row.LastError] && now.After(t.IssuedAt.Add(refusalRests))
}

// attempt gives the token of a row as it stands, or gets the next one.
func (s *Service) attempt(ctx context.Context, row *models.Connection, c *connectors.Connection, began time.Time, insist bool) (*token, error) {
	t, err := s.tokenOf(row)
	if err != nil {
		return nil, s.unreadable(ctx, row, err)
	}
	now := s.clock.Now()
	since := row.LastCheckedAt != nil && !row.LastCheckedAt.Before(began) // somebody has tried meanwhile
	refused := row.Status == models.ConnectionUnauthorized && aboutTokens[row.LastError]
	if t.fresh(now) && !suspect(row, t, now) && (!insist || !refused || since) {
		return t, nil
	}
	fallback := func(err error) (*token, error) {
		if t.valid(now) {
			return t, nil
		}
		return nil, err
	}
	code := c.Auth.Grant != grantClient
	switch {
	case code && t == nil:
		return nil, connectors.Permanent(connectors.CodeNotConnected, "connection %s has to be authorised first", row.ID)
	case code && t.Refresh == "":
		return fallback(connectors.Permanent(connectors.CodeNotConnected, "the access of connection %s has ended: authorise it again", row.ID))
	case refused && (since || !insist && (code || now.Before(row.LastCheckedAt.Add(refusalRests)))):
		return fallback(connectors.Permanent(connectors.CodeNotConnected, "connection %s was refused a token: %s", row.ID, row.LastError))
	case since && row.Status == models.ConnectionFailing:
		return fallback(connectors.Retryable(row.LastError, "connection %s could not get a token", row.ID))
	}
	lease, err := s.lease(ctx, row)
	switch {
	case errors.Is(err, errHeld) && suspect(row, t, now):
		return nil, err // what there is was refused: wait for the next
	case errors.Is(err, errHeld):
		return fallback(err)
	}
	if err != nil {
		return nil, err
	}
	// What was begun is ended: a refresh token may be good for one use only.
	ctx = context.WithoutCancel(ctx)
	next, err := s.next(ctx, c.Auth, c.Secrets[connectors.SecretClientSecret], t)
	if err != nil {
		err = c.Redactor().Error(err)
		if noted := s.noteRefusal(ctx, row, lease, connectors.AsError(err)); noted != nil {
			s.log.WarnContext(ctx, "it could not be noted that a connection got no token", obs.Workspace(row.WorkspaceID), obs.Err(noted))
		}
		if e := connectors.AsError(err); !e.Retryable {
			return fallback(connectors.Permanent(connectors.CodeNotConnected, "connection %s was refused a token: %s", row.ID, e.Message))
		}
		return fallback(err)
	}
	return next, s.saveToken(ctx, row, lease, next)
}

// lease takes the right to ask for the token after the one in row.
func (s *Service) lease(ctx context.Context, row *models.Connection) (string, error) {
	lease := ids.New("lease")
	_, err := s.store.For(row.WorkspaceID).UpdateConnection(ctx, row.ID, func(have *models.Connection) error {
		now := s.clock.Now()
		switch {
		case have.TokenVersion != row.TokenVersion || !bytes.Equal(have.Config, row.Config):
			return errMoved
		case have.RefreshUntil != nil && now.Before(*have.RefreshUntil):
			return errHeld
		}
		have.RefreshLease, have.RefreshUntil = lease, new(now.Add(refreshLease))
		return nil
	})
	return lease, err
}

// saveToken writes down what was got. Losing it may mean losing the account, so it is
// tried for a while.
func (s *Service) saveToken(ctx context.Context, row *models.Connection, lease string, t *token) error {
	return s.underLease(ctx, row, lease, func(have *models.Connection) error {
		if err := s.keepToken(have, t); err != nil {
			return err
		}
		have.Status, have.LastCheckedAt, have.LastError = models.ConnectionOK, new(s.clock.Now()), ""
		return nil
	})
}

// noteRefusal writes down that there was no token, for all who wait for it.
func (s *Service) noteRefusal(ctx context.Context, row *models.Connection, lease string, e *connectors.Error) error {
	return s.underLease(ctx, row, lease, func(have *models.Connection) error {
		have.Status, have.LastCheckedAt, have.LastError = models.ConnectionFailing, new(s.clock.Now()), e.Code
		if !e.Retryable {
			have.Status = models.ConnectionUnauthorized
		}
		have.RefreshLease, have.RefreshUntil = "", nil
		return nil
	})
}

// underLease changes a connection while the lease is still the caller's.
func (s *Service) underLease(ctx context.Context, row *models.Connection, lease string, fn func(*models.Connection) error) error {
	ctx, stop := context.WithTimeout(ctx, saveTimeout)
	defer stop()
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		_, err := s.store.For(row.WorkspaceID).UpdateConnection(ctx, row.ID, func(have *models.Connection) error {
			if have.RefreshLease != lease {
				return errMoved
			}
			return fn(have)
		})
		if !errors.Is(err, models.ErrUnavailable) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}
