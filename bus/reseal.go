package bus

import (
	"context"
	"errors"

	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// Resealed counts what was found while everything was sealed again.
type Resealed struct {
	// Examined are triggers that have a secret.
	Examined int `json:"examined"`
	// Resealed are those with one that was sealed under an older key.
	Resealed int `json:"resealed"`
	// Unreadable are those that no key of the ring opens. They are left as they are.
	Unreadable int `json:"unreadable"`
}

// resealPage is how many rows are read at once.
const resealPage = 100

// Reseal seals every secret of triggers again that is sealed under an older key. It may
// be stopped and begun again at any time, and beside a product that runs.
func Reseal(ctx context.Context, s *store.Store, ring *seal.Ring) (Resealed, error) {
	var (
		out   Resealed
		after *models.Trigger
	)
	for {
		rows, err := s.SealedTriggers(ctx, after, resealPage)
		if err != nil || len(rows) == 0 {
			return out, err
		}
		for _, row := range rows {
			after = row
			out.Examined++
			next, changed, err := resealed(ring, row)
			switch {
			case errors.Is(err, seal.ErrUnknownKey), errors.Is(err, seal.ErrBroken):
				out.Unreadable++
				continue
			case err != nil:
				return out, err
			case !changed:
				continue
			}
			// A secret that was changed meanwhile was sealed under the newest key then.
			if _, err := s.For(row.WorkspaceID).ResealTrigger(ctx, row, next); err != nil {
				return out, err
			}
			out.Resealed++
		}
	}
}

// resealed gives a trigger with its secrets under the newest key.
func resealed(ring *seal.Ring, row *models.Trigger) (next *models.Trigger, changed bool, err error) {
	after := *row
	for _, secret := range []*[]byte{&after.Secret, &after.OldSecret} {
		if *secret == nil || !ring.Stale(*secret) {
			continue
		}
		plain, err := ring.Open(*secret, string(row.WorkspaceID), string(row.ID))
		if err != nil {
			return nil, false, err
		}
		*secret, changed = ring.Seal(plain, string(row.WorkspaceID), string(row.ID)), true
	}
	return &after, changed, nil
}
