package docs_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCallMePage does what the page tells its reader to do.
func TestCallMePage(t *testing.T) {
	t.Parallel()
	eachCurl(t, func(t *testing.T, in *installation) {
		steps := shellBlocks(t, "how-to/call-me-when-a-run-fails.md")
		out := in.run(t, strings.Join(steps[:2], "\necho\n"))
		require.Regexp(t, `"secret":"whsec_[^"]+"`, out)
		require.Contains(t, out, `"status":"failed"`)
		require.Eventually(t, func() bool {
			return regexp.MustCompile(`POST /failed key= \{"id":"evt_[^\n]*"flow\.run\.failed"`).MatchString(in.peer.String())
		}, 20*time.Second, 20*time.Millisecond)
		require.Eventually(t, func() bool { // it has arrived before that is written down
			known, _, _ := strings.Cut(steps[0], "curl")
			out = in.run(t, known+steps[2])
			return strings.Contains(out, `"status":"delivered"`)
		}, 20*time.Second, 20*time.Millisecond)
		require.Contains(t, out, `"code":200`)
	})
}

// TestStartFromAWebhookPage does what the page tells its reader to do, and is GitHub.
func TestStartFromAWebhookPage(t *testing.T) {
	t.Parallel()
	eachCurl(t, func(t *testing.T, in *installation) {
		steps := shellBlocks(t, "how-to/start-from-a-webhook.md")
		out := in.run(t, steps[0])
		address, secret := between(t, out, `"url":"`), between(t, out, `"secret":"`)
		at, err := url.Parse(address)
		require.NoError(t, err)
		require.Equal(t, in.url, at.Scheme+"://"+at.Host)
		const body = `{"ref":"refs/heads/main"}`
		code := hmac.New(sha256.New, []byte(secret))
		_, _ = io.WriteString(code, body)
		for _, want := range []int{http.StatusAccepted, http.StatusOK} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body))
			require.NoError(t, err)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("X-GitHub-Event", "push")
			req.Header.Set("X-GitHub-Delivery", "1")
			req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(code.Sum(nil)))
			resp, err := new(http.Client).Do(req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, want, resp.StatusCode)
		}
		known, _, _ := strings.Cut(steps[0], "export FLOW")
		out = in.run(t, known+steps[1])
		require.Equal(t, 1, strings.Count(out, `"github.push"`), out)
	})
}

func between(t *testing.T, text, before string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, before)
	require.True(t, found, text)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}
