package bus

import (
	"errors"
	"fmt"
	"strings"
	"time"

	cron "github.com/netresearch/go-cron"
)

// schedule says when a trigger of type schedule is due: a cron expression, read
// on the clocks of a time zone.
type schedule struct {
	spec cron.Schedule
	zone *time.Location
	// everyHour is set where the hour is not fixed. When the clocks go back such a
	// schedule is due in both of the hours that look the same; one at a fixed hour is
	// due once a day, whatever the clocks do.
	everyHour bool
}

// cronParser reads the five fields of crontab(5), and names such as @daily. A day
// is meant if either of its two fields says so, as in every crontab.
var cronParser = cron.MustNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor | cron.DowOrDom)

var (
	errCronZone  = errors.New("the time zone belongs into timezone, not into cron")
	errCronEvery = errors.New("@every is not supported: use five fields such as */15 * * * *")
	errCronNever = errors.New("it is never due")
	errCronCount = errors.New("it must have five fields, minute, hour, day, month and weekday, or be a name such as @daily")
	errCronField = errors.New("is none: a number, *, a list with commas or a range with -, each with /n if need be")
)

// cronFields are the fields of a cron expression and what numbers they take.
var cronFields = []string{"minute (0 to 59)", "hour (0 to 23)", "day (1 to 31)", "month (1 to 12)", "weekday (0 to 6, 0 is Sunday)"}

// cronFault says in our words which field cannot be read.
func cronFault(expr string) error {
	fields := strings.Fields(expr)
	if len(fields) != len(cronFields) {
		return errCronCount
	}
	for i, field := range fields {
		alone := []string{"*", "*", "*", "*", "*"}
		alone[i] = field
		if _, err := cronParser.Parse(strings.Join(alone, " ")); err != nil {
			return fmt.Errorf("%q as %s %w", field, cronFields[i], errCronField)
		}
	}
	return errCronCount
}

// parseSchedule reads a cron expression and the name of a time zone.
func parseSchedule(expr string, zone *time.Location) (*schedule, error) {
	expr = strings.TrimSpace(expr)
	switch {
	case strings.Contains(strings.ToUpper(expr), "TZ="):
		return nil, errCronZone
	case strings.HasPrefix(expr, "@every"):
		return nil, errCronEvery
	}
	spec, err := cronParser.Parse(expr)
	if err != nil {
		return nil, cronFault(expr)
	}
	fields := strings.Fields(expr)
	s := &schedule{spec: spec, zone: zone, everyHour: expr == "@hourly" || len(fields) == 5 && strings.HasPrefix(fields[1], "*")}
	if s.next(time.Unix(0, 0)).IsZero() {
		return nil, errCronNever
	}
	return s, nil
}

// parseZone finds a time zone by its IANA name.
func parseZone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" { // the zone of this host is nobody's
		return nil, fmt.Errorf("%q is not the IANA name of a time zone, such as Europe/Berlin", name)
	}
	return zone, nil
}

// next is the first time after t that the schedule is due; zero if there is none. A
// time that the clocks jump over is due when they have.
func (s *schedule) next(t time.Time) time.Time {
	for {
		t = s.spec.Next(t.In(s.zone))
		if t.IsZero() {
			return t
		}
		if s.everyHour || !secondOfTwo(t) {
			return t.UTC()
		}
	}
}

// secondOfTwo tells whether the clocks showed the same time shortly before.
func secondOfTwo(t time.Time) bool {
	const wall = "2006-01-02 15:04:05"
	for _, back := range []time.Duration{30 * time.Minute, time.Hour, 2 * time.Hour} { // what zones do
		if t.Add(-back).Format(wall) == t.Format(wall) {
			return true
		}
	}
	return false
}

// latest is the last time up to t that the schedule was due; zero if that is more
// than five years ago.
func (s *schedule) latest(t time.Time) (last time.Time) {
	const day = 24 * time.Hour
	for _, back := range []time.Duration{time.Hour, 25 * time.Hour, 32 * day, 367 * day, 5 * 366 * day} {
		for at := s.next(t.Add(-back)); !at.IsZero() && !at.After(t); at = s.next(at) {
			last = at
		}
		if !last.IsZero() {
			break
		}
	}
	return last
}

// count tells how often the schedule is due from from, which is such a time, up to
// to, at most limit.
func (s *schedule) count(from, to time.Time, limit int) (n int) {
	for t := from; !t.IsZero() && !t.After(to) && n < limit; t = s.next(t) {
		n++
	}
	return n
}
