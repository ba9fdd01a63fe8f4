package docs_test

import (
	"io"
	"net/http"
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
		follow := func(method, form string) (status int, page string) {
			req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form))
			require.NoError(t, err)
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			resp, err := new(http.Client).Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			raw, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			return resp.StatusCode, string(raw)
		}
		_, page := follow(http.MethodGet, "")
		require.Contains(t, page, "Send the offer?")
		for _, status := range []int{http.StatusOK, http.StatusConflict} {
			got, _ := follow(http.MethodPost, "decision=approve")
			require.Equal(t, status, got)
		}
	})
}
