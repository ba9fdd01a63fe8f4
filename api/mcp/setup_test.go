package mcp

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/agents"
	"github.com/10ex/flows/api"
	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/connections"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/core"
	httpconnector "github.com/10ex/flows/connectors/http"
	"github.com/10ex/flows/connectors/openapi"
	"github.com/10ex/flows/connectors/registered"
	"github.com/10ex/flows/connectors/tenex"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/apikey"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
	"github.com/10ex/flows/tasks"
)

// fasthttp has two goroutines of its own that outlive a server for a while.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
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

type notifier struct{ *engine.Hub }

func (n notifier) Notify(_ context.Context, list []engine.Notice) { n.Publish(list) }

// bundle is an API with a door for MCP that listens on a port of its own.
type bundle struct {
	store *store.Store
	bus   *bus.Bus
	api   *api.API
	url   string
	ws    models.WorkspaceID
	key   string
	http  *http.Client
}

// each runs test on every database.
func each(t *testing.T, test func(t *testing.T, b *bundle)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, s *store.Store) { test(t, setup(t, s, api.Config{})) })
}

func setup(t *testing.T, s *store.Store, cfg api.Config) *bundle {
	t.Helper()
	guarded, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	registry, err := connectors.NewRegistry(core.Connector{}, httpconnector.New(guarded), tenex.New(guarded))
	require.NoError(t, err)
	own, err := registered.New(registered.Deps{Store: s, BuiltIn: registry, Kinds: map[models.ConnectorKind]connectors.Kind{
		models.ConnectorOpenAPI: openapi.NewKind(guarded),
	}})
	require.NoError(t, err)
	catalogue := connectors.NewCatalogue(registry, own)
	b := &bundle{store: s, http: &http.Client{Transport: &http.Transport{}}}
	hub := engine.NewHub()
	e, err := engine.New(engine.Deps{
		Store: s, Clock: clock.System{}, Enqueuer: noQueue{}, Notifier: notifier{hub}, Catalogue: catalogue, Log: testkit.Logger(t),
	}, engine.Config{})
	require.NoError(t, err)
	ring, err := seal.New(make([]byte, seal.KeySize))
	require.NoError(t, err)
	b.bus, err = bus.New(bus.Deps{Store: s, Engine: e, Clock: clock.System{}, Jobs: b, Seal: ring, Log: testkit.Logger(t)}, bus.Config{})
	require.NoError(t, err)
	accounts, err := connections.New(connections.Deps{Store: s, Connectors: catalogue, Seal: ring, Egress: guarded, Log: testkit.Logger(t)})
	require.NoError(t, err)
	runner, err := agents.New(agents.Deps{
		Egress: guarded, Tools: catalogue, OpenFunc: accounts.Open,
		PeekFunc: func(ctx context.Context, ws models.WorkspaceID, id string) (string, error) {
			c, err := accounts.Get(ctx, ws, models.ConnectionID(id))
			if err != nil {
				return "", err
			}
			return c.Connector, nil
		},
		LedgerFunc: func(ws models.WorkspaceID) agents.Ledger { return s.For(ws) },
	})
	require.NoError(t, err)
	served, err := api.New(api.Deps{
		Store: s, Engine: e, Bus: b.bus, Hub: hub, Connectors: catalogue, Registered: own, Agents: runner, Connections: accounts, Log: testkit.Logger(t),
	}, cfg)
	require.NoError(t, err)
	door, err := New(served, "1.2.3")
	require.NoError(t, err)
	served.Open(Path, door)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- served.Listen(l) }()
	b.api, b.url = served, "http://"+l.Addr().String()
	t.Cleanup(func() {
		b.http.CloseIdleConnections()
		ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		require.NoError(t, served.Shutdown(ctx))
		require.NoError(t, <-ended)
		require.NoError(t, e.Close(ctx))
	})
	resp, err := b.http.Get(b.url + "/livez") // a server that never began would not end
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	b.ws = b.workspace(t)
	b.key = b.newKey(t, b.ws, models.ScopeAll)
	return b
}

func (b *bundle) workspace(t *testing.T) models.WorkspaceID {
	t.Helper()
	ws := models.WorkspaceID(ids.New(models.WorkspacePrefix))
	require.NoError(t, b.store.CreateWorkspace(t.Context(), &models.Workspace{ID: ws, Name: "Acme", CreatedAt: time.Now().UTC()}))
	return ws
}

func (b *bundle) newKey(t *testing.T, ws models.WorkspaceID, scopes ...models.Scope) string {
	t.Helper()
	k := apikey.New()
	require.NoError(t, b.store.For(ws).CreateKey(t.Context(), &models.APIKey{
		ID: models.KeyID(ids.New(models.KeyPrefix)), Prefix: k.Prefix, Hash: k.Hash, Name: "test", Scopes: scopes, CreatedAt: time.Now().UTC(),
	}))
	return k.Full
}

type bearer struct {
	key  string
	next http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.key)
	return b.next.RoundTrip(r)
}

// connect makes a client of the official SDK with a key.
func (b *bundle) connect(t *testing.T, key string) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: b.url + Path, HTTPClient: &http.Client{Transport: bearer{key, b.http.Transport}}, MaxRetries: -1,
	}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, session.Close()) })
	return session
}

// result is what a call of a tool gave.
type result struct {
	*mcp.CallToolResult
	content map[string]any
}

// call calls a tool and demands that text and structure say the same.
func call(t *testing.T, s *mcp.ClientSession, name string, arguments any) result {
	t.Helper()
	res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: arguments})
	require.NoError(t, err, name)
	require.Len(t, res.Content, 1)
	text := res.Content[0].(*mcp.TextContent).Text
	structured, err := json.Marshal(res.StructuredContent)
	require.NoError(t, err)
	require.JSONEq(t, text, string(structured))
	out := result{CallToolResult: res}
	require.NoError(t, json.Unmarshal([]byte(text), &out.content))
	return out
}

// done calls a tool that has to succeed.
func done(t *testing.T, s *mcp.ClientSession, name string, arguments any) map[string]any {
	t.Helper()
	res := call(t, s, name, arguments)
	require.False(t, res.IsError, "%s: %v", name, res.content)
	return res.content
}

// failedAs calls a tool that has to be refused with a code.
func failedAs(t *testing.T, s *mcp.ClientSession, code, name string, arguments any) map[string]any {
	t.Helper()
	res := call(t, s, name, arguments)
	require.True(t, res.IsError, "%s: %v", name, res.content)
	require.Equal(t, code, res.content["code"], "%s: %v", name, res.content)
	require.NotEmpty(t, res.content["detail"])
	require.NotEmpty(t, res.content["request_id"])
	return res.content
}

type values = map[string]any

// passing is a graph that ends by itself, waiting one that stays open.
var (
	passing = json.RawMessage(`{"steps":[{"id":"route","type":"branch"}]}`)
	waiting = json.RawMessage(`{"steps":[{"id":"ask","type":"wait","approval":{"prompt":"Send it?"}}]}`)
)

func workflow(t *testing.T, s *mcp.ClientSession, graph json.RawMessage) string {
	t.Helper()
	return done(t, s, "create_workflow", values{"name": "Leads", "graph": graph})["id"].(string)
}

// post sends a body to the door as it stands.
func (b *bundle) post(t *testing.T, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+Path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+b.key)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Del(headers[i])
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	resp, err := b.http.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(got)
}
