package main

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
)

// canary is the part of every secret that is looked for. What stands around it has to
// be escaped nearly everywhere.
const canary = "cAn4ryBird"

func canaryOf(kind string) string { return kind + `/+"\<&>'%41=` + canary + `~` + kind }

// echoes is a peer that repeats what it is sent, in every way that comes to mind.
type echoes struct {
	url   string
	other string // another origin

	mu       sync.Mutex
	webhooks []string
	secrets  int // requests that carried one
}

func newEchoes(t *testing.T) *echoes {
	t.Helper()
	e := &echoes{}
	one, two := httptest.NewServer(e), httptest.NewServer(e)
	t.Cleanup(one.Close)
	t.Cleanup(two.Close)
	e.url, e.other = one.URL, two.URL
	return e
}

// secretIn finds the secret in a request, as a server does that knows where to look.
func secretIn(r *http.Request) string {
	header := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if _, password, ok := r.BasicAuth(); ok {
		header = password
	}
	for _, s := range []string{header, r.Header.Get("X-Api-Key"), r.URL.Query().Get("key"), r.PostFormValue("client_secret")} {
		if strings.Contains(s, canary) {
			return s
		}
	}
	return ""
}

func (e *echoes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/hook") {
		body, _ := io.ReadAll(r.Body)
		e.mu.Lock()
		e.webhooks = append(e.webhooks, string(body))
		e.mu.Unlock()
		return
	}
	s := secretIn(r)
	e.mu.Lock()
	if s != "" {
		e.secrets++
	}
	e.mu.Unlock()
	in64 := base64.StdEncoding.EncodeToString
	all := map[string]any{
		"raw": s, "query": url.QueryEscape(s), "path": url.PathEscape(s), "html": html.EscapeString(s), "hex": hex.EncodeToString([]byte(s)),
		"base64": in64([]byte(s)), "base64_1": in64([]byte("x" + s)), "base64_2": base64.URLEncoding.EncodeToString([]byte("xy" + s + "z")),
		"header": r.Header.Values("Authorization"), "address": r.URL.String(), "inner": fmt.Sprintf("%q", s), s: "in a name",
	}
	inner, _ := json.Marshal(all)
	all["json"] = string(inner)
	asJSON := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Echo", s)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/json":
		asJSON(200, all)
	case "/slashes":
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, strings.ReplaceAll(string(inner), "/", `\/`))
	case "/text":
		_, _ = io.WriteString(w, "you sent "+s+" and "+in64([]byte("user:"+s)))
	case "/400":
		asJSON(400, map[string]any{"error": map[string]any{"message": "bad key " + s + " " + url.QueryEscape(s)}})
	case "/500":
		asJSON(500, map[string]any{"message": in64([]byte(s))})
	case "/reason":
		w.WriteHeader(403)
		_, _ = io.WriteString(w, "no, "+s)
	case "/binary":
		_, _ = w.Write(append([]byte{0, 0xff}, s...))
	case "/cut":
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	case "/near":
		http.Redirect(w, r, "/json?again="+url.QueryEscape(s), http.StatusFound)
	case "/away":
		http.Redirect(w, r, e.other+"/json?stolen="+url.QueryEscape(s), http.StatusTemporaryRedirect)
	case "/nowhere":
		http.Redirect(w, r, "http://"+hex.EncodeToString([]byte(s))+".invalid/"+url.PathEscape(s), http.StatusFound)
	case "/pages":
		w.Header().Set("Link", "<http://"+hex.EncodeToString([]byte(s))+".invalid/"+url.PathEscape(s)+">; rel=next")
		asJSON(200, []any{all})
	case "/token":
		asJSON(200, map[string]any{"access_token": canaryOf("access"), "token_type": "Bearer", "expires_in": 3600, "echo": s})
	case "/refuse":
		asJSON(400, map[string]any{"error": "invalid_client", "error_description": s})
	default:
		asJSON(404, all)
	}
}

var echoPaths = []string{"/json", "/slashes", "/text", "/400", "/500", "/reason", "/binary", "/cut", "/near", "/away", "/nowhere", "/pages", "/none"}

// accounts are connections of every kind, each with a secret of its own.
func accounts(url string) map[string]string {
	secret := func(name, kind string) string {
		b, _ := json.Marshal(map[string]string{name: canaryOf(kind)})
		return string(b)
	}
	config := func(auth string) string { return `"config":{"base_url":"` + url + `","auth":` + auth + `},"secrets":` }
	oauth := func(path string) string {
		return `{"type":"oauth2","grant":"client_credentials","client_id":"c","token_url":"` + url + path + `"}`
	}
	return map[string]string{
		"bearer":  config(`{"type":"bearer"}`) + secret("token", "bearer"),
		"basic":   config(`{"type":"basic","username":"ann"}`) + secret("password", "basic"),
		"header":  config(`{"type":"header","name":"X-Api-Key"}`) + secret("value", "header"),
		"query":   config(`{"type":"query","name":"key"}`) + secret("value", "query"),
		"tenex":   config(`{"type":"10ex"}`) + secret("api_key", "tenex"),
		"oauth":   config(oauth("/token")) + secret("client_secret", "oauth"),
		"refused": config(oauth("/refuse")) + secret("client_secret", "refused"),
	}
}

// needles are what must be nowhere: the canary, and all that base64 and hex make of it.
func needles() []string {
	out := []string{canary, hex.EncodeToString([]byte(canary))}
	for offset := range 3 {
		text := base64.RawStdEncoding.EncodeToString(append(make([]byte, offset), canary...))
		out = append(out, text[offset+1:len(text)-2])
	}
	return out
}

func requireNoCanary(t *testing.T, where, text string) {
	t.Helper()
	for _, n := range needles() {
		if i := strings.Index(text, n); i >= 0 {
			require.FailNow(t, "a secret is in "+where, "%s", text[max(0, i-300):min(len(text), i+100)])
		}
	}
}

// driveCanaries has every connection meet every echo, looks at all that is shown of
// it, and tells how much that was.
func driveCanaries(t *testing.T, c client, e *echoes) (looked int) {
	t.Helper()
	see := func(method, path, body string, headers ...string) (int, []byte) {
		status, raw := c.send(method, apiRoot+path, body, headers...)
		requireNoCanary(t, method+" "+path, string(raw))
		looked++
		return status, raw
	}
	id := func(raw []byte) string {
		var v struct {
			ID string `json:"id"`
		}
		require.NoError(t, json.Unmarshal(raw, &v), string(raw))
		require.NotEmpty(t, v.ID, string(raw))
		return v.ID
	}
	status, raw := see("POST", "/triggers", `{"type":"event","event_type":"flow.*","target_type":"webhook","url":"`+e.url+`/hook"}`)
	require.Equal(t, 201, status, string(raw))
	for kind, rest := range accounts(e.url) {
		status, raw = see("POST", "/connections", `{"connector":"http","name":"`+kind+`",`+rest+`}`)
		require.Equal(t, 201, status, string(raw))
		connection := id(raw)
		see("POST", "/connections/"+connection+"/test", "")
		see("GET", "/connections/"+connection, "")
		see("PATCH", "/connections/"+connection, `{"config":{"base_url":"https://evil.example"}}`)
		for _, path := range echoPaths {
			more := ""
			if path == "/pages" {
				more = `,"paginate":{"by":"link"}`
			}
			input := `{"method":"GET","url":"` + path + `"` + more + `}`
			see("POST", "/connectors/http/actions/request/test", `{"input":`+input+`,"connection":"`+connection+`"}`)
			status, raw = see("POST", "/workflows", `{"name":"canary","graph":{"steps":[
				{"id":"ask","type":"connector","connector":"http","action":"request","connection":"`+connection+`","input":`+input+`,
				 "retry":{"max_attempts":2,"initial":"10ms"}},
				{"id":"then","type":"connector","connector":"core","action":"set","input":{"got":"{{ steps.ask.output }}"}}],
				"edges":[{"from":"ask","to":"then"}]}}`)
			require.Equal(t, 201, status, string(raw))
			status, raw = see("POST", "/workflows/"+id(raw)+"/trigger", `{}`, "Prefer", "wait=30")
			require.Equal(t, 200, status, string(raw))
			r := id(raw)
			for _, of := range []string{"", "/steps", "/events", "/why", "/stream"} {
				see("GET", "/runs/"+r+of, "")
			}
		}
	}
	see("GET", "/connections", "")
	see("GET", "/runs?limit=200", "")
	see("GET", "/events?limit=200", "")
	e.mu.Lock()
	defer e.mu.Unlock()
	require.Greater(t, e.secrets, 100, "the secrets were used")
	require.NotEmpty(t, e.webhooks)
	for _, body := range e.webhooks {
		requireNoCanary(t, "a webhook", body)
	}
	return looked
}

// TestNoSecretShowsAnywhere drives secrets through everything that a peer may do with
// them, and looks for them in all that is shown, logged and stored.
func TestNoSecretShowsAnywhere(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "data")
		p := start(t, []string{"FLOWS_LOG_LEVEL=debug", "FLOWS_RATE_LIMIT=1000000"}, "dev", "--addr", "127.0.0.1:0", "--data-dir", dir)
		var l devLine
		require.NoError(t, json.Unmarshal([]byte(p.line(p.stdout, "{")), &l))
		looked := driveCanaries(t, client{t: t, url: l.URL, key: l.Key}, newEchoes(t))
		require.Zero(t, p.stop())
		requireNoCanary(t, "the log", p.stderr.String())
		size := 0
		require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			raw, err := os.ReadFile(path)
			size += len(raw)
			requireNoCanary(t, path, string(raw))
			return err
		}))
		t.Logf("%d answers, %d bytes of log, %d bytes of files", looked, len(p.stderr.String()), size)
	})
	if !testkit.HavePostgres() || !testkit.HaveRedis() {
		return
	}
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		env, redisURL := servers(t)
		key := installed(t, env)
		p, address := serving(t, append(env, "FLOWS_LOG_LEVEL=debug", "FLOWS_RATE_LIMIT=1000000"), "serve")
		opt, err := redis.ParseURL(redisURL)
		require.NoError(t, err)
		rdb := redis.NewClient(opt)
		t.Cleanup(func() { require.NoError(t, rdb.Close()) })
		watch, stop := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		keys := 0
		watching.Go(func() { // what is in Redis is there for moments only
			for watch.Err() == nil {
				keys += dumpRedis(t, rdb)
			}
		})
		looked := driveCanaries(t, client{t: t, url: address, key: key}, newEchoes(t))
		stop()
		watching.Wait()
		dumpRedis(t, rdb)
		rows := dumpPostgres(t, strings.TrimPrefix(env[0], "FLOWS_DATABASE_URL="))
		require.Zero(t, p.stop())
		requireNoCanary(t, "the log", p.stderr.String())
		t.Logf("%d answers, %d bytes of log, %d rows, %d keys of Redis", looked, len(p.stderr.String()), rows, keys)
	})
}

// dumpRedis looks through everything Redis holds and counts the keys.
func dumpRedis(t *testing.T, rdb *redis.Client) (n int) {
	t.Helper()
	names := rdb.Scan(t.Context(), 0, "*", 1000).Iterator()
	for names.Next(t.Context()) {
		requireNoCanary(t, "the name of a key", names.Val())
		switch raw, err := rdb.Dump(t.Context(), names.Val()).Result(); {
		case err == nil:
			requireNoCanary(t, "the key "+names.Val(), raw)
			n++
		default: // it is gone by now
		}
	}
	return n
}

// dumpPostgres looks through every row and counts them.
func dumpPostgres(t *testing.T, address string) (n int) {
	t.Helper()
	db, err := sql.Open("pgx", address)
	require.NoError(t, err)
	defer db.Close()
	var tables []string
	rows, err := db.QueryContext(t.Context(), `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()`)
	require.NoError(t, err)
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		tables = append(tables, name)
	}
	require.NoError(t, rows.Err())
	require.Greater(t, len(tables), 15)
	for _, table := range tables {
		rows, err := db.QueryContext(t.Context(), `SELECT row::text FROM "`+table+`" AS row`) //nolint:gosec,sqlclosecheck // G202: the name is the database's own
		require.NoError(t, err)
		for rows.Next() {
			var text string
			require.NoError(t, rows.Scan(&text))
			requireNoCanary(t, table, text)
			n++
		}
		require.NoError(t, rows.Err())
	}
	return n
}
