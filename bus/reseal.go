package bus

import (
	"context"

	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// resealPage is how many rows are read at once.
const resealPage = 100

// Reseal seals every secret of triggers again that is sealed under an older key. It may
// be stopped and begun again at any time, and beside a product that runs.
func Reseal(ctx context.Context, s *store.Store, ring *seal.Ring) (seal.Renewed, error) {
	return seal.Renew(
		func(after *models.Trigger) ([]*models.Trigger, error) {
			return s.SealedTriggers(ctx, after, resealPage)
		},
		func(row *models.Trigger) (bool, error) {
			next, changed, err := resealed(ring, row)
			if err != nil || !changed {
				return false, err
			}
			// A secret that was changed meanwhile was sealed under the newest key then.
			_, err = s.For(row.WorkspaceID).ResealTrigger(ctx, row, next)
			return err == nil, err
		})
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
