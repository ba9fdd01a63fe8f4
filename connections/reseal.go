package connections

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// resealPage is how many rows are read at once.
const resealPage = 100

// Reseal seals everything of connections again that is sealed under an older key. It
// may be stopped and begun again at any time, and beside a product that runs.
func Reseal(ctx context.Context, s *store.Store, ring *seal.Ring) (seal.Renewed, error) {
	keep := &Service{deps: Deps{Seal: ring}}
	return seal.Renew(
		func(after *models.Connection) ([]*models.Connection, error) {
			return s.SealedConnections(ctx, after, resealPage)
		},
		func(row *models.Connection) (bool, error) {
			if !stale(ring, row) {
				return false, nil
			}
			_, err := s.For(row.WorkspaceID).UpdateConnection(ctx, row.ID, keep.reseal)
			if errors.Is(err, models.ErrNotFound) { // it was deleted
				return false, nil
			}
			return err == nil, err
		})
}

func stale(ring *seal.Ring, row *models.Connection) bool {
	for _, sealed := range [][]byte{row.Secrets, row.Token, row.Pending} {
		if sealed != nil && ring.Stale(sealed) {
			return true
		}
	}
	return false
}

// reseal seals all parts of a row again, under the lock of the row.
func (s *Service) reseal(row *models.Connection) error {
	for part, sealed := range map[string]*[]byte{sealedSecrets: &row.Secrets, sealedToken: &row.Token, sealedPending: &row.Pending} {
		if *sealed == nil {
			continue
		}
		var plain json.RawMessage
		err := s.open(row, part, *sealed, &plain)
		if err != nil {
			return err
		}
		if *sealed, err = s.seal(row, part, plain); err != nil {
			return err
		}
	}
	return nil
}
