package docs_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestConnectPage does what the page tells its reader to do.
func TestConnectPage(t *testing.T) {
	t.Parallel()
	eachCurl(t, func(t *testing.T, in *installation) {
		out := in.run(t, strings.Join(shellBlocks(t, "how-to/connect-to-other-systems.md"), "\necho\n"))
		require.Contains(t, out, `"ok":true`)
		require.Contains(t, out, `"status":"completed"`)
		require.NotContains(t, out, "not-for-every-eye")
		require.Contains(t, in.peer.String(), "POST /v1/scores key=run_")
	})
}
