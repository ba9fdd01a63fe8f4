package mcp

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// fault is what is wrong with a message as such.
type fault struct {
	status  int
	id      json.RawMessage
	code    int64
	message string
}

// screen refuses messages that have no place here: batches, of which one request
// would be any number of calls, and standing subscriptions, which would never end
// and for which there is nothing to tell.
func screen(r *http.Request) *fault {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return &fault{http.StatusBadRequest, nil, jsonrpc.CodeParseError, "The message cannot be read."}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if first := bytes.TrimSpace(body); len(first) > 0 && first[0] == '[' {
		return &fault{http.StatusBadRequest, nil, jsonrpc.CodeInvalidRequest, "Batches are not taken: send one message a request."}
	}
	var message struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	// It also bounds how deeply what is read after it may be nested.
	if err := json.Unmarshal(body, &message); err != nil {
		return &fault{http.StatusBadRequest, nil, jsonrpc.CodeParseError, "The message is not JSON-RPC."}
	}
	switch asks := message.ID != nil && message.Method != ""; {
	case message.Method == "subscriptions/listen":
		return &fault{http.StatusNotFound, message.ID, jsonrpc.CodeMethodNotFound, "There is nothing to subscribe to."}
	case asks && !known[message.Method]:
		// Versions of the protocol that have no handshake tell by the status that there is
		// no such thing; in those before, the answer to a call that was understood is 200.
		status := http.StatusOK
		if r.Header.Get("Mcp-Protocol-Version") >= "2026-07-28" {
			status = http.StatusNotFound
		}
		return &fault{status, message.ID, jsonrpc.CodeMethodNotFound, "There is no such method."}
	}
	return nil
}

// known are the methods that the protocol has for servers. Of some there is nothing to
// be had here, which the library says in each version's own way.
var known = map[string]bool{
	"initialize": true, "server/discover": true, "ping": true, "tools/list": true, "tools/call": true, "completion/complete": true, "logging/setLevel": true,
	"prompts/list": true, "prompts/get": true, "resources/list": true, "resources/templates/list": true, "resources/read": true,
	"resources/subscribe": true, "resources/unsubscribe": true,
}

func writeFault(w http.ResponseWriter, status int, id json.RawMessage, code int64, message string) {
	if id == nil {
		id = json.RawMessage("null")
	}
	body, err := json.Marshal(map[string]any{
		"jsonrpc": "2.0", "id": id, "error": map[string]any{"code": code, "message": message},
	})
	if err != nil {
		panic("mcp: fault: " + err.Error()) // an id that was read and texts always marshal
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // it is gathered in memory
}
