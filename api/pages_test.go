package api

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
	"github.com/10ex/flows/web"
)

var fakeMonitoring = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "queues at "+r.URL.Path) })

func withMonitoring(d *Deps) { d.Monitoring = fakeMonitoring }

// browse makes a request as a browser does, with a cookie or none.
func (b *bundle) browse(t *testing.T, method, path string, form url.Values, cookie string, headers ...string) *http.Response {
	t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	req.Header.Set("Accept", "text/html,*/*")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if cookie != "" {
		req.Header.Set("Cookie", sessionCookie+"="+cookie)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.api.App().Test(req, -1)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func (b *bundle) login(t *testing.T, key string) *http.Cookie {
	t.Helper()
	resp := b.browse(t, "POST", "/login", url.Values{"key": {key}, "next": {"/monitoring"}}, "")
	require.Equal(t, 303, resp.StatusCode)
	require.Equal(t, "/monitoring", resp.Header.Get("Location"))
	require.Len(t, resp.Cookies(), 1)
	return resp.Cookies()[0]
}

func TestPagesAreForAdministratorsWhoHaveLoggedIn(t *testing.T) {
	t.Parallel()
	each(t, options{deps: withMonitoring}, func(t *testing.T, b *bundle) {
		for _, path := range []string{"/monitoring", "/monitoring/", "/monitoring/api/queues", "/console", "/console/session"} {
			for _, cookie := range []string{"", "x", "x.y", b.key} {
				require.Equal(t, 303, b.browse(t, "GET", path, nil, cookie).StatusCode, path)
				require.Equal(t, 401, b.browse(t, "GET", path, nil, cookie, "Accept", "*/*").StatusCode, path)
			}
			require.Equal(t, 401, b.browse(t, "GET", path, nil, "", "Accept", "*/*", "Authorization", "Bearer "+b.key).StatusCode, "a key alone is no session")
		}
		require.Equal(t, 401, b.browse(t, "POST", "/monitoring/api/queues/default:pause", nil, "").StatusCode)

		cookie := b.login(t, b.key)
		require.Equal(t, sessionCookie, cookie.Name)
		require.True(t, cookie.HttpOnly)
		require.Equal(t, http.SameSiteLaxMode, cookie.SameSite)
		require.False(t, cookie.Secure)
		require.NotContains(t, cookie.Value, b.key[13:])
		for path, csp := range map[string]string{"/monitoring": monitoringCSP, "/monitoring/api/queues": monitoringCSP, "/console": ownCSP} {
			resp := b.browse(t, "GET", path, nil, cookie.Value)
			require.Equal(t, 200, resp.StatusCode, path)
			require.Equal(t, csp, resp.Header.Get("Content-Security-Policy"), path)
			require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
			require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
		}
		require.Equal(t, 404, b.browse(t, "GET", "/monitoringx", nil, cookie.Value).StatusCode)
		require.Equal(t, 404, b.browse(t, "GET", "/monitoringx", nil, "").StatusCode)
		require.Equal(t, 403, b.browse(t, "POST", "/monitoring/api/queues/default:pause", nil, cookie.Value, "Origin", "https://evil.example").StatusCode)
		require.Equal(t, 200, b.browse(t, "POST", "/monitoring/api/queues/default:pause", nil, cookie.Value, "Origin", "http://example.com").StatusCode)

		out := b.browse(t, "POST", "/logout", nil, cookie.Value)
		require.Equal(t, 303, out.StatusCode)
		require.Empty(t, out.Cookies()[0].Value)
	})
}

func TestOnlyKeysOfAdministratorsLogIn(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	for name, tc := range map[string]struct{ key, word string }{
		"reader":  {b.newKey(t, b.ws, models.ScopeRunsRead), "scope"},
		"unknown": {"tnx_AAAAAAAA_" + strings.Repeat("a", 32), "key"},
		"nothing": {"", "key"},
	} {
		resp := b.browse(t, "POST", "/login", url.Values{"key": {tc.key}}, "")
		require.Equal(t, 303, resp.StatusCode, name)
		require.Equal(t, "/login?failed="+tc.word+"&next=%2Fconsole", resp.Header.Get("Location"), name)
		require.Empty(t, resp.Cookies(), name)
	}
	require.NotEmpty(t, b.login(t, b.newKey(t, b.ws, models.ScopeAdmin)).Value)
	resp := b.browse(t, "POST", "/login", url.Values{"key": {b.key}}, "", "Origin", "https://evil.example")
	require.Equal(t, 403, resp.StatusCode)
}

// A proxy may ask us under a name of its own, which is not the one in the browser.
func TestWhatTheBrowserSaysOfTheSenderHolds(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	for name, tc := range map[string]struct {
		headers []string
		status  int
	}{
		"behind a proxy":           {[]string{"Origin", "https://flows.example", "Sec-Fetch-Site", "same-origin"}, 303},
		"typed in":                 {[]string{"Sec-Fetch-Site", "none"}, 303},
		"another site":             {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		"another host of the site": {[]string{"Origin", "http://example.com", "Sec-Fetch-Site", "same-site"}, 403},
		"an old browser":           {[]string{"Origin", "http://example.com"}, 303},
		"an old browser elsewhere": {[]string{"Origin", "http://example.com.evil.example"}, 403},
		"a page without an origin": {[]string{"Origin", "null"}, 403},
	} {
		resp := b.browse(t, "POST", "/login", url.Values{"key": {b.key}}, "", tc.headers...)
		require.Equal(t, tc.status, resp.StatusCode, name)
		require.Equal(t, tc.status == 303, len(resp.Cookies()) == 1, name)
	}
}

func TestLoginLeadsBackToThePageAndItsQuery(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{deps: withMonitoring})
	resp := b.browse(t, "GET", "/monitoring/queues/default?status=pending", nil, "")
	require.Equal(t, "/login?next="+url.QueryEscape("/monitoring/queues/default?status=pending"), resp.Header.Get("Location"))
}

func TestLoginLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	for next, want := range map[string]string{
		"/monitoring": "/monitoring", "/console?x=1": "/console?x=1", "": "/console", "https://evil.example": "/console", "//evil.example": "/console",
		`/\evil.example`: "/console", "javascript:alert(1)": "/console", "/a\r\nSet-Cookie: x=y": "/console", "console": "/console",
	} {
		require.Equal(t, want, localPath(next), next)
	}
}

func TestASessionEndsWithItsKeyItsTimeAndItsSignature(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		fake := clock.NewFake(time.Now())
		b.api.clock = fake
		made := b.call(t, "POST", adminBase+"/api-keys", `{"name":"ops","scopes":["admin"]}`)
		cookie := b.login(t, made.str(t, "key")).Value
		open := func(value string) int { return b.browse(t, "GET", "/console", nil, value).StatusCode }
		require.Equal(t, 200, open(cookie))

		payload, signature, _ := strings.Cut(cookie, ".")
		require.Equal(t, 303, open(payload+"."+signature[:len(signature)-2]))
		require.Equal(t, 303, open("x"+payload+"."+signature))
		other := setup(t, storetest.SQLite(t), options{})
		require.Equal(t, 303, open(other.api.newSession(&models.APIKey{Prefix: b.key[4:12]})), "signed with another key")

		fake.Advance(sessionAge)
		require.Equal(t, 303, open(cookie))
		fake.Advance(-sessionAge)
		require.Equal(t, 200, open(cookie))
		require.Equal(t, 204, b.call(t, "DELETE", adminBase+"/api-keys/"+made.str(t, "id"), "").status)
		require.Equal(t, 303, open(cookie))
	})
}

func TestTheCookieIsSecureBehindTLS(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{cfg: Config{TrustedProxies: []string{"0.0.0.0"}}})
	resp := b.browse(t, "POST", "/login", url.Values{"key": {b.key}}, "", "X-Forwarded-Proto", "https")
	require.True(t, resp.Cookies()[0].Secure)
}

// Pages must work where nothing else can be reached, and under the strictest
// policy: nothing inline, nothing from elsewhere.
func TestOwnPagesNeedNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{deps: withMonitoring})
	files, err := fs.ReadDir(web.Files, "static")
	require.NoError(t, err)
	elsewhere := regexp.MustCompile(`(?i)(src|href|action)=["'](https?:)?//|@import|url\(["']?https?:`)
	asset := regexp.MustCompile(`(?:src|href)="(/[^"#]*)"`)
	for _, f := range files {
		text, err := web.Files.ReadFile("static/" + f.Name())
		require.NoError(t, err)
		require.False(t, elsewhere.Match(text), f.Name())
		if !strings.HasSuffix(f.Name(), ".html") {
			got := b.as(t, "", "GET", "/assets/"+f.Name(), "")
			require.Equal(t, 200, got.status, f.Name())
			require.Equal(t, string(text), got.body)
			continue
		}
		require.NotRegexp(t, `(?i)<style|style=|\son[a-z]+=|<script>`, string(text), f.Name())
		for _, m := range asset.FindAllStringSubmatch(string(text), -1) {
			got := b.as(t, "", "GET", m[1], "", "Accept", "text/html")
			require.Less(t, got.status, 400, "%s in %s", m[1], f.Name())
		}
	}
	for _, path := range []string{"/docs", "/login"} {
		got := b.as(t, "", "GET", path, "")
		require.Equal(t, 200, got.status)
		require.Equal(t, ownCSP, got.header.Get("Content-Security-Policy"))
		require.Equal(t, "text/html; charset=utf-8", got.header.Get("Content-Type"))
	}
	for _, path := range []string{"/assets/embed.go", "/assets/..%2fembed.go", "/assets/docs.html", "/assets/nothing.js", "/assets/js"} {
		require.Equal(t, 404, b.as(t, "", "GET", path, "").status, path)
	}
}

// Everything that is not meant for all must ask who is there, whatever is added.
func TestNoAddressIsOpenThatIsNotMeantToBe(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{deps: withMonitoring})
	open := map[string]bool{
		"/livez": true, "/readyz": true, "/version": true, "/metrics": true, "/openapi.json": true, "/docs": true, "/assets/:name": true,
		"/login": true, "/logout": true, "/": true, hooksPath + ":token": true, ApprovalsPath + ":token": true, oauthPath: true,
	}
	for _, r := range b.api.App().GetRoutes(true) {
		path := regexp.MustCompile(`:\w+`).ReplaceAllString(r.Path, "x")
		got := b.as(t, "", r.Method, path, "")
		if open[r.Path] {
			require.NotEqual(t, 401, got.status, r.Path)
			continue
		}
		require.Contains(t, []int{401}, got.status, "%s %s", r.Method, r.Path)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		require.Equal(t, 200, b.as(t, "", "GET", "/livez", "").status)
		got := b.as(t, "", "GET", "/readyz", "")
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, "ok", got.str(t, "status"))
		require.Equal(t, "ok", got.str(t, "checks.database.status"))
		require.Equal(t, "ok", got.str(t, "checks.migrations.status"))
		got = b.as(t, "", "GET", "/version", "")
		require.Equal(t, "1.2.3", got.str(t, "version"))
		b.call(t, "GET", "/runs/"+ids.New("run"), "")
		got = b.as(t, "", "GET", "/metrics", "")
		require.Equal(t, 200, got.status)
		require.Contains(t, got.body, `flows_http_requests_total{method="GET",route="/api/v1/flows/runs/:id",status="404"} 1`)
		require.Contains(t, got.body, `flows_http_request_duration_seconds_bucket{method="GET",route="/api/v1/flows/runs/:id"`)
		require.NotContains(t, got.body, string(b.ws))
	})
}

func TestReadinessNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{redis: client(t, "127.0.0.1:1")})
	got := b.as(t, "", "GET", "/readyz", "")
	require.Equal(t, 200, got.status, "requests are answered without Redis, so they may come")
	require.Equal(t, "degraded", got.str(t, "status"))
	require.Equal(t, "unavailable", got.str(t, "checks.redis.status"))
	require.NotEmpty(t, got.str(t, "checks.redis.detail"))
	require.Equal(t, "ok", got.str(t, "checks.database.status"))
	require.Equal(t, 202, b.call(t, "POST", "/workflows/"+b.workflow(t, waiting)+"/trigger", "").status)
	require.NotContains(t, got.body, "127.0.0.1")

	empty, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + t.TempDir() + "/empty.db"})
	require.NoError(t, err)
	b.api.store = empty
	got = b.as(t, "", "GET", "/readyz", "")
	require.Equal(t, 503, got.status)
	require.Equal(t, "unavailable", got.str(t, "status"), "what cannot be spared goes before what can")
	require.Equal(t, "unavailable", got.str(t, "checks.migrations.status"))
	require.Contains(t, got.str(t, "checks.migrations.detail"), "flows migrate up")
	require.NoError(t, empty.Close())
	got = b.as(t, "", "GET", "/readyz", "")
	require.Equal(t, "unavailable", got.str(t, "checks.database.status"))
}

// The reference has to draw itself in a browser, under its own policy.
func TestTheReferenceIsDrawn(t *testing.T) {
	t.Parallel()
	if !testkit.HaveChromium() {
		return
	}
	b := setup(t, storetest.SQLite(t), options{})
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var complaints strings.Builder
	cmd := exec.CommandContext(ctx, testkit.Chromium(t), "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
		"--user-data-dir="+t.TempDir(), "--virtual-time-budget=5000", "--dump-dom", b.listen(t)+"/docs")
	cmd.Stderr = &complaints
	page, err := cmd.Output()
	require.NoError(t, err)
	for _, r := range b.api.routes() {
		require.Contains(t, string(page), `<article id="`+r.name+`">`)
	}
	require.NotContains(t, complaints.String(), "CONSOLE", "scripts and styles are allowed, and work")
}
