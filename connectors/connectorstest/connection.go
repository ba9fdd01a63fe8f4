package connectorstest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
)

// Canary is the secret of the connections that Connect makes. It has characters in it
// that are written differently in URLs, JSON and base64.
const Canary = `c4nary/+"s3cret"&<x>`

// Connect gives a way to make connections of a connector to a peer, with Canary in
// the place of every secret. Config is JSON; empty means none.
func Connect(slug string, auth connectors.Auth, config string, secrets ...string) func(url string) *connectors.Connection {
	return func(base string) *connectors.Connection {
		c := &connectors.Connection{
			ID: "conn_1", Connector: slug, Auth: auth, Config: json.RawMessage(config), BaseURL: base, Secrets: map[string]string{},
		}
		if name := auth.Secret(); name != "" {
			c.Secrets[name] = Canary
		}
		for _, name := range secrets {
			c.Secrets[name] = Canary
		}
		if u, err := url.Parse(base); err == nil && u.Host != "" {
			c.Hosts = []string{u.Host}
		}
		return c
	}
}

// TestCase is one try of a connection.
type TestCase struct {
	Name          string
	Peer          *Peer
	Connect       func(url string) *connectors.Connection
	WantCode      string // empty: it works
	WantRetryable bool
}

// RunTester checks how c tries connections: each case, and that a host that is not
// bound is refused and no connection at all is an error.
func RunTester(t *testing.T, c connectors.Tester, cases []TestCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run("test of a connection: "+tc.Name, func(t *testing.T) {
			conn := tc.Connect(address(tc.Peer))
			err := c.TestConnection(t.Context(), conn)
			requireNoSecret(t, conn, nil, err)
			if tc.WantCode != "" {
				requireError(t, err, tc.WantCode, tc.WantRetryable)
				return
			}
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			require.Error(t, c.TestConnection(ctx, conn), "an ended context must be obeyed")
			if tc.Peer == nil || conn.Auth.Type == connectors.AuthNone {
				return
			}
			tc.Peer.Reset()
			conn = unbound(conn)
			requireError(t, c.TestConnection(t.Context(), conn), connectors.CodeHostNotAllowed, false)
			require.Empty(t, tc.Peer.Received(), "the secret went to a host it is not bound to")
		})
	}
	t.Run("test of no connection", func(t *testing.T) {
		requireError(t, c.TestConnection(t.Context(), nil), connectors.CodeNoConnection, false)
	})
}

func address(p *Peer) string {
	if p == nil {
		return ""
	}
	return p.URL
}

func unbound(c *connectors.Connection) *connectors.Connection {
	other := *c
	other.Hosts = []string{"elsewhere.example"}
	return &other
}

// checkConnection holds an action that has worked with a connection to what every
// connector has promised about it.
func checkConnection(t *testing.T, registry *connectors.Registry, spec connectors.Spec, tc Case) {
	t.Helper()
	do := func(conn *connectors.Connection) error {
		req := request(tc.Action, tc.Input, 1)
		req.Connection = conn
		resp, err := registry.Do(t.Context(), spec.Slug, req)
		requireNoSecret(t, conn, resp.Output, err)
		return err
	}
	if spec.Connection != nil && spec.Connection.Required {
		requireError(t, do(nil), connectors.CodeNoConnection, false)
	}
	if tc.Peer == nil {
		return
	}
	conn := tc.Connect(tc.Peer.URL)
	if conn.Auth.Type != connectors.AuthNone {
		tc.Peer.Reset()
		requireError(t, do(unbound(conn)), connectors.CodeHostNotAllowed, false)
		if conn.Auth.Type != connectors.AuthBasic {
			empty := *conn
			empty.Secrets = nil
			requireError(t, do(&empty), connectors.CodeNotConnected, false)
		}
		require.Empty(t, tc.Peer.Received(), "something was sent without a right to")
	}
	for _, f := range failures {
		at := NewPeer(t, f.answer)
		err := do(tc.Connect(at.URL))
		require.NotEmpty(t, at.Received())
		requireError(t, err, f.code, f.retryable)
		require.Equal(t, f.after, connectors.AsError(err).RetryAfter)
	}
}

// failures are what any service may do, and what is to be made of it.
var failures = []struct {
	answer    http.HandlerFunc
	code      string
	retryable bool
	after     time.Duration
}{
	{fails(http.StatusTooManyRequests, "7"), "http_429", true, 7 * time.Second},
	{fails(http.StatusServiceUnavailable, "120"), "http_503", true, 2 * time.Minute},
	{fails(http.StatusInternalServerError, ""), "http_500", true, 0},
	{fails(http.StatusUnauthorized, ""), "http_401", false, 0},
	{fails(http.StatusFound, ""), "http_302", false, 0},
	{Cut, connectors.CodeNetwork, true, 0},
}

// fails answers with a status and repeats what it was sent, as some servers do.
func fails(status int, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, r.Header.Get("Authorization")+" "+r.URL.String()+" "+string(body)) //nolint:gosec // G705: plain text, for a test
	}
}

// requireNoSecret looks for the secrets of a connection in what is shown of an action,
// after what everybody who shows it has done: taken them out. What lies behind an error
// is for logs, where nothing is taken out.
func requireNoSecret(t *testing.T, c *connectors.Connection, output json.RawMessage, err error) {
	t.Helper()
	if c == nil {
		return
	}
	var shown strings.Builder
	shown.Write(c.Redactor().JSON(output))
	if err != nil {
		e := connectors.AsError(c.Redactor().Error(err))
		shown.WriteString(e.Code + e.Message)
		for under := errors.Unwrap(connectors.AsError(err)); under != nil; under = errors.Unwrap(under) {
			shown.WriteString(under.Error())
		}
	}
	for _, secret := range c.Secrets {
		for _, spelling := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
			require.False(t, strings.Contains(shown.String(), spelling), "a secret of the connection is shown") //nolint:testifylint // it would show it once more
		}
	}
}
