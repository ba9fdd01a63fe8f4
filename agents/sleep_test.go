package agents

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSleepTakesItsTimeAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		require.NoError(t, sleep(t.Context(), time.Minute))
		require.Equal(t, time.Minute, time.Since(start))
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		require.ErrorIs(t, sleep(ctx, time.Hour), context.DeadlineExceeded)
		require.Equal(t, time.Minute+time.Second, time.Since(start))
	})
}

func TestSchemaCacheStaysSmall(t *testing.T) {
	t.Parallel()
	var c schemaCache
	for i := range 2*maxKept + 1 {
		_, err := c.get(fmt.Appendf(nil, `{"minLength":%d}`, i))
		require.NoError(t, err)
		require.LessOrEqual(t, len(c.kept), maxKept)
	}
}
