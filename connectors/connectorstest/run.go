package connectorstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
)

// Case is one use of an action, with a peer of its own.
type Case struct {
	Name   string
	Action string
	Input  string // JSON
	// Want is the output as JSON; empty means that only the schema is checked.
	Want string
	// WantCode is the code of the error expected instead of an output.
	WantCode      string
	WantRetryable bool
	// Peer is the server the input points to, nil if there is none. Run forgets
	// what it received and then holds it to carry the key in every request.
	Peer *Peer
	// Connect makes the connection that the action is done through, given the address
	// of a peer; nil where it takes none. Run then checks what a connection is owed.
	Connect func(url string) *connectors.Connection
	// ReadsFirst says that the action looks before it acts: GET requests may come
	// before leave is asked.
	ReadsFirst bool
}

// Hanging is an action that cannot end by itself.
type Hanging struct {
	Action string
	Input  string
	// Arrived is closed when the peer has the request; nil when nothing is sent.
	Arrived <-chan struct{}
	// Connection is what it is done through; nil where it takes none.
	Connection *connectors.Connection
}

const (
	key       = "run_1:step_1:0"
	stopLimit = time.Second
	hangLimit = 30 * time.Second
)

// Run checks c against the contract: its spec is complete; every action has a
// case; outputs fit their schemas; errors are classified and readable; the same
// key is sent on every attempt; no effect happens without leave; a context that
// ends is obeyed; secrets go to the hosts of the connection alone and are shown to
// nobody. The connector must not be in use elsewhere meanwhile.
func Run(t *testing.T, c connectors.Connector, cases []Case, hanging ...Hanging) {
	t.Helper()
	registry, err := connectors.NewRegistry(c)
	require.NoError(t, err)
	require.NoError(t, registry.Check())
	spec := c.Spec()
	require.Empty(t, cmp.Diff(spec, c.Spec()), "Spec must not change")

	covered := map[string]bool{}
	for _, tc := range cases {
		covered[tc.Action] = true
		t.Run(tc.Name, func(t *testing.T) {
			action, known := registry.Action(spec.Slug, tc.Action)
			require.True(t, known, "no such action")
			runCase(t, registry, spec.Slug, action, tc)
			if tc.Connect != nil && tc.WantCode == "" {
				checkConnection(t, registry, spec, tc)
			}
		})
	}
	for _, a := range spec.Actions {
		require.True(t, covered[a.Name], "action %s has no case", a.Name)
	}
	t.Run("an unknown action is refused", func(t *testing.T) {
		_, err := c.Do(t.Context(), connectors.Request{Action: "no_such_action", Input: json.RawMessage("{}")})
		requireError(t, err, connectors.CodeUnknownAction, false)
	})
	for _, h := range hanging {
		t.Run(h.Action+" obeys its context", func(t *testing.T) { runHanging(t, c, h) })
	}
}

func runCase(t *testing.T, registry *connectors.Registry, slug string, action connectors.Action, tc Case) {
	t.Helper()
	for attempt := 1; attempt <= 2; attempt++ {
		if tc.Peer != nil {
			tc.Peer.Reset()
		}
		began := 0
		req := tc.request(attempt)
		req.BeforeEffect = func(context.Context) error {
			if tc.Peer != nil {
				require.Empty(t, tc.effects(), "an effect came before leave was asked")
			}
			began++
			return nil
		}
		resp, err := registry.Do(t.Context(), slug, req)
		requireNoSecret(t, req.Connection, resp.Output, err)
		if tc.WantCode != "" {
			requireError(t, err, tc.WantCode, tc.WantRetryable)
		} else {
			require.NoError(t, err)
			requireOutput(t, action, resp.Output, tc.Want)
		}
		if tc.Peer == nil {
			continue
		}
		keys := tc.Peer.Keys()
		if len(tc.effects()) > 0 && !action.NoEffect {
			require.Positive(t, began, "BeforeEffect was not called")
		}
		for _, k := range keys {
			require.Equal(t, key, k, "every attempt must carry the key of the request")
		}
	}
	refuseLeave(t, registry, slug, action, tc)
	endedContext(t, registry, slug, tc)
}

// refuseLeave takes the right to act away: nothing may reach the peer.
func refuseLeave(t *testing.T, registry *connectors.Registry, slug string, action connectors.Action, tc Case) {
	t.Helper()
	if action.NoEffect || tc.Peer == nil {
		return
	}
	tc.Peer.Reset()
	lost := errors.New("the lease is lost")
	req := tc.request(1)
	asked := false
	req.BeforeEffect = func(context.Context) error { asked = true; return lost }
	_, err := registry.Do(t.Context(), slug, req)
	require.Error(t, err)
	if asked {
		require.ErrorIs(t, err, lost)
	}
	require.Empty(t, tc.effects(), "an effect happened without leave")
}

func endedContext(t *testing.T, registry *connectors.Registry, slug string, tc Case) {
	t.Helper()
	if tc.Peer != nil {
		tc.Peer.Reset()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := registry.Do(ctx, slug, tc.request(1))
	require.Error(t, err, "an ended context must be obeyed")
	if tc.Peer != nil {
		require.Empty(t, tc.Peer.Received(), "an effect happened after the context had ended")
	}
}

func runHanging(t *testing.T, c connectors.Connector, h Hanging) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		req := request(h.Action, h.Input, 1)
		req.Connection = h.Connection
		_, err := c.Do(ctx, req)
		done <- err
	}()
	if h.Arrived != nil {
		select {
		case <-h.Arrived:
		case err := <-done:
			require.FailNow(t, "the action ended by itself", "error: %v", err)
		case <-time.After(hangLimit):
			require.FailNow(t, "the request never reached the peer")
		}
	}
	cancel()
	select {
	case err := <-done:
		requireError(t, err, connectors.CodeCancelled, true)
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(stopLimit):
		require.FailNow(t, "the action went on after its context had ended")
	}
}

// effects lists what the peer received that may have changed something.
func (tc Case) effects() []Received {
	received := tc.Peer.Received()
	if tc.ReadsFirst {
		received = slices.DeleteFunc(received, func(r Received) bool { return r.Method == http.MethodGet })
	}
	return received
}

func (tc Case) request(attempt int) connectors.Request {
	req := request(tc.Action, tc.Input, attempt)
	if tc.Connect != nil {
		req.Connection = tc.Connect(address(tc.Peer))
	}
	return req
}

func request(action, input string, attempt int) connectors.Request {
	iteration := 0
	return connectors.Request{
		Action: action, Input: json.RawMessage(input), IdempotencyKey: key,
		WorkspaceID: "ws_1", RunID: "run_1", StepID: "step_1", Iteration: &iteration, Attempt: attempt,
	}
}

// refusals are the codes by which other sides say that they do not take the credentials.
var refusals = []string{"http_401", "smtp_534", "smtp_535", "slack_invalid_auth", "slack_not_authed", "slack_token_revoked"}

func requireError(t *testing.T, err error, code string, retryable bool) {
	t.Helper()
	var e *connectors.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code, e.Message)
	require.Equal(t, retryable, e.Retryable, "retryable")
	require.Equal(t, slices.Contains(refusals, code), e.Unauthorized, "whether the credentials were refused")
	require.NotEmpty(t, e.Message)
	require.Less(t, len(e.Message), 2500)
}

func requireOutput(t *testing.T, action connectors.Action, output json.RawMessage, want string) {
	t.Helper()
	schema, err := connectors.CompileSchema(action.Output)
	require.NoError(t, err)
	require.NoError(t, schema.CheckOutput(output))
	if want != "" {
		require.Empty(t, cmp.Diff(decode(t, []byte(want)), decode(t, output)))
	}
}

// decode keeps numbers as they are written, so that a rounded one shows.
func decode(t *testing.T, raw []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	require.NoError(t, d.Decode(&v))
	return v
}
