package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/10ex/flows/api"
)

// Path is where the door is, under the root of the server.
const Path = "/mcp"

// Handler answers MCP over Streamable HTTP, without sessions and in plain JSON. It
// needs requests that come through api.Open.
type Handler struct {
	api   *api.API
	tools map[string]*boundTool
	inner http.Handler
}

// New makes the handler of an API. The version is what the server says of itself.
func New(served *api.API, version string) (*Handler, error) {
	doc, err := readDocument(served.OpenAPI())
	if err != nil {
		return nil, err
	}
	h := &Handler{api: served, tools: map[string]*boundTool{}}
	server := mcp.NewServer(
		&mcp.Implementation{Name: "flows", Title: "10ex flows", Version: version},
		&mcp.ServerOptions{
			Instructions: instructions,
			Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}},
			SetCacheable: func(_ context.Context, _ mcp.Request, c *mcp.Cacheable) {
				c.CacheScope = "private" // what is listed depends on the key
			},
		},
	)
	described := doc.describers(tools)
	for _, t := range tools {
		bound, err := bind(t, doc)
		if err != nil {
			return nil, fmt.Errorf("MCP tool %s: %w", t.name, err)
		}
		if op := doc.operations[t.operation]; described[op.answers()] == t.name {
			bound.shown.OutputSchema = doc.outline(op)
		}
		h.tools[t.name] = bound
		server.AddTool(bound.shown, func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return h.call(ctx, bound, req.Params.Arguments)
		})
	}
	server.AddReceivingMiddleware(h.listAllowed)
	h.inner = mcp.NewStreamableHTTPHandler(
		func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true, MaxRequestBodyBytes: -1}, // the door has measured it
	)
	return h, nil
}

// listAllowed leaves out of the list what the caller's key may not do.
func (h *Handler) listAllowed(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		res, err := next(ctx, method, req)
		if list, ok := res.(*mcp.ListToolsResult); ok && err == nil {
			list.Tools = slices.DeleteFunc(list.Tools, func(t *mcp.Tool) bool {
				return !h.api.Allows(ctx, h.tools[t.Name].operation)
			})
		}
		return res, err
	}
}

// call asks the tool's operation. What the operation refuses is a result that says
// why, for the caller to mend; an error is a fault of ours.
func (h *Handler) call(ctx context.Context, t *boundTool, arguments json.RawMessage) (*mcp.CallToolResult, error) {
	call, faults := t.ask(arguments)
	if len(faults) > 0 {
		return t.result(h.api.Refuse(ctx, t.operation, faults...)), nil
	}
	answer, err := h.api.Invoke(ctx, call)
	if err != nil {
		return nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "The tool cannot be called just now."}
	}
	return t.result(answer), nil
}

// ServeHTTP answers one message.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if fault := screen(r); fault != nil {
		writeFault(w, fault.status, fault.id, fault.code, fault.message)
		return
	}
	// There is only JSON to be had, so who takes that need not ask for streams.
	r.Header.Set("Accept", "application/json, text/event-stream")
	p := &plainText{ResponseWriter: w}
	h.inner.ServeHTTP(p, r)
	p.end()
}

// plainText turns the words in which a request is refused before it is understood
// into the form of all other answers.
type plainText struct {
	http.ResponseWriter
	status int
	words  []byte
}

func (p *plainText) WriteHeader(status int) {
	if status >= 400 && !strings.HasPrefix(p.Header().Get("Content-Type"), "application/json") {
		p.status = status
		return
	}
	p.ResponseWriter.WriteHeader(status)
}

func (p *plainText) Write(b []byte) (int, error) {
	if p.status != 0 {
		p.words = append(p.words, b...)
		return len(b), nil
	}
	return p.ResponseWriter.Write(b)
}

func (p *plainText) end() {
	if p.status != 0 {
		writeFault(p.ResponseWriter, p.status, nil, jsonrpc.CodeInvalidRequest, strings.TrimSpace(string(p.words)))
	}
}
