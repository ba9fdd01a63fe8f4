package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/10ex/flows/agents/llm/llmtest"
)

// speak answers in the words of protocols that are more than HTTP, if rest is an
// address of one.
func (e *echoes) speak(w http.ResponseWriter, r *http.Request, rest, s string, body []byte) bool {
	r.Body = io.NopCloser(bytes.NewReader(body))
	switch {
	case strings.HasSuffix(rest, "chat/completions"):
		r.URL.Path = "/v1/chat/completions"
		llmtest.Speak(w, r, modelThatEchoes(s))
	case strings.HasSuffix(rest, "v1/messages"):
		r.URL.Path = "/v1/messages"
		llmtest.Speak(w, r, modelThatEchoes(s))
	case rest == "token":
		form, _ := url.ParseQuery(string(body))
		who := form.Get("client_id")
		if name, _, ok := r.BasicAuth(); ok {
			who = name
		}
		writeJSON(w, http.StatusOK, map[string]any{"access_token": canaryOf(who + ".access"), "token_type": "Bearer", "expires_in": 3600, "echo": s})
	case rest == "openapi.json":
		writeJSON(w, http.StatusOK, documentThatEchoes(s))
	case rest == "mcp" || rest == "mcp-stream":
		serverThatEchoes(s, rest == "mcp-stream").ServeHTTP(w, r)
	case strings.Contains(rest, "api/v1/agents/"):
		writeJSON(w, http.StatusOK, map[string]any{
			"id": "arun_1", "status": "completed", "output": inEverySpelling(s), "usage": map[string]any{"input_tokens": 1, "output_tokens": 1, "model": s},
		})
	default:
		return false
	}
	return true
}

// everySpelling is a secret in every spelling, as one text.
func everySpelling(s string) string {
	var all []string
	for _, name := range spellings() {
		all = append(all, spelled[name](s))
	}
	return strings.Join(all, "\n")
}

// modelThatEchoes calls a tool with what it was sent, and then says it, in pieces where
// it is asked to.
func modelThatEchoes(s string) func(llmtest.Asked) llmtest.Reply {
	return func(a llmtest.Asked) llmtest.Reply {
		reply := llmtest.Reply{Text: "you sent " + s + "\n" + everySpelling(s), Model: "model-" + s, Input: 10, Output: 10}
		if len(a.Tools) > 0 && a.Turn == 1 {
			value, _ := json.Marshal(map[string]any{"value": inEverySpelling(s)})
			reply.Calls = []llmtest.Call{{Name: a.Tools[0], Arguments: string(value)}, {Name: s, Arguments: s}}
		}
		return reply
	}
}

// documentThatEchoes is an OpenAPI document that holds what it was asked for with.
func documentThatEchoes(s string) map[string]any {
	schema := map[string]any{"type": "object", "description": everySpelling(s), "example": inEverySpelling(s), "properties": map[string]any{s: map[string]any{"type": "string", "default": s}}}
	return map[string]any{
		"openapi": "3.1.0", "info": map[string]any{"title": "Echo " + s, "version": "1", "description": everySpelling(s)},
		"paths": map[string]any{
			"/op": map[string]any{"post": map[string]any{
				"operationId": "echo", "summary": s, "description": everySpelling(s),
				"requestBody": map[string]any{"content": map[string]any{"application/json": map[string]any{"schema": schema}}},
				"responses":   map[string]any{"200": map[string]any{"description": s, "content": map[string]any{"application/json": map[string]any{"schema": true}}}},
			}},
			"/other": map[string]any{"get": map[string]any{"operationId": s, "tags": []any{s}, "responses": map[string]any{"200": map[string]any{"description": s}}}},
		},
	}
}

// serverThatEchoes is an MCP server whose tools, answers and errors hold what it was
// asked with.
func serverThatEchoes(s string, stream bool) http.Handler {
	server := sdk.NewServer(&sdk.Implementation{Name: "Echo " + s, Version: s}, &sdk.ServerOptions{Instructions: everySpelling(s)})
	schema := json.RawMessage(`{"type":"object"}`)
	tool := func(name string, do func() (*sdk.CallToolResult, error)) {
		server.AddTool(&sdk.Tool{Name: name, Title: s, Description: "you sent " + everySpelling(s), InputSchema: schema}, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			return do()
		})
	}
	content := []sdk.Content{&sdk.TextContent{Text: everySpelling(s)}}
	tool("echo", func() (*sdk.CallToolResult, error) {
		return &sdk.CallToolResult{Content: content, StructuredContent: inEverySpelling(s)}, nil
	})
	tool("fail", func() (*sdk.CallToolResult, error) { return &sdk.CallToolResult{Content: content, IsError: true}, nil })
	tool("break", func() (*sdk.CallToolResult, error) { return nil, errors.New("no tool for " + everySpelling(s)) })
	return sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, &sdk.StreamableHTTPOptions{Stateless: true, JSONResponse: !stream})
}
