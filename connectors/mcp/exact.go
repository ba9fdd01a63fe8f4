package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// wire holds what a server sent last, as it stood there. The library reads what a tool
// gives into floating point, which has no room for integers such as ids of 64 bits. It
// is safe for concurrent use.
type wire struct {
	mu   sync.Mutex
	last bytes.Buffer
}

// begin forgets what was sent before.
func (w *wire) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last.Reset()
}

// Write notes what is sent.
func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last.Write(b)
}

// structured is the structured content in what was sent last, whether it came as a
// message or as a stream of events with messages; nil if there is none.
func (w *wire) structured() json.RawMessage {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := bytes.TrimSpace(w.last.Bytes())
	if bytes.HasPrefix(sent, []byte("{")) {
		return structuredOf(sent)
	}
	var found json.RawMessage
	var event []byte
	for line := range bytes.Lines(append(bytes.Clone(sent), '\n', '\n')) {
		line = bytes.TrimRight(line, "\r\n")
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			event = append(append(event, data...), '\n')
		}
		if len(line) > 0 {
			continue
		}
		if s := structuredOf(event); s != nil {
			found = s
		}
		event = nil
	}
	return found
}

func structuredOf(message []byte) json.RawMessage {
	var m struct {
		Result struct {
			Structured json.RawMessage `json:"structuredContent"`
		} `json:"result"`
	}
	if json.Unmarshal(message, &m) != nil {
		return nil
	}
	return bytes.Clone(m.Result.Structured)
}

// heardBody notes the body of an answer while it is read.
type heardBody struct {
	io.Reader
	io.Closer
}

func (w *wire) hear(body io.ReadCloser) io.ReadCloser {
	w.begin()
	return heardBody{io.TeeReader(body, w), body}
}

// heardProgram notes what a server on standard streams sends.
type heardProgram struct {
	sdk.Transport
	wire *wire
}

// Connect starts the program.
func (t heardProgram) Connect(ctx context.Context) (sdk.Connection, error) {
	c, err := t.Transport.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return heardConnection{c, t.wire}, nil
}

type heardConnection struct {
	sdk.Connection
	wire *wire
}

// Read gives the next message.
func (c heardConnection) Read(ctx context.Context) (jsonrpc.Message, error) {
	m, err := c.Connection.Read(ctx)
	if answer, ok := m.(*jsonrpc.Response); ok {
		c.wire.begin()
		_, _ = c.wire.Write(encodeAnswer(answer.Result))
	}
	return m, err
}

// encodeAnswer makes a message of a result again.
func encodeAnswer(result json.RawMessage) []byte {
	raw, err := json.Marshal(map[string]json.RawMessage{"result": result})
	if err != nil {
		return nil // it is none, which the library says
	}
	return raw
}
