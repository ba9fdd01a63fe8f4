package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAgents(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		agent := func(rest string) string { return `{"slug":"robot","kind":"http"` + rest + `}` }
		b.check(t, []want{
			{name: "create", method: "POST", path: "/agents", body: agent(`,"config":{"url":"https://example.com/a"},"output_schema":{"type":"object"}`), status: 201, has: []string{
				"slug", "robot", "name", "robot", "kind", "http", "config.url", "https://example.com/a", "input_schema", "<nil>", "output_schema.type", "object",
			}},
			{name: "twice", method: "POST", path: "/agents", body: agent(`,"config":{"url":"https://example.com/a"}`), status: 409, code: "conflict"},
			{name: "no url", method: "POST", path: "/agents", body: agent(`,"config":{}`), status: 422, loc: "[body config url]"},
			{name: "no config", method: "POST", path: "/agents", body: agent(``), status: 422, loc: "[body config url]"},
			{name: "odd kind", method: "POST", path: "/agents", body: `{"slug":"x","kind":"magic"}`, status: 422, loc: "[body kind]"},
			{name: "odd slug", method: "POST", path: "/agents", body: `{"slug":"Robot","kind":"http"}`, status: 422, loc: "[body slug]"},
			{name: "odd config", method: "POST", path: "/agents", body: agent(`,"config":{"url":"https://example.com","secret":1}`), status: 422, loc: "[body config secret]"},
			{name: "odd schema", method: "POST", path: "/agents", body: agent(`,"config":{"url":"https://example.com"},"input_schema":{"type":"thing"}`), status: 422, loc: "[body input_schema type]"},
			{name: "get", method: "GET", path: "/agents/robot", status: 200, has: []string{"slug", "robot"}},
			{name: "missing", method: "GET", path: "/agents/nobody", status: 404},
			{name: "no slug", method: "GET", path: "/agents/No_Body", status: 404},
			{name: "patch", method: "PATCH", path: "/agents/robot", body: `{"name":"Robo","config":{"url":"https://example.com/b"}}`, status: 200, has: []string{"name", "Robo", "config.url", "https://example.com/b", "output_schema.type", "object"}},
			{name: "patch null", method: "PATCH", path: "/agents/robot", body: `{"name":null}`, status: 200, has: []string{"name", "Robo"}},
			{name: "patch badly", method: "PATCH", path: "/agents/robot", body: `{"config":{}}`, status: 422, loc: "[body config url]"},
			{name: "patch slug", method: "PATCH", path: "/agents/robot", body: `{"slug":"x"}`, status: 422, loc: "[body slug]"},
			{name: "patch missing", method: "PATCH", path: "/agents/nobody", body: `{}`, status: 404},
			{name: "second", method: "POST", path: "/agents", body: `{"slug":"second","kind":"http","config":{"url":"https://example.com"}}`, status: 201},
			{name: "list", method: "GET", path: "/agents?limit=1", status: 200, has: []string{"items.0.slug", "second"}},
			{name: "used", method: "POST", path: "/workflows", body: `{"name":"x","graph":{"steps":[{"id":"a","type":"agent","agent":"robot"}]}}`, status: 201},
		})
		next := b.call(t, "GET", "/agents?limit=1", "").str(t, "next_cursor")
		require.Equal(t, "robot", b.call(t, "GET", "/agents?cursor="+next, "").str(t, "items.0.slug"))
		b.check(t, []want{
			{name: "delete", method: "DELETE", path: "/agents/second", status: 204},
			{name: "delete again", method: "DELETE", path: "/agents/second", status: 404},
			{name: "page after what is gone", method: "GET", path: "/agents?cursor=" + next, status: 200, has: []string{"items.0.slug", "robot"}},
		})
	})
}

func TestAgentsAndActionsCanBeTried(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		var key string
		peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			key = r.Header.Get("Idempotency-Key")
			body, _ := io.ReadAll(r.Body)
			if strings.Contains(string(body), "fail") {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"echo":` + string(body) + `}`))
		}))
		defer peer.Close()
		b.check(t, []want{
			{name: "agent", method: "POST", path: "/agents", body: `{"slug":"echo","kind":"http","config":{"url":"` + peer.URL + `"},"input_schema":{"type":"object","required":["n"]}}`, status: 201},
			{name: "try", method: "POST", path: "/agents/echo/test", body: `{"input":{"n":1}}`, status: 200, has: []string{"status", "completed", "output.echo.n", "1", "error", "<nil>"}},
			{name: "fails", method: "POST", path: "/agents/echo/test", body: `{"input":{"n":"fail"}}`, status: 200, has: []string{"status", "failed", "error.code", "http_418", "error.retryable", "false", "output", "<nil>"}},
			{name: "unfit", method: "POST", path: "/agents/echo/test", body: `{"input":{}}`, status: 200, has: []string{"status", "failed", "error.code", "input_invalid"}},
			{name: "missing", method: "POST", path: "/agents/nobody/test", status: 404},
			{name: "set", method: "POST", path: "/connectors/core/actions/set/test", body: `{"input":{"a":[1]}}`, status: 200, has: []string{"output.a", "[1]"}},
			{name: "fail", method: "POST", path: "/connectors/core/actions/fail/test", body: `{"input":{"code":"odd","message":"no"}}`, status: 200, has: []string{"status", "failed", "error.code", "odd", "error.message", "no"}},
			{name: "http", method: "POST", path: "/connectors/http/actions/request/test", body: `{"input":{"method":"POST","url":"` + peer.URL + `","body":{"x":1}}}`, status: 200, has: []string{"output.status", "200", "output.body.echo.x", "1"}},
			{name: "no action", method: "POST", path: "/connectors/core/actions/nope/test", status: 404},
			{name: "no connector", method: "POST", path: "/connectors/nope/actions/set/test", status: 404},
			{name: "unknown field", method: "POST", path: "/connectors/core/actions/set/test", body: `{"inputs":{}}`, status: 422, loc: "[body inputs]"},
		})
		require.Regexp(t, `^test_`, key)
	})
}

func TestTheCatalogue(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		b.check(t, []want{
			{name: "list", method: "GET", path: "/connectors", status: 200, has: []string{"items.0.slug", "anthropic", "items.1.slug", "core", "items.2.slug", "http", "next_cursor", "<nil>"}},
			{name: "one", method: "GET", path: "/connectors/http", status: 200, has: []string{"slug", "http", "actions.0.name", "request", "actions.0.input_schema.type", "object"}},
			{name: "missing", method: "GET", path: "/connectors/nope", status: 404},
		})
		next := b.call(t, "GET", "/connectors?limit=1", "").str(t, "next_cursor")
		require.Equal(t, "core", b.call(t, "GET", "/connectors?limit=1&cursor="+next, "").str(t, "items.0.slug"))
	})
}
