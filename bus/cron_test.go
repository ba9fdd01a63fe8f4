package bus

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestScheduleFollowsTheClocksOfItsZone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, cron, zone, after string
		want                    []string
	}{
		{"every Monday at nine, in winter and summer", "0 9 * * 1", "Europe/Berlin", "2026-03-20T00:00:00Z",
			[]string{"2026-03-23T08:00:00Z", "2026-03-30T07:00:00Z"}},
		{"half past two is due at half past three when the clocks go forward", "30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z",
			[]string{"2026-03-08T07:30:00Z", "2026-03-09T06:30:00Z"}},
		{"half past one is due once when the clocks go back", "30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z",
			[]string{"2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"}},
		{"every hour is due in both of the hours", "0 * * * *", "America/New_York", "2026-11-01T04:30:00Z",
			[]string{"2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"}},
		{"every quarter as well", "*/15 * * * *", "America/New_York", "2026-11-01T05:50:00Z",
			[]string{"2026-11-01T06:00:00Z", "2026-11-01T06:15:00Z"}},
		{"half an hour back on Lord Howe", "45 1 * * *", "Australia/Lord_Howe", "2026-04-03T20:00:00Z",
			[]string{"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"}},
		{"hourly by name", "@hourly", "UTC", "2026-01-01T00:10:00Z", []string{"2026-01-01T01:00:00Z"}},
		{"a day by either field", "0 0 13 * 5", "UTC", "2026-02-01T00:00:00Z",
			[]string{"2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"}},
		{"leap day", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			zone, err := parseZone(c.zone)
			require.NoError(t, err)
			s, err := parseSchedule(c.cron, zone)
			require.NoError(t, err)
			at, err := time.Parse(time.RFC3339, c.after)
			require.NoError(t, err)
			for _, want := range c.want {
				at = s.next(at)
				require.Equal(t, want, at.Format(time.RFC3339))
			}
		})
	}
}

func TestScheduleRefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	for _, expr := range []string{
		"", "* * * *", "* * * * * *", "60 * * * *", "0 24 * * *", "0 0 31 2 *", "@every 1s", "@reboot", "TZ=UTC 0 9 * * *",
		"CRON_TZ=Europe/Berlin 0 9 * * *", "0 9 * * mon-", "a b c d e", "0 9 * * 1 ; rm",
	} {
		_, err := parseSchedule(expr, time.UTC)
		require.Error(t, err, expr)
	}
	for _, zone := range []string{"", "Local", "Europe/Atlantis", "../../etc/passwd", "+02:00"} {
		_, err := parseZone(zone)
		require.Error(t, err, zone)
	}
}

func TestScheduleSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		"* * * *":           "it must have five fields, minute, hour, day, month and weekday, or be a name such as @daily",
		"0 9 * * 1 2":       "it must have five fields",
		"@often":            "it must have five fields",
		"61 9 * * 1":        `"61" as minute (0 to 59) is none: a number`,
		"0 9-25 * * 1":      `"9-25" as hour (0 to 23) is none`,
		"0 9 * foo 1":       `"foo" as month (1 to 12) is none`,
		"0 9 * * mon-":      `"mon-" as weekday (0 to 6, 0 is Sunday) is none`,
		"*/0 9 * * *":       `"*/0" as minute`,
		"TZ=Mars 0 9 * * *": "the time zone belongs into timezone",
		"0 0 31 2 *":        "it is never due",
	} {
		_, err := parseSchedule(expr, time.UTC)
		require.ErrorContains(t, err, want, expr)
	}
}

func TestScheduleMovesForwardAndMissesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		zone, err := parseZone(rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"}).Draw(t, "zone"))
		require.NoError(t, err)
		s, err := parseSchedule(rapid.SampledFrom([]string{"0 9 * * 1", "*/7 * * * *", "30 1,2,3 * * *", "0 0 1 * *", "@daily"}).Draw(t, "cron"), zone)
		require.NoError(t, err)
		from := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "from"), 0)
		first := s.next(from)
		require.True(t, first.After(from))
		require.Equal(t, first, s.next(first.Add(-time.Second)), "nothing lies between")
		to := first.Add(time.Duration(rapid.IntRange(0, 40*24).Draw(t, "hours")) * time.Hour)
		last, n := first, 0
		for at := first; !at.After(to); at = s.next(at) {
			require.False(t, at.Before(last))
			last = at
			n++
		}
		require.Equal(t, last, s.latest(to))
		require.Equal(t, n, s.count(first, to, n+1))
	})
}
