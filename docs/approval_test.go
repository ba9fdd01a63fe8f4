package docs_test

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestApprovalHowTo does what the how-to tells its reader to do, and follows the link.
func TestApprovalHowTo(t *testing.T) {
	t.Parallel()
	eachCurl(t, func(t *testing.T, in *installation) {
		out := in.run(t, strings.Join(shellBlocks(t, "how-to/ask-a-person.md"), "\necho\n"))
		require.Contains(t, out, `"event_type":"flow.approval.requested"`)
		link := regexp.MustCompile(`Send the offer\? (http://\S+?)"`)
		require.Eventually(t, func() bool { return link.MatchString(in.peer.String()) }, time.Minute, 20*time.Millisecond, "no message came")
		address := link.FindStringSubmatch(in.peer.String())[1]
		resp, err := http.Get(address)
		require.NoError(t, err)
		page, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Contains(t, string(page), "Send the offer?")
		for _, status := range []int{http.StatusOK, http.StatusConflict} {
			resp, err = http.PostForm(address, url.Values{"decision": {"approve"}})
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, status, resp.StatusCode)
		}
	})
}
