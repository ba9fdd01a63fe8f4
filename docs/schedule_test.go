package docs_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSchedulePage does what the page tells its reader to do.
func TestSchedulePage(t *testing.T) {
	t.Parallel()
	eachCurl(t, func(t *testing.T, in *installation) {
		out := in.run(t, strings.Join(shellBlocks(t, "how-to/run-on-a-schedule.md"), "\necho\n"))
		due := regexp.MustCompile(`"next_fire_at":"([^"]+)"`).FindAllStringSubmatch(out, -1)
		require.Len(t, due, 2, out)
		berlin, err := time.LoadLocation("Europe/Berlin")
		require.NoError(t, err)
		at, err := time.Parse(time.RFC3339, due[0][1])
		require.NoError(t, err)
		require.Equal(t, "Monday 09:00:00", at.In(berlin).Format("Monday 15:04:05"))
		require.Equal(t, due[0][1], due[1][1])
		require.Contains(t, out, `{"items":[],"next_cursor":null}`)
		require.Contains(t, out, `"enabled":false,"disabled_reason":null,"last_fired_at":null,"next_fire_at":null`)
	})
}
