package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/agents"
	"github.com/10ex/flows/agents/llm"
	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/connections"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/core"
	httpconnector "github.com/10ex/flows/connectors/http"
	"github.com/10ex/flows/connectors/mcp"
	"github.com/10ex/flows/connectors/openapi"
	"github.com/10ex/flows/connectors/registered"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/apikey"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/deltas"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
	"github.com/10ex/flows/tasks"
)

// fasthttp has two goroutines of its own: one keeps the date for as long as the
// process lives, the other notices ten seconds later that its server has ended.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// bundle is an API on a store of its own, with the real engine, and a key that may
// do everything.
type bundle struct {
	api         *API
	store       *store.Store
	engine      *engine.Engine
	bus         *bus.Bus
	connections *connections.Service
	hub         *engine.Hub
	deltas      *deltas.Hub
	ws          models.WorkspaceID
	key         string
	client      *http.Client
}

type options struct {
	cfg   Config
	redis *redis.Client
	// engine stands in front of the real one, for failures it does not have.
	engine func(Engine) Engine
	deps   func(*Deps)
}

type noQueue struct{}

func (noQueue) Enqueue(context.Context, []engine.Delivery) {}

// EnqueueJobs does jobs at once, in place of a worker.
func (b *bundle) EnqueueJobs(ctx context.Context, jobs []tasks.Job) {
	for _, j := range jobs {
		if j.Type == tasks.TypeMatch {
			_ = b.bus.MatchJob(ctx, j)
		}
	}
}

type hubNotifier struct{ *engine.Hub }

func (h hubNotifier) Notify(_ context.Context, n []engine.Notice) { h.Publish(n) }

// each runs test on every database.
func each(t *testing.T, o options, test func(t *testing.T, b *bundle)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, s *store.Store) { test(t, setup(t, s, o)) })
}

func setup(t testing.TB, s *store.Store, o options) *bundle {
	t.Helper()
	b := &bundle{store: s, hub: engine.NewHub(), deltas: deltas.NewHub(), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	t.Cleanup(b.client.CloseIdleConnections)
	guarded, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	documents, servers := openapi.NewKind(guarded), mcp.NewKind(guarded)
	registry, err := connectors.NewRegistry(core.Connector{}, httpconnector.New(guarded), openapi.NewDirect(documents), mcp.NewDirect(servers),
		llm.NewOpenAIConnector(guarded, nil), llm.NewAnthropicConnector(guarded, nil))
	require.NoError(t, err)
	own, err := registered.New(registered.Deps{Store: s, BuiltIn: registry, Kinds: map[models.ConnectorKind]connectors.Kind{
		models.ConnectorOpenAPI: documents, models.ConnectorMCP: servers,
	}, Open: func(ctx context.Context, ws models.WorkspaceID, id string) (*connectors.Connection, error) {
		return b.connections.Open(ctx, ws, id)
	}})
	require.NoError(t, err)
	catalogue := connectors.NewCatalogue(registry, own)
	b.engine, err = engine.New(engine.Deps{
		Store: s, Clock: clock.System{}, Enqueuer: noQueue{}, Notifier: hubNotifier{b.hub}, Catalogue: catalogue,
		Log: testkit.Logger(t),
	}, engine.Config{})
	require.NoError(t, err)
	ring, err := seal.New(make([]byte, seal.KeySize))
	require.NoError(t, err)
	b.bus, err = bus.New(bus.Deps{
		Store: s, Engine: b.engine, Clock: clock.System{}, Jobs: b, Seal: ring, Egress: guarded, Log: testkit.Logger(t),
	}, bus.Config{LinkFunc: func(token string) string { return "https://flows.example" + ApprovalsPath + token }})
	require.NoError(t, err)
	b.connections, err = connections.New(connections.Deps{
		Store: s, Connectors: catalogue, Seal: ring, Egress: guarded, Log: testkit.Logger(t),
	})
	require.NoError(t, err)
	runner, err := agents.New(agents.Deps{
		Egress: guarded, Tools: connectors.NewCatalogue(registry, nil), OpenFunc: b.connections.Open,
		PeekFunc: func(ctx context.Context, ws models.WorkspaceID, id string) (string, error) {
			c, err := b.connections.Get(ctx, ws, models.ConnectionID(id))
			if err != nil {
				return "", err
			}
			return c.Connector, nil
		},
		LedgerFunc: func(ws models.WorkspaceID) agents.Ledger { return s.For(ws) },
	})
	require.NoError(t, err)
	deps := Deps{
		Store: s, Engine: b.engine, Bus: b.bus, Hub: b.hub, Deltas: b.deltas, Connectors: catalogue, Registered: own, Agents: runner, Connections: b.connections, Redis: o.redis,
		Log: testkit.Logger(t), Version: "1.2.3",
	}
	if o.engine != nil {
		deps.Engine = o.engine(b.engine)
	}
	if o.deps != nil {
		o.deps(&deps)
	}
	b.api, err = New(deps, o.cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		require.NoError(t, b.api.Shutdown(ctx))
		require.NoError(t, b.engine.Close(ctx))
	})
	b.ws = b.workspace(t)
	b.key = b.newKey(t, b.ws, models.ScopeAll)
	return b
}

func (b *bundle) workspace(t testing.TB) models.WorkspaceID {
	t.Helper()
	ws := models.WorkspaceID(ids.New(models.WorkspacePrefix))
	require.NoError(t, b.store.CreateWorkspace(context.Background(), &models.Workspace{ID: ws, Name: "Acme", CreatedAt: time.Now().UTC()}))
	return ws
}

func (b *bundle) newKey(t testing.TB, ws models.WorkspaceID, scopes ...models.Scope) string {
	t.Helper()
	k := apikey.New()
	require.NoError(t, b.store.For(ws).CreateKey(context.Background(), &models.APIKey{
		ID: models.KeyID(ids.New(models.KeyPrefix)), Prefix: k.Prefix, Hash: k.Hash, Name: "test", Scopes: scopes, CreatedAt: time.Now().UTC(),
	}))
	return k.Full
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// get reads a field of the answer, such as "items.0.id".
func (a answer) get(t testing.TB, path string) any {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal([]byte(a.body), &v), a.body)
	for part := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[part]
		case []any:
			n := 0
			for _, c := range part {
				n = n*10 + int(c-'0')
			}
			require.Less(t, n, len(x), "%s in %s", path, a.body)
			v = x[n]
		default:
			t.Fatalf("%s is not in %s", path, a.body)
		}
	}
	return v
}

func (a answer) str(t testing.TB, path string) string {
	t.Helper()
	s, ok := a.get(t, path).(string)
	require.Truef(t, ok, "%s is no text in %s", path, a.body)
	return s
}

// call makes a request with the bundle's key. headers are names and values in turn.
func (b *bundle) call(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	return b.as(t, b.key, method, path, body, headers...)
}

// as is call with another key; none where it is empty.
func (b *bundle) as(t testing.TB, key, method, path, body string, headers ...string) answer {
	t.Helper()
	if strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "/api") && !isPage(path) {
		path = base + path
	}
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := b.api.App().Test(req, -1)
	require.NoError(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp.StatusCode, resp.Header, string(got)}
}

func isPage(path string) bool {
	for _, p := range []string{"/livez", "/readyz", "/version", "/metrics", "/openapi.json", "/docs", "/assets", "/login", "/logout", "/console", "/monitoring", "/nowhere"} {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}

// passing is a graph that ends by itself, without a worker.
const passing = `{"steps":[{"id":"route","type":"branch"}],"edges":[]}`

// waiting is a graph that stays open.
const waiting = `{"steps":[{"id":"ask","type":"wait","approval":{"prompt":"Send it?"}}],"edges":[]}`

func (b *bundle) workflow(t testing.TB, graph string) string {
	t.Helper()
	got := b.call(t, "POST", "/workflows", `{"name":"Leads","graph":`+graph+`}`)
	require.Equal(t, 201, got.status, got.body)
	return got.str(t, "id")
}

func (b *bundle) run(t testing.TB, graph string) string {
	t.Helper()
	got := b.call(t, "POST", "/workflows/"+b.workflow(t, graph)+"/trigger", "")
	require.Equal(t, 202, got.status, got.body)
	return got.str(t, "id")
}

// keyWith makes a key that differs from the plain one.
func (b *bundle) keyWith(t testing.TB, with func(*models.APIKey)) string {
	t.Helper()
	k := apikey.New()
	row := &models.APIKey{
		ID: models.KeyID(ids.New(models.KeyPrefix)), Prefix: k.Prefix, Hash: k.Hash, Name: "other",
		Scopes: []models.Scope{models.ScopeAll}, CreatedAt: time.Now().UTC(),
	}
	with(row)
	require.NoError(t, b.store.For(b.ws).CreateKey(context.Background(), row))
	return k.Full
}

func sprint(v any) string { return fmt.Sprint(v) }

func mustUnmarshal(t testing.TB, b []byte, into any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(b, into), string(b))
}

// post makes a request over a socket and gives the id in the answer. It may be
// called side by side.
func (b *bundle) post(t testing.TB, address, path, body, idempotencyKey string) string {
	req, err := http.NewRequest(http.MethodPost, address+base+path, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return ""
	}
	req.Header.Set("Authorization", "Bearer "+b.key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", idempotencyKey)
	resp, err := b.client.Do(req)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	var out struct {
		ID string `json:"id"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode > 299 {
		t.Errorf("answer %d: %v", resp.StatusCode, err)
	}
	return out.ID
}
