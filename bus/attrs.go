package bus

import (
	"log/slog"

	"github.com/10ex/flows/models"
)

// triggerAttr names a trigger in logs.
func triggerAttr(id models.TriggerID) slog.Attr { return slog.String("trigger_id", string(id)) }

// eventAttr names an event in logs.
func eventAttr(id models.EventID) slog.Attr { return slog.String("event_id", string(id)) }
