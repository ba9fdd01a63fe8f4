package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/api"
	"github.com/10ex/flows/internal/testkit"
)

// messages is somebody who is told of approvals by webhook. It repeats what it is sent,
// as careless ones do.
func messages(t *testing.T, c client) <-chan string {
	t.Helper()
	links := make(chan string, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		var e struct {
			Data struct {
				Link string `json:"link"`
			} `json:"data"`
		}
		_ = json.Unmarshal(raw, &e)
		_, _ = w.Write(raw[:min(len(raw), 900)])
		links <- e.Data.Link
	}))
	t.Cleanup(srv.Close)
	status, raw := c.send(http.MethodPost, apiRoot+"/triggers",
		`{"type":"event","event_type":"flow.approval.requested","target_type":"webhook","url":"`+srv.URL+`"}`)
	require.Equal(t, http.StatusCreated, status, string(raw))
	return links
}

func next(t *testing.T, links <-chan string) string {
	t.Helper()
	select {
	case link := <-links:
		return link
	case <-time.After(limit):
		require.FailNow(t, "no message came")
		return ""
	}
}

func TestALinkToAnApprovalGoesOutAndIsKeptNowhere(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	p, line, c := dev(t, dir)
	links := messages(t, c)
	run := c.trigger(c.workflow(asking))
	link := next(t, links)
	token, ok := strings.CutPrefix(link, line.URL+api.ApprovalsPath)
	require.True(t, ok, link)
	var list struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
	}
	require.Equal(t, http.StatusOK, c.do(http.MethodGet, apiRoot+"/triggers", "", &list))
	require.Eventually(t, func() bool {
		_, raw := c.send(http.MethodGet, apiRoot+"/triggers/"+list.Items[0].ID+"/deliveries", "")
		return strings.Contains(string(raw), `"delivered"`) && strings.Contains(string(raw), "[redacted]")
	}, limit, 20*time.Millisecond)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, link, strings.NewReader("decision=approve&comment=by+link"))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := new(http.Client).Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	c.completed([]string{run.ID})
	require.Zero(t, p.stop())
	require.NotContains(t, p.stderr.String(), token[:40])
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Join(dir, f.Name()))
		require.NoError(t, err)
		require.NotContains(t, string(raw), token[:40], f.Name())
	}
}

// Whatever was due while nobody ran is done at once, before HTTP is served.
func TestLinksAreKnownBeforeAnythingRuns(t *testing.T) {
	t.Parallel()
	p := &program{env: environmentOf(nil), stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}
	cfg, err := p.config()
	require.NoError(t, err)
	data, err := openDataDir(t.TempDir(), false)
	require.NoError(t, err)
	defer data.close()
	cfg.DatabaseURL, cfg.HTTPAddr = "sqlite:"+data.file("flows.db"), "127.0.0.1:0"
	cfg.EncryptionKey, err = data.encryptionKey()
	require.NoError(t, err)
	a, err := newApp(t.Context(), cfg, roles{command: "dev", api: true, worker: true, scheduler: true, migrate: true}, p.logger(cfg))
	require.NoError(t, err)
	defer a.close(t.Context())
	require.Empty(t, a.approvalLink("tok"))
	l, err := a.listen(t.Context())
	require.NoError(t, err)
	require.Equal(t, "http://"+l.Addr().String()+api.ApprovalsPath+"tok", a.approvalLink("tok"))
	require.NoError(t, l.Close())
}

func TestAPersonAnswersWithABrowser(t *testing.T) {
	t.Parallel()
	if !testkit.HaveChromium() {
		return // with CI=true there has to be one
	}
	_, _, c := dev(t, t.TempDir())
	links := messages(t, c)
	run := c.trigger(c.workflow(asking))
	link := next(t, links)
	ctx := browser(t)
	require.NoError(t, chromedp.Do(ctx,
		chromedp.Navigate(link),
		chromedp.WaitVisible("#comment"),
		chromedp.SendKeys("#comment", "Looks fine"),
	))
	shot, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	require.NoError(t, err)
	keepScreenshot(t, "approval.png", shot)
	text, err := chromedp.Run(ctx, chromedp.Text("body"))
	require.NoError(t, err)
	require.Contains(t, text, "Send it?")
	require.NoError(t, chromedp.Do(ctx, chromedp.Click("button[value=approve]"), chromedp.WaitNotPresent("#comment")))
	text, err = chromedp.Run(ctx, chromedp.Text("body"))
	require.NoError(t, err)
	require.Contains(t, text, "Approved")
	c.completed([]string{run.ID})
}

// keepScreenshot keeps a picture for people where they ask for it.
func keepScreenshot(t *testing.T, name string, shot []byte) {
	t.Helper()
	require.NotEmpty(t, shot)
	if dir := os.Getenv("FLOWS_TEST_SCREENSHOTS"); dir != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), shot, 0o600))
	}
}
