package clock_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/clock"
)

func TestFakeMovesOnlyWhenTold(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 1234, time.UTC)
	f := clock.NewFake(start)
	require.Equal(t, start.Truncate(time.Microsecond), f.Now())
	require.Equal(t, start.Truncate(time.Microsecond).Add(time.Hour), f.Advance(time.Hour))
}

func TestSharedFollowsTheDatabase(t *testing.T) {
	t.Parallel()
	behind := 10 * time.Minute
	s := clock.NewShared(func(context.Context) (time.Time, error) { return time.Now().Add(-behind), nil })
	ahead, err := s.Sync(context.Background())
	require.NoError(t, err)
	require.InDelta(t, behind, ahead, float64(time.Second))
	require.InDelta(t, behind, time.Since(s.Now()), float64(time.Second))
}

func TestSharedKeepsItsTimeWhenTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	s := clock.NewShared(func(context.Context) (time.Time, error) { return time.Time{}, away })
	_, err := s.Sync(context.Background())
	require.ErrorIs(t, err, away)
	require.WithinDuration(t, time.Now(), s.Now(), time.Second)
}
