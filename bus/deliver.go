package bus

import (
	"context"

	"github.com/10ex/flows/models"
)

// unserved is what is wrong with a trigger whose target is a webhook.
var unserved = []models.FieldError{{Loc: []any{"target_type"}, Msg: "webhooks are not sent from here", Type: "unsupported"}}

// checkTarget tells what is wrong with a trigger that tells an address outside.
func (b *Bus) checkTarget(*models.Trigger) []models.FieldError { return unserved }

// queueDelivery makes the delivery of an event to the address of a trigger: the
// same one when it is called again.
func (b *Bus) queueDelivery(context.Context, *models.Trigger, *models.Event) (models.DeliveryID, error) {
	return "", &models.InvalidError{Fields: unserved}
}
