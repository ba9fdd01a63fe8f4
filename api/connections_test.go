package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store/storetest"
)

const bearerBody = `{"connector":"http","name":"CRM","config":{"auth":{"type":"bearer"},"base_url":"https://api.example.com/v1"},"secrets":{"token":"s3cret-token"}}`

func TestConnectionsLive(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		got := b.call(t, "POST", "/connections", bearerBody)
		require.Equal(t, 201, got.status, got.body)
		id := got.str(t, "id")
		require.True(t, models.ValidID("conn", id), id)
		require.Equal(t, base+"/connections/"+id, got.header.Get("Location"))
		require.Equal(t, []any{"token"}, got.get(t, "secrets"))
		require.Equal(t, "unknown", got.get(t, "status"))
		require.Equal(t, []any{"api.example.com"}, got.get(t, "config.hosts"))
		seen := got.body

		require.Equal(t, 409, b.call(t, "POST", "/connections", bearerBody).status, "the name is taken")
		got = b.call(t, "GET", "/connections/"+id, "")
		require.Equal(t, 200, got.status)
		seen += got.body
		got = b.call(t, "GET", "/connections?connector=http&status=unknown", "")
		require.Equal(t, id, got.get(t, "items.0.id"))
		seen += got.body
		require.Empty(t, b.call(t, "GET", "/connections?connector=core", "").get(t, "items"))
		require.Equal(t, 422, b.call(t, "GET", "/connections?status=odd", "").status)

		got = b.call(t, "PATCH", "/connections/"+id, `{"name":"Sales"}`)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, "Sales", got.get(t, "name"))
		require.Equal(t, []any{"token"}, got.get(t, "secrets"))
		seen += got.body
		got = b.call(t, "PATCH", "/connections/"+id, `{"config":{"auth":{"type":"bearer"},"base_url":"https://evil.example"}}`)
		require.Equal(t, 422, got.status, got.body)
		require.Equal(t, []any{"body", "secrets", "token"}, got.get(t, "errors.0.loc"))
		seen += got.body
		got = b.call(t, "PATCH", "/connections/"+id, `{"secrets":{"token":"s3cret-other"}}`)
		require.Equal(t, 200, got.status, got.body)
		seen += got.body
		require.NotContains(t, seen, "s3cret")

		require.Equal(t, 204, b.call(t, "DELETE", "/connections/"+id, "").status)
		require.Equal(t, 404, b.call(t, "GET", "/connections/"+id, "").status)
		require.Equal(t, 404, b.call(t, "DELETE", "/connections/"+id, "").status)
	})
}

func TestABadConnectionIsToldFieldByField(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	for body, loc := range map[string]string{
		`{"connector":"nobody","name":"x"}`: "connector",
		`{"connector":"core","name":"x"}`:   "connector",
		`{"connector":"http","name":"x","config":{"auth":{"type":"bearer"}},"secrets":{"token":"s3cret"}}`:                                   "config hosts",
		`{"connector":"http","name":"x","config":{"auth":{"type":"magic"}}}`:                                                                 "config auth type",
		`{"connector":"http","name":"x","config":{"base_url":"https://a.example","odd":1},"secrets":{"token":"s3cret"}}`:                     "config odd",
		`{"connector":"http","name":"x","config":{"base_url":"https://a.example"}}`:                                                          "secrets token",
		`{"connector":"http","name":"x","config":{"base_url":"https://a.example"},"secrets":{"token":"s3cret","key":"s3cret"}}`:              "secrets key",
		`{"connector":"http","name":"x","config":{"base_url":"https://a.example"},"secrets":{"token":"abc"}}`:                                "secrets token",
		`{"connector":"http","name":"x","config":{"base_url":"https://a.example"},"secrets":{"token":"abc\ndef"}}`:                           "secrets token",
		`{"connector":"http","name":"x","config":{"base_url":"ftp://a.example"},"secrets":{"token":"s3cret"}}`:                               "config base_url",
		`{"connector":"http","name":"x","config":{"base_url":"https://u:p@a.example"},"secrets":{"token":"s3cret"}}`:                         "config base_url",
		`{"connector":"http","name":"x","config":{"hosts":["*"]},"secrets":{"token":"s3cret"}}`:                                              "config hosts 0",
		`{"connector":"http","name":"x","config":{"hosts":["*.com"]},"secrets":{"token":"s3cret"}}`:                                          "config hosts 0",
		`{"connector":"http","name":"x","config":{"hosts":["a.example","https://b.example"]},"secrets":{"token":"s3cret"}}`:                  "config hosts 1",
		`{"connector":"http","name":"x","config":{"base_url":"https://a.example","hosts":["b.example"]},"secrets":{"token":"s3cret"}}`:       "config base_url",
		`{"connector":"http","name":"x","config":{"auth":{"type":"header"},"base_url":"https://a.example"},"secrets":{"value":"s3cret"}}`:    "config auth name",
		`{"connector":"http","name":"x","config":{"auth":{"type":"header","name":"idempotency-key"},"base_url":"https://a.example"}}`:        "config auth name",
		`{"connector":"http","name":"x","config":{"auth":{"type":"header","name":"Host"},"base_url":"https://a.example"}}`:                   "config auth name",
		`{"connector":"http","name":"x","config":{"auth":{"type":"bearer","username":"u"},"base_url":"https://a.example"}}`:                  "config auth username",
		`{"connector":"http","name":"x","config":{"auth":{"type":"oauth2","client_id":"c","token_url":"x"},"base_url":"https://a.example"}}`: "config auth authorization_url",
		`{"connector":"http","name":"x","config":[]}`:                                                                                        "config",
		`{"connector":"http","name":"x","extra":1}`:                                                                                          "extra",
		`{"connector":"http","name":"x","secrets":{"token":5}}`:                                                                              "secrets token",
	} {
		got := b.call(t, "POST", "/connections", body)
		require.Equal(t, 422, got.status, body)
		var p Problem
		require.NoError(t, json.Unmarshal([]byte(got.body), &p))
		require.NotEmpty(t, p.Errors, body)
		var locs []string
		for _, e := range p.Errors {
			locs = append(locs, strings.Trim(fmt.Sprint(e.Loc[1:]...), "[]"))
			require.Equal(t, "body", e.Loc[0])
		}
		joined := make([]string, 0, len(p.Errors))
		for _, e := range p.Errors {
			parts := make([]string, 0, len(e.Loc))
			for _, l := range e.Loc[1:] {
				parts = append(parts, fmt.Sprint(l))
			}
			joined = append(joined, strings.Join(parts, " "))
		}
		require.Contains(t, joined, loc, "%s: %s (%v)", body, got.body, locs)
		require.NotContains(t, got.body, "s3cret")
	}
}

func TestAStepsConnectionHasToBeThereAndToFit(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		id := b.call(t, "POST", "/connections", bearerBody).str(t, "id")
		graph := func(connector, action, connection string) string {
			return `{"name":"x","graph":{"steps":[{"id":"a","type":"connector","connector":"` + connector + `","action":"` + action + `","connection":"` + connection + `","input":{"method":"GET","url":"/"}}]}}`
		}
		require.Equal(t, 201, b.call(t, "POST", "/workflows", graph("http", "request", id)).status)
		for _, body := range []string{graph("http", "request", ids.New("conn")), graph("http", "request", "elsewhere"), graph("core", "set", id)} {
			got := b.call(t, "POST", "/workflows", body)
			require.Equal(t, 422, got.status, got.body)
			require.Equal(t, []any{"body", "graph", "steps", 0.0, "connection"}, got.get(t, "errors.0.loc"), got.body)
		}
		document := b.call(t, "GET", "/workflows/"+b.call(t, "POST", "/workflows", graph("http", "request", id)).str(t, "id")+"/export", "").body
		stranger := b.newKey(t, b.workspace(t), models.ScopeAll)
		got := b.as(t, stranger, "POST", "/workflows/import", document)
		require.Equal(t, 422, got.status, "what was made in another workspace names what is not here")
		require.Equal(t, []any{"body", "graph", "steps", 0.0, "connection"}, got.get(t, "errors.0.loc"), got.body)
		require.Contains(t, got.str(t, "errors.0.msg"), "no connection")
	})
}

func TestAnActionIsTriedWithAConnectionAndShowsNoSecret(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		const secret = "s3cret/token+1"
		peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/fail" {
				w.WriteHeader(http.StatusForbidden)
			}
			_, _ = io.WriteString(w, "you sent "+r.Header.Get("Authorization")+" "+url.QueryEscape(secret)+" "+base64.StdEncoding.EncodeToString([]byte(secret)))
		})
		got := b.call(t, "POST", "/connections", `{"connector":"http","name":"Peer","config":{"base_url":"`+peer.URL+`"},"secrets":{"token":"`+secret+`"}}`)
		require.Equal(t, 201, got.status, got.body)
		id := got.str(t, "id")
		try := func(address, connection string) answer {
			return b.call(t, "POST", "/connectors/http/actions/request/test", `{"input":{"method":"GET","url":"`+address+`"},"connection":"`+connection+`"}`)
		}
		got = try("/ok", id)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, "completed", got.get(t, "status"))
		require.Equal(t, "you sent Bearer [redacted] [redacted] [redacted]", got.get(t, "output.body"))
		got = try("/fail", id)
		require.Equal(t, "http_403", got.get(t, "error.code"))
		require.NotContains(t, got.body, "s3cret")
		got = try("https://elsewhere.example/", id)
		require.Equal(t, "host_not_allowed", got.get(t, "error.code"))
		require.Equal(t, 422, try("/ok", ids.New("conn")).status)

		got = b.call(t, "POST", "/connections/"+id+"/test", "")
		require.Equal(t, 200, got.status, got.body)
		require.JSONEq(t, `{"ok":true,"status":"ok","error":null}`, got.body)
		require.Equal(t, "ok", b.call(t, "GET", "/connections/"+id, "").get(t, "status"))
	})
}

func TestSomebodyComesBackFromTheOtherSide(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"access_token":"4ccess","token_type":"Bearer","expires_in":3600}`)
		})
		got := b.call(t, "POST", "/connections", `{"connector":"http","name":"<Mail>","config":{"auth":{"type":"oauth2","client_id":"client","authorization_url":"`+
			peer.URL+`/authorize","token_url":"`+peer.URL+`/token"},"base_url":"`+peer.URL+`"}}`)
		require.Equal(t, 201, got.status, got.body)
		id := got.str(t, "id")
		require.Equal(t, false, got.get(t, "connected"))
		got = b.call(t, "POST", "/connections/"+id+"/authorize", "")
		require.Equal(t, 200, got.status, got.body)
		u, err := url.Parse(got.str(t, "authorize_url"))
		require.NoError(t, err)
		require.Equal(t, "http://example.com"+oauthPath, u.Query().Get("redirect_uri"))

		page := b.as(t, "", "GET", oauthPath+"?code=c0de&state="+u.Query().Get("state"), "")
		require.Equal(t, 200, page.status, page.body)
		require.Contains(t, page.body, "&lt;Mail&gt;")
		require.Equal(t, "no-referrer", page.header.Get("Referrer-Policy"))
		require.Equal(t, "no-store", page.header.Get("Cache-Control"))
		require.Contains(t, page.header.Get("Content-Security-Policy"), "default-src 'none'")
		got = b.call(t, "GET", "/connections/"+id, "")
		require.Equal(t, true, got.get(t, "connected"))
		require.Equal(t, "ok", got.get(t, "status"))
		require.NotContains(t, got.body, "4ccess")
		for _, q := range []string{"?code=c0de&state=" + u.Query().Get("state"), "?state=x&error=access_denied", ""} {
			require.Equal(t, 400, b.as(t, "", "GET", oauthPath+q, "").status)
		}
		other := b.call(t, "POST", "/connections", bearerBody).str(t, "id")
		require.Equal(t, 409, b.call(t, "POST", "/connections/"+other+"/authorize", "").status)
	})
}
