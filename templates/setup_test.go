package templates_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/agents"
	"github.com/10ex/flows/api"
	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/connections"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/core"
	"github.com/10ex/flows/connectors/email"
	"github.com/10ex/flows/connectors/googlesheets"
	httpconnector "github.com/10ex/flows/connectors/http"
	"github.com/10ex/flows/connectors/slack"
	"github.com/10ex/flows/connectors/tenex"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/apikey"
	"github.com/10ex/flows/internal/broker"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/scheduler"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/tasks"
	"github.com/10ex/flows/worker"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// limit is how long a test waits for what must happen.
const limit = 60 * time.Second

// product is the whole product in one process, at a time that stands still until it
// is moved.
type product struct {
	store  *store.Store
	clock  *clock.Fake
	engine *engine.Engine
	bus    *bus.Bus
	api    *api.API
	sweep  *scheduler.Sweep
	events *scheduler.BusSweep
}

// Where the others are asked what they are asked most.
const (
	slackPost   = "/slack/chat.postMessage"
	sheetRead   = "/google_sheets/v4/spreadsheets/s1/values/Leads"
	sheetAppend = sheetRead + ":append"
)

type notifier struct{ *engine.Hub }

func (n notifier) Notify(_ context.Context, notices []engine.Notice) { n.Publish(notices) }

func newProduct(t *testing.T, s *store.Store) *product {
	t.Helper()
	// A Tuesday, half an hour before the digest.
	p := &product{store: s, clock: clock.NewFake(time.Date(2026, 12, 1, 7, 30, 0, 0, time.UTC))}
	log := testkit.Logger(t)
	b, err := broker.Open(broker.Config{Log: log})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	outside, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	t.Cleanup(outside.CloseIdleConnections)
	registry, err := connectors.NewRegistry(core.Connector{}, httpconnector.New(outside), slack.New(outside), googlesheets.New(outside),
		tenex.New(outside), email.New(outside, email.Config{}))
	require.NoError(t, err)
	runner, err := agents.New(agents.Deps{Egress: outside})
	require.NoError(t, err)
	accounts, err := connections.New(connections.Deps{
		Store: s, Connectors: connectors.NewCatalogue(registry, nil), Seal: ring(t), Egress: outside, Clock: p.clock, Log: log,
	})
	require.NoError(t, err)
	deliverer := worker.NewDeliverer(tasks.NewClient(b.Client(), log, tasks.ClientConfig{}), b, p.clock, log)
	t.Cleanup(deliverer.Close)
	hub := engine.NewHub()
	p.engine, err = engine.New(engine.Deps{
		Store: s, Clock: p.clock, Enqueuer: deliverer, Notifier: notifier{hub}, Catalogue: connectors.NewCatalogue(registry, nil), Log: log,
	}, engine.Config{})
	require.NoError(t, err)
	p.bus, err = bus.New(bus.Deps{Store: s, Engine: p.engine, Clock: p.clock, Jobs: deliverer, Egress: outside, Log: log}, bus.Config{})
	require.NoError(t, err)
	w, err := worker.New(worker.Deps{
		Engine: p.engine, Connectors: connectors.NewCatalogue(registry, nil), Agents: runner, Broker: b, Log: log,
		AgentFunc: func(ctx context.Context, ws models.WorkspaceID, slug string) (*models.Agent, error) {
			return s.For(ws).Agent(ctx, slug)
		},
		ConnectionFunc: accounts.Open,
		Jobs:           map[string]worker.JobFunc{tasks.TypeLookback: p.engine.LookBackJob}, Match: p.bus.Match,
	}, worker.Config{})
	require.NoError(t, err)
	p.api, err = api.New(api.Deps{
		Store: s, Engine: p.engine, Bus: p.bus, Hub: hub, Connectors: connectors.NewCatalogue(registry, nil), Agents: runner, Connections: accounts, Clock: p.clock, Log: log,
	}, api.Config{RateLimit: 1_000_000})
	require.NoError(t, err)
	p.sweep, p.events = scheduler.NewSweep(p.engine, log, nil, scheduler.SweepConfig{}), scheduler.NewBusSweep(p.bus, log, nil, scheduler.SweepConfig{})
	require.NoError(t, w.Start())
	deliverer.Attach(w)
	t.Cleanup(func() {
		deliverer.Attach(nil)
		ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
		defer stop()
		w.Stop(ctx)
		require.NoError(t, p.api.Shutdown(ctx))
		require.NoError(t, p.engine.Close(ctx))
	})
	return p
}

// ring is the keys that secrets are sealed with.
func ring(t *testing.T) *seal.Ring {
	t.Helper()
	r, err := seal.New(bytes.Repeat([]byte{7}, 32))
	require.NoError(t, err)
	return r
}

// request is what a peer was asked.
type request struct {
	key  string
	body map[string]any
}

// peers are the others: agents, Slack and sheets, each by the path of its address.
type peers struct {
	*httptest.Server

	mu      sync.Mutex
	answers map[string]string // by path; "503" and the like are failures
	got     map[string][]request
}

func newPeers(t *testing.T) *peers {
	t.Helper()
	p := &peers{answers: map[string]string{}, got: map[string][]request{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *peers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	var body map[string]any
	_ = json.Unmarshal(raw, &body)
	p.mu.Lock()
	answer := p.answers[r.URL.Path]
	p.got[r.URL.Path] = append(p.got[r.URL.Path], request{r.Header.Get("Idempotency-Key"), body})
	p.mu.Unlock()
	if len(answer) == 3 {
		status := 0
		_, _ = fmt.Sscan(answer, &status)
		w.WriteHeader(status)
		return
	}
	if answer == "" {
		answer = usual(r.URL.Path)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, answer)
}

// usual is what the others answer when all is well.
func usual(path string) string {
	switch path {
	case slackPost:
		return `{"ok":true,"channel":"C1","ts":"1.2"}`
	case sheetRead:
		return `{"range":"Leads!A1:F1000","values":[["lead_id","name","email","company","status","score"]]}`
	case sheetAppend:
		return `{"updates":{"updatedRange":"Leads!A2:F2","updatedRows":1,"updatedCells":6}}`
	}
	return `{"ok":true}`
}

// bench is a workspace with a workflow made of a template, and the others around it.
type bench struct {
	*product

	t        *testing.T
	ws       models.WorkspaceID
	key      string
	peers    *peers
	mail     *mailbox
	workflow string
	trigger  string
}

// install makes a workflow of a template in a workspace of its own, with all agents it
// names by default. {slack} and the like in inputs are connections to the others.
func (p *product) install(t *testing.T, slug, inputs string, answers map[string]string) *bench {
	t.Helper()
	b := &bench{product: p, t: t, ws: models.WorkspaceID(ids.New(models.WorkspacePrefix)), peers: newPeers(t), mail: newMailbox(t)}
	require.NoError(t, p.store.CreateWorkspace(t.Context(), &models.Workspace{ID: b.ws, Name: slug, CreatedAt: p.clock.Now()}))
	k := apikey.New()
	b.key = k.Full
	require.NoError(t, p.store.For(b.ws).CreateKey(t.Context(), &models.APIKey{
		ID: models.KeyID(ids.New(models.KeyPrefix)), Prefix: k.Prefix, Hash: k.Hash, Name: "test", Scopes: []models.Scope{models.ScopeAll}, CreatedAt: p.clock.Now(),
	}))
	maps.Copy(b.peers.answers, answers)
	tpl := b.ask("GET", "/templates/"+slug, "")
	requires, _ := tpl["requires"].(map[string]any)
	named, _ := requires["agents"].([]any)
	for _, agent := range named {
		b.ask("POST", "/agents", fmt.Sprintf(`{"slug":%q,"kind":"http","config":{"url":"%s/%s"}}`, agent, b.peers.URL, agent))
	}
	bearer := func(more string) string {
		return fmt.Sprintf(`"config":{"auth":{"type":"bearer"},%s},"secrets":{"token":"s3cret"}`, more)
	}
	for connector, draft := range map[string]string{
		"slack":         bearer(`"base_url":"` + b.peers.URL + `/slack","channel":"#sales"`),
		"google_sheets": bearer(`"base_url":"` + b.peers.URL + `/google_sheets"`),
		"tenex":         `"config":{"base_url":"` + b.peers.URL + `/tenex"},"secrets":{"api_key":"tnx_s3cret"}`,
		"email":         fmt.Sprintf(`"config":{"auth":{"type":"none"},"host":"127.0.0.1","port":%d,"security":"none","from":"Acme <hello@acme.example>"}`, b.mail.port()),
	} {
		if strings.Contains(inputs, "{"+connector+"}") {
			made := b.ask("POST", "/connections", fmt.Sprintf(`{"connector":%q,"name":%q,%s}`, connector, connector, draft))
			id, _ := made["id"].(string)
			inputs = strings.ReplaceAll(inputs, "{"+connector+"}", id)
		}
	}
	made := b.ask("POST", "/templates/"+slug+"/workflows", `{"inputs":`+inputs+`}`)
	b.workflow, _ = made["id"].(string)
	triggers, _ := made["triggers"].([]any)
	first, _ := triggers[0].(map[string]any)
	b.trigger, _ = first["id"].(string)
	return b
}

// ask makes a request that has to succeed.
func (b *bench) ask(method, path, body string) map[string]any {
	b.t.Helper()
	req := httptest.NewRequest(method, "/api/v1/flows"+path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+b.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", ids.New("test")) // ids then have the time of the clock
	}
	resp, err := b.api.App().Test(req, -1)
	require.NoError(b.t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	require.Less(b.t, resp.StatusCode, 300, "%s %s: %s", method, path, raw)
	var out map[string]any
	require.NoError(b.t, json.Unmarshal(raw, &out))
	return out
}

// event sends one and gives its id.
func (b *bench) event(typ, data string) string {
	b.t.Helper()
	id, _ := b.ask("POST", "/events", `{"type":"`+typ+`","data":`+data+`}`)["id"].(string)
	return id
}

// starts sends an event that has to start a run, and gives the run.
func (b *bench) starts(typ, data string) string {
	b.t.Helper()
	return b.runOf(b.event(typ, data))
}

func (b *bench) runOf(event string) (run string) {
	b.t.Helper()
	b.eventually("the event to be matched", func() bool {
		match := b.match(event)
		run, _ = match["run_id"].(string)
		return match != nil
	})
	require.NotEmpty(b.t, run, "%v", b.match(event))
	return run
}

func (b *bench) match(event string) map[string]any {
	b.t.Helper()
	matches, _ := b.ask("GET", "/events/"+event, "")["matches"].([]any)
	if len(matches) == 0 {
		return nil
	}
	match, _ := matches[0].(map[string]any)
	return match
}

// ignored sends an event that must start nothing, and tells why it did not.
func (b *bench) ignored(typ, data string) (reason string) {
	b.t.Helper()
	id := b.event(typ, data)
	b.eventually("the event to be matched", func() bool { return b.match(id) != nil })
	require.Equal(b.t, "ignored", b.match(id)["outcome"])
	reason, _ = b.match(id)["reason"].(string)
	return reason
}

func (b *bench) eventually(what string, is func() bool) {
	b.t.Helper()
	require.Eventually(b.t, is, limit, 10*time.Millisecond, what)
}

// ends waits for the end of a run and gives its output.
func (b *bench) ends(run, status string) map[string]any {
	b.t.Helper()
	var got map[string]any
	b.eventually("the run to end", func() bool {
		got = b.ask("GET", "/runs/"+run, "")
		return got["finished_at"] != nil
	})
	require.Equal(b.t, status, got["status"], "%v", got)
	out, _ := got["output"].(map[string]any)
	return out
}

// waits waits until nothing but waits is open in a run, at a step.
func (b *bench) waits(run, step string) {
	b.t.Helper()
	b.eventually("the run to wait at "+step, func() bool {
		why := b.ask("GET", "/runs/"+run+"/why", "")
		on, _ := why["waiting_on"].([]any)
		for _, one := range on {
			row, _ := one.(map[string]any)
			if row["step_id"] == step {
				return why["status"] == "waiting"
			}
		}
		return false
	})
}

// passes moves the time, and does what is due then.
func (b *bench) passes(d time.Duration) {
	b.t.Helper()
	b.clock.Advance(d)
	require.NoError(b.t, b.sweep.RunOnce(b.t.Context()))
	require.NoError(b.t, b.events.RunOnce(b.t.Context()))
}

// told gives what one of the others was asked, each step once.
func (b *bench) told(path string) []map[string]any {
	b.peers.mu.Lock()
	defer b.peers.mu.Unlock()
	seen := map[string]bool{}
	out := []map[string]any{}
	for _, r := range b.peers.got[path] {
		if !seen[r.key] {
			seen[r.key] = true
			out = append(out, r.body)
		}
	}
	return out
}

// answers makes one of the others answer in another way from now on.
func (b *bench) answers(path, answer string) {
	b.peers.mu.Lock()
	defer b.peers.mu.Unlock()
	b.peers.answers[path] = answer
}

// texts are what a channel of Slack was told; "" means all of them.
func (b *bench) texts(channel string) []string {
	out := []string{}
	for _, body := range b.told(slackPost) {
		if text, _ := body["text"].(string); channel == "" || body["channel"] == channel {
			out = append(out, text)
		}
	}
	return out
}
