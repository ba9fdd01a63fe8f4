package connections

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/models"
)

// testTimeout is how long trying a connection may take.
const testTimeout = 15 * time.Second

// Result is what trying a connection gave.
type Result struct {
	OK     bool
	Status models.ConnectionStatus
	// Error tells why it is not OK.
	Error *connectors.Error
}

// Test tries a connection with a light read, as its connector knows one, and notes
// what came of it. The error is of the store; that the other side says no is a result.
func (s *Service) Test(ctx context.Context, ws models.WorkspaceID, id models.ConnectionID) (*Result, error) {
	row, err := s.store.For(ws).Connection(ctx, id)
	if err != nil {
		return nil, err
	}
	out := &Result{OK: true, Status: models.ConnectionOK}
	tried, err := s.try(ctx, row)
	switch {
	case err != nil && errors.Is(err, models.ErrUnavailable):
		return nil, err
	case err != nil:
		e := connectors.AsError(err)
		*out = Result{Status: statusAfter(e), Error: e}
	case !tried:
		out.Status = models.ConnectionUnknown
	}
	now := s.clock.Now()
	_, err = s.store.For(ws).UpdateConnection(ctx, id, func(kept *models.Connection) error {
		if !kept.UpdatedAt.Equal(row.UpdatedAt) {
			return nil // it is another one by now, or has other secrets
		}
		kept.Status, kept.LastCheckedAt, kept.LastError = out.Status, &now, ""
		if out.Error != nil {
			kept.LastError = out.Error.Code
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// try opens a connection and has its connector read something, where it can.
func (s *Service) try(ctx context.Context, row *models.Connection) (tried bool, err error) {
	ctx, stop := context.WithTimeout(ctx, testTimeout)
	defer stop()
	open, err := s.openRow(ctx, row, true)
	if err != nil {
		return false, err
	}
	c, _, err := s.deps.Connectors.Find(ctx, string(row.WorkspaceID), row.Connector)
	if err != nil {
		return false, err
	}
	tester, ok := c.(connectors.Tester)
	if !ok {
		return open.Auth.Type == connectors.AuthOAuth2, nil // which took the credentials for a token
	}
	return true, open.Redactor().Error(tester.TestConnection(ctx, open))
}

// statusAfter tells what a failure says about the credentials.
func statusAfter(e *connectors.Error) models.ConnectionStatus {
	switch {
	case e.Unauthorized, e.Status == http.StatusForbidden, e.Code == connectors.CodeNotConnected:
		return models.ConnectionUnauthorized
	}
	return models.ConnectionFailing
}
