package connections

import (
	"context"
	"strconv"
	"time"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
)

// healthTimeout bounds how long a step waits for what it found out to be written down.
const healthTimeout = 5 * time.Second

// aboutTokens are the errors that were noted when a token was asked for. The next token
// ends them, and not the use of the one before, which may count for a moment yet.
var aboutTokens = map[string]bool{codeRefused: true, codeUnavailable: true, connectors.CodeNotConnected: true}

func healthOf(row *models.Connection) connectors.Health {
	return connectors.Health{
		Status: string(row.Status), Error: row.LastError,
		Version: strconv.FormatInt(row.UpdatedAt.UnixMicro(), 36) + "." + strconv.FormatInt(row.TokenVersion, 36),
	}
}

// after tells what the use of a connection says about it: its status and the code of an
// error. news is false where that was known.
func after(have connectors.Health, err error) (status models.ConnectionStatus, code string, news bool) {
	switch {
	case err == nil:
		return models.ConnectionOK, "", have.Status != string(models.ConnectionOK) && !aboutTokens[have.Error]
	case connectors.AsError(err).Unauthorized:
		return models.ConnectionUnauthorized, connectors.AsError(err).Code, have.Status != string(models.ConnectionUnauthorized)
	}
	return "", "", false // of its credentials it says nothing
}

// Used hears how a step fared that used a connection, and notes what is new about it:
// that the other side does not take its credentials, or takes them again. Nearly always
// there is nothing new, and then it costs nothing.
func (s *Service) Used(ctx context.Context, ws models.WorkspaceID, c *connectors.Connection, err error) {
	if _, _, news := after(c.Health, err); !news {
		return
	}
	if _, busy := s.noting.LoadOrStore(c.ID, nil); busy {
		return // another step found out the same; if not, the next one will
	}
	defer s.noting.Delete(c.ID)
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), healthTimeout)
	defer stop()
	_, failed := s.store.For(ws).UpdateConnection(ctx, models.ConnectionID(c.ID), func(row *models.Connection) error {
		have := healthOf(row)
		status, code, news := after(have, err)
		if !news || have.Version != c.Health.Version {
			return nil // it is known by now, or was said of what is another by now
		}
		row.Status, row.LastError, row.LastCheckedAt = status, c.Redactor().Text(code), new(s.clock.Now())
		return nil
	})
	if failed != nil {
		s.log.WarnContext(ctx, "it could not be noted how a connection is", obs.Workspace(ws), obs.Err(failed))
	}
}
