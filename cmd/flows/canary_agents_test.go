package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// canaryAgent is a kind of agent that acts through an account.
type canaryAgent struct {
	account

	kind   string
	config func(mode string) map[string]any
}

func (d *canaryDrive) agents(t *testing.T) []canaryAgent {
	t.Helper()
	below := func(_ *testing.T, mode string) map[string]any {
		return map[string]any{"base_url": d.peer.url + "/" + mode}
	}
	of := func(name, connector, secret, auth, kind string, config func(string) map[string]any) canaryAgent {
		return canaryAgent{account: account{
			name: "agent-" + name, connector: connector, config: map[string]any{"auth": json.RawMessage(auth)}, secrets: []string{secret}, modes: d.modes(name), at: below,
		}, kind: kind, config: config}
	}
	model := func(stream bool) func(string) map[string]any {
		return func(string) map[string]any {
			return map[string]any{"model": "small", "instructions": "Echo.", "tools": []any{"core.set"}, "stream": stream}
		}
	}
	return []canaryAgent{
		of("openai", "openai", "token", `{"type":"bearer"}`, "llm", model(true)),
		of("openai-whole", "openai", "token", `{"type":"bearer"}`, "llm", model(false)),
		of("anthropic", "anthropic", "token", `{"type":"bearer"}`, "llm", model(true)),
		of("platform", "tenex", "api_key", `{"type":"10ex"}`, "platform", func(string) map[string]any { return map[string]any{"agent": "nova"} }),
		of("http", "http", "token", `{"type":"bearer"}`, "http", func(mode string) map[string]any {
			return map[string]any{"url": d.peer.url + "/" + mode + "/agent", "method": "POST"}
		}),
	}
}

// agent has an agent meet every mode, tried alone and in a flow.
func (d *canaryDrive) agent(t *testing.T, a canaryAgent) {
	t.Helper()
	var steps []canaryStep
	for i, mode := range a.modes {
		connection := d.connect(t, a.account, mode)
		slug := d.make(t, "/agents", map[string]any{
			"slug": fmt.Sprintf("%s-%d", a.name, i), "kind": a.kind, "connection": connection, "config": a.config(mode),
		})
		status, raw := d.see(t, "POST", "/agents/"+slug+"/test", `{"input":"hello"}`)
		require.Equal(t, http.StatusOK, status, string(raw))
		d.see(t, "GET", "/agents/"+slug, "")
		steps = append(steps, canaryStep{
			"id": fmt.Sprintf("a%d", i), "type": "agent", "agent": slug, "input": map[string]any{"say": "hello"}, "retry": map[string]any{"max_attempts": 1},
		})
	}
	require.Positive(t, d.flow(t, steps), "nothing came to a good end")
	for _, name := range a.secrets {
		require.Positive(t, d.peer.kinds()[a.name+"."+name], "%s was never used", name)
	}
}

// registrations lists accounts of connectors that are registered, one for each kind.
func (d *canaryDrive) registrations(t *testing.T) []account {
	t.Helper()
	var out []account
	for _, a := range d.accounts(t) {
		if a.name == "document" || a.name == "mcp" {
			a.name = "registered-" + a.name
			out = append(out, a)
		}
	}
	return out
}

// registered registers what a connection leads to in every mode, and does what came of
// it.
func (d *canaryDrive) registered(t *testing.T, a account) {
	t.Helper()
	var steps []canaryStep
	for i, mode := range a.modes {
		slug := fmt.Sprintf("%s-%d", a.name, i)
		draft := map[string]any{"slug": slug, "kind": a.connector, "connection": d.connect(t, a, mode)}
		maps.Copy(draft, a.at(t, mode))
		raw, err := json.Marshal(draft)
		require.NoError(t, err)
		status, answer := d.see(t, "POST", "/connectors", string(raw))
		if mode != "ok" {
			continue
		}
		require.Equal(t, http.StatusCreated, status, string(answer))
		status, answer = d.see(t, "GET", "/connectors/"+slug, "")
		require.Equal(t, http.StatusOK, status, string(answer))
		var shown struct {
			Actions []struct{ Name string } `json:"actions"`
		}
		require.NoError(t, json.Unmarshal(answer, &shown))
		require.NotEmpty(t, shown.Actions)
		status, answer = d.see(t, "POST", "/connectors/"+slug+"/refresh", "")
		require.Equal(t, http.StatusOK, status, string(answer))
		for n, action := range shown.Actions {
			d.see(t, "GET", "/connectors/"+slug+"/actions/"+action.Name, "")
			d.see(t, "POST", "/connectors/"+slug+"/actions/"+action.Name+"/test", `{"input":{}}`)
			steps = append(steps, canaryStep{
				"id": fmt.Sprintf("r%d", n), "type": "connector", "connector": slug, "action": action.Name, "input": map[string]any{}, "retry": map[string]any{"max_attempts": 1},
			})
		}
	}
	require.Positive(t, d.flow(t, steps), "nothing came to a good end")
	for _, name := range a.secrets {
		require.Positive(t, d.peer.kinds()[a.name+"."+name], "%s was never used", name)
	}
}

// withoutAccounts are connectors that act for nobody: they have no secrets.
var withoutAccounts = []string{"core", "flows"}

// requireEveryConnector makes sure that a connector that is added is driven, too.
func (d *canaryDrive) requireEveryConnector(t *testing.T) {
	t.Helper()
	_, raw := d.see(t, "GET", "/connectors?limit=200", "")
	var list struct{ Items []struct{ Slug, Kind string } }
	require.NoError(t, json.Unmarshal(raw, &list))
	driven := slices.Clone(withoutAccounts)
	for _, a := range d.accounts(t) {
		driven = append(driven, a.connector)
	}
	if !d.trusted {
		driven = append(driven, "email") // the drive of servers has it
	}
	for _, c := range list.Items {
		if c.Kind == "built_in" {
			require.Contains(t, driven, c.Slug)
		}
	}
	require.Greater(t, len(list.Items), len(withoutAccounts))
}
