package bus

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
)

func TestMissedTicksFollowThePolicy(t *testing.T) {
	t.Parallel()
	at := func(clock string) time.Time {
		v, err := time.Parse("2006-01-02 15:04:05", "2026-05-04 "+clock)
		require.NoError(t, err)
		return v
	}
	const fires = ""
	type tick struct{ At, Ignored string }
	for _, c := range []struct {
		name, cron string
		missed     models.MissedPolicy
		due, now   string
		want       []tick
		next       string
	}{
		{name: "in time", cron: "0 * * * *", missed: models.MissedSkip, due: "09:00:00", now: "09:00:01",
			want: []tick{{"09:00:00", fires}}, next: "10:00:00"},
		{name: "a little late is in time", cron: "0 * * * *", missed: models.MissedSkip, due: "09:00:00", now: "09:00:59",
			want: []tick{{"09:00:00", fires}}, next: "10:00:00"},
		{name: "skip", cron: "0 * * * *", missed: models.MissedSkip, due: "09:00:00", now: "09:30:00",
			want: []tick{{"09:00:00", "nobody was there when it was due"}}, next: "10:00:00"},
		{name: "skip the late ones, fire the one that is due", cron: "0 * * * *", missed: models.MissedSkip, due: "09:00:00", now: "12:00:30",
			want: []tick{{"12:00:00", fires}, {"11:00:00", "nobody was there when it was due, nor for 2 before it"}}, next: "13:00:00"},
		{name: "latest", cron: "0 * * * *", missed: models.MissedLatest, due: "09:00:00", now: "12:30:00",
			want: []tick{{"12:00:00", fires}, {"11:00:00", "nobody was there when it was due, nor for 2 before it"}}, next: "13:00:00"},
		{name: "latest of one", cron: "0 * * * *", missed: models.MissedLatest, due: "09:00:00", now: "09:30:00",
			want: []tick{{"09:00:00", fires}}, next: "10:00:00"},
		{name: "all", cron: "0 * * * *", missed: models.MissedAll, due: "09:00:00", now: "11:30:00",
			want: []tick{{"09:00:00", fires}, {"10:00:00", fires}, {"11:00:00", fires}}, next: "12:00:00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			due, now := at(c.due), at(c.now)
			trg := &models.Trigger{Cron: c.cron, Timezone: "UTC", Missed: c.missed, NextFireAt: &due}
			ticks, next := dueTicks(trg, now, now.Add(time.Second))
			var got []tick
			for _, k := range ticks {
				require.Equal(t, k.Reason == "", k.Outcome == models.TickPending)
				require.Equal(t, k.Outcome == models.TickPending, k.AttendAt != nil)
				got = append(got, tick{k.DueAt.Format("15:04:05"), k.Reason})
			}
			require.Empty(t, cmp.Diff(c.want, got))
			require.Equal(t, at(c.next), *next)
		})
	}
}

func TestAScheduleThatWasAwayForLongCatchesUpInPieces(t *testing.T) {
	t.Parallel()
	due := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := due.Add(90 * 24 * time.Hour)
	trg := &models.Trigger{Cron: "* * * * *", Timezone: "UTC", Missed: models.MissedAll, NextFireAt: &due}
	ticks, next := dueTicks(trg, now, now)
	require.Len(t, ticks, ticksAtOnce)
	require.Equal(t, due.Add(ticksAtOnce*time.Minute), *next, "the rest is due at once")

	trg.Missed = models.MissedSkip
	ticks, next = dueTicks(trg, now.Add(30*time.Second), now)
	require.Len(t, ticks, 2)
	require.Equal(t, now, ticks[0].DueAt)
	require.Equal(t, missedReason(maxMissed), ticks[1].Reason)
	require.Equal(t, now.Add(time.Minute), *next)
}
