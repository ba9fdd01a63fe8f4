package worker_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connections"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/connectors/mcp"
	"github.com/10ex/flows/connectors/openapi"
	"github.com/10ex/flows/connectors/registered"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
	"github.com/10ex/flows/worker"
)

// firm is a workspace with connectors of its own, and a worker for its steps.
type firm struct {
	*bench
	t           *testing.T
	ws          models.WorkspaceID
	connectors  *registered.Service
	connections *connections.Service
}

func newFirm(t *testing.T, s *store.Store) *firm {
	t.Helper()
	o := &firm{t: t, ws: "ws_1"}
	require.NoError(t, s.CreateWorkspace(t.Context(), &models.Workspace{ID: o.ws, Name: "Acme", CreatedAt: time.Now().UTC()}))
	outside, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	t.Cleanup(outside.CloseIdleConnections)
	documents, servers := openapi.NewKind(outside), mcp.NewKind(outside)
	builtIn, err := connectors.NewRegistry(openapi.NewDirect(documents), mcp.NewDirect(servers))
	require.NoError(t, err)
	o.connectors, err = registered.New(registered.Deps{
		Store: s, BuiltIn: builtIn, Kinds: map[models.ConnectorKind]connectors.Kind{models.ConnectorOpenAPI: documents, models.ConnectorMCP: servers},
		Open: func(ctx context.Context, ws models.WorkspaceID, id string) (*connectors.Connection, error) {
			return o.connections.Open(ctx, ws, id)
		},
	})
	require.NoError(t, err)
	ring, err := seal.New(make([]byte, seal.KeySize))
	require.NoError(t, err)
	catalogue := connectors.NewCatalogue(builtIn, o.connectors)
	o.connections, err = connections.New(connections.Deps{Store: s, Connectors: catalogue, Seal: ring, Egress: outside})
	require.NoError(t, err)
	o.bench = newBenchWith(t, "", worker.Config{}, func(d *worker.Deps) {
		d.Connectors, d.ConnectionFunc = catalogue, o.connections.Open
	})
	require.NoError(t, o.worker.Start())
	return o
}

// connect makes a connection whose bearer token is given.
func (o *firm) connect(connector, config, token string) string {
	o.t.Helper()
	c, err := o.connections.Create(o.t.Context(), o.ws, connections.Draft{
		Connector: connector, Name: ids.New("c"), Config: json.RawMessage(config), Secrets: map[string]string{"token": token},
	})
	require.NoError(o.t, err)
	return string(c.ID)
}

// do has a step done.
func (o *firm) do(step, connector, action, connection, input string) engine.FinishRequest {
	o.t.Helper()
	w := o.engine.add(step, action, input)
	w.Step.Connector, w.Step.Connection = connector, connection
	require.True(o.t, o.worker.Offer(o.t.Context(), task(step)))
	return receive(o.t, o.engine.finished)
}

func TestAnOperationOfARegisteredDocumentIsDone(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		o := newFirm(t, s)
		const document = `{"openapi":"3.1.0","info":{"title":"Pets","version":"1"},"paths":{"/pets":{"post":{"operationId":"addPet",
			"requestBody":{"content":{"application/json":{"schema":{"type":"object","properties":{"name":{"type":"string"}}}}}},"responses":{"201":{"description":"made"}}}}}}`
		peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			switch {
			case r.Header.Get("Authorization") == "":
				w.WriteHeader(http.StatusUnauthorized)
			case r.Method == http.MethodGet:
				_, _ = io.WriteString(w, document)
			default:
				w.WriteHeader(http.StatusCreated)
				_, _ = io.WriteString(w, `{"id":9007199254740993}`)
			}
		})
		config := `{"document_url":"` + peer.URL + `/openapi.json","auth":{"type":"bearer"}}`
		first := o.connect("openapi", config, "first-token")
		_, err := o.connectors.Create(t.Context(), o.ws, registered.Registration{
			ID: "ctr_1", Slug: "pets", Kind: models.ConnectorOpenAPI, Config: map[string]any{"document_url": peer.URL + "/openapi.json"}, Connection: first,
		})
		require.NoError(t, err)

		got := o.do("a", "pets", "add_pet", "", `{"body":{"name":"Rex"}}`)
		require.Nil(t, got.Error)
		require.Contains(t, string(got.Output), `"body":{"id":9007199254740993}`)
		sent := peer.Received()[1]
		require.Equal(t, "/pets", sent.Path)
		require.JSONEq(t, `{"name":"Rex"}`, sent.Body)
		require.Equal(t, "Bearer first-token", sent.Header.Get("Authorization"), "it was registered with that connection")
		require.Equal(t, "run_1:a", sent.Header.Get("Idempotency-Key"))

		// A step may name another, of the connector itself or of its kind.
		for step, connection := range map[string]string{
			"b": o.connect("pets", `{"auth":{"type":"bearer"}}`, "other-token"), "c": o.connect("openapi", config, "other-token"),
		} {
			require.Nil(t, o.do(step, "pets", "add_pet", connection, `{"body":{}}`).Error)
			all := peer.Received()
			require.Equal(t, "Bearer other-token", all[len(all)-1].Header.Get("Authorization"))
		}
		elsewhere := connectorstest.NewPeer(t, http.NotFound)
		stranger := o.connect("openapi", `{"document_url":"`+elsewhere.URL+`/openapi.json","auth":{"type":"bearer"}}`, "other-token")
		require.Equal(t, connectors.CodeHostNotAllowed, o.do("d", "pets", "add_pet", stranger, `{"body":{}}`).Error.Code)

		// It is asked again with the same connection; what it was registered with may change and go.
		_, err = o.connectors.Update(t.Context(), o.ws, "pets", registered.Change{Refresh: true})
		require.NoError(t, err)
		require.NoError(t, o.connections.Delete(t.Context(), o.ws, models.ConnectionID(first)))
		require.Equal(t, connections.CodeGone, o.do("e", "pets", "add_pet", "", `{"body":{}}`).Error.Code)
		_, err = o.connectors.Update(t.Context(), o.ws, "pets", registered.Change{Connection: new(string)})
		require.NoError(t, err)
		require.Equal(t, "http_401", o.do("f", "pets", "add_pet", "", `{"body":{}}`).Error.Code)
	})
}

func TestAToolOfARegisteredServerIsCalled(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		o := newFirm(t, s)
		server := sdk.NewServer(&sdk.Implementation{Name: "notes", Version: "1"}, nil)
		server.AddTool(&sdk.Tool{Name: "add-note", InputSchema: json.RawMessage(`{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}`)},
			func(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
				return &sdk.CallToolResult{StructuredContent: map[string]any{"got": r.Params.Arguments}, Content: []sdk.Content{&sdk.TextContent{Text: "noted"}}}, nil
			})
		handler := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, &sdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
		peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			handler.ServeHTTP(w, r)
		})
		first := o.connect("mcp", `{"url":"`+peer.URL+`","auth":{"type":"bearer"}}`, "first-token")
		_, err := o.connectors.Create(t.Context(), o.ws, registered.Registration{
			ID: "ctr_1", Slug: "notes", Kind: models.ConnectorMCP, Config: map[string]any{"url": peer.URL}, Connection: first,
		})
		require.NoError(t, err)

		peer.Reset()
		got := o.do("a", "notes", "add_note", "", `{"text":"Call Ann"}`)
		require.Nil(t, got.Error)
		require.JSONEq(t, `{"content":[{"type":"text","text":"noted"}],"structured":{"got":{"text":"Call Ann"}},"is_error":false}`, string(got.Output))
		for _, r := range peer.Received() {
			require.Equal(t, "Bearer first-token", r.Header.Get("Authorization"))
		}
		require.Equal(t, connectors.CodeInputInvalid, o.do("b", "notes", "add_note", "", `{}`).Error.Code)

		own := o.connect("notes", `{"auth":{"type":"bearer"}}`, "other-token")
		_, err = o.connectors.Update(t.Context(), o.ws, "notes", registered.Change{Connection: &own})
		require.NoError(t, err)
		peer.Reset()
		require.Nil(t, o.do("c", "notes", "add_note", "", `{"text":"Call Bob"}`).Error)
		require.Equal(t, "Bearer other-token", peer.Received()[0].Header.Get("Authorization"), "from the next step on")
		wrong := o.connect("openapi", `{"document_url":"`+peer.URL+`/x","auth":{"type":"bearer"}}`, "other-token")
		_, err = o.connectors.Update(t.Context(), o.ws, "notes", registered.Change{Connection: &wrong})
		require.ErrorIs(t, err, models.ErrInvalid)
		require.Equal(t, "wrong_connection", o.do("d", "notes", "add_note", wrong, `{"text":"x"}`).Error.Code)
	})
}
