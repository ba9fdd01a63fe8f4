package bus

import "github.com/10ex/flows/models"

// checkHook fills in what an inbound webhook leaves out and tells what is wrong
// with it.
func (b *Bus) checkHook(*models.Trigger) []models.FieldError {
	return []models.FieldError{{Loc: []any{"type"}, Msg: "inbound webhooks are not served here", Type: "unsupported"}}
}

// equip gives a new trigger the token and the secret that its kind needs.
func (b *Bus) equip(*models.Trigger, *Created) error { return nil }
