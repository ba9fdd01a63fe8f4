package recent_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/recent"
)

func TestTheOldestIsForgotten(t *testing.T) {
	t.Parallel()
	type thing struct {
		name   string
		number int
	}
	s := recent.NewSet[thing](3)
	require.False(t, s.Has(thing{"a", 0}))
	for i := range 3 {
		s.Add(thing{"a", i})
	}
	s.Add(thing{"a", 2}) // takes no place twice
	for i := range 3 {
		require.True(t, s.Has(thing{"a", i}))
	}
	for i := 3; i < 100; i++ {
		s.Add(thing{"a", i})
		require.True(t, s.Has(thing{"a", i}))
		require.True(t, s.Has(thing{"a", i - 2}))
		require.False(t, s.Has(thing{"a", i - 3}))
		require.False(t, s.Has(thing{"b", i}))
	}
}
