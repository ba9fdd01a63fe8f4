package api

import (
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// stamp is a time as clients see it: UTC, always with microseconds, so that it
// also sorts as text.
type stamp time.Time

const stampFormat = "2006-01-02T15:04:05.000000Z07:00"

// MarshalJSON writes the time.
func (t stamp) MarshalJSON() ([]byte, error) {
	return []byte(`"` + time.Time(t).UTC().Format(stampFormat) + `"`), nil
}

// Schema describes it.
func (stamp) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time"}
}

// maybeStamp is a stamp that may be null.
type maybeStamp struct{ at *time.Time }

// MarshalJSON writes the time or null.
func (t maybeStamp) MarshalJSON() ([]byte, error) {
	if t.at == nil {
		return []byte("null"), nil
	}
	return stamp(*t.at).MarshalJSON()
}

// Schema describes it.
func (maybeStamp) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Nullable: true}
}
