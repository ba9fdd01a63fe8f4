package bus

import "github.com/10ex/flows/models"

// checkSchedule fills in what a schedule leaves out, tells what is wrong with it,
// and sets when it is due next.
func (b *Bus) checkSchedule(*models.Trigger) []models.FieldError {
	return []models.FieldError{{Loc: []any{"type"}, Msg: "schedules are not served here", Type: "unsupported"}}
}
