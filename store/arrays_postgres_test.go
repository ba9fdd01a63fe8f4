package store

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
)

// every has a field of each type that columns are made of.
type every struct {
	Text  string
	Maybe *string
	Int   int32
	Big   int64
	Bool  bool
	At    time.Time
	Ended *time.Time
	JSON  json.RawMessage
}

var everyField = []field[every]{
	fieldOf("a", "text", func(e *every) string { return e.Text }),
	fieldOf("b", "text", func(e *every) *string { return e.Maybe }),
	fieldOf("c", "int", func(e *every) int32 { return e.Int }),
	fieldOf("d", "bigint", func(e *every) int64 { return e.Big }),
	fieldOf("e", "bool", func(e *every) bool { return e.Bool }),
	fieldOf("f", "timestamptz", func(e *every) time.Time { return e.At }),
	fieldOf("g", "timestamptz", func(e *every) *time.Time { return e.Ended }),
	jsonField("h", "json", func(e *every) json.RawMessage { return e.JSON }),
}

func TestServerReadsArraysAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), testkit.PostgresURL(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	require.NoError(t, ourTypes(t.Context(), conn))

	text, before, after := "it's \"quoted\", {ü} \\ NULL", time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC), time.Date(2199, 2, 28, 1, 2, 3, 4000, time.UTC)
	rows := []*every{
		{},
		{text, &text, math.MaxInt32, math.MaxInt64, true, before, &after, json.RawMessage(`{"a": [1, "ü"]}`)},
		{"", new(string), math.MinInt32, math.MinInt64, false, after, &before, json.RawMessage(`null`)},
		{strings.Repeat("x", 100_000), nil, -1, 1, true, time.Unix(0, 0).UTC(), nil, nil},
	}
	from, _ := source(everyField)
	for _, n := range []int{len(rows), 1, 0} {
		q := newBunch()
		args := rowsOf(q, everyField, rows[:n])
		got, err := conn.Query(t.Context(), "SELECT * FROM "+from, args...) //nolint:unqueryvet // they are those that were written
		require.NoError(t, err)
		read, err := pgx.CollectRows(got, func(r pgx.CollectableRow) (*every, error) {
			e := &every{}
			var raw *string
			err := r.Scan(&e.Text, &e.Maybe, &e.Int, &e.Big, &e.Bool, &e.At, &e.Ended, &raw)
			if raw != nil {
				e.JSON = json.RawMessage(*raw)
			}
			return e, err
		})
		require.NoError(t, err)
		require.Len(t, read, n)
		for i := range read {
			require.Equal(t, rows[i], read[i], "row %d of %d", i, n)
		}
		q.release()
	}
}

func TestArraysHoldWhatTheServerCanKeep(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), testkit.PostgresURL(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	require.NoError(t, ourTypes(t.Context(), conn))
	q := newBunch()
	bad := "a\x00b\xffc"
	args := rowsOf(q, everyField[:2], []*every{{Text: bad, Maybe: &bad}})
	var text, maybe string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT ($1::text[])[1], ($2::text[])[1]", args...).Scan(&text, &maybe))
	require.Equal(t, "a\uFFFDb\uFFFDc", text)
	require.Equal(t, text, maybe)
}

// A buffer that is used again must not change what was read out of it before.
func TestBunchesShareNoArguments(t *testing.T) {
	t.Parallel()
	one, two := newBunch(), newBunch()
	a := rowsOf(one, everyField[:1], []*every{{Text: "one"}})
	b := rowsOf(two, everyField[:1], []*every{{Text: "two"}})
	for arg, want := range map[any]string{a[0]: "one", b[0]: "two"} {
		written, ok := arg.(*array)
		require.True(t, ok)
		require.Equal(t, want, string(written.binary[len(written.binary)-3:]))
		require.Equal(t, len(written.binary), written.room)
	}
}
