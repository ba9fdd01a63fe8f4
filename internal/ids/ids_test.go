package ids_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
)

func TestNewIsWellFormedAndRises(t *testing.T) {
	t.Parallel()
	got := make([]string, 5000)
	for i := range got {
		got[i] = ids.New("run")
		require.True(t, models.ValidID("run", got[i]), got[i])
	}
	require.True(t, slices.IsSorted(got))
	require.Len(t, slices.Compact(got), 5000)
}

func TestFormatKeepsTheOrderOfTheNumber(t *testing.T) {
	t.Parallel()
	low := uuid.UUID{15: 1}
	high := uuid.UUID{0: 0xff, 15: 1}
	require.Equal(t, "x_00000000000000000000000001", ids.Format("x", low))
	require.Less(t, ids.Format("x", low), ids.Format("x", high))
}

func TestUUIDReadsBackWhatFormatWrote(t *testing.T) {
	t.Parallel()
	for range 1000 {
		want := uuid.New()
		got, ok := ids.UUID(ids.Format("run", want))
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	for _, wrong := range []string{
		"", "run", "run_", "00000000000000000000000001", "run_0000000000000000000000000l", "run_8zzzzzzzzzzzzzzzzzzzzzzzzz", "run-00000000000000000000000001",
	} {
		_, ok := ids.UUID(wrong)
		require.False(t, ok, wrong)
	}
}

func TestLowestBoundsIdsOfItsTime(t *testing.T) {
	t.Parallel()
	before := time.Now().Add(-time.Millisecond)
	id := ids.New("run")
	require.LessOrEqual(t, ids.Lowest("run", before), id)
	require.Greater(t, ids.Lowest("run", time.Now().Add(2*time.Millisecond)), id)
}

func TestSourceRepeatsItself(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	seed := ids.NewSeed()
	a, b := ids.NewSource(seed, at), ids.NewSource(seed, at)
	var made []string
	for range 600 {
		id := a.Next("wf")
		require.True(t, models.ValidID("wf", id), id)
		require.Equal(t, id, b.Next("wf"))
		made = append(made, id)
	}
	require.True(t, slices.IsSorted(made))
	require.NotEqual(t, made[0], ids.NewSource(ids.NewSeed(), at).Next("wf"))

	ctx := ids.WithSource(context.Background(), ids.NewSource(seed, at))
	require.Equal(t, made[0], ids.Make(ctx, "wf"))
	require.Equal(t, made[1], ids.MakeAt(ctx, "wf", at.Add(time.Hour), 7), "who repeats a request repeats its ids")
	late := ids.MakeAt(context.Background(), "wf", at.Add(time.Hour), 7)
	require.Greater(t, late, ids.Lowest("wf", at.Add(time.Hour)))
	require.Less(t, late, ids.Lowest("wf", at.Add(time.Hour+time.Millisecond)))
	one, other := ids.Make(context.Background(), "wf"), ids.Make(context.Background(), "wf")
	require.NotEqual(t, one, other)
}

func TestIDsOfOneMomentSortByTheirNumber(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)
	before := ""
	for n := range int64(4096) {
		id := ids.At("evt", at, n)
		require.Greater(t, id, before)
		require.GreaterOrEqual(t, id, ids.Lowest("evt", at))
		require.Less(t, id, ids.Lowest("evt", at.Add(time.Millisecond)))
		before = id
	}
	one, other := ids.At("evt", at, 1), ids.At("evt", at, 1)
	require.NotEqual(t, one, other)
}
