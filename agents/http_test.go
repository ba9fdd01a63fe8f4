package agents_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/agents"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/internal/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bundle is a runner whose waits take no time and are written down.
type bundle struct {
	runner *agents.Runner

	mu    sync.Mutex
	slept []time.Duration
	// onSleep, if set, is called in place of each wait.
	onSleep func(ctx context.Context) error
}

func setup(t *testing.T) *bundle {
	t.Helper()
	client, err := egress.New(egress.Config{AllowPrivate: true, MaxBody: 10_000})
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	b := &bundle{}
	b.runner, err = agents.New(agents.Deps{Egress: client, SleepFunc: func(ctx context.Context, d time.Duration) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.slept = append(b.slept, d)
		if b.onSleep != nil {
			return b.onSleep(ctx)
		}
		return ctx.Err()
	}})
	require.NoError(t, err)
	return b
}

func agent(url string, extra ...string) agents.Agent {
	config := fmt.Sprintf(`{"url":%q%s}`, url, strings.Join(extra, ""))
	return agents.Agent{Slug: "prospector", Name: "Prospector", Kind: "http", Config: json.RawMessage(config)}
}

func request(input string) agents.Request {
	return agents.Request{Input: json.RawMessage(input), IdempotencyKey: "run_1:enrich", RunID: "run_1", StepID: "enrich", Attempt: 1}
}

// script answers the requests one after the other; the last answer repeats.
func script(t *testing.T, answers ...http.HandlerFunc) *connectorstest.Peer {
	t.Helper()
	var mu sync.Mutex
	return connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		answer := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		mu.Unlock()
		answer(w, r)
	})
}

func done(output string) http.HandlerFunc { return reply(http.StatusOK, output) }

func reply(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func accepted(location string, header ...string) http.HandlerFunc {
	if location != "" {
		header = append(header, "Location", location)
	}
	return reply(http.StatusAccepted, "", header...)
}

func requireCode(t *testing.T, err error, code string, retryable bool) *connectors.Error {
	t.Helper()
	var e *connectors.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code, e.Message)
	require.Equal(t, retryable, e.Retryable)
	return e
}

func TestTheAnswerIsTheOutput(t *testing.T) {
	t.Parallel()
	peer := script(t, done(`{"score": 92, "id": 10000000000000001, "note": "a\u0000"}`))
	b := setup(t)
	began := false
	req := request(`{"lead_id":"l1"}`)
	req.BeforeEffect = func(context.Context) error {
		began = true
		require.Empty(t, peer.Received())
		return nil
	}
	resp, err := b.runner.Run(t.Context(), agent(peer.URL+"/run", `,"headers":{"Authorization":"Bearer k","Idempotency-Key":"fixed"}`), req)
	require.NoError(t, err)
	require.Contains(t, string(resp.Output), `"id":10000000000000001,`, "numbers stay as they were written")
	require.JSONEq(t, `{"score":92,"id":10000000000000001,"note":"a\ufffd"}`, string(resp.Output))
	require.True(t, began)
	require.Len(t, peer.Received(), 1)
	got := peer.Received()[0]
	require.Equal(t, "POST", got.Method)
	require.Equal(t, "/run", got.Path)
	require.JSONEq(t, `{"lead_id":"l1"}`, got.Body)
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	require.Equal(t, "run_1:enrich", got.Header.Get("Idempotency-Key"))
	require.Equal(t, "Bearer k", got.Header.Get("Authorization"))
}

func TestNoContentIsNull(t *testing.T) {
	t.Parallel()
	peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	resp, err := setup(t).runner.Run(t.Context(), agent(peer.URL, `,"method":"PUT"`), request(""))
	require.NoError(t, err)
	require.Equal(t, "null", string(resp.Output))
	require.Equal(t, "PUT", peer.Received()[0].Method)
	require.Equal(t, "null", peer.Received()[0].Body)
}

func TestAcceptedWorkIsFollowedToItsEnd(t *testing.T) {
	t.Parallel()
	peer := script(t,
		accepted("/jobs/1", "Retry-After", "3"),
		accepted(""),                       // looked at after 3 s
		accepted("2"),                      // after 1 s; moves to /jobs/2
		reply(503, "", "Retry-After", "7"), // a fault on the way
		reply(500, ""),                     // and another
		accepted("", "Retry-After", "0"),   // asks for haste it does not get
		accepted(""), accepted(""), accepted(""), accepted(""), accepted(""), accepted(""),
		done(`{"ok":true}`),
	)
	b := setup(t)
	resp, err := b.runner.Run(t.Context(), agent(peer.URL+"/run", `,"headers":{"Authorization":"Bearer k"}`), request(`{}`))
	require.NoError(t, err)
	require.Equal(t, `{"ok":true}`, string(resp.Output))

	received := peer.Received()
	require.Equal(t, "POST", received[0].Method)
	require.Equal(t, "/jobs/1", received[1].Path)
	require.Equal(t, "/jobs/1", received[2].Path)
	for _, r := range received[3:] {
		require.Equal(t, "/jobs/2", r.Path)
	}
	for _, r := range received[1:] {
		require.Equal(t, "GET", r.Method)
		require.Empty(t, r.Body)
		require.Equal(t, "Bearer k", r.Header.Get("Authorization"))
	}
	require.Equal(t, []time.Duration{3 * time.Second, time.Second, 1500 * time.Millisecond, 7 * time.Second}, b.slept[:4])
	require.True(t, slices.IsSorted(b.slept[4:]))
	require.Equal(t, 10*time.Second, b.slept[len(b.slept)-1])
	require.Len(t, b.slept, len(received)-1)
}

func TestALocationElsewhereIsNotFollowed(t *testing.T) {
	t.Parallel()
	other := script(t, done(`{}`))
	for _, location := range []string{other.URL + "/jobs/1", "//127.0.0.2/jobs", "https://127.0.0.1/", "file:///etc/passwd"} {
		peer := script(t, accepted(location))
		_, err := setup(t).runner.Run(t.Context(), agent(peer.URL, `,"headers":{"Authorization":"Bearer k"}`), request(`{}`))
		requireCode(t, err, "bad_response", false)
		require.Len(t, peer.Received(), 1)
	}
	moved := script(t, accepted("/jobs/1"), accepted(other.URL+"/jobs/1")) // while it is followed
	_, err := setup(t).runner.Run(t.Context(), agent(moved.URL), request(`{}`))
	requireCode(t, err, "bad_response", false)
	// A redirect to another host, and a Location relative to that.
	away := script(t, accepted("/jobs/1"))
	peer := script(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, away.URL, http.StatusTemporaryRedirect)
	})
	_, err = setup(t).runner.Run(t.Context(), agent(peer.URL, `,"headers":{"Authorization":"Bearer k"}`), request(`{}`))
	requireCode(t, err, "bad_response", false)
	require.Empty(t, away.Received()[0].Header.Get("Authorization"))
	require.Empty(t, other.Received())
}

func TestPollingGivesUpAfterFaultsInARow(t *testing.T) {
	t.Parallel()
	peer := script(t, accepted("/jobs/1"), reply(503, "", "Retry-After", "2"))
	b := setup(t)
	_, err := b.runner.Run(t.Context(), agent(peer.URL), request(`{}`))
	require.Equal(t, 2*time.Second, requireCode(t, err, "http_503", true).RetryAfter)
	require.Len(t, peer.Received(), 1+5)

	gone := script(t, accepted("/jobs/1"), reply(404, ""))
	_, err = setup(t).runner.Run(t.Context(), agent(gone.URL), request(`{}`))
	requireCode(t, err, "http_404", false)
	require.Len(t, gone.Received(), 2)
}

func TestPollingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	peer := script(t, accepted("/jobs/1"))
	b := setup(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	b.onSleep = func(ctx context.Context) error {
		cancel(errors.New("cancelled by a person"))
		return ctx.Err()
	}
	_, err := b.runner.Run(ctx, agent(peer.URL), request(`{}`))
	requireCode(t, err, "cancelled", true)
	require.Len(t, peer.Received(), 1)
}

func TestTimeoutCoversTheWholeWork(t *testing.T) {
	t.Parallel()
	peer := script(t, accepted("/jobs/1"))
	b := setup(t)
	b.onSleep = func(ctx context.Context) error {
		_, limited := ctx.Deadline()
		require.True(t, limited)
		<-ctx.Done()
		return ctx.Err()
	}
	_, err := b.runner.Run(t.Context(), agent(peer.URL, `,"timeout":"20ms"`), request(`{}`))
	requireCode(t, err, "timeout", true)
}

func TestCancelEndsARequestInFlight(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	peer := connectorstest.NewPeer(t, connectorstest.Hang(arrived))
	ctx, cancel := context.WithCancel(t.Context())
	var told time.Time
	go func() { <-arrived; told = time.Now(); cancel() }()
	_, err := setup(t).runner.Run(ctx, agent(peer.URL), request(`{}`))
	requireCode(t, err, "cancelled", true)
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(told), time.Second)
}

func TestWithoutLeaveNothingIsSent(t *testing.T) {
	t.Parallel()
	peer := script(t, done(`{}`))
	lost := errors.New("lease lost")
	req := request(`{}`)
	req.BeforeEffect = func(context.Context) error { return lost }
	_, err := setup(t).runner.Run(t.Context(), agent(peer.URL), req)
	require.ErrorIs(t, err, lost)
	require.Empty(t, peer.Received())
}

func TestJSONIsTakenUnderAnyName(t *testing.T) {
	t.Parallel()
	for name, media := range map[string][]string{"none": nil, "text": {"text/plain; charset=utf-8"}, "html": {"text/html"}, "broken": {";"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain := func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = media
				_, _ = io.WriteString(w, `{"score": 9}`)
			}
			for _, answers := range [][]http.HandlerFunc{{plain}, {accepted("/jobs/1"), plain}} {
				peer := script(t, answers...)
				got, err := setup(t).runner.Run(t.Context(), agent(peer.URL), request(`{}`))
				require.NoError(t, err)
				require.JSONEq(t, `{"score":9}`, string(got.Output))
			}
		})
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	html := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>")
	}
	for name, tc := range map[string]struct {
		answer    http.HandlerFunc
		code      string
		retryable bool
	}{
		"not json":          {html, "bad_response", false},
		"broken json":       {done(`{"a"`), "bad_response", false},
		"empty":             {done(``), "bad_response", false},
		"no location":       {accepted(""), "bad_response", false},
		"broken location":   {accepted("http://[::1"), "bad_response", false},
		"too large":         {done(`"` + strings.Repeat("x", 10_000) + `"`), "too_large", false},
		"too deep":          {done(strings.Repeat("[", 100) + strings.Repeat("]", 100)), "bad_response", false},
		"bad request":       {reply(400, `{"detail":"no such lead"}`), "http_400", false},
		"too many":          {reply(429, "", "Retry-After", "9"), "http_429", true},
		"server fault":      {reply(502, "<html>"), "http_502", true},
		"connection closed": {connectorstest.Cut, "network", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			peer := script(t, tc.answer)
			_, err := setup(t).runner.Run(t.Context(), agent(peer.URL), request(`{}`))
			e := requireCode(t, err, tc.code, tc.retryable)
			if name == "too many" {
				require.Equal(t, 9*time.Second, e.RetryAfter)
			}
		})
	}
}

func TestSchemasAreHeld(t *testing.T) {
	t.Parallel()
	peer := script(t, done(`{"score":"high"}`))
	b := setup(t)
	a := agent(peer.URL)
	a.InputSchema = json.RawMessage(`{"type":"object","required":["lead_id"]}`)
	_, err := b.runner.Run(t.Context(), a, request(`{}`))
	requireCode(t, err, "input_invalid", false)
	require.Empty(t, peer.Received())

	a.OutputSchema = json.RawMessage(`{"type":"object","properties":{"score":{"type":"integer"}}}`)
	for range 2 { // the second time with the schema kept from the first
		_, err = b.runner.Run(t.Context(), a, request(`{"lead_id":"l1"}`))
		require.Contains(t, requireCode(t, err, "output_invalid", false).Message, "score: must be integer")
	}
	a.OutputSchema = json.RawMessage(`null`)
	_, err = b.runner.Run(t.Context(), a, request(`{"lead_id":"l1"}`))
	require.NoError(t, err)
	a.OutputSchema = json.RawMessage(`{"type":"number of things"}`)
	_, err = b.runner.Run(t.Context(), a, request(`{"lead_id":"l1"}`))
	requireCode(t, err, "config_invalid", false)
}

func TestWhatCannotBeRun(t *testing.T) {
	t.Parallel()
	_, err := agents.New(agents.Deps{})
	require.Error(t, err)
	b := setup(t)
	_, err = b.runner.Run(t.Context(), agents.Agent{Slug: "a", Kind: "robot"}, request(`{}`))
	requireCode(t, err, "config_invalid", false)
	_, err = b.runner.Run(t.Context(), agent("ftp://a.example"), request(`{}`))
	requireCode(t, err, "config_invalid", false)
}

// A schema is the workspace's own: a few lines of one ask for 2^40 looks at a value.
func TestASchemaThatTakesTooLongFailsTheCall(t *testing.T) {
	t.Parallel()
	defs := `"a40":{"type":"object"}`
	for i := range 40 {
		defs += fmt.Sprintf(`,"a%d":{"allOf":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%d"}]}`, i, i+1, i+1)
	}
	peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{}`)
	})
	a := agent(peer.URL)
	a.OutputSchema = json.RawMessage(`{"$ref":"#/$defs/a0","$defs":{` + defs + `}}`)
	_, err := setup(t).runner.Run(t.Context(), a, agents.Request{Input: json.RawMessage(`{}`)})
	require.Equal(t, connectors.CodeOutputInvalid, connectors.AsError(err).Code)
	require.ErrorContains(t, err, "takes too long")
}
