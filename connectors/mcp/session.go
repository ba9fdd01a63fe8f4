package mcp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
)

// target is a server as it was registered.
type target struct {
	URL     string   `json:"url,omitempty"`
	Command []string `json:"command,omitempty"`
}

// Codes of failures that only servers of MCP have.
const (
	codeTool     = "tool_error"
	codeProtocol = "mcp_error"
)

const maxRedirects = 3

// visit is a session with a server, and what came over the wire of it.
type visit struct {
	*sdk.ClientSession
	wire *wire
	// secrets are those the server was shown. What it says of itself is kept and shown.
	secrets *connectors.Redactor
}

// session runs use in a session with a server, which ends with it.
func (k *Kind) session(ctx context.Context, t target, conn *connectors.Connection, key string, use func(context.Context, visit) error) error {
	var (
		transport sdk.Transport
		d         = &door{client: k.client, conn: conn, key: key}
	)
	switch {
	case len(t.Command) > 0 && !k.stdio:
		return connectors.Permanent(connectors.CodeBlocked, "servers on standard streams are not allowed here")
	case len(t.Command) > 0:
		transport = heardProgram{k.program(ctx, t.Command), &d.wire}
	default:
		transport = &sdk.StreamableClientTransport{
			Endpoint: t.URL, HTTPClient: &http.Client{Transport: d, CheckRedirect: stay},
			MaxRetries: -1, DisableStandaloneSSE: true, // what is tried again is the step's matter
		}
	}
	client := sdk.NewClient(&sdk.Implementation{Name: "flows", Version: "1"}, &sdk.ClientOptions{Capabilities: &sdk.ClientCapabilities{}})
	s, err := client.Connect(ctx, transport, nil)
	if err != nil {
		return d.explain(ctx, err)
	}
	defer func() { _ = s.Close() }() // the server hears that nobody comes back
	if err := use(ctx, visit{s, &d.wire, conn.Redactor()}); err != nil {
		return d.explain(ctx, err)
	}
	return nil
}

// program is a server that is started for one session. It sees none of our settings.
func (k *Kind) program(ctx context.Context, command []string) sdk.Transport {
	p := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // that is what the setting allows
	p.Dir = os.TempDir()
	p.Env = k.env
	if p.Env == nil {
		p.Env = []string{}
	}
	return &sdk.CommandTransport{Command: p, TerminateDuration: time.Second}
}

// stay follows redirects within a server only: what is sent is for it alone.
func stay(req *http.Request, via []*http.Request) error {
	if from := via[0].URL; len(via) > maxRedirects || req.URL.Host != from.Host || req.URL.Scheme != from.Scheme {
		return http.ErrUseLastResponse
	}
	return nil
}

// door lets requests out through the guard, with the credentials of a connection, and
// remembers what was answered to the last one that failed: the library says less.
type door struct {
	client *egress.Client
	conn   *connectors.Connection
	key    string
	wire   wire

	mu     sync.Mutex
	failed error
}

// RoundTrip sends one request.
func (d *door) RoundTrip(req *http.Request) (*http.Response, error) {
	out := req.Clone(req.Context())
	if d.key != "" {
		out.Header.Set("Idempotency-Key", d.key)
	}
	if err := d.conn.Authorize(out); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		d.note(err)
		return nil, err
	}
	if req.Method == http.MethodDelete {
		return d.farewell(out)
	}
	resp, err := d.client.RoundTrip(out)
	if err != nil {
		d.note(connectors.NetworkError(req.Context(), err))
		return nil, err
	}
	if req.Method == http.MethodPost && (resp.StatusCode < 200 || resp.StatusCode > 299) {
		start, _ := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(start))
		d.note(connectors.HTTPError(resp))
		resp.Body = io.NopCloser(bytes.NewReader(start))
		return resp, nil
	}
	d.note(nil)
	if req.Method == http.MethodPost {
		resp.Body = d.wire.hear(resp.Body)
	}
	return resp, nil
}

// patience is how long a server may take to hear that a session has ended. What was
// asked for is there already, and a step waits.
const patience = time.Second

func (d *door) farewell(req *http.Request) (*http.Response, error) {
	ctx, stop := context.WithTimeout(req.Context(), patience)
	defer stop()
	resp, err := d.client.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	resp.Body = http.NoBody
	return resp, nil
}

func (d *door) note(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = err
}

// explain puts an error of the library into the words of actions.
func (d *door) explain(ctx context.Context, err error) error {
	if own, ok := errors.AsType[*connectors.Error](err); ok {
		return own
	}
	if ctx.Err() != nil {
		return connectors.NetworkError(ctx, ctx.Err())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed != nil { // before what the library makes of it
		return d.failed
	}
	if rpc, ok := errors.AsType[*jsonrpc.Error](err); ok {
		message := "the server refused: " + clip(rpc.Message, 500)
		switch rpc.Code {
		case jsonrpc.CodeInvalidParams:
			return connectors.Permanent(connectors.CodeInputInvalid, "%s", message)
		case jsonrpc.CodeInternalError:
			return connectors.Retryable(codeProtocol, "%s", message)
		}
		return connectors.Permanent(codeProtocol, "%s", message)
	}
	if network := connectors.NetworkError(ctx, err); network.Code != connectors.CodeNetwork {
		return network
	}
	return connectors.Retryable(codeProtocol, "the server does not answer as an MCP server does")
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

func clip(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}
