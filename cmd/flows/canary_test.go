package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
)

// TestNoSecretShowsAnywhere drives secrets through every connector, every kind of agent
// and all that a peer may do with what it is sent, and looks for them in all that is
// shown, sent, logged and stored.
func TestNoSecretShowsAnywhere(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		driveEmbedded(t)
	})
	if testkit.HavePostgres() && testkit.HaveRedis() {
		t.Run("servers", func(t *testing.T) {
			t.Parallel()
			driveServers(t)
		})
	}
}

// canaryDrive is the whole product under test, and what is around it.
type canaryDrive struct {
	sweep *sweep
	peer  *echoes
	mail  *mailEchoes
	url   string
	key   string
	known map[string]bool // secrets that no peer is sent
	// trusted: the product believes the certificate of the mail server. Programs are told
	// to when they start; this process was not.
	trusted bool
}

func newCanaryDrive(t *testing.T) (d *canaryDrive, env []string) {
	t.Helper()
	s := newSweep()
	d = &canaryDrive{sweep: s, peer: newEchoes(t, s), known: map[string]bool{}}
	cert, trust := authority(t)
	d.mail = &mailEchoes{echoes: d.peer, cert: cert}
	traces := newTraceSink(t, s)
	return d, []string{
		trust, "FLOWS_LOG_LEVEL=debug", "FLOWS_RATE_LIMIT=1000000", "FLOWS_ALLOW_PRIVATE_NETWORKS=true",
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + traces, "OTEL_EXPORTER_OTLP_COMPRESSION=none", "OTEL_BSP_SCHEDULE_DELAY=100",
	}
}

// see asks the API, looks through the whole answer, and gives it.
func (d *canaryDrive) see(t *testing.T, method, path, body string, headers ...string) (int, []byte) {
	t.Helper()
	if !strings.HasPrefix(path, "/mcp") && !strings.HasPrefix(path, "/metrics") {
		path = apiRoot + path
	}
	req, err := http.NewRequestWithContext(t.Context(), method, d.url+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+d.key)
	req.Header.Set("X-Request-Id", control)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := new(http.Client).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	place := "answers"
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		place = "streams"
	}
	d.sweep.look(t, place, method+" "+path, fmt.Sprint(resp.Header, "\n", string(raw)))
	require.NotEqual(t, http.StatusInternalServerError, resp.StatusCode, string(raw))
	return resp.StatusCode, raw
}

// make makes something and gives its id.
func (d *canaryDrive) make(t *testing.T, path string, body any) string {
	t.Helper()
	raw, err := json.Marshal(body)
	require.NoError(t, err)
	status, answer := d.see(t, "POST", path, string(raw))
	require.Equal(t, http.StatusCreated, status, string(answer))
	var made struct{ ID, Slug string }
	require.NoError(t, json.Unmarshal(answer, &made))
	if made.ID == "" {
		return made.Slug
	}
	return made.ID
}

// canaryStep is one step of a flow that is driven.
type canaryStep map[string]any

// flow runs steps beside each other, each with what follows its success and what follows
// its failure, and looks at everything that is shown of the run. It tells how many of
// the steps did well.
func (d *canaryDrive) flow(t *testing.T, steps []canaryStep) (good int) {
	t.Helper()
	var all, edges []any
	for _, s := range steps {
		id := s["id"].(string)
		set := func(name, what string) {
			all = append(all, map[string]any{"id": id + name, "type": "connector", "connector": "core", "action": "set", "input": map[string]any{"got": "{{ steps." + id + "." + what + " }}"}})
		}
		all = append(all, s)
		set("-then", "output")
		set("-else", "error")
		edges = append(edges, map[string]any{"from": id, "to": id + "-then"}, map[string]any{"from": id, "to": id + "-else", "on": "error"})
	}
	run := d.run(t, map[string]any{"steps": all, "edges": edges})
	_, raw := d.see(t, "GET", "/runs/"+run+"/steps", "")
	var trace struct {
		Items []struct{ ID, Type, Status string }
	}
	require.NoError(t, json.Unmarshal(raw, &trace))
	require.Len(t, trace.Items, len(all), string(raw))
	for _, item := range trace.Items {
		if !strings.Contains(item.ID, "-then") && !strings.Contains(item.ID, "-else") && item.Status == "completed" {
			good++
		}
	}
	return good
}

// run runs a graph, follows it, and looks at all that is shown of it afterwards.
func (d *canaryDrive) run(t *testing.T, graph any) (id string) {
	t.Helper()
	workflow := d.make(t, "/workflows", map[string]any{"name": "canary", "graph": graph})
	status, raw := d.see(t, "POST", "/workflows/"+workflow+"/trigger", `{"payload":{"who":"`+control+`"}}`, "Accept", "text/event-stream")
	require.Equal(t, http.StatusOK, status, string(raw))
	require.Regexp(t, `event: run\.(completed|failed)`, string(raw))
	status, raw = d.see(t, "GET", "/runs?workflow_id="+workflow, "")
	require.Equal(t, http.StatusOK, status)
	var list struct{ Items []struct{ ID string } }
	require.NoError(t, json.Unmarshal(raw, &list))
	require.Len(t, list.Items, 1)
	id = list.Items[0].ID
	for _, of := range []string{"", "/steps", "/events?limit=200", "/why", "/stream"} {
		status, raw := d.see(t, "GET", "/runs/"+id+of, "")
		require.Equal(t, http.StatusOK, status, string(raw))
	}
	for _, name := range []string{"get_run", "get_run_trace"} {
		d.tool(t, name, map[string]any{"run_id": id})
	}
	return id
}

// tool calls a tool and looks through all that it gives.
func (d *canaryDrive) tool(t *testing.T, name string, arguments any) []byte {
	t.Helper()
	message, err := json.Marshal(map[string]any{
		"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": map[string]any{"name": name, "arguments": arguments},
	})
	require.NoError(t, err)
	status, raw := d.see(t, "POST", "/mcp", string(message), "Accept", "application/json, text/event-stream")
	require.Equal(t, http.StatusOK, status, string(raw))
	require.NotContains(t, string(raw), `"jsonrpc":"2.0","id":1,"error"`)
	return raw
}

// tools does by tools what is done with an account besides.
func (d *canaryDrive) tools(t *testing.T, a account, connection string, use canaryUse) {
	t.Helper()
	id := map[string]any{"connection_id": connection}
	require.NotContains(t, string(d.tool(t, "create_connection", a.draft(t, a.modes[0], "by a tool"))), "isError")
	require.Contains(t, string(d.tool(t, "get_connection", id)), connection)
	d.tool(t, "test_connection", id)
	d.tool(t, "update_connection", map[string]any{"connection_id": connection, "config": map[string]any{"base_url": "https://evil.example"}})
	d.tool(t, "test_connector_action", map[string]any{
		"connector_slug": a.connector, "action": use.action, "input": json.RawMessage(use.input), "connection": connection,
	})
}

// drive does all there is to do.
func (d *canaryDrive) drive(t *testing.T) {
	t.Helper()
	status, raw := d.see(t, "POST", "/triggers", `{"type":"event","event_type":"flow.*","target_type":"webhook","url":"`+d.peer.url+`/hook"}`)
	require.Equal(t, http.StatusCreated, status, string(raw))
	// What is planted goes everywhere: the name of a step, its output, and the run's.
	d.run(t, map[string]any{"steps": []any{map[string]any{
		"id": control, "type": "connector", "connector": "core", "action": "set", "input": map[string]any{"who": "{{ payload.who }}"},
	}}})
	t.Run("accounts", func(t *testing.T) {
		for _, a := range d.accounts(t) {
			t.Run(a.name, func(t *testing.T) {
				t.Parallel()
				d.account(t, a)
			})
		}
		for _, a := range d.agents(t) {
			t.Run("agent-"+a.name, func(t *testing.T) {
				t.Parallel()
				d.agent(t, a)
			})
		}
		for _, a := range d.registrations(t) {
			t.Run("registered-"+a.name, func(t *testing.T) {
				t.Parallel()
				d.registered(t, a)
			})
		}
	})
	d.requireEveryConnector(t)
	require.Positive(t, d.peer.kinds()["oauth-good.access"], "a token that a server gave was never used")
	for _, path := range []string{"/connections?limit=200", "/runs?limit=200", "/events?limit=200", "/connectors?limit=200", "/agents?limit=200", "/workflows?limit=200"} {
		d.see(t, "GET", path, "")
	}
	for _, list := range []string{"list_connections", "list_runs", "list_events", "list_connectors", "list_agents", "list_workflows", "get_budgets"} {
		d.tool(t, list, nil)
	}
	d.see(t, "GET", "/metrics", "")
}

// account is a connection of a connector, with secrets of its own.
type account struct {
	name      string // part of each of its secrets
	connector string
	config    map[string]any
	secrets   []string // their names
	actions   []canaryUse
	modes     []string
	// at is where the connection leads in a mode, as a part of its config.
	at func(t *testing.T, mode string) map[string]any
}

// canaryUse is an action with an input.
type canaryUse struct{ action, input string }

func (a account) secretsOf() map[string]string {
	out := map[string]string{}
	for _, name := range a.secrets {
		out[name] = canaryOf(a.name + "." + name)
	}
	return out
}

// draft is a connection of an account that meets a mode.
func (a account) draft(t *testing.T, mode, name string) map[string]any {
	t.Helper()
	config := map[string]any{}
	maps.Copy(config, a.config)
	maps.Copy(config, a.at(t, mode))
	return map[string]any{"connector": a.connector, "name": a.name + " " + name, "config": config, "secrets": a.secretsOf()}
}

// connect makes the connection of an account that meets a mode.
func (d *canaryDrive) connect(t *testing.T, a account, mode string) string {
	t.Helper()
	return d.make(t, "/connections", a.draft(t, mode, mode))
}

// account has every mode meet the account, and every action the usual ones.
func (d *canaryDrive) account(t *testing.T, a account) {
	var steps []canaryStep
	add := func(connection string, use canaryUse) {
		steps = append(steps, canaryStep{
			"id": fmt.Sprintf("s%d", len(steps)), "type": "connector", "connector": a.connector, "action": use.action, "connection": connection, "input": json.RawMessage(use.input),
			"retry": map[string]any{"max_attempts": 1},
		})
		status, raw := d.see(t, "POST", "/connectors/"+a.connector+"/actions/"+use.action+"/test", `{"input":`+use.input+`,"connection":"`+connection+`"}`)
		require.Equal(t, http.StatusOK, status, string(raw))
	}
	for i, mode := range a.modes {
		connection := d.connect(t, a, mode)
		d.see(t, "POST", "/connections/"+connection+"/test", "")
		d.see(t, "GET", "/connections/"+connection, "")
		if i == 0 {
			for _, use := range a.actions {
				add(connection, use)
			}
			d.tools(t, a, connection, a.actions[0])
			d.see(t, "PATCH", "/connections/"+connection, `{"config":{"base_url":"https://evil.example"}}`)
			d.see(t, "PATCH", "/connections/"+connection, `{"name":"`+a.name+` again"}`)
			continue
		}
		use := a.actions[i%len(a.actions)]
		add(connection, use)
		if mode == "429-after" || mode == "cut" { // and once more
			steps[len(steps)-1]["retry"] = map[string]any{"max_attempts": 2, "initial": "1ms"}
		}
	}
	good := d.flow(t, steps)
	require.Positive(t, good, "nothing came to a good end")
	// A run that fails, which is an event as well.
	last := steps[len(steps)-1]
	d.run(t, map[string]any{"steps": []any{last}})
	heard := d.peer.kinds()
	for _, name := range a.secrets {
		require.Positive(t, heard[a.name+"."+name], "%s was never used", name)
	}
	t.Logf("%d of %d steps did well", good, len(steps))
}

// driveEmbedded has everything in this process, where what it keeps in memory can be
// looked at.
func driveEmbedded(t *testing.T) {
	d, env := newCanaryDrive(t)
	dir := t.TempDir()
	log := newOutput()
	p := &program{env: environmentOf(env), stdin: strings.NewReader(""), stdout: io.Discard, stderr: log}
	cfg, err := p.config()
	require.NoError(t, err)
	data, err := openDataDir(dir, false)
	require.NoError(t, err)
	defer data.close()
	cfg.DatabaseURL, cfg.HTTPAddr = "sqlite:"+data.file("flows.db"), "127.0.0.1:0"
	cfg.EncryptionKey, err = data.encryptionKey()
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	a, err := newApp(ctx, cfg, roles{command: "dev", api: true, worker: true, scheduler: true, migrate: true}, p.logger(cfg))
	require.NoError(t, err)
	key, err := data.key(ctx, a.store)
	require.NoError(t, err)
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- a.run(ctx, func(url string) error { ready <- url; return nil }) }()
	d.url, d.key = <-ready, key.Key
	d.sweep.alsoFind(key.Key[strings.LastIndex(key.Key, "_")+1:])

	end := watchRedis(t, d.sweep, a.broker.Client())
	d.drive(t)
	end()
	stop()
	require.NoError(t, <-ended)
	d.sweep.look(t, "the log", "all of it", log.String())
	for _, name := range databaseFiles {
		if raw, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			d.sweep.look(t, "the files", name, string(raw))
		}
	}
	sweepSQLite(t, d.sweep, filepath.Join(dir, "flows.db"))
	d.sweep.requireControls(t, "answers", "streams", "webhooks", "traces", "Redis", "the log", "the files", "the database")
}

func environmentOf(vars []string) environment {
	set := map[string]string{}
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		set[name] = value
	}
	return environment{lookup: func(name string) (string, bool) { v, ok := set[name]; return v, ok }, readFile: os.ReadFile}
}

// driveServers has a process for each role, on PostgreSQL and Redis.
func driveServers(t *testing.T) {
	d, more := newCanaryDrive(t)
	d.trusted = true
	env, redisURL := servers(t)
	env = append(env, more...)
	d.key = installed(t, env)
	d.sweep.alsoFind(d.key[strings.LastIndex(d.key, "_")+1:])
	listened, wire := newRedisWire(t, d.sweep, redisURL)
	for i, v := range env {
		if strings.HasPrefix(v, "FLOWS_REDIS_URL=") {
			env[i] = "FLOWS_REDIS_URL=" + listened
		}
	}
	api, address := serving(t, env, "api")
	worker, _ := serving(t, env, "worker")
	scheduler, _ := serving(t, env, "scheduler")
	d.url = address
	opt, err := redis.ParseURL(redisURL)
	require.NoError(t, err)
	rdb := redis.NewClient(opt)
	t.Cleanup(func() { require.NoError(t, rdb.Close()) })

	end := watchRedis(t, d.sweep, rdb)
	d.drive(t)
	end()
	for name, p := range map[string]*process{"api": api, "worker": worker, "scheduler": scheduler} {
		require.Zero(t, p.stop())
		d.sweep.look(t, "the log", name, p.stdout.String()+p.stderr.String())
	}
	wire()
	sweepPostgres(t, d.sweep, strings.TrimPrefix(env[0], "FLOWS_DATABASE_URL="))
	d.sweep.requireControls(t, "answers", "streams", "webhooks", "traces", "Redis", "what goes to Redis", "the log", "the database")
}
