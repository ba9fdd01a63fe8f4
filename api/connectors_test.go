package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mcpsdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store/storetest"
)

// petDocument is a small OpenAPI document without a server.
const petDocument = `{"openapi":"3.1.0","info":{"title":"Pets","version":"1"},"paths":{
	"/pets/{id}":{"get":{"operationId":"getPet","summary":"Get a pet","parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"integer"}}],
		"responses":{"200":{"description":"ok","content":{"application/json":{"schema":{"$ref":"#/components/schemas/Pet"}}}}}}},
	"/pets":{"post":{"operationId":"addPet","requestBody":{"required":true,"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Pet"}}}},
		"responses":{"201":{"description":"made"}}}}},
	"components":{"schemas":{"Pet":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"parent":{"$ref":"#/components/schemas/Pet"}}}}}}`

func pets(t *testing.T) *connectorstest.Peer {
	t.Helper()
	return connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
		}
		_, _ = io.WriteString(w, `{"name":"Rex"}`)
	})
}

func TestADocumentBecomesAConnector(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		peer := pets(t)
		got := b.call(t, "POST", "/connectors", fmt.Sprintf(`{"slug":"pets","kind":"openapi","server":%q,"document":%s}`, peer.URL, petDocument))
		require.Equal(t, 201, got.status, got.body)
		require.Equal(t, "/api/v1/flows/connectors/pets", got.header.Get("Location"))
		require.Equal(t, "Pets", got.str(t, "name"))
		require.EqualValues(t, 2, got.get(t, "action_count"))
		one := b.call(t, "GET", "/connectors/pets", "")
		require.JSONEq(t, one.body, got.body, "what was registered is shown as it is from then on")

		got = b.call(t, "GET", "/connectors", "")
		require.Equal(t, 200, got.status, got.body)
		all := slugsIn(t, got)
		require.Subset(t, all, []any{"core", "http", "pets"})
		require.True(t, slices.IsSortedFunc(all, func(a, b any) int { return strings.Compare(a.(string), b.(string)) }))
		require.NotContains(t, got.body, "get_pet", "a list has no actions of those that are registered")
		first := b.call(t, "GET", "/connectors?limit=2", "")
		next := b.call(t, "GET", "/connectors?limit=200&cursor="+first.str(t, "next_cursor"), "")
		require.Equal(t, all, append(slugsIn(t, first), slugsIn(t, next)...))

		got = b.call(t, "GET", "/connectors/pets", "")
		require.Equal(t, 200, got.status, got.body)
		require.Contains(t, got.body, `"input_schema":{"additionalProperties":false`)
		got = b.call(t, "GET", "/connectors/pets/actions?limit=1", "")
		require.Contains(t, got.body, "add_pet")
		require.NotContains(t, got.body, "get_pet")
		got = b.call(t, "GET", "/connectors/pets/actions?limit=1&cursor="+got.str(t, "next_cursor"), "")
		require.Contains(t, got.body, "get_pet")
		require.Equal(t, 200, b.call(t, "GET", "/connectors/pets/actions/get_pet", "").status)
		require.Equal(t, 404, b.call(t, "GET", "/connectors/pets/actions/nothing", "").status)

		got = b.call(t, "POST", "/connectors/pets/actions/get_pet/test", `{"input":{"id":7}}`)
		require.Equal(t, 200, got.status, got.body)
		require.Contains(t, got.body, `"status":"completed"`)
		require.Contains(t, got.body, `"body":{"name":"Rex"}`)
		require.Equal(t, "/pets/7", peer.Received()[0].Path)
		got = b.call(t, "POST", "/connectors/pets/actions/addPet/test", `{"input":{"body":{}}}`)
		require.Contains(t, got.body, "body.name: is required", "the operationId is a name, too")

		graph := `{"graph":{"steps":[{"id":"a","type":"connector","connector":"pets","action":%q,"input":{"id":1}}]}}`
		got = b.call(t, "POST", "/workflows/validate", fmt.Sprintf(graph, "get_pet"))
		require.Contains(t, got.body, `"valid":true`)
		got = b.call(t, "POST", "/workflows/validate", fmt.Sprintf(graph, "nothing"))
		require.Contains(t, got.body, `connector \"pets\" has no action \"nothing\"`)
		stranger := b.newKey(t, b.workspace(t), models.ScopeAll)
		got = b.as(t, stranger, "POST", "/workflows/validate", fmt.Sprintf(graph, "get_pet"))
		require.Contains(t, got.body, `there is no connector \"pets\"`)
		require.Equal(t, 404, b.as(t, stranger, "POST", "/connectors/pets/actions/get_pet/test", `{"input":{"id":7}}`).status)

		got = b.call(t, "PATCH", "/connectors/pets", `{"document":`+strings.ReplaceAll(petDocument, "addPet", "makePet")+`,"name":"Animals"}`)
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, "Animals", got.str(t, "name"))
		require.EqualValues(t, 2, got.get(t, "version"))
		require.Equal(t, 404, b.call(t, "GET", "/connectors/pets/actions/add_pet", "").status)
		require.Equal(t, 200, b.call(t, "GET", "/connectors/pets/actions/make_pet", "").status)
		got = b.call(t, "POST", "/connectors/pets/refresh", "")
		require.Equal(t, 422, got.status, "the document is not kept: %s", got.body)

		require.Equal(t, 204, b.call(t, "DELETE", "/connectors/pets", "").status)
		require.Equal(t, 404, b.call(t, "GET", "/connectors/pets", "").status)
		require.Equal(t, 404, b.call(t, "POST", "/connectors/pets/actions/get_pet/test", "").status)
		got = b.call(t, "POST", "/workflows/validate", fmt.Sprintf(graph, "get_pet"))
		require.Contains(t, got.body, `there is no connector \"pets\"`)
	})
}

func TestADocumentIsReadAgainFromItsAddress(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		document := petDocument
		peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/api/openapi.json" {
				_, _ = io.WriteString(w, "null")
				return
			}
			_, _ = io.WriteString(w, document)
		})
		got := b.call(t, "POST", "/connectors", fmt.Sprintf(`{"slug":"pets","kind":"openapi","document_url":%q}`, peer.URL+"/api/openapi.json"))
		require.Equal(t, 201, got.status, got.body)
		require.Equal(t, 200, b.call(t, "POST", "/connectors/pets/actions/get_pet/test", `{"input":{"id":7}}`).status)
		require.Equal(t, "/pets/7", peer.Received()[1].Path, "a document without servers is served by where it came from")

		document = strings.ReplaceAll(petDocument, "addPet", "makePet")
		got = b.call(t, "POST", "/connectors/pets/refresh", "")
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, 200, b.call(t, "GET", "/connectors/pets/actions/make_pet", "").status)
		document = "nonsense"
		got = b.call(t, "POST", "/connectors/pets/refresh", "")
		require.Equal(t, 422, got.status, got.body)
		require.Contains(t, got.body, `["body","document_url"]`, "the field that was given")
		require.Equal(t, 200, b.call(t, "GET", "/connectors/pets/actions/make_pet", "").status, "what was there stays")
	})
}

func slugsIn(t *testing.T, a answer) []any {
	t.Helper()
	var out []any
	for _, item := range a.get(t, "items").([]any) {
		out = append(out, item.(map[string]any)["slug"])
	}
	return out
}

func TestWhatCannotBeRegistered(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		openapi := func(document string) string {
			return `{"slug":"x","kind":"openapi","document":` + document + `}`
		}
		tests := map[string]struct {
			body   string
			status int
			want   string
		}{
			"a name that is built in":       {`{"slug":"http","kind":"openapi","document":` + petDocument + `}`, 409, "built in"},
			"a slug that is none":           {`{"slug":"A b","kind":"openapi","document":{}}`, 422, `"slug"`},
			"a kind there is not":           {`{"slug":"x","kind":"soap"}`, 422, `"kind"`},
			"nothing to read":               {`{"slug":"x","kind":"openapi"}`, 422, "is required, or a document_url"},
			"no server":                     {openapi(petDocument), 422, `"server"`},
			"no OpenAPI":                    {openapi(`{"a":1}`), 422, "says no version"},
			"the version before":            {openapi(`{"swagger":"2.0"}`), 422, "Swagger 2.0"},
			"text that is nothing":          {openapi(`"{{{"`), 422, "neither valid JSON nor valid YAML"},
			"what goes with another kind":   {`{"slug":"x","kind":"openapi","url":"https://a.example"}`, 422, "goes with connectors of kind mcp"},
			"an address that is none":       {`{"slug":"x","kind":"openapi","document_url":"ftp://a"}`, 422, `"document_url"`},
			"a connection there is not":     {`{"slug":"x","kind":"openapi","document_url":"https://a.example","connection":"conn_1"}`, 422, `"connection"`},
			"a field that is unknown":       {`{"slug":"x","kind":"openapi","documents":1}`, 422, "documents"},
			"a document that does not come": {`{"slug":"x","kind":"openapi","document_url":"http://127.0.0.1:1/x"}`, 422, `["body","document_url"],"msg":"the description could not be fetched`},
			"a server that does not answer": {`{"slug":"x","kind":"mcp","url":"http://127.0.0.1:1/x"}`, 422, `["body","url"],"msg":"the description could not be fetched`},
		}
		for name, tc := range tests {
			got := b.call(t, "POST", "/connectors", tc.body)
			require.Equalf(t, tc.status, got.status, "%s: %s", name, got.body)
			require.Containsf(t, got.body, tc.want, "%s", name)
		}
		require.Equal(t, 404, b.call(t, "PATCH", "/connectors/http", `{"name":"Mine"}`).status)
		require.Equal(t, 404, b.call(t, "DELETE", "/connectors/http", "").status)
	})
}

func TestOnlyWhoRegistersMaySendMuch(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	large := `{"slug":"pets","kind":"openapi","server":"https://example.com","document":` +
		strings.Replace(petDocument, `"title":"Pets"`, `"title":"Pets","x-much":"`+strings.Repeat("x", 3<<20)+`"`, 1) + `}`
	got := b.call(t, "POST", "/connectors", large)
	require.Equal(t, 201, got.status, got.body)
	for _, path := range []string{"/agents", "/connectors/pets/refresh", "/connectors/pets/actions/get_pet/test"} {
		require.Equal(t, 413, b.sent(t, path, large, nil).status, path)
	}
	b.key = "of nobody"
	require.Equal(t, 413, b.sent(t, "/connectors", large, nil).status)
}

// bigDocument is a document of several hundred operations that a module ships as its
// test data.
func bigDocument(t testing.TB) []byte {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/getkin/kin-openapi").Output()
	require.NoError(t, err)
	raw, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "openapi3", "testdata", "oai_v3_stoplight.json"))
	require.NoError(t, err)
	return raw
}

func TestALargePublicDocument(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"result":[]}`)
	})
	text, err := json.Marshal(string(bigDocument(t)))
	require.NoError(t, err)
	began := time.Now()
	got := b.call(t, "POST", "/connectors", fmt.Sprintf(`{"slug":"big","kind":"openapi","server":%q,"document":%s}`, peer.URL, text))
	require.Equal(t, 201, got.status, got.body)
	t.Logf("%s operations registered in %s", sprint(got.get(t, "action_count")), time.Since(began))
	require.Greater(t, got.get(t, "action_count"), 300.0)

	got = b.call(t, "GET", "/connectors", "")
	require.Less(t, len(got.body), 200_000)
	got = b.call(t, "GET", "/connectors/big", "")
	require.Less(t, len(got.body), 2<<20)
	var shown struct{ Actions []connectors.Action }
	require.NoError(t, json.Unmarshal([]byte(got.body), &shown))
	for _, a := range shown.Actions {
		_, err := connectors.CompileSchema(a.Input)
		require.NoError(t, err, a.Name)
		_, err = connectors.CompileSchema(a.Output)
		require.NoError(t, err, a.Name)
	}
	got = b.call(t, "POST", "/connectors/big/actions/create_api_keys/test", `{"input":{"body":{"name":"mine","scopes":["mail.send"]}}}`)
	require.Contains(t, got.body, `"status":"completed"`)
	sent := peer.Received()[0]
	require.Equal(t, "/api_keys", sent.Path)
	require.JSONEq(t, `{"name":"mine","scopes":["mail.send"]}`, sent.Body)
	require.NotEmpty(t, sent.Header.Get("Idempotency-Key"))
}

func TestAServerBecomesAConnector(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		server := mcpsdk.NewServer(&mcpsdk.Implementation{Name: "greeter", Title: "Greeter", Version: "1"}, nil)
		mcpsdk.AddTool(server, &mcpsdk.Tool{Name: "greet", Description: "Says hi."}, func(_ context.Context, _ *mcpsdk.CallToolRequest, in struct {
			Name string `json:"name"`
		}) (*mcpsdk.CallToolResult, any, error) {
			return &mcpsdk.CallToolResult{Content: []mcpsdk.Content{&mcpsdk.TextContent{Text: "Hi " + in.Name}}}, nil, nil
		})
		handler := mcpsdk.NewStreamableHTTPHandler(func(*http.Request) *mcpsdk.Server { return server }, &mcpsdk.StreamableHTTPOptions{Stateless: true})
		peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer s3cret-token" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			handler.ServeHTTP(w, r)
		})
		got := b.call(t, "POST", "/connectors", fmt.Sprintf(`{"slug":"greeter","kind":"mcp","url":%q}`, peer.URL))
		require.Equal(t, 422, got.status, got.body)
		require.Contains(t, got.body, "401")
		ask := func(connector, address string) string {
			got := b.call(t, "POST", "/connections", fmt.Sprintf(`{"connector":"%[1]s","name":"for %[1]s","config":{"auth":{"type":"bearer"},"%[2]s":%[3]q},"secrets":{"token":"s3cret-token"}}`, connector, address, peer.URL))
			require.Equal(t, 201, got.status, got.body)
			return got.str(t, "id")
		}
		got = b.call(t, "POST", "/connectors", fmt.Sprintf(`{"slug":"greeter","kind":"mcp","url":%q,"connection":%q}`, peer.URL, ask("mcp", "url")))
		require.Equal(t, 201, got.status, got.body)
		require.Equal(t, "Greeter", got.str(t, "name"))
		require.Contains(t, b.call(t, "POST", "/connectors/greeter/actions/greet/test", `{"input":{"name":"Ann"}}`).body, `"text":"Hi Ann"`, "it was registered with a connection")
		conn := ask("greeter", "base_url")
		got = b.call(t, "POST", "/connectors/greeter/actions/greet/test", fmt.Sprintf(`{"input":{"name":"Ann"},"connection":%q}`, conn))
		require.Contains(t, got.body, `"text":"Hi Ann"`)
		got = b.call(t, "POST", "/connections/"+conn+"/test", "")
		require.Equal(t, 200, got.status, got.body)
		got = b.call(t, "POST", "/connectors", `{"slug":"other","kind":"mcp","command":["/bin/true"]}`)
		require.Equal(t, 422, got.status, got.body)
		require.Contains(t, got.body, "not allowed here")

		elsewhere := connectorstest.NewPeer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
		got = b.call(t, "PATCH", "/connectors/greeter", fmt.Sprintf(`{"url":%q,"connection":%q}`, elsewhere.URL, conn))
		require.Equal(t, 422, got.status, got.body)
		require.Empty(t, elsewhere.Received(), "credentials stay with the host they are bound to")
	})
}

func TestTheHeaderOfADocumentIsThatOfItsConnections(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	peer := pets(t)
	doc := strings.Replace(petDocument, `"components":{`, `"components":{"securitySchemes":{"k":{"type":"apiKey","in":"header","name":"X-Pet-Key"}},`, 1)
	got := b.call(t, "POST", "/connectors", fmt.Sprintf(`{"slug":"pets","kind":"openapi","server":%q,"document":%s}`, peer.URL, doc))
	require.Equal(t, 201, got.status, got.body)
	got = b.call(t, "POST", "/connections", `{"connector":"pets","name":"c","secrets":{"value":"s3cret-value"}}`)
	require.Equal(t, 201, got.status, got.body)
	got = b.call(t, "POST", "/connectors/pets/actions/get_pet/test", fmt.Sprintf(`{"input":{"id":1},"connection":%q}`, got.str(t, "id")))
	require.Contains(t, got.body, `"status":"completed"`)
	require.Equal(t, "s3cret-value", peer.Received()[0].Header.Get("X-Pet-Key"))
}

func TestAConnectionIsRememberedWithItsConnector(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		const secret = "s3cret-of-pets"
		peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			switch {
			case r.Header.Get("Authorization") != "Bearer "+secret:
				w.WriteHeader(http.StatusUnauthorized)
			case r.URL.Path == "/openapi.json":
				_, _ = io.WriteString(w, petDocument)
			default:
				_, _ = io.WriteString(w, "null")
			}
		})
		connect := func(connector, config string) string {
			got := b.call(t, "POST", "/connections", fmt.Sprintf(`{"connector":%q,"name":%q,"config":%s,"secrets":{"token":%q}}`, connector, ids.New("c"), config, secret))
			require.Equal(t, 201, got.status, got.body)
			return got.str(t, "id")
		}
		first := connect("openapi", `{"document_url":"`+peer.URL+`/openapi.json","auth":{"type":"bearer"}}`)
		other := connect("http", `{"base_url":"`+peer.URL+`","auth":{"type":"bearer"}}`)
		register := func(connection string) answer {
			return b.call(t, "POST", "/connectors", fmt.Sprintf(`{"slug":"pets","kind":"openapi","document_url":%q,"connection":%q}`, peer.URL+"/openapi.json", connection))
		}
		for _, id := range []string{other, ids.New("conn"), "x"} {
			got := register(id)
			require.Equal(t, 422, got.status, got.body)
			require.Equal(t, []any{"body", "connection"}, got.get(t, "errors.0.loc"))
		}
		got := register(first)
		require.Equal(t, 201, got.status, got.body)
		require.Equal(t, first, got.str(t, "connection_id"))
		require.Equal(t, "completed", b.call(t, "POST", "/connectors/pets/actions/get_pet/test", `{"input":{"id":7}}`).str(t, "status"))
		require.Equal(t, 200, b.call(t, "POST", "/connectors/pets/refresh", "").status)

		own := connect("pets", `{"auth":{"type":"bearer"}}`)
		graph := func(connection string) answer {
			return b.call(t, "POST", "/workflows/validate", fmt.Sprintf(`{"graph":{"steps":[{"id":"a","type":"connector","connector":"pets","action":"get_pet","input":{"id":1}%s}]}}`, connection))
		}
		for connection, valid := range map[string]bool{"": true, first: true, own: true, other: false} {
			named := ""
			if connection != "" {
				named = `,"connection":"` + connection + `"`
			}
			require.Equal(t, valid, graph(named).get(t, "valid"), connection)
		}
		got = b.call(t, "PATCH", "/connectors/pets", `{"connection":"`+own+`"}`)
		require.Equal(t, own, got.str(t, "connection_id"))
		require.Equal(t, 422, b.call(t, "PATCH", "/connectors/pets", `{"connection":"`+other+`"}`).status)
		require.Equal(t, 422, b.call(t, "PATCH", "/connectors/pets", `{"connection":7}`).status)
		require.Equal(t, own, b.call(t, "PATCH", "/connectors/pets", `{"name":"Animals"}`).str(t, "connection_id"), "what is not given stays")
		require.Equal(t, own, b.call(t, "POST", "/connectors/pets/refresh", `{"connection":"`+first+`"}`).str(t, "connection_id"), "it was named for once")
		require.Nil(t, b.call(t, "PATCH", "/connectors/pets", `{"connection":null}`).get(t, "connection_id"))
		require.Equal(t, "http_401", b.call(t, "POST", "/connectors/pets/actions/get_pet/test", `{"input":{"id":7}}`).get(t, "error.code"))
		require.Equal(t, 422, b.call(t, "POST", "/connectors/pets/refresh", "").status)
	})
}
