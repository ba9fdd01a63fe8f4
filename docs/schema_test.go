package docs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/agents"
	"github.com/10ex/flows/api"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/core"
	"github.com/10ex/flows/connectors/http"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/store/storetest"
)

//go:generate go test . -run ^Test(GraphSchemaIsFresh|HTTPPageListsEveryOperation|DeployPageListsEverySetting)$ -update

var update = flag.Bool("update", false, "write what the documents show of the code")

// The schemas that are published beside the pages, by the component they are.
const (
	graphSchema    = "reference/graph.schema.json"
	settingsSchema = "reference/settings.schema.json"
)

type nobody struct{}

// noBus is there and is never asked.
type noBus struct{ api.Bus }

// noConnections is for who never asks.
type noConnections struct{ api.Connections }

func (nobody) Enqueue(context.Context, []engine.Delivery) {}
func (nobody) Notify(context.Context, []engine.Notice)    {}

func (nobody) Knows(context.Context, string, string, []string) (known bool, missing []string, err error) {
	return false, nil, nil
}

// TakesConnections says no.
func (nobody) TakesConnections(context.Context, string, string) (of []string, required bool, err error) {
	return nil, false, nil
}

// openAPI gives the document that the API serves.
func openAPI(t *testing.T) map[string]any {
	t.Helper()
	s := storetest.SQLite(t)
	e, err := engine.New(engine.Deps{Store: s, Clock: clock.System{}, Enqueuer: nobody{}, Notifier: nobody{}, Catalogue: nobody{}}, engine.Config{})
	require.NoError(t, err)
	guarded, err := egress.New(egress.Config{})
	require.NoError(t, err)
	registry, err := connectors.NewRegistry(core.Connector{}, http.New(guarded))
	require.NoError(t, err)
	runner, err := agents.New(agents.Deps{Egress: guarded})
	require.NoError(t, err)
	served, err := api.New(api.Deps{Store: s, Engine: e, Bus: noBus{}, Hub: engine.NewHub(), Connectors: connectors.NewCatalogue(registry, nil), Agents: runner, Connections: noConnections{}}, api.Config{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, served.Shutdown(context.Background()))
		require.NoError(t, e.Close(context.Background()))
	})
	var doc map[string]any
	require.NoError(t, json.Unmarshal(served.OpenAPI(), &doc))
	return doc
}

const componentPath = "#/components/schemas/"

// schemaFrom takes a component of an OpenAPI document out of it, with all it
// refers to, as a JSON Schema that stands by itself.
func schemaFrom(t *testing.T, doc map[string]any, name string) []byte {
	t.Helper()
	all := doc["components"].(map[string]any)["schemas"].(map[string]any)
	definitions := map[string]any{}
	var take func(v any) any
	take = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			out := map[string]any{}
			for key, value := range v {
				if ref, ok := value.(string); ok && key == "$ref" {
					target := strings.TrimPrefix(ref, componentPath)
					if _, have := definitions[target]; !have {
						definitions[target] = nil // it may refer to itself
						definitions[target] = take(all[target])
					}
					out[key] = "#/$defs/" + target
					continue
				}
				out[key] = take(value)
			}
			return out
		case []any:
			out := make([]any, len(v))
			for i, item := range v {
				out[i] = take(item)
			}
			return out
		}
		return v
	}
	schema := take(all[name]).(map[string]any)
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["$id"] = "urn:10ex:flows:" + strings.ToLower(name)
	schema["title"] = name + " of a workflow"
	schema["$defs"] = definitions
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	require.NoError(t, enc.Encode(schema))
	return b.Bytes()
}

func TestGraphSchemaIsFresh(t *testing.T) {
	t.Parallel()
	doc := openAPI(t)
	for file, name := range map[string]string{graphSchema: "Graph", settingsSchema: "Settings"} {
		want := schemaFrom(t, doc, name)
		if *update {
			require.NoError(t, os.WriteFile(file, want, 0o644))
		}
		require.Empty(t, cmp.Diff(string(want), read(t, file)), "run go generate ./docs")
	}
}

// publishedGraph compiles the published schema as a stranger would.
func publishedGraph(t *testing.T) *jsonschema.Schema {
	t.Helper()
	return published(t, graphSchema)
}

func published(t *testing.T, file string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(read(t, file)))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("schema.json", doc))
	schema, err := c.Compile("schema.json")
	require.NoError(t, err)
	return schema
}

func TestEveryGraphOfTheDocumentsFitsTheSchema(t *testing.T) {
	t.Parallel()
	schema, settings := publishedGraph(t), published(t, settingsSchema)
	for _, e := range graphExamples(t) {
		var doc map[string]any
		require.NoError(t, json.Unmarshal([]byte(e.flow.text), &doc), "line %d", e.flow.line)
		graph := any(doc)
		if inner, ok := doc["graph"]; ok {
			graph = inner
		}
		require.NoError(t, schema.Validate(graph), "%s line %d", e.page, e.flow.line)
		if s, ok := doc["settings"]; ok && e.after.info != "refused" {
			require.NoError(t, settings.Validate(s), "%s line %d", e.page, e.flow.line)
		}
	}
}

func TestTheGraphSchemaRefusesWhatIsNoGraph(t *testing.T) {
	t.Parallel()
	schema := publishedGraph(t)
	for name, graph := range map[string]string{
		"no object":               `[]`,
		"no steps":                `{"edges": []}`,
		"steps are no list":       `{"steps": {}}`,
		"unknown field":           `{"steps": [], "nodes": []}`,
		"step without id":         `{"steps": [{"type": "branch"}]}`,
		"step without type":       `{"steps": [{"id": "a"}]}`,
		"unknown type":            `{"steps": [{"id": "a", "type": "loop"}]}`,
		"unknown field of a step": `{"steps": [{"id": "a", "type": "branch", "colour": "red"}]}`,
		"unknown join":            `{"steps": [{"id": "a", "type": "branch", "join": "some"}]}`,
		"join of none":            `{"steps": [{"id": "a", "type": "branch", "join": {"count": 0}}]}`,
		"join with more":          `{"steps": [{"id": "a", "type": "branch", "join": {"count": 1, "of": 2}}]}`,
		"a duration as number":    `{"steps": [{"id": "a", "type": "wait", "for": 5}]}`,
		"attempts as text":        `{"steps": [{"id": "a", "type": "agent", "retry": {"max_attempts": "4"}}]}`,
		"event without type":      `{"steps": [{"id": "a", "type": "wait", "event": {}}]}`,
		"assignees as text":       `{"steps": [{"id": "a", "type": "wait", "approval": {"assignees": "sales"}}]}`,
		"edge without end":        `{"steps": [], "edges": [{"from": "a"}]}`,
		"unknown outcome":         `{"steps": [], "edges": [{"from": "a", "to": "b", "on": "failure"}]}`,
		"unknown field of edge":   `{"steps": [], "edges": [{"from": "a", "to": "b", "if": "true"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, err := jsonschema.UnmarshalJSON(strings.NewReader(graph))
			require.NoError(t, err)
			require.Error(t, schema.Validate(doc))
		})
	}
}
