package agents_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/agents"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

const platformKey = "tnx_abc12345_canary0123456789"

// platformPeer is a platform of which one agent's runs can be asked for.
type platformPeer struct {
	*connectorstest.Peer

	mu       sync.Mutex
	started  []string // keys
	statuses []string // what the next looks give; the last one stays
	answer   string   // what is told besides
}

func newPlatform(t *testing.T, statuses ...string) *platformPeer {
	t.Helper()
	p := &platformPeer{statuses: statuses}
	p.Peer = connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Header.Get("Authorization") != "Bearer "+platformKey:
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprintf(w, `{"detail":"no key %s"}`, r.Header.Get("Authorization"))
		case r.Method == http.MethodPost && r.URL.Path == "/api/v1/agents/email-sequence-generation/runs":
			key := r.Header.Get("Idempotency-Key")
			if !slices.Contains(p.started, key) {
				p.started = append(p.started, key)
			}
			w.WriteHeader(http.StatusAccepted)
			_, _ = fmt.Fprintf(w, `{"id":"arun-%d","status":"queued"}`, slices.Index(p.started, key)+1)
		case strings.HasSuffix(r.URL.Path, "/cancel"):
			p.statuses = []string{"cancelled"}
			w.WriteHeader(http.StatusNoContent)
		default:
			status := p.statuses[0]
			if len(p.statuses) > 1 {
				p.statuses = p.statuses[1:]
			}
			if status == "503" {
				w.Header().Set("Retry-After", "4")
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_, _ = fmt.Fprintf(w, `{"id":%q,"status":%q%s}`, r.URL.Path[len("/api/v1/agents/runs/"):], status, p.answer)
		}
	})
	return p
}

func platformRunner(t *testing.T, s *store.Store, p *platformPeer, sleep func(context.Context, time.Duration) error) (*agents.Runner, agents.Request) {
	t.Helper()
	ws := models.WorkspaceID(ids.New("ws"))
	outside, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	t.Cleanup(outside.CloseIdleConnections)
	r, err := agents.New(agents.Deps{
		Egress: outside, SleepFunc: sleep,
		OpenFunc: func(context.Context, models.WorkspaceID, string) (*connectors.Connection, error) {
			return &connectors.Connection{
				ID: "conn_1", Connector: "tenex", BaseURL: p.URL, Hosts: []string{strings.TrimPrefix(p.URL, "http://")},
				Auth: connectors.Auth{Type: connectors.AuthTenex}, Secrets: map[string]string{connectors.SecretAPIKey: platformKey},
			}, nil
		},
		LedgerFunc: func(ws models.WorkspaceID) agents.Ledger { return s.For(ws) },
	})
	require.NoError(t, err)
	return r, agents.Request{
		WorkspaceID: string(ws), RunID: "run_1", StepID: "nova", Attempt: 1, IdempotencyKey: "run_1:nova", Input: json.RawMessage(`{"segment_id":"s"}`),
	}
}

var nova = agents.Agent{Slug: "nova", Kind: agents.KindPlatform, Connection: "conn_1", Config: json.RawMessage(`{"agent":"email-sequence-generation"}`)}

func atOnce(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func TestAnAgentOfThePlatformIsFollowed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		var waits []time.Duration
		p := newPlatform(t, "running", "503", "approval_required", "completed")
		p.answer = `,"output":{"emails":[1,2]},"usage":{"input_tokens":10,"output_tokens":5,"cost":0.5}`
		r, req := platformRunner(t, s, p, func(ctx context.Context, d time.Duration) error {
			waits = append(waits, d)
			return ctx.Err()
		})
		got, err := r.Run(t.Context(), nova, req)
		require.NoError(t, err)
		require.JSONEq(t, `{"emails":[1,2]}`, string(got.Output))
		require.Equal(t, &connectors.Usage{InputTokens: 10, OutputTokens: 5, Cost: 0.5, Turns: 1}, got.Usage)
		require.JSONEq(t, `{"inputs":{"segment_id":"s"}}`, p.Received()[0].Body)
		require.Equal(t, "/api/v1/agents/runs/arun-1", p.Received()[1].Path)
		require.Contains(t, waits, 4*time.Second, "Retry-After is obeyed")
	})
}

func TestTheEndsOfAnAgentOfThePlatform(t *testing.T) {
	t.Parallel()
	for status, tc := range map[string]struct{ answer, code, message string }{
		"failed":    {`,"error":{"message":"no credits ` + platformKey + `"}`, "agent_failed", "the agent failed: no credits [redacted]"},
		"error":     {`,"error":"bad"`, "agent_failed", "the agent failed: bad"},
		"cancelled": {``, "agent_cancelled", "the agent was stopped on the platform: without a reason"},
		"rejected":  {`,"reason":"not good"`, "agent_cancelled", "the agent was stopped on the platform: not good"},
		"":          {``, "bad_response", "the platform did not say how far the run is"},
	} {
		p := newPlatform(t, status)
		p.answer = tc.answer
		r, req := platformRunner(t, storetest.SQLite(t), p, atOnce)
		_, err := r.Run(t.Context(), nova, req)
		require.Equal(t, tc.code, code(err), status)
		require.Equal(t, tc.message, err.Error())
	}
}

func TestAnotherAttemptFollowsTheSameRunOfThePlatform(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		p := newPlatform(t, "running")
		ctx, end := context.WithCancelCause(t.Context())
		looks := 0
		r, req := platformRunner(t, s, p, func(ctx context.Context, _ time.Duration) error {
			if looks++; looks == 3 {
				end(fmt.Errorf("stopping: %w", connectors.ErrHandedOver))
			}
			return ctx.Err()
		})
		_, err := r.Run(ctx, nova, req)
		require.Equal(t, "cancelled", code(err))
		require.NotContains(t, paths(p), "/api/v1/agents/runs/arun-1/cancel", "the work goes on")
		p.statuses = []string{"completed"}
		_, err = r.Run(t.Context(), nova, req)
		require.NoError(t, err)
		require.Equal(t, []string{"run_1:nova"}, p.started)
		require.Equal(t, 1, strings.Count(strings.Join(paths(p), " ")+" ", "/api/v1/agents/email-sequence-generation/runs "), "it was started once")
	})
}

func TestARunOfThePlatformThatNobodyWaitsForIsCancelled(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		p := newPlatform(t, "running")
		var patient atomic.Bool
		r, req := platformRunner(t, s, p, func(ctx context.Context, _ time.Duration) error {
			if !patient.Load() {
				<-ctx.Done()
			}
			return ctx.Err()
		})
		limited := nova
		limited.Config = json.RawMessage(`{"crew":"email-sequence-generation","timeout":"500ms"}`)
		_, err := r.Run(t.Context(), limited, req)
		require.Equal(t, "timeout", code(err))
		require.Contains(t, paths(p), "/api/v1/agents/runs/arun-1/cancel")
		p.mu.Lock()
		p.statuses = []string{"completed"}
		p.mu.Unlock()
		patient.Store(true)
		_, err = r.Run(t.Context(), limited, req)
		require.NoError(t, err)
		require.Equal(t, []string{"run_1:nova", "run_1:nova:series-1"}, p.started, "what was cancelled is begun anew")
	})
}

func paths(p *platformPeer) []string {
	var all []string
	for _, r := range p.Received() {
		all = append(all, r.Path)
	}
	return all
}
