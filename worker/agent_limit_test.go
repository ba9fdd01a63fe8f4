package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/agents"
	"github.com/10ex/flows/agents/llm"
	"github.com/10ex/flows/agents/llm/llmtest"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/limits"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
	"github.com/10ex/flows/tasks"
	"github.com/10ex/flows/worker"
)

// office is a bench with agents: a model and its tools, each behind a connection with
// limits of its own, and a server that is an agent itself.
type office struct {
	*bench
	vendor *llmtest.Vendor
	peer   *httptest.Server
	peerOf func(w http.ResponseWriter, r *http.Request)
	starts atomic.Int64 // what was POSTed to the peer

	used       chan string // who used which connection, and how it went
	deliveries int         // of steps that were run
}

func newOffice(t *testing.T, s *store.Store, conns map[string]connectors.Limits, workspace limits.Limit, script func(llmtest.Asked) llmtest.Reply) *office {
	t.Helper()
	require.NoError(t, s.CreateWorkspace(t.Context(), &models.Workspace{ID: "ws_1", Name: "Acme", CreatedAt: time.Now().UTC()}))
	o := &office{vendor: llmtest.New(t, script), used: make(chan string, 100)}
	o.peer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			o.starts.Add(1)
		}
		o.peerOf(w, r)
	}))
	t.Cleanup(o.peer.Close)
	at := map[string]string{"conn_models": o.vendor.URL + "/v1", "conn_tool": "", "conn_peer": o.peer.URL, "conn_platform": o.peer.URL}
	of := map[string]string{"conn_models": llm.SlugOpenAI, "conn_tool": "test", "conn_peer": "http", "conn_platform": "tenex"}
	open := func(_ context.Context, _ models.WorkspaceID, id string) (*connectors.Connection, error) {
		if of[id] == "" {
			return nil, models.ErrNotFound
		}
		return &connectors.Connection{
			ID: id, Connector: of[id], BaseURL: at[id], Hosts: []string{strings.TrimPrefix(strings.TrimSuffix(at[id], "/v1"), "http://")}, Limits: conns[id],
			Auth: connectors.Auth{Type: connectors.AuthBearer}, Secrets: map[string]string{connectors.SecretToken: llmtest.Key},
		}, nil
	}
	l := limits.New(limits.Config{})
	t.Cleanup(l.Close)
	outside, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	t.Cleanup(outside.CloseIdleConnections)
	o.bench = newBenchWith(t, "", worker.Config{WorkspaceLimit: workspace}, func(d *worker.Deps) {
		d.Limits, d.ConnectionFunc = l, open
		d.UsedFunc = func(_ context.Context, ws models.WorkspaceID, c *connectors.Connection, err error) {
			o.used <- fmt.Sprint(ws, " ", c.ID, " ", err == nil, " ", err != nil && connectors.AsError(err).Unauthorized)
		}
		d.Agents, err = agents.New(agents.Deps{
			Egress: outside, Tools: d.Connectors, OpenFunc: open,
			PeekFunc:   func(_ context.Context, _ models.WorkspaceID, id string) (string, error) { return of[id], nil },
			LedgerFunc: func(ws models.WorkspaceID) agents.Ledger { return s.For(ws) },
			SleepFunc:  func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		})
		require.NoError(t, err)
	})
	o.agents["clerk"] = &models.Agent{Slug: "clerk", Kind: agents.KindLLM, Connection: "conn_models", Config: json.RawMessage(
		`{"model":"gpt-4o-mini","tools":[{"action":"test.keyed","name":"note","connection":"conn_tool"}]}`)}
	o.agents["remote"] = &models.Agent{Slug: "remote", Kind: agents.KindHTTP, Connection: "conn_peer", Config: fmt.Appendf(nil, `{"url":%q}`, o.peer.URL+"/work")}
	o.agents["platform"] = &models.Agent{Slug: "platform", Kind: agents.KindPlatform, Connection: "conn_platform", Config: json.RawMessage(`{"agent":"writer"}`)}
	require.NoError(t, o.worker.Start())
	return o
}

// run has an agent's step done; heldBy is why it was put back before.
func (o *office) run(t *testing.T, step, agent, heldBy string) {
	t.Helper()
	w := o.engine.add(step, "", `"go"`)
	w.Step.Type, w.Step.Connector, w.Step.Agent, w.HeldBy = models.StepTypeAgent, "", agent, heldBy
	one := task(step)
	one.Delivery = o.deliveries
	o.deliveries++
	o.client.Enqueue(t.Context(), []tasks.Entry{{Step: one}})
}

func (o *office) finished(t *testing.T, step string) engine.FinishRequest {
	t.Helper()
	got := receive(t, o.engine.finished)
	require.Equal(t, step, got.Lease.Ref.Step)
	return got
}

func (o *office) held(t *testing.T, step, why string, after time.Duration) string {
	t.Helper()
	got := receive(t, o.engine.putBack)
	require.Equal(t, step, got.step)
	require.Equal(t, why, got.why)
	require.InDelta(t, after, got.after, float64(time.Minute))
	return got.why
}

// noteTwice uses its tool in two turns, and answers in the third.
func noteTwice(a llmtest.Asked) llmtest.Reply {
	if a.Turn < 3 {
		return llmtest.Reply{Calls: []llmtest.Call{{Name: "note", Arguments: fmt.Sprintf(`{"value":%d}`, a.Turn)}}, Input: 10, Output: 1}
	}
	return llmtest.Reply{Text: "done", Input: 10, Output: 1}
}

func TestAnAgentWaitsForItsModelWithoutPayingTwice(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		o := newOffice(t, s, map[string]connectors.Limits{"conn_models": {Count: 2, Per: 2 * time.Hour}}, limits.Limit{Count: 1, Per: 24 * time.Hour}, noteTwice)
		o.run(t, "a", "clerk", "")
		why := o.held(t, "a", "connection conn_models allows 2 in 2h0m0s", time.Hour)
		require.Equal(t, []int{1, 2}, o.vendor.Turns())
		require.Len(t, o.connector.keys(), 2)

		o.run(t, "a", "clerk", why)
		got := o.finished(t, "a")
		require.Nil(t, got.Error)
		require.JSONEq(t, `{"text":"done"}`, string(got.Output))
		require.Contains(t, string(got.Usage), `"turns":3`)
		require.Equal(t, []int{1, 2, 3}, o.vendor.Turns(), "no turn was paid for twice")
		require.Equal(t, []string{"run_1:a:turn-1:call-0", "run_1:a:turn-2:call-0"}, o.connector.keys(), "no tool was used twice")
		// Its workspace counted one beginning.
		o.run(t, "b", "clerk", "")
		o.held(t, "b", "its workspace allows 1 in 24h0m0s", 24*time.Hour)
	})
}

func TestAnAgentWaitsForItsTools(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		o := newOffice(t, s, map[string]connectors.Limits{"conn_tool": {Count: 1, Per: time.Hour}}, limits.Limit{}, noteTwice)
		o.run(t, "a", "clerk", "")
		why := o.held(t, "a", "connection conn_tool allows 1 in 1h0m0s", time.Hour)
		require.Equal(t, []int{1, 2}, o.vendor.Turns())
		o.run(t, "a", "clerk", why)
		require.Nil(t, o.finished(t, "a").Error)
		require.Equal(t, []int{1, 2, 3}, o.vendor.Turns())
		require.Len(t, o.connector.keys(), 2)
		// The one turn that was kept is used up.
		o.run(t, "b", "clerk", "")
		o.held(t, "b", "connection conn_tool allows 1 in 1h0m0s", 2*time.Hour)
	})
}

func TestStepsAndAgentsShareAConnection(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite(t), map[string]connectors.Limits{"conn_tool": {Concurrency: 1}}, limits.Limit{}, noteTwice)
	o.use(t, "step", "block", "conn_tool", "")
	receive(t, o.connector.started)
	o.run(t, "a", "clerk", "")
	held := receive(t, o.engine.putBack)
	require.Equal(t, "connection conn_tool allows 1 at once", held.why)
	o.connector.release <- struct{}{}
	o.finished(t, "step")
	o.run(t, "a", "clerk", held.why)
	require.Nil(t, o.finished(t, "a").Error)
	require.Equal(t, []int{1, 2, 3}, o.vendor.Turns())
}

func TestATurnIsKeptWhileTheWorkspaceIsFull(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite(t), map[string]connectors.Limits{"conn_models": {Count: 2, Per: 2 * time.Hour}}, limits.Limit{Concurrency: 1}, noteTwice)
	o.run(t, "a", "clerk", "")
	why := o.held(t, "a", "connection conn_models allows 2 in 2h0m0s", time.Hour)
	o.use(t, "other", "block", "", "")
	receive(t, o.connector.started)
	o.run(t, "a", "clerk", why)
	held := receive(t, o.engine.putBack)
	require.Equal(t, "its workspace allows 1 at once (then connection conn_models allows 2 in 2h0m0s)", held.why)
	o.run(t, "a", "clerk", held.why)
	again := receive(t, o.engine.putBack)
	require.Equal(t, held.why, again.why)
	o.connector.release <- struct{}{}
	o.finished(t, "other")
	o.run(t, "a", "clerk", held.why)
	require.Nil(t, o.finished(t, "a").Error)
}

func TestEverybodyLeavesAModelAloneThatAsksForIt(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		var asked atomic.Bool
		o := newOffice(t, s, nil, limits.Limit{}, func(a llmtest.Asked) llmtest.Reply {
			if a.Turn == 2 && asked.CompareAndSwap(false, true) {
				return llmtest.Reply{Status: http.StatusTooManyRequests, RetryAfter: "3600", Failure: "slow down"}
			}
			return noteTwice(a)
		})
		o.run(t, "a", "clerk", "")
		got := o.finished(t, "a")
		require.Equal(t, "http_429", got.Error.Code)
		require.Equal(t, time.Hour, got.RetryAfter)
		o.run(t, "b", "clerk", "")
		o.held(t, "b", "connection conn_models asked to be left alone for a while", time.Hour)
		require.Equal(t, []int{1, 2}, o.vendor.Turns())
		o.use(t, "tool", "echo", "conn_tool", "")
		o.finished(t, "tool") // is no part of it
	})
}

func TestEverybodyLeavesAToolAloneThatAsksForIt(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite(t), nil, limits.Limit{}, noteTwice)
	o.connector.fails(connectors.RetryAfter(time.Hour, &connectors.Error{Code: "http_429", Message: "slow down", Status: 429, Retryable: true}))
	o.run(t, "a", "clerk", "")
	require.Equal(t, "http_429", o.finished(t, "a").Error.Code)
	o.use(t, "step", "echo", "conn_tool", "")
	o.held(t, "step", "its connection asked to be left alone for a while", time.Hour)
	o.connector.fails(nil)
	o.run(t, "b", "clerk", "")
	o.held(t, "b", "connection conn_tool asked to be left alone for a while", time.Hour)
}

func TestAgentsElsewhereKeepToTheLimitsOfTheirConnections(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		one := connectors.Limits{Count: 1, Per: time.Hour}
		o := newOffice(t, s, map[string]connectors.Limits{"conn_peer": one, "conn_platform": one}, limits.Limit{}, noteTwice)
		o.peerOf = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"id":"r1","status":"completed"}`))
		}
		for agent, conn := range map[string]string{"remote": "conn_peer", "platform": "conn_platform"} {
			before := o.starts.Load()
			o.run(t, "first "+agent, agent, "")
			require.Nil(t, o.finished(t, "first "+agent).Error)
			o.run(t, "second "+agent, agent, "")
			why := o.held(t, "second "+agent, "connection "+conn+" allows 1 in 1h0m0s", time.Hour)
			require.Equal(t, before+1, o.starts.Load())
			o.run(t, "second "+agent, agent, why)
			require.Nil(t, o.finished(t, "second "+agent).Error)
			require.Equal(t, before+2, o.starts.Load())
		}
	})
}

// A platform that answers a look with 429 is left alone by others, while the one that
// looked goes on; and what has been begun there is no further beginning.
func TestAnAgentElsewhereThatIsFollowedTeachesTheLimit(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite(t), map[string]connectors.Limits{"conn_platform": {Count: 2, Per: 2 * time.Hour}}, limits.Limit{}, noteTwice)
	var looks atomic.Int64
	o.peerOf = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == http.MethodPost:
			_, _ = w.Write([]byte(`{"id":"r1","status":"queued"}`))
		case looks.Add(1) == 1:
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		case looks.Load() == 2:
			w.WriteHeader(http.StatusForbidden)
		default:
			_, _ = w.Write([]byte(`{"id":"r1","status":"completed"}`))
		}
	}
	o.run(t, "a", "platform", "")
	require.Equal(t, "http_403", o.finished(t, "a").Error.Code)
	o.run(t, "b", "platform", "")
	o.held(t, "b", "connection conn_platform asked to be left alone for a while", time.Hour)
	require.Equal(t, int64(1), o.starts.Load())
}

func TestItIsToldHowConnectionsAreUsed(t *testing.T) {
	t.Parallel()
	o := newOffice(t, storetest.SQLite(t), nil, limits.Limit{}, func(a llmtest.Asked) llmtest.Reply {
		if a.Turn == 2 {
			return llmtest.Reply{Status: http.StatusUnauthorized, Failure: "no"}
		}
		return noteTwice(a)
	})
	o.run(t, "a", "clerk", "")
	require.Equal(t, "http_401", o.finished(t, "a").Error.Code)
	for _, use := range []string{"conn_models true false", "conn_tool true false", "conn_models false true"} {
		require.Equal(t, "ws_1 "+use, receive(t, o.used))
	}
	o.use(t, "b", "fail", "conn_tool", "")
	o.finished(t, "b")
	require.Equal(t, "ws_1 conn_tool false false", receive(t, o.used))
	o.use(t, "c", "echo", "", "")
	o.finished(t, "c")
	require.Empty(t, o.used, "none was used")
}

// An agent elsewhere goes on when this worker has lost its step to another, who follows
// it from there. Only when nobody does is it stopped.
func TestAnAgentElsewhereIsStoppedOnlyWithItsStep(t *testing.T) {
	t.Parallel()
	for name, cancelled := range map[string]bool{"another worker has the step": false, "the step was cancelled": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				o := newOffice(t, s, nil, limits.Limit{}, noteTwice)
				looked, stopped := make(chan struct{}, 1000), make(chan struct{}, 10)
				var done atomic.Bool
				o.peerOf = func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					switch {
					case strings.HasSuffix(r.URL.Path, "/cancel"):
						stopped <- struct{}{}
						_, _ = w.Write([]byte(`{"id":"r1","status":"cancelled"}`))
					case r.Method == http.MethodPost:
						_, _ = w.Write([]byte(`{"id":"r1","status":"queued"}`))
					case done.Load():
						_, _ = w.Write([]byte(`{"id":"r1","status":"completed","output":{"ok":true}}`))
					default:
						select {
						case looked <- struct{}{}:
							_, _ = w.Write([]byte(`{"id":"r1","status":"running"}`))
						case <-r.Context().Done():
						}
					}
				}
				w := o.engine.add("a", "", `"go"`)
				w.Step.Type, w.Step.Connector, w.Step.Agent = models.StepTypeAgent, "", "platform"
				o.client.Enqueue(t.Context(), []tasks.Entry{{Step: task("a")}})
				receive(t, looked)
				o.engine.mu.Lock()
				o.engine.lost[w.Token], o.engine.cancelled[w.Token] = true, cancelled
				o.engine.mu.Unlock()
				require.NoError(t, o.worker.Beat(t.Context()))
				if cancelled {
					receive(t, stopped)
					return
				}
				done.Store(true)
				o.deliveries++
				require.Eventually(t, func() bool {
					for len(o.engine.beats) > 0 {
						<-o.engine.beats
					}
					require.NoError(t, o.worker.Beat(t.Context()))
					return len(o.engine.beats) == 0 // with nothing to tell of, this worker is through with it
				}, limit, time.Millisecond)
				require.Empty(t, stopped)
				o.run(t, "a", "platform", "")
				require.JSONEq(t, `{"ok":true}`, string(o.finished(t, "a").Output))
				require.Equal(t, int64(1), o.starts.Load(), "the one that was started is found")
			})
		})
	}
}
