package api

import (
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/10ex/flows/models"
)

// stamp is a time as clients see it: UTC, always with microseconds, so that it
// also sorts as text.
type stamp time.Time

// MarshalJSON writes the time.
func (t stamp) MarshalJSON() ([]byte, error) {
	return []byte(`"` + models.TimeText(time.Time(t)) + `"`), nil
}

// Schema describes it.
func (stamp) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time"}
}

// The first and last times that can be written with four digits for the year, which
// is all that RFC 3339 has and both databases take. An offset leads beyond them.
var (
	firstTime = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	lastTime  = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
)

// writable gives a time as UTC, or the nearest there is that can be written.
func writable(t time.Time) time.Time {
	t = t.UTC()
	switch {
	case t.Before(firstTime):
		return firstTime
	case t.After(lastTime):
		return lastTime
	}
	return t
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
