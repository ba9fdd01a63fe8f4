package connections

import (
	"context"
	"time"

	"github.com/10ex/flows/models"
)

// Age writes the token of a connection again with another end.
func Age(ctx context.Context, s *Service, ws models.WorkspaceID, id models.ConnectionID, end time.Time) error {
	_, err := s.store.For(ws).UpdateConnection(ctx, id, func(row *models.Connection) error {
		t, err := s.tokenOf(row)
		if err != nil {
			return err
		}
		t.IssuedAt, t.Expires = end.Add(-time.Hour), &end
		row.Token, err = s.seal(row, sealedToken, t)
		row.TokenExpiresAt = &end
		return err
	})
	return err
}
