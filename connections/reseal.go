package connections

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// Resealed counts what was found while everything was sealed again.
type Resealed struct {
	// Examined are rows that hold something sealed.
	Examined int `json:"examined"`
	// Resealed are those that were sealed under an older key, at least in part.
	Resealed int `json:"resealed"`
	// Unreadable are those that no key of the ring opens. They are left as they are.
	Unreadable int `json:"unreadable"`
}

// resealPage is how many rows are read at once.
const resealPage = 100

// Reseal seals everything of connections again that is sealed under an older key. It
// may be stopped and begun again at any time, and beside a product that runs.
func Reseal(ctx context.Context, s *store.Store, ring *seal.Ring) (Resealed, error) {
	var (
		out   Resealed
		after *models.Connection
	)
	keep := &Service{deps: Deps{Seal: ring}}
	for {
		rows, err := s.SealedConnections(ctx, after, resealPage)
		if err != nil || len(rows) == 0 {
			return out, err
		}
		for _, row := range rows {
			after = row
			out.Examined++
			if !stale(ring, row) {
				continue
			}
			_, err := s.For(row.WorkspaceID).UpdateConnection(ctx, row.ID, keep.reseal)
			switch {
			case errors.Is(err, models.ErrNotFound): // it was deleted
			case errors.Is(err, seal.ErrUnknownKey), errors.Is(err, seal.ErrBroken):
				out.Unreadable++
			case err != nil:
				return out, err
			default:
				out.Resealed++
			}
		}
	}
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
