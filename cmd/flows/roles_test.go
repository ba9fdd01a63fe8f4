package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
)

// servers gives an environment with a database and a Redis of the test's own.
func servers(t *testing.T) (env []string, redisURL string) {
	t.Helper()
	redisURL = testkit.RedisURL(t)
	return []string{
		"FLOWS_DATABASE_URL=" + testkit.PostgresURL(t), "FLOWS_REDIS_URL=" + redisURL, "FLOWS_ALLOW_PRIVATE_NETWORKS=true",
		testEncryptionKey,
	}, redisURL
}

// testEncryptionKey is one that a server starts with.
const testEncryptionKey = "FLOWS_ENCRYPTION_KEY=hJm0kvPX3l8rD2nbqgA1yI7e5uGZcMTf4WxR9sEoKdU="

// installed brings the schema up to date and makes a workspace and a key.
func installed(t *testing.T, env []string) (key string) {
	t.Helper()
	applied := runTo[map[string]any](t, env, "migrate")
	require.NotEmpty(t, applied)
	require.Equal(t, true, applied[0]["applied"])
	ws := runTo[map[string]any](t, env, "workspaces", "create", "--name", "Acme")
	require.Len(t, ws, 1)
	made := runTo[map[string]any](t, env, "keys", "create", "--workspace", ws[0]["id"].(string), "--name", "test")
	require.Len(t, made, 1)
	require.Equal(t, ws[0]["id"], made[0]["workspace_id"])
	require.Equal(t, "tnx_"+made[0]["prefix"].(string)+"_"+made[0]["secret"].(string), made[0]["key"])
	return made[0]["key"].(string)
}

// serving starts a process that serves HTTP on a free port and gives its URL.
func serving(t *testing.T, env []string, args ...string) (*process, string) {
	t.Helper()
	p := start(t, append(env, "FLOWS_HTTP_ADDR=127.0.0.1:0", "FLOWS_LOG_FORMAT=json"), args...)
	var line struct {
		URL string `json:"url"`
	}
	require.NoError(t, json.Unmarshal([]byte(p.line(p.stderr, `"msg":"ready"`)), &line))
	return p, line.URL
}

// peer counts how often each effect reached it, and fails the first attempt of
// those that ask for it.
type peer struct {
	*httptest.Server
	mu   sync.Mutex
	keys map[string]int
}

func newPeer(t *testing.T) *peer {
	p := &peer{keys: map[string]int{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		key := r.Header.Get("Idempotency-Key")
		p.mu.Lock()
		p.keys[key]++
		first := p.keys[key] == 1
		p.mu.Unlock()
		if first && r.URL.Path == "/flaky" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"score":90}`)
	}))
	t.Cleanup(p.Close)
	return p
}

// tenSteps has a diamond, a branch and a step that fails once.
func tenSteps(url string) string {
	call := func(id, path string) string {
		return `{"id":"` + id + `","type":"connector","connector":"http","action":"request","input":{"method":"POST","url":"` + url + path +
			`","body":{"step":"` + id + `"}},"retry":{"max_attempts":5,"initial":"50ms"}}`
	}
	set := func(id string) string {
		return `{"id":"` + id + `","type":"connector","connector":"core","action":"set","input":{"id":"` + id + `"}}`
	}
	return `{"steps":[` + strings.Join([]string{
		set("start"), call("left", "/ok"), call("right", "/ok"), set("join"), call("flaky", "/flaky"),
		`{"id":"route","type":"branch"}`, set("high"), call("low", "/never"), set("merge"), call("end", "/ok"),
	}, ",") + `],"edges":[
		{"from":"start","to":"left"},{"from":"start","to":"right"},{"from":"left","to":"join"},{"from":"right","to":"join"},
		{"from":"join","to":"flaky"},{"from":"flaky","to":"route"},
		{"from":"route","to":"high","when":"steps.flaky.output.body.score > 80"},{"from":"route","to":"low","default":true},
		{"from":"high","to":"merge"},{"from":"low","to":"merge"},{"from":"merge","to":"end"}]}`
}

// check holds the effects of runs against what they must be: each once, unless a
// worker died meanwhile, and then repeats under the same key.
func (p *peer) check(t *testing.T, runs []string, repeats bool) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	want := map[string]int{}
	for _, id := range runs {
		want[id+":left"], want[id+":right"], want[id+":flaky"], want[id+":end"] = 1, 1, 2, 1
	}
	require.Len(t, p.keys, len(want), "an effect under a key of its own")
	for key, n := range want {
		if repeats {
			require.GreaterOrEqual(t, p.keys[key], n, key)
			continue
		}
		require.Equal(t, n, p.keys[key], key)
	}
}

func TestRolesBesideEachOther(t *testing.T) {
	t.Parallel()
	if !testkit.HavePostgres() || !testkit.HaveRedis() {
		return
	}
	env, redisURL := servers(t)
	key := installed(t, env)
	api, url := serving(t, env, "api")
	w1, w1url := serving(t, env, "worker", "--concurrency", "8")
	w2, _ := serving(t, env, "worker", "--queues", "default,system")
	s1, _ := serving(t, env, "scheduler")
	s2, _ := serving(t, env, "scheduler")
	c := client{t: t, url: url, key: key}
	for _, path := range []string{"/livez", "/readyz", "/version", "/metrics"} {
		require.Equal(t, http.StatusOK, c.do(http.MethodGet, path, "", nil), path)
		require.Equal(t, http.StatusOK, client{t: t, url: w1url}.do(http.MethodGet, path, "", nil), path)
	}
	require.Zero(t, start(t, env, "healthcheck", "--url", url+"/readyz").wait())
	require.NotZero(t, start(t, env, "healthcheck", "--url", url+"/nowhere").wait())

	const runs = 40
	outside := newPeer(t)
	workflow := c.workflow(tenSteps(outside.URL))
	var ids []string
	for range runs {
		ids = append(ids, c.trigger(workflow).ID)
	}
	c.completed(ids)
	outside.check(t, ids, false)

	// The same again, while a worker is killed and Redis loses everything.
	outside = newPeer(t)
	workflow, ids = c.workflow(tenSteps(outside.URL)), nil
	for i := range runs {
		ids = append(ids, c.trigger(workflow).ID)
		if i == runs/2 {
			w1.kill()
			flush(t, redisURL)
		}
	}
	c.completed(ids)
	outside.check(t, ids, true)

	// A watcher in one process hears of what another does.
	began := time.Now()
	status, raw := c.send(http.MethodPost, apiRoot+"/workflows/"+workflow+"/trigger", `{}`, "Accept", "text/event-stream")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, string(raw), "event: run.completed")
	require.Less(t, time.Since(began), limit)

	for _, p := range []*process{api, w2, s1, s2} {
		require.Equal(t, exitOK, p.stop())
	}
}

func flush(t *testing.T, url string) {
	t.Helper()
	opt, err := redis.ParseURL(url)
	require.NoError(t, err)
	r := redis.NewClient(opt)
	defer r.Close()
	require.NoError(t, r.FlushDB(t.Context()).Err())
}

func TestServeDrains(t *testing.T) {
	t.Parallel()
	if !testkit.HavePostgres() || !testkit.HaveRedis() {
		return
	}
	env, _ := servers(t)
	key := installed(t, env)
	arrived, release := make(chan struct{}), make(chan struct{})
	outside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-release
	}))
	defer outside.Close()
	graph := `{"steps":[{"id":"slow","type":"connector","connector":"http","action":"request","input":{"method":"POST","url":"` + outside.URL + `"}}],"edges":[]}`
	p, url := serving(t, env, "serve")
	r := client{t: t, url: url, key: key}
	id := r.trigger(r.workflow(graph)).ID
	<-arrived
	require.NoError(t, p.cmd.Process.Signal(terminate))
	p.line(p.stderr, "stopping")
	close(release)
	require.Equal(t, exitOK, p.wait())

	// What ran has finished, and its result was kept.
	p, url = serving(t, env, "api")
	var got run
	require.Equal(t, http.StatusOK, client{t: t, url: url, key: key}.do(http.MethodGet, apiRoot+"/runs/"+id, "", &got))
	require.Equal(t, "completed", got.Status, string(got.Error))
	require.Equal(t, exitOK, p.stop())
}
