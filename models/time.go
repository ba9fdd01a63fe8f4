package models

import "time"

// TimeFormat is how the product writes a time wherever people and programs read it: in
// UTC and always with microseconds, so that it also sorts as text.
const TimeFormat = "2006-01-02T15:04:05.000000Z07:00"

// TimeText writes a time in TimeFormat.
func TimeText(t time.Time) string { return t.UTC().Format(TimeFormat) }
