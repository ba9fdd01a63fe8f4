package llmtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

type anthropicBlock struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"`
	Content   string          `json:"content"`
}

func readAnthropic(body []byte) (Asked, error) {
	var in struct {
		Model     string `json:"model"`
		MaxTokens int    `json:"max_tokens"`
		System    string `json:"system"`
		Messages  []struct {
			Role    string           `json:"role"`
			Content []anthropicBlock `json:"content"`
		} `json:"messages"`
		Tools []struct {
			Name   string `json:"name"`
			Schema struct {
				Type string `json:"type"`
			} `json:"input_schema"`
		} `json:"tools"`
		Stream bool `json:"stream"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return Asked{}, err
	}
	a := Asked{Protocol: "anthropic", Turn: 1, Model: in.Model, MaxTokens: in.MaxTokens, System: in.System, Stream: in.Stream}
	if in.Model == "" || in.MaxTokens < 1 || len(in.Messages) == 0 {
		return a, fmt.Errorf("model, max_tokens and messages: field required")
	}
	for i, t := range in.Tools {
		if t.Schema.Type != "object" {
			return a, fmt.Errorf("tools.%d.input_schema.type: field required", i)
		}
		a.Tools = append(a.Tools, t.Name)
	}
	role, open := "", []string(nil)
	for i, m := range in.Messages {
		if m.Role == role || i == 0 && m.Role != "user" || len(m.Content) == 0 {
			return a, fmt.Errorf("messages.%d: roles must alternate, and have content", i)
		}
		role = m.Role
		if role == "assistant" {
			a.Turn++
		}
		a.Results = nil
		for _, b := range m.Content {
			switch {
			case b.Type == "text" && b.Text != "":
				if role == "user" {
					a.Last = b.Text
				}
			case b.Type == "tool_use" && role == "assistant" && len(b.Input) > 0 && b.Input[0] == '{':
				open = append(open, b.ID)
			case b.Type == "tool_result" && role == "user" && slices.Contains(open, b.ToolUseID):
				open = slices.DeleteFunc(open, func(id string) bool { return id == b.ToolUseID })
				a.Results = append(a.Results, b.Content)
			default:
				return a, fmt.Errorf("messages.%d: a block %q cannot stand here", i, b.Type)
			}
		}
		if role == "user" && len(open) > 0 {
			return a, fmt.Errorf("messages.%d: tool_use ids were found without tool_result blocks: %v", i, open)
		}
	}
	return a, nil
}

func stopAnthropic(r Reply) string {
	switch {
	case r.Length:
		return "max_tokens"
	case r.Refused:
		return "refusal"
	case len(r.Calls) > 0:
		return "tool_use"
	}
	return "end_turn"
}

func useID(a Asked, i int) string { return fmt.Sprintf("toolu_%d_%d", a.Turn, i) }

func wholeAnthropic(a Asked, r Reply) any {
	content := []any{}
	if r.Text != "" {
		content = append(content, map[string]any{"type": "text", "text": r.Text})
	}
	for i, c := range r.Calls {
		content = append(content, map[string]any{"type": "tool_use", "id": useID(a, i), "name": c.Name, "input": json.RawMessage(c.Arguments)})
	}
	return map[string]any{
		"id": "msg_1", "type": "message", "role": "assistant", "model": r.model(a), "content": content,
		"stop_reason": stopAnthropic(r), "stop_sequence": nil,
		"usage": map[string]int{"input_tokens": r.Input, "output_tokens": r.Output},
	}
}

func streamAnthropic(w http.ResponseWriter, req *http.Request, a Asked, r Reply) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	send := func(kind string, more map[string]any) {
		more["type"] = kind
		event(w, kind, more)
	}
	send("message_start", map[string]any{"message": map[string]any{
		"id": "msg_1", "type": "message", "role": "assistant", "model": r.model(a), "content": []any{},
		"stop_reason": nil, "stop_sequence": nil, "usage": map[string]int{"input_tokens": r.Input, "output_tokens": 1},
	}})
	send("ping", map[string]any{})
	index := 0
	if r.Text != "" {
		send("content_block_start", map[string]any{"index": index, "content_block": map[string]any{"type": "text", "text": ""}})
		for _, p := range pieces(r.Text) {
			send("content_block_delta", map[string]any{"index": index, "delta": map[string]any{"type": "text_delta", "text": p}})
		}
		if r.Hold != nil && !wait(req, r.Hold) {
			return
		}
		send("content_block_stop", map[string]any{"index": index})
		index++
	}
	if r.Fail {
		send("error", map[string]any{"error": map[string]any{"type": "overloaded_error", "message": "Overloaded"}})
		return
	}
	if r.Break {
		return
	}
	for i, c := range r.Calls {
		send("content_block_start", map[string]any{"index": index, "content_block": map[string]any{
			"type": "tool_use", "id": useID(a, i), "name": c.Name, "input": map[string]any{},
		}})
		if c.Arguments != "{}" {
			for _, p := range append([]string{""}, pieces(c.Arguments)...) {
				send("content_block_delta", map[string]any{"index": index, "delta": map[string]any{"type": "input_json_delta", "partial_json": p}})
			}
		}
		send("content_block_stop", map[string]any{"index": index})
		index++
	}
	send("message_delta", map[string]any{
		"delta": map[string]any{"stop_reason": stopAnthropic(r), "stop_sequence": nil}, "usage": map[string]int{"output_tokens": r.Output},
	})
	send("message_stop", map[string]any{})
}
