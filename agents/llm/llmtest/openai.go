package llmtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

type openAIMessage struct {
	Role      string  `json:"role"`
	Content   *string `json:"content"`
	ToolCalls []struct {
		ID       string `json:"id"`
		Type     string `json:"type"`
		Function struct {
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
		} `json:"function"`
	} `json:"tool_calls"`
	ToolCallID string `json:"tool_call_id"`
}

func readOpenAI(body []byte) (Asked, error) {
	var in struct {
		Model    string          `json:"model"`
		Messages []openAIMessage `json:"messages"`
		Tools    []struct {
			Function struct {
				Name string `json:"name"`
			} `json:"function"`
		} `json:"tools"`
		MaxTokens     int  `json:"max_tokens"`
		MaxCompletion int  `json:"max_completion_tokens"`
		Stream        bool `json:"stream"`
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return Asked{}, err
	}
	a := Asked{Protocol: "openai", Turn: 1, Model: in.Model, MaxTokens: in.MaxTokens + in.MaxCompletion, Stream: in.Stream}
	if in.Model == "" || len(in.Messages) == 0 || in.Stream && !in.StreamOptions.IncludeUsage {
		return a, fmt.Errorf("model, messages and stream_options are needed")
	}
	for _, t := range in.Tools {
		a.Tools = append(a.Tools, t.Function.Name)
	}
	var open []string // calls that have no result yet
	for i, m := range in.Messages {
		if m.Role != "tool" && len(open) > 0 {
			return a, fmt.Errorf("messages.[%d]: tool_call_ids did not have response messages: %v", i, open)
		}
		switch m.Role {
		case "system":
			a.System = *m.Content
		case "user":
			a.Last, a.Results = *m.Content, nil
		case "assistant":
			a.Turn++
			a.Results = nil
			if m.Content == nil && len(m.ToolCalls) == 0 {
				return a, fmt.Errorf("messages.[%d]: content is needed", i)
			}
			for _, c := range m.ToolCalls {
				if c.Type != "function" || c.ID == "" || c.Function.Name == "" {
					return a, fmt.Errorf("messages.[%d]: not a call", i)
				}
				open = append(open, c.ID)
			}
		case "tool":
			at := slices.Index(open, m.ToolCallID)
			if at < 0 {
				return a, fmt.Errorf("messages.[%d]: there is no call %q", i, m.ToolCallID)
			}
			open = slices.Delete(open, at, at+1)
			a.Results = append(a.Results, *m.Content)
		default:
			return a, fmt.Errorf("messages.[%d]: role %q", i, m.Role)
		}
	}
	return a, nil
}

func finishOpenAI(r Reply) string {
	switch {
	case r.Length:
		return "length"
	case r.Refused:
		return "content_filter"
	case len(r.Calls) > 0:
		return "tool_calls"
	}
	return "stop"
}

func usageOpenAI(r Reply) any {
	if r.Uncounted {
		return nil
	}
	return map[string]any{
		"prompt_tokens": r.Input, "completion_tokens": r.Output, "total_tokens": r.Input + r.Output,
		"prompt_tokens_details": map[string]int{"cached_tokens": 0},
	}
}

func callID(a Asked, i int) string { return fmt.Sprintf("call_%d_%d", a.Turn, i) }

func wholeOpenAI(a Asked, r Reply) any {
	message := map[string]any{"role": "assistant", "content": r.Text, "refusal": nil}
	var calls []any
	for i, c := range r.Calls {
		calls = append(calls, map[string]any{
			"id": callID(a, i), "type": "function", "function": map[string]string{"name": c.Name, "arguments": c.Arguments},
		})
	}
	if len(calls) > 0 {
		message["tool_calls"] = calls
		if r.Text == "" {
			message["content"] = nil
		}
	}
	return map[string]any{
		"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": r.model(a),
		"choices": []any{map[string]any{"index": 0, "message": message, "logprobs": nil, "finish_reason": finishOpenAI(r)}},
		"usage":   usageOpenAI(r),
	}
}

func streamOpenAI(w http.ResponseWriter, req *http.Request, a Asked, r Reply) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	chunk := func(delta map[string]any, finish any) {
		event(w, "", map[string]any{
			"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": r.model(a), "usage": nil,
			"choices": []any{map[string]any{"index": 0, "delta": delta, "logprobs": nil, "finish_reason": finish}},
		})
	}
	chunk(map[string]any{"role": "assistant", "content": ""}, nil)
	for _, p := range pieces(r.Text) {
		chunk(map[string]any{"content": p}, nil)
	}
	if r.Hold != nil && !wait(req, r.Hold) {
		return
	}
	if r.Fail {
		event(w, "", map[string]any{"error": map[string]any{"message": "the engine is overloaded", "type": "server_error"}})
		return
	}
	if r.Break {
		return
	}
	for i, c := range r.Calls {
		for n, p := range append([]string{""}, pieces(c.Arguments)...) {
			call := map[string]any{"index": i, "function": map[string]any{"arguments": p}}
			if n == 0 {
				call["id"], call["type"], call["function"] = callID(a, i), "function", map[string]any{"name": c.Name, "arguments": ""}
			}
			chunk(map[string]any{"tool_calls": []any{call}}, nil)
		}
	}
	chunk(map[string]any{}, finishOpenAI(r))
	if !r.Uncounted {
		event(w, "", map[string]any{
			"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": r.model(a), "choices": []any{}, "usage": usageOpenAI(r),
		})
	}
	event(w, "", "[DONE]")
}
