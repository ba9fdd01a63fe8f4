package main

import (
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type devLine struct {
	URL        string `json:"url"`
	Key        string `json:"api_key"`
	Workspace  string `json:"workspace_id"`
	Console    string `json:"console_url"`
	Monitoring string `json:"monitoring_url"`
}

// dev starts flows dev and waits until it serves.
func dev(t *testing.T, dir string, flags ...string) (*process, devLine, client) {
	t.Helper()
	p := start(t, nil, append([]string{"dev", "--addr", "127.0.0.1:0", "--data-dir", dir}, flags...)...)
	var l devLine
	require.NoError(t, json.Unmarshal([]byte(p.line(p.stdout, "{")), &l))
	return p, l, client{t: t, url: l.URL, key: l.Key}
}

const (
	threeSteps = `{"steps":[
		{"id":"a","type":"connector","connector":"core","action":"set","input":{"n":1}},
		{"id":"b","type":"connector","connector":"core","action":"set","input":{"n":"{{ steps.a.output.n + 1 }}"}},
		{"id":"c","type":"connector","connector":"core","action":"set","input":{"n":"{{ steps.b.output.n + 1 }}"}}],
		"edges":[{"from":"a","to":"b"},{"from":"b","to":"c"}]}`
	waits = `{"steps":[
		{"id":"before","type":"connector","connector":"core","action":"set","input":{"n":1}},
		{"id":"pause","type":"wait","for":"1s"},
		{"id":"after","type":"connector","connector":"core","action":"set","input":{"n":2}}],
		"edges":[{"from":"before","to":"pause"},{"from":"pause","to":"after"}]}`
)

func TestDevKeepsDataAndKeyAndBeginsAnewWhenTold(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	p, first, c := dev(t, dir)
	require.Equal(t, first.URL+"/console", first.Console)
	require.Equal(t, first.URL+"/monitoring", first.Monitoring)
	var who struct {
		Workspace string   `json:"workspace_id"`
		Scopes    []string `json:"scopes"`
	}
	require.Equal(t, http.StatusOK, c.do(http.MethodGet, apiRoot+"/whoami", "", &who))
	require.Equal(t, first.Workspace, who.Workspace)
	require.Equal(t, []string{"*"}, who.Scopes)
	done := c.trigger(c.workflow(threeSteps), "Prefer", "wait=60")
	require.Equal(t, "completed", done.Status, string(done.Error))
	require.JSONEq(t, `{"c":{"n":3}}`, string(done.Output))
	require.Equal(t, http.StatusOK, c.do(http.MethodGet, "/readyz", "", nil))

	second := start(t, nil, "dev", "--addr", "127.0.0.1:0", "--data-dir", dir)
	require.Equal(t, exitFailed, second.wait())
	require.Contains(t, second.stderr.String(), "another flows dev is using it")

	require.Equal(t, exitOK, p.stop())
	require.Equal(t, 1, strings.Count(p.stdout.String(), "\n"), "one line on stdout and no more")
	info, err := os.Stat(filepath.Join(dir, keyFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	p, again, c := dev(t, dir)
	require.Equal(t, first.Key, again.Key)
	require.Equal(t, first.Workspace, again.Workspace)
	require.Equal(t, http.StatusOK, c.do(http.MethodGet, apiRoot+"/runs/"+done.ID, "", nil))
	require.Equal(t, exitOK, p.stop())

	_, fresh, c := dev(t, dir, "--reset")
	require.NotEqual(t, first.Key, fresh.Key)
	require.Equal(t, http.StatusNotFound, c.do(http.MethodGet, apiRoot+"/runs/"+done.ID, "", nil))
	c.key = first.Key
	require.Equal(t, http.StatusUnauthorized, c.do(http.MethodGet, apiRoot+"/whoami", "", nil))
}

func TestDevMakesAKeyAgainWhenItsFileIsGone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	p, first, _ := dev(t, dir)
	require.Equal(t, exitOK, p.stop())
	require.NoError(t, os.WriteFile(filepath.Join(dir, keyFile), []byte("{"), 0o600))
	_, second, c := dev(t, dir)
	require.NotEqual(t, first.Key, second.Key)
	require.Equal(t, http.StatusOK, c.do(http.MethodGet, apiRoot+"/whoami", "", nil))
}

func TestDevKilledInTheMiddleGoesOn(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	p, _, c := dev(t, dir)
	workflow := c.workflow(waits)
	var ids []string
	for range 100 {
		ids = append(ids, c.trigger(workflow).ID)
	}
	p.kill()

	_, _, c = dev(t, dir)
	c.completed(ids)
}

func TestTheQueuesPagesNeedALoginAndShowOurQueues(t *testing.T) {
	t.Parallel()
	_, l, c := dev(t, filepath.Join(t.TempDir(), "data"))
	c.trigger(c.workflow(threeSteps), "Prefer", "wait=60")

	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(path string, out any) int {
		resp, err := browser.Get(l.URL + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		if out != nil && resp.StatusCode == http.StatusOK {
			require.NoError(t, json.NewDecoder(resp.Body).Decode(out))
		}
		return resp.StatusCode
	}
	require.NotEqual(t, http.StatusOK, get("/monitoring/api/queues", nil))
	resp, err := browser.PostForm(l.URL+"/login", url.Values{"key": {c.key}})
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Less(t, resp.StatusCode, 400)

	var shown struct {
		Queues []struct {
			Queue     string `json:"queue"`
			Processed int    `json:"processed"`
			Pending   int    `json:"pending"`
			Archived  int    `json:"archived"`
		} `json:"queues"`
	}
	require.Eventually(t, func() bool {
		require.Equal(t, http.StatusOK, get("/monitoring/api/queues", &shown))
		for _, q := range shown.Queues {
			if q.Queue == "default" {
				return q.Processed > 0 && q.Pending == 0 && q.Archived == 0
			}
		}
		return false
	}, limit, 20*time.Millisecond)
	require.Equal(t, http.StatusOK, get("/monitoring", nil))

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.URL+"/monitoring/api/queues/default:pause", nil)
	require.NoError(t, err)
	req.Header.Set("Origin", l.URL)
	resp, err = browser.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.GreaterOrEqual(t, resp.StatusCode, 400, "it may only be looked at")
}
