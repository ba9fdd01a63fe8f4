package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/api"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

func listed(t *testing.T, s *mcp.ClientSession) map[string]*mcp.Tool {
	t.Helper()
	out := map[string]*mcp.Tool{}
	for tool, err := range s.Tools(t.Context(), nil) {
		require.NoError(t, err)
		out[tool.Name] = tool
	}
	return out
}

// scopesOf reads from the OpenAPI document what the operation of each tool needs.
func scopesOf(t *testing.T, b *bundle) map[string]models.Scope {
	t.Helper()
	doc, err := readDocument(b.api.OpenAPI())
	require.NoError(t, err)
	scopes := map[string]models.Scope{}
	for _, x := range tools {
		op := doc.operations[x.operation]
		require.NotNil(t, op, x.name)
		scopes[x.name] = models.Scope(op.scope)
	}
	return scopes
}

func TestToolsSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), api.Config{})
	shown, scopes := listed(t, b.connect(t, b.key)), scopesOf(t, b)
	require.Len(t, shown, len(tools))
	for _, x := range tools {
		tool := shown[x.name]
		require.NotNil(t, tool, x.name)
		require.Regexp(t, `^[a-z]+(_[a-z]+)*$`, tool.Name)
		require.Greater(t, len(tool.Description), 40, x.name)
		require.True(t, strings.HasSuffix(tool.Description, "."), x.name)
		require.NotEmpty(t, tool.Title)
		require.Equal(t, x.operation, tool.Meta[metaOperation])
		require.Equal(t, string(scopes[x.name]), tool.Meta[metaScope])
		readOnly := scopes[x.name] == "" || strings.HasSuffix(string(scopes[x.name]), ":read")
		require.Equal(t, readOnly, tool.Annotations.ReadOnlyHint, x.name)
		require.Equal(t, x.effect == ends, *tool.Annotations.DestructiveHint, x.name)

		input := tool.InputSchema.(map[string]any)
		require.Equal(t, false, input["additionalProperties"], x.name)
		for name, p := range input["properties"].(map[string]any) {
			require.Regexp(t, `^[a-z]+(_[a-z]+)*$`, name)
			require.NotEmpty(t, p.(map[string]any)["description"], "%s of %s", name, x.name)
		}
		compiled(t, tool.InputSchema)
		if tool.OutputSchema != nil {
			compiled(t, tool.OutputSchema)
		}
	}
}

// A client gives a model all of the list before it has done anything.
func TestTheListIsShort(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), api.Config{})
	_, list := b.post(t, listing)
	require.Less(t, len(list), 80_000)
	described := 0
	for _, tool := range listed(t, b.connect(t, b.key)) {
		if tool.OutputSchema != nil {
			described++
		}
	}
	require.Greater(t, described, len(tools)/2, "every answer is described, by the tool that reads it")
}

// Every name in a description is one that there is: a model follows it.
func TestDescriptionsNameOnlyWhatThereIs(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, x := range tools {
		known[x.name] = true
		for _, a := range x.arguments {
			known[a.name] = true
		}
	}
	for _, word := range []string{ // of results and codes
		"lead_id", "input_schema", "next_cursor", "waiting_on", "not_found", "forbidden_scope", "invalid_state", "rate_limited", "workflow_not_active",
		"lead_42", "next_fire_at", "wf_", "run_", "trg_", "evt_", "conn_",
		// of configs
		"base_url", "api_key", "client_secret", "max_turns", "per_day", "agent_id",
	} {
		known[word] = true
	}
	texts := []string{instructions}
	for _, x := range tools {
		texts = append(texts, x.does)
		for _, a := range x.arguments {
			texts = append(texts, a.does)
		}
	}
	for _, text := range texts {
		for _, word := range regexp.MustCompile(`\b[a-z]+(?:_[a-z0-9]*)+`).FindAllString(text, -1) {
			require.True(t, known[word], "%s in: %s", word, text)
		}
	}
}

func compiled(t *testing.T, schema any) *jsonschema.Schema {
	t.Helper()
	raw, err := json.Marshal(schema)
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	require.NoError(t, c.AddResource("urn:schema", doc))
	s, err := c.Compile("urn:schema")
	require.NoError(t, err)
	return s
}

func TestAToolThatFitsNoOperationIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), api.Config{})
	doc, err := readDocument(b.api.OpenAPI())
	require.NoError(t, err)
	_, err = bind(tool{name: "a", operation: "fly"}, doc)
	require.ErrorIs(t, err, errNoOperation)
	_, err = bind(tool{name: "a", operation: "get-run"}, doc)
	require.ErrorIs(t, err, errLeftOut)
	_, err = bind(tool{name: "a", operation: "whoami", arguments: []argument{body("colour", "")}}, doc)
	require.ErrorIs(t, err, errNoField)
}

// sample is a set of arguments that only lacks things that exist.
func sample(name string) map[string]any {
	out := map[string]any{}
	for _, x := range tools {
		if x.name != name {
			continue
		}
		for _, a := range x.arguments {
			switch a.name {
			case "workflow_id":
				out[a.name] = ids.New("wf")
			case "run_id":
				out[a.name] = ids.New("run")
			case "trigger_id":
				out[a.name] = ids.New("trg")
			case "event_id":
				out[a.name] = ids.New("evt")
			case "step_id":
				out[a.name] = "ask"
			case "template_slug", "connector_slug", "agent_slug":
				out[a.name] = "nothing-at-all"
			case "action":
				out[a.name] = "get_pet"
			case "connection_id", "connection":
				out[a.name] = ids.New("conn")
			case "workflows":
				out[a.name] = values{ids.New("wf"): values{"per_day": values{"usd": 1}}}
			}
		}
	}
	return out
}

func TestEveryToolNeedsItsOperationsScopeAndNoOther(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), api.Config{})
	scopes := scopesOf(t, b)
	for _, scope := range models.Scopes {
		s := b.connect(t, b.newKey(t, b.ws, scope))
		shown := listed(t, s)
		for _, x := range tools {
			needs := scopes[x.name]
			allowed := needs == "" || scope == needs || scope == models.ScopeAll
			require.Equal(t, allowed, shown[x.name] != nil, "%s is listed for %s", x.name, scope)
			for _, arguments := range []map[string]any{sample(x.name), {"colour": "red"}} {
				res := call(t, s, x.name, arguments)
				require.Equal(t, !allowed, res.content["code"] == "forbidden_scope", "%s with %s: %v", x.name, scope, res.content)
				if !allowed {
					require.True(t, res.IsError)
					require.Contains(t, res.content["detail"], string(needs))
				}
			}
		}
	}
}

func TestUnknownArgumentsAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), api.Config{})
	s := b.connect(t, b.key)
	for _, x := range tools {
		arguments := sample(x.name)
		arguments["colour"] = "red"
		got := failedAs(t, s, "invalid", x.name, arguments)
		require.Contains(t, got["errors"], map[string]any{"loc": []any{"colour"}, "msg": "is not a known field", "type": "unknown_field"}, x.name)
	}
}

// exists makes one of everything in the bundle's workspace, as arguments of tools.
func (b *bundle) exists(t *testing.T, s *mcp.ClientSession) map[string]any {
	t.Helper()
	_, err := b.store.For(b.ws).PublishTemplate(t.Context(), &models.Template{
		Slug: "own", Name: "Own", Status: models.TemplatePublished, TriggerTypes: []string{},
		Document: models.TemplateDocument{
			Graph: json.RawMessage(`{"steps":[{"id":"route","type":"branch"}],"edges":[]}`), Inputs: json.RawMessage(`{"type":"object"}`),
			Requires: models.Requirements{Agents: []string{}, Connectors: []string{}},
		},
	}, time.Now().UTC().Truncate(time.Microsecond))
	require.NoError(t, err)
	wf := workflow(t, s, waiting)
	run := done(t, s, "trigger_workflow", values{"workflow_id": wf})
	trigger := done(t, s, "create_trigger", values{"type": "event", "event_type": "lead.*", "workflow_id": wf})
	event := done(t, s, "send_event", values{"type": "lead.created", "data": values{"id": "lead_42"}})
	connection := done(t, s, "create_connection", values{
		"connector": "http", "name": "Robot", "secrets": values{"token": "s3cret-of-robots"},
		"config": values{"auth": values{"type": "bearer"}, "base_url": "http://127.0.0.1:1"},
	})
	done(t, s, "create_agent", values{"slug": "robot", "kind": "http", "config": values{"url": "http://127.0.0.1:1/"}, "connection": connection["id"]})
	done(t, s, "register_connector", values{"slug": "pets", "kind": "openapi", "server": "http://127.0.0.1:1", "document": pets})
	return values{
		"workflow_id": wf, "run_id": run["id"], "step_id": "ask", "template_slug": "own", "trigger_id": trigger["id"], "event_id": event["id"],
		"connection_id": connection["id"], "connection": connection["id"], "agent_slug": "robot", "connector_slug": "pets", "action": "get_pet",
		"workflows": values{wf: values{"per_day": values{"usd": 1}}},
	}
}

// pets is a small OpenAPI document.
var pets = json.RawMessage(`{"openapi":"3.1.0","info":{"title":"Pets","version":"1"},"paths":{"/pets/{id}":{"get":{"operationId":"getPet","summary":"Get a pet",
	"parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"integer"}}],"responses":{"200":{"description":"ok"}}}}}}`)

// What belongs to another workspace is as if it had never been, for every tool that
// takes an id.
func TestAnotherWorkspacesThingsAreAsIfTheyHadNeverBeen(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		theirs := b.exists(t, b.connect(t, b.key))
		before := done(t, b.connect(t, b.key), "get_run", values{"run_id": theirs["run_id"]})
		stranger := b.connect(t, b.newKey(t, b.workspace(t), models.ScopeAll))
		for _, x := range tools {
			never := sample(x.name)
			if len(never) == 0 {
				continue
			}
			own := maps.Clone(never)
			for name := range own {
				own[name] = theirs[name]
				require.NotNil(t, theirs[name], "%s: nothing of the other workspace to ask for", name)
			}
			maps.Copy(never, fills[x.name])
			maps.Copy(own, fills[x.name])
			want, got := call(t, stranger, x.name, never), call(t, stranger, x.name, own)
			if strings.HasPrefix(x.name, "list_") && got.content["code"] == nil {
				require.Empty(t, got.content["items"])
				continue
			}
			code := "not_found"
			if slices.Contains(parts, x.name) {
				code = "invalid"
			}
			require.Equal(t, code, got.content["code"], "%s: %v", x.name, got.content)
			require.Equal(t, blank(t, want.content, never), blank(t, got.content, own), x.name)
		}
		done(t, stranger, "register_connector", values{"slug": "pets", "kind": "openapi", "server": "http://127.0.0.1:1", "document": pets})
		done(t, stranger, "create_agent", values{"slug": "robot", "kind": "http", "config": values{"url": "http://127.0.0.1:1/"}})
		for name, its := range map[string]string{"connector": "delete_connector", "agent": "delete_agent"} {
			done(t, stranger, its, values{name + "_slug": theirs[name+"_slug"]})
			done(t, b.connect(t, b.key), "get_"+name, values{name + "_slug": theirs[name+"_slug"]})
		}
		for _, x := range tools {
			if strings.HasPrefix(x.name, "list_") && x.name != "list_connector_actions" {
				items, _ := done(t, stranger, x.name, nil)["items"].([]any)
				require.Empty(t, slices.DeleteFunc(items, func(item any) bool { // the gallery is everybody's
					row, _ := item.(map[string]any)
					return row["builtin"] == true || row["kind"] == "built_in"
				}), x.name)
			}
		}
		require.Equal(t, before, done(t, b.connect(t, b.key), "get_run", values{"run_id": theirs["run_id"]}), "nothing of theirs was touched")
	})
}

// parts are tools to which an id is not what is asked for, but a part of what is to be
// made.
var parts = []string{"create_trigger", "register_connector", "create_agent", "set_budgets"}

// blank takes out of an answer what differs between two that say the same.
func blank(t *testing.T, content, asked map[string]any) string {
	t.Helper()
	delete(content, "request_id")
	raw, err := json.Marshal(content)
	require.NoError(t, err)
	names, err := json.Marshal(asked)
	require.NoError(t, err)
	out := string(raw)
	for _, id := range regexp.MustCompile(`[a-z]+_[0-9a-z]{26}`).FindAllString(string(names), -1) {
		out = strings.ReplaceAll(out, id, "ID")
	}
	return out
}

func TestNamesThatNothingHasLeadNowhereElse(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), api.Config{})
	s := b.connect(t, b.key)
	wf := workflow(t, s, passing)
	for _, id := range []any{"", "..", "../whoami", wf + "/versions", wf + "?x=1", "%2e%2e", wf + "\x00", " " + wf, "x y", "ü", 7, true, []string{wf, wf}} {
		failedAs(t, s, "not_found", "get_workflow", values{"workflow_id": id})
	}
	for _, id := range []any{nil, map[string]any{}} {
		got := failedAs(t, s, "invalid", "get_workflow", values{"workflow_id": id})
		require.Equal(t, []any{"workflow_id"}, got["errors"].([]any)[0].(map[string]any)["loc"])
	}
	failedAs(t, s, "invalid", "get_workflow", nil)
}

func TestProblemsNameArguments(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), api.Config{})
	s := b.connect(t, b.key)
	wf := done(t, s, "create_workflow", values{
		"name": "Typed", "graph": passing,
		"input_schema": json.RawMessage(`{"type":"object","properties":{"lead":{"type":"object","properties":{"score":{"type":"number"}}}}}`),
	})["id"]
	deep := strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70)
	for name, tc := range map[string]struct {
		tool      string
		arguments any
		code      string
		loc       []any
	}{
		"of the payload":   {"trigger_workflow", values{"workflow_id": wf, "payload": values{"lead": values{"score": "high"}}}, "invalid", []any{"payload", "lead", "score"}},
		"of the query":     {"list_workflows", values{"limit": 1000}, "invalid", []any{"limit"}},
		"of a list":        {"list_runs", values{"status": []string{"completed", "lost"}}, "invalid", []any{"status", 1.0}},
		"of a graph":       {"create_workflow", values{"name": "x", "graph": json.RawMessage(`{"steps":[{"id":"a","type":"agent","agent":"nobody"}]}`)}, "invalid", []any{"graph", "steps", 0.0, "agent"}},
		"what is missing":  {"create_workflow", values{"graph": passing}, "invalid", []any{"name"}},
		"a step's field":   {"create_workflow", values{"name": "x", "graph": json.RawMessage(`{"steps":[{"id":"a","type":"branch","colour":"red"}]}`)}, "invalid", []any{"graph", "steps", 0.0, "colour"}},
		"the wait":         {"trigger_workflow", values{"workflow_id": wf, "wait_seconds": 61}, "invalid", []any{"wait_seconds"}},
		"no number":        {"trigger_workflow", values{"workflow_id": wf, "wait_seconds": "soon"}, "invalid", []any{"wait_seconds"}},
		"the key":          {"trigger_workflow", values{"workflow_id": wf, "idempotency_key": strings.Repeat("x", 300)}, "invalid", []any{"idempotency_key"}},
		"version":          {"trigger_workflow", values{"workflow_id": wf, "version": 0}, "invalid", []any{"version"}},
		"depth":            {"trigger_workflow", values{"workflow_id": wf, "payload": json.RawMessage(deep)}, "invalid", []any{}},
		"NUL":              {"trigger_workflow", values{"workflow_id": wf, "payload": values{"a": "\x00"}}, "invalid", []any{}},
		"no object at all": {"trigger_workflow", []string{"a"}, "invalid", []any{}},
		"the cursor":       {"list_runs", values{"cursor": "x"}, "invalid_cursor", []any{"cursor"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := failedAs(t, s, tc.code, tc.tool, tc.arguments)
			require.True(t, slices.ContainsFunc(got["errors"].([]any), func(e any) bool {
				return slices.Equal(e.(map[string]any)["loc"].([]any), tc.loc)
			}), "%v", got["errors"])
		})
	}
}

// Results are what the published schemas say, those of refused calls too.
func TestResultsFitTheirSchemas(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		s := b.connect(t, b.key)
		shown := listed(t, s)
		x := b.exists(t, s)
		doc, err := readDocument(b.api.OpenAPI())
		require.NoError(t, err)
		for _, tool := range tools {
			outline := doc.outline(doc.operations[tool.operation]) // as it is or would be shown
			require.True(t, shown[tool.name].OutputSchema == nil || outline != nil, tool.name)
			if outline == nil {
				outline = values{"type": "object"}
			}
			schema := compiled(t, outline)
			good := sample(tool.name)
			for name := range good {
				good[name] = x[name]
			}
			maps.Copy(good, fills[tool.name])
			for _, arguments := range []map[string]any{good, sample(tool.name), {"colour": 1}} {
				res := call(t, s, tool.name, arguments)
				raw, err := json.Marshal(res.StructuredContent)
				require.NoError(t, err)
				v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
				require.NoError(t, err)
				require.NoError(t, schema.Validate(v), "%s: %s", tool.name, raw)
			}
		}
	})
}

// fills are arguments that tools need besides ids.
var fills = map[string]map[string]any{
	"create_workflow":       {"name": "x", "graph": passing},
	"update_workflow_graph": {"graph": passing},
	"validate_workflow":     {"graph": passing},
	"create_trigger":        {"type": "schedule", "cron": "0 9 * * 1", "timezone": "Europe/Berlin"},
	"test_trigger":          {"event": values{"type": "lead.created", "data": values{}}},
	"send_event":            {"type": "lead.created", "data": values{}},
	"create_connection":     {"connector": "http", "name": "x"},
	"register_connector":    {"slug": "beasts", "kind": "openapi", "server": "http://127.0.0.1:1", "document": pets},
	"create_agent":          {"slug": "x", "kind": "http", "config": values{"url": "http://127.0.0.1:1/"}},
	"test_connector_action": {"input": values{"id": 1}},
}

// Accounts, connectors and agents are made, used and taken away again, and no secret
// comes back.
func TestWhatAFlowNeedsIsMade(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		const secret = "s3cret-of-robots"
		var heard atomic.Pointer[http.Request]
		peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
			heard.Store(r)
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"you_sent":"`+r.Header.Get("Authorization")+`"}`)
		})
		s := b.connect(t, b.key)
		seen := func(name string, arguments any) values {
			got := done(t, s, name, arguments)
			raw, err := json.Marshal(got)
			require.NoError(t, err)
			require.NotContains(t, string(raw), secret, name)
			return got
		}
		made := seen("register_connector", values{"slug": "pets", "kind": "openapi", "server": peer.URL, "document": pets})
		require.EqualValues(t, 1, made["action_count"])
		require.Len(t, seen("list_connector_actions", values{"connector_slug": "pets", "q": "pet"})["items"], 1)
		require.NotNil(t, seen("get_connector_action", values{"connector_slug": "pets", "action": "get_pet"})["input_schema"])
		require.NotNil(t, seen("get_connector_action", values{"connector_slug": "tenex", "action": "crm.create_lead"})["input_schema"])

		connection := seen("create_connection", values{
			"connector": "pets", "name": "Robot", "config": values{"auth": values{"type": "bearer"}}, "secrets": values{"token": secret},
		})
		require.Equal(t, []any{"token"}, connection["secrets"])
		id := values{"connection_id": connection["id"]}
		require.Equal(t, "Robot", seen("get_connection", id)["name"])
		require.Len(t, seen("list_connections", values{"connector": "pets"})["items"], 1)
		require.Equal(t, true, seen("test_connection", id)["ok"])
		tried := seen("test_connector_action", values{"connector_slug": "pets", "action": "get_pet", "input": values{"id": 7}, "connection": connection["id"]})
		require.Equal(t, "completed", tried["status"], "%v", tried)
		require.Equal(t, "/pets/7", heard.Load().URL.Path)
		require.Equal(t, "Bearer "+secret, heard.Load().Header.Get("Authorization"))
		elsewhere := failedAs(t, s, "invalid", "update_connection", values{"connection_id": connection["id"], "config": values{"auth": values{"type": "bearer"}, "hosts": []string{"evil.example"}}})
		require.NotContains(t, fmt.Sprint(elsewhere), secret)
		require.Equal(t, "Robots", seen("update_connection", values{"connection_id": connection["id"], "name": "Robots"})["name"])

		seen("create_agent", values{"slug": "robot", "kind": "http", "config": values{"url": peer.URL + "/robot"}})
		require.Equal(t, "completed", seen("test_agent", values{"agent_slug": "robot", "input": values{"a": 1}})["status"])
		require.Equal(t, "R2", seen("update_agent", values{"agent_slug": "robot", "name": "R2"})["name"])
		require.Equal(t, "R2", seen("get_agent", values{"agent_slug": "robot"})["name"])

		wf := workflow(t, s, passing)
		budgets := seen("set_budgets", values{"workspace": values{"per_day": values{"usd": 20}}, "workflows": values{wf: values{"per_day": values{"tokens": 1000}}}})
		require.Equal(t, budgets, seen("get_budgets", nil))
		require.Equal(t, 20.0, budgets["workspace"].(values)["per_day"].(values)["usd"])

		for name, arguments := range map[string]values{"connection": id, "connector": {"connector_slug": "pets"}, "agent": {"agent_slug": "robot"}} {
			require.Equal(t, values{"done": true}, seen("delete_"+name, arguments))
			failedAs(t, s, "not_found", "get_"+name, arguments)
		}
	})
}

// An address in a result is one that the caller can reach.
func TestAddressesAreThoseOfTheDoor(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), api.Config{})
	s := b.connect(t, b.key)
	hook := done(t, s, "create_trigger", values{"type": "webhook", "workflow_id": workflow(t, s, passing), "verify": "none"})
	require.True(t, strings.HasPrefix(hook["url"].(string), b.url+"/"), hook["url"])
	connection := done(t, s, "create_connection", values{"connector": "http", "name": "Robot", "secrets": values{"client_secret": "s3cret-of-robots"}, "config": values{
		"auth":     values{"type": "oauth2", "client_id": "robot", "authorization_url": b.url + "/authorize", "token_url": b.url + "/token"},
		"base_url": b.url,
	}})
	began := done(t, s, "authorize_connection", values{"connection_id": connection["id"]})
	require.True(t, strings.HasPrefix(began["redirect_uri"].(string), b.url+"/"), began["redirect_uri"])
}

func TestOutlinesNameRowsAndNothingBelow(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), api.Config{})
	doc, err := readDocument(b.api.OpenAPI())
	require.NoError(t, err)
	run := doc.brief(doc.operations["get-run"].output, 0)["properties"].(map[string]any)
	require.Equal(t, values{"type": "object"}, run["trigger"])
	require.Equal(t, values{"type": []any{"object", "null"}}, run["error"])
	require.Contains(t, run["status"].(values)["enum"], "waiting")
	row := doc.brief(doc.operations["list-runs"].output, 0)["properties"].(values)["items"].(values)["items"].(values)["properties"].(values)
	require.Equal(t, values{"type": "string"}, row["id"])
	require.Equal(t, values{"type": "object"}, row["trigger"])
}

func TestAnApprovalIsDecided(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		s := b.connect(t, b.key)
		x := b.exists(t, s)
		run := values{"run_id": x["run_id"]}
		require.Equal(t, "waiting", done(t, s, "get_run", run)["status"])
		on := done(t, s, "why_run", run)["waiting_on"].([]any)[0].(map[string]any)
		require.Equal(t, "approval", on["kind"])
		require.Equal(t, "paused", done(t, s, "pause_run", run)["status"])
		require.Equal(t, "waiting", done(t, s, "resume_run", run)["status"])
		decide := values{"run_id": x["run_id"], "step_id": on["step_id"], "comment": "yes", "data": values{"discount": 10}}
		done(t, s, "approve_step", decide)
		require.Equal(t, "completed", done(t, s, "get_run", run)["status"])
		failedAs(t, s, "invalid_state", "reject_step", values{"run_id": x["run_id"], "step_id": "ask"})
		failedAs(t, s, "invalid_state", "cancel_run", run)
		again := done(t, s, "rerun_run", run)
		require.Equal(t, x["run_id"], again["rerun_of"])
		require.Equal(t, "cancelled", done(t, s, "cancel_run", values{"run_id": again["id"]})["status"])
	})
}

func TestACallWithTheSameKeyIsDoneOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		s := b.connect(t, b.key)
		wf := workflow(t, s, passing)
		start := values{"workflow_id": wf, "payload": values{"a": 1}, "idempotency_key": "lead 42"}
		first, again := done(t, s, "trigger_workflow", start), done(t, s, "trigger_workflow", start)
		require.Equal(t, first["id"], again["id"])
		start["payload"] = values{"a": 2}
		failedAs(t, s, "idempotency_mismatch", "trigger_workflow", start)
		require.Len(t, done(t, s, "list_runs", nil)["items"], 1)
	})
}

func TestPagesAreRead(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), api.Config{})
	s := b.connect(t, b.key)
	seen := map[any]bool{}
	for range 3 {
		workflow(t, s, passing)
	}
	ask := values{"limit": 2, "cursor": nil}
	for {
		page := done(t, s, "list_workflows", ask)
		for _, w := range page["items"].([]any) {
			seen[w.(map[string]any)["id"]] = true
		}
		if page["next_cursor"] == nil {
			break
		}
		ask["cursor"] = page["next_cursor"]
	}
	require.Len(t, seen, 3)
}

func TestAnEventStartsARun(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		s := b.connect(t, b.key)
		wf := workflow(t, s, passing)
		trigger := done(t, s, "create_trigger", values{
			"type": "event", "event_type": "lead.created", "workflow_id": wf, "filter": "event.data.score > 80",
			"payload": values{"lead_id": "{{ event.data.id }}"},
		})
		event := values{"type": "lead.created", "data": values{"id": "lead_42", "score": 90}}
		trial := done(t, s, "test_trigger", values{"trigger_id": trigger["id"], "event": event})
		require.Equal(t, values{"matched": true, "reason": nil, "payload": values{"lead_id": "lead_42"}}, trial)
		require.Empty(t, done(t, s, "list_runs", nil)["items"])

		sent := done(t, s, "send_event", event)
		matches := done(t, s, "get_event", values{"event_id": sent["id"]})["matches"].([]any)
		require.Len(t, matches, 1)
		require.Equal(t, "fired", matches[0].(values)["outcome"])
		run := done(t, s, "get_run", values{"run_id": matches[0].(values)["run_id"]})
		require.Equal(t, values{"lead_id": "lead_42"}, run["payload"])
		require.Equal(t, "event", run["trigger"].(values)["type"])

		require.Equal(t, false, done(t, s, "update_trigger", values{"trigger_id": trigger["id"], "enabled": false})["enabled"])
		done(t, s, "send_event", event)
		require.Len(t, done(t, s, "list_runs", values{"trigger_type": []string{"event"}})["items"], 1)
		require.Len(t, done(t, s, "list_triggers", values{"enabled": false})["items"], 1)
	})
}

// A server that stops does not wait for runs that somebody waits for.
func TestAWaitEndsWithTheServer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		s := b.connect(t, b.key)
		wf := workflow(t, s, waiting)
		type ended struct {
			res *mcp.CallToolResult
			err error
		}
		got := make(chan ended, 1)
		go func() {
			res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "trigger_workflow", Arguments: values{"workflow_id": wf, "wait_seconds": 60}})
			got <- ended{res, err}
		}()
		require.Eventually(t, func() bool {
			runs, err := b.store.For(b.ws).Runs(t.Context(), store.RunFilter{}, store.Page{Limit: 1})
			return err == nil && len(runs) == 1
		}, 20*time.Second, 5*time.Millisecond)
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
		defer stop()
		require.NoError(t, b.api.Shutdown(ctx))
		end := <-got
		require.NoError(t, end.err)
		require.False(t, end.res.IsError)
		require.NotEqual(t, "completed", end.res.StructuredContent.(values)["status"])
	})
}
