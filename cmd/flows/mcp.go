package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/10ex/flows/api/mcp"
)

type mcpCommand struct{}

// Run carries MCP between this process's standard streams and a server.
func (mcpCommand) Run(ctx context.Context, p *program) error {
	cfg, err := p.config()
	if err != nil {
		return err
	}
	if cfg.APIKey == "" {
		return errors.New("flows mcp needs TENEX_API_KEY: the API key to work with")
	}
	b := newBridge(cfg.APIBase, cfg.APIKey, p.stdout)
	return b.run(ctx, p.stdin)
}

const (
	// mostAtOnce is how many messages are under way at once; the next one waits.
	mostAtOnce = 64
	// maxMessage is how long a message or an answer may be.
	maxMessage = 64 << 20
	// bridgePatience is how long a server may take: longer than any call may.
	bridgePatience = 2 * time.Minute
)

// bridge carries the messages that a client writes, one a line, to the server's
// door for MCP, and what it answers back. It adds no tool and knows none, so what is
// offered here and there is the same. Each message stands for itself: a server that
// is away fails the calls made meanwhile and no others.
type bridge struct {
	url, base, key string
	client         *http.Client

	slots chan struct{}
	calls sync.WaitGroup

	mu      sync.Mutex
	out     io.Writer
	open    map[string]context.CancelFunc // calls under way, by id
	version string                        // of the protocol, once it is agreed on
}

func newBridge(base, key string, out io.Writer) *bridge {
	return &bridge{
		url: base + mcp.Path, base: base, key: key, out: out,
		client: &http.Client{
			Timeout: bridgePatience,
			// The key is for the server that was named and for no other.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		slots: make(chan struct{}, mostAtOnce), open: map[string]context.CancelFunc{},
	}
}

// run carries messages until there are no more, or until ctx ends.
func (b *bridge) run(ctx context.Context, in io.Reader) error {
	ctx, end := context.WithCancel(ctx)
	defer b.client.CloseIdleConnections()
	defer b.calls.Wait()
	lines, failed := make(chan []byte), make(chan error, 1)
	go func() { // it may stay in a read that nothing ends but the process
		scan := bufio.NewScanner(in)
		defer func() { failed <- scan.Err(); close(lines) }()
		scan.Buffer(make([]byte, 0, 64<<10), maxMessage)
		for scan.Scan() {
			select {
			case lines <- bytes.Clone(scan.Bytes()):
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			end()
			return nil
		case line, ok := <-lines:
			if !ok {
				b.calls.Wait() // their answers are still wanted
				end()
				return <-failed
			}
			b.take(ctx, bytes.TrimSpace(line))
		}
	}
}

// message is what is read of a message to know where it goes.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name      string          `json:"name"`
		URI       string          `json:"uri"`
		RequestID json.RawMessage `json:"requestId"`
		Meta      struct {
			Version string `json:"io.modelcontextprotocol/protocolVersion"`
		} `json:"_meta"`
	} `json:"params"`
}

// Codes of JSON-RPC errors.
const (
	codeParse  = -32700
	codeServer = -32000
)

// take begins what a message asks for.
func (b *bridge) take(ctx context.Context, line []byte) {
	if len(line) == 0 {
		return
	}
	var m message
	if err := json.Unmarshal(line, &m); err != nil && !json.Valid(line) {
		b.fail(nil, codeParse, "The message is not JSON.", nil)
		return
	}
	if m.Method == "notifications/cancelled" {
		b.forget(m.Params.RequestID)
		return
	}
	ctx, stop := context.WithTimeout(ctx, bridgePatience)
	b.slots <- struct{}{}
	id := string(m.ID)
	b.mu.Lock()
	if id != "" {
		b.open[id] = stop
	}
	b.mu.Unlock()
	b.calls.Go(func() {
		defer func() { stop(); <-b.slots }()
		b.carry(ctx, m, line)
	})
}

// forget ends a call whose answer nobody waits for any more.
func (b *bridge) forget(id json.RawMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if stop := b.open[string(id)]; stop != nil {
		stop()
		delete(b.open, string(id))
	}
}

// carry brings a message to the server and its answer back.
func (b *bridge) carry(ctx context.Context, m message, line []byte) {
	got, err := b.send(ctx, m, line)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return
	case err != nil:
		b.fail(m.ID, codeServer, fmt.Sprintf("The server at %s cannot be reached: %v.", b.base, cause(err)), nil)
		return
	}
	var answer struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Error   *struct {
			Code    int             `json:"code"`
			Message string          `json:"message"`
			Data    json.RawMessage `json:"data"`
		} `json:"error"`
		Result json.RawMessage `json:"result"`
		Detail string          `json:"detail"`
	}
	isJSON := strings.Contains(got.media, "json") && json.Unmarshal(got.body, &answer) == nil
	switch {
	case isJSON && answer.Error != nil && string(answer.ID) != string(m.ID):
		b.fail(m.ID, answer.Error.Code, answer.Error.Message, answer.Error.Data)
	case isJSON && answer.Version != "":
		if m.Method == "initialize" {
			b.agreed(answer.Result)
		}
		b.write(m.ID, got.body)
	case isJSON && answer.Detail != "" && got.code >= 400: // a problem
		b.fail(m.ID, codeServer, answer.Detail, got.body)
	case got.code >= 300 || len(m.ID) > 0:
		b.fail(m.ID, codeServer, fmt.Sprintf("The server at %s does not speak MCP: it answered %s.", b.base, got.status), nil)
	}
}

// received is what the server sent back.
type received struct {
	code          int
	status, media string
	body          []byte
}

func (b *bridge) send(ctx context.Context, m message, line []byte) (got received, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, bytes.NewReader(line))
	if err != nil {
		return got, err
	}
	set := func(name, value string) {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	set("Authorization", "Bearer "+b.key)
	set("Content-Type", "application/json")
	set("Accept", "application/json, text/event-stream")
	set("User-Agent", "flows/"+version)
	// Later versions of the protocol want these to say what the body says.
	set("Mcp-Protocol-Version", b.speaks(m))
	set("Mcp-Method", m.Method)
	set("Mcp-Name", m.Params.Name+m.Params.URI)
	resp, err := b.client.Do(req)
	if err != nil {
		return got, err
	}
	defer resp.Body.Close()
	got = received{code: resp.StatusCode, status: resp.Status, media: resp.Header.Get("Content-Type")}
	got.body, err = io.ReadAll(io.LimitReader(resp.Body, maxMessage+1))
	if err == nil && len(got.body) > maxMessage {
		err = errors.New("its answer is too long")
	}
	return got, err
}

// speaks gives the version of the protocol that a message is in.
func (b *bridge) speaks(m message) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.Params.Meta.Version != "" {
		return m.Params.Meta.Version
	}
	return b.version
}

func (b *bridge) agreed(result json.RawMessage) {
	var r struct {
		Version string `json:"protocolVersion"`
	}
	if json.Unmarshal(result, &r) == nil {
		b.mu.Lock()
		b.version = r.Version
		b.mu.Unlock()
	}
}

// fail answers a call with an error. What is no call gets no answer, unless it could
// not be read at all.
func (b *bridge) fail(id json.RawMessage, code int, text string, data json.RawMessage) {
	if len(id) == 0 {
		if code != codeParse {
			return
		}
		id = json.RawMessage("null")
	}
	type failure struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data,omitempty"`
	}
	line, err := json.Marshal(struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Error   failure         `json:"error"`
	}{"2.0", id, failure{code, text, data}})
	if err != nil {
		panic("mcp: failure: " + err.Error()) // an id that was read and texts always marshal
	}
	b.write(id, line)
}

// write writes a message as one line, if somebody still waits for it.
func (b *bridge) write(id json.RawMessage, body []byte) {
	var line bytes.Buffer
	if json.Compact(&line, body) != nil {
		return
	}
	line.WriteByte('\n')
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, waits := b.open[string(id)]; !waits && string(id) != "null" {
		return
	}
	delete(b.open, string(id))
	_, _ = b.out.Write(line.Bytes()) // a client that is gone has closed its end of ours, too
}

// cause leaves out what the caller says already.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
