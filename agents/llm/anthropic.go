package llm

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
)

// Anthropic asks by the messages protocol.
type Anthropic struct{ wire wire }

var _ Vendor = (*Anthropic)(nil)

const anthropicVersion = "2023-06-01"

// NewAnthropic makes an Anthropic; client sends its requests.
func NewAnthropic(client *egress.Client) *Anthropic {
	return &Anthropic{wire{client, func(req *http.Request, c *connectors.Connection) {
		req.Header.Set("Anthropic-Version", anthropicVersion)
		if c.Auth.Type == connectors.AuthBearer { // the vendor wants its keys in a place of its own
			c.Auth = connectors.Auth{Type: connectors.AuthHeader, Name: "X-Api-Key"}
			c.Secrets = map[string]string{connectors.SecretValue: c.Secrets[connectors.SecretToken]}
		}
	}}}
}

type anthropicRequest struct {
	Model       string             `json:"model"`
	MaxTokens   int                `json:"max_tokens"`
	System      string             `json:"system,omitempty"`
	Messages    []anthropicMessage `json:"messages"`
	Tools       []anthropicTool    `json:"tools,omitempty"`
	Temperature *float64           `json:"temperature,omitempty"`
	Stream      bool               `json:"stream,omitempty"`
}

type anthropicMessage struct {
	Role    string           `json:"role"`
	Content []anthropicBlock `json:"content"`
}

type anthropicBlock struct {
	Type      string          `json:"type"`
	Text      string          `json:"text,omitempty"`
	ID        string          `json:"id,omitempty"`
	Name      string          `json:"name,omitempty"`
	Input     json.RawMessage `json:"input,omitempty"`
	ToolUseID string          `json:"tool_use_id,omitempty"`
	Content   string          `json:"content,omitempty"`
	IsError   bool            `json:"is_error,omitempty"`
}

type anthropicTool struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	InputSchema json.RawMessage `json:"input_schema"`
}

type anthropicUsage struct {
	InputTokens   *int64 `json:"input_tokens"`
	CacheCreation int64  `json:"cache_creation_input_tokens"`
	CacheRead     int64  `json:"cache_read_input_tokens"`
	OutputTokens  int64  `json:"output_tokens"`
}

type anthropicAnswer struct {
	Model      string           `json:"model"`
	Content    []anthropicBlock `json:"content"`
	StopReason string           `json:"stop_reason"`
	Usage      *anthropicUsage  `json:"usage"`
}

type anthropicEvent struct {
	Type    string          `json:"type"`
	Index   int             `json:"index"`
	Message anthropicAnswer `json:"message"`
	Block   anthropicBlock  `json:"content_block"`
	Delta   struct {
		Type        string `json:"type"`
		Text        string `json:"text"`
		PartialJSON string `json:"partial_json"`
		StopReason  string `json:"stop_reason"`
	} `json:"delta"`
	Usage *anthropicUsage `json:"usage"`
	Error struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	} `json:"error"`
}

// Ask sends one turn.
func (o *Anthropic) Ask(ctx context.Context, c *connectors.Connection, key string, q Question, text func(string)) (*Answer, error) {
	resp, sent, err := o.wire.send(ctx, c, http.MethodPost, "/v1/messages", key, anthropicBody(q))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &Answer{Model: q.Model}
	if isStream(resp) {
		err = a.anthropicStream(ctx, resp, text)
	} else {
		err = a.anthropicWhole(ctx, resp, text)
	}
	if err != nil {
		return nil, err
	}
	a.guess(sent)
	a.settle()
	return a, nil
}

func anthropicBody(q Question) *anthropicRequest {
	body := &anthropicRequest{Model: q.Model, MaxTokens: q.MaxTokens, System: q.System, Temperature: q.Temperature, Stream: q.Stream}
	for _, m := range q.Messages {
		body.Messages = append(body.Messages, anthropicMessageOf(m))
	}
	for _, t := range q.Tools {
		body.Tools = append(body.Tools, anthropicTool{t.Name, t.Description, t.Input})
	}
	return body
}

func anthropicMessageOf(m Message) anthropicMessage {
	out := anthropicMessage{Role: "user"}
	if m.Role == RoleAssistant {
		out.Role = "assistant"
	}
	if m.Text != "" { // an empty block is refused
		out.Content = append(out.Content, anthropicBlock{Type: "text", Text: m.Text})
	}
	for _, c := range m.Calls {
		input := json.RawMessage(c.Arguments)
		if !isObject(input) { // it has to be one; the result tells the model what was wrong
			input = json.RawMessage("{}")
		}
		out.Content = append(out.Content, anthropicBlock{Type: "tool_use", ID: c.ID, Name: c.Name, Input: input})
	}
	for _, r := range m.Results {
		out.Content = append(out.Content, anthropicBlock{Type: "tool_result", ToolUseID: r.ID, Content: r.Content, IsError: r.Failed})
	}
	if len(out.Content) == 0 {
		out.Content = []anthropicBlock{{Type: "text", Text: "(nothing)"}}
	}
	return out
}

func isObject(raw json.RawMessage) bool {
	return json.Valid(raw) && strings.HasPrefix(strings.TrimSpace(string(raw)), "{")
}

func (a *Answer) anthropicWhole(ctx context.Context, resp *http.Response, text func(string)) error {
	var in anthropicAnswer
	if err := decode(ctx, resp, &in); err != nil {
		return err
	}
	if in.StopReason == "" {
		return connectors.Permanent(connectors.CodeBadResponse, "the model's server did not answer in its protocol")
	}
	if in.Model != "" {
		a.Model = in.Model
	}
	for _, b := range in.Content {
		switch b.Type {
		case "text":
			a.Text += b.Text
		case "tool_use":
			a.Calls = append(a.Calls, Call{ID: b.ID, Name: b.Name, Arguments: string(b.Input)})
		}
	}
	a.anthropicUsage(in.Usage)
	a.anthropicStop(in.StopReason)
	if text != nil && a.Text != "" {
		text(a.Text)
	}
	return nil
}

// anthropicUsage takes numbers in; in a stream they come twice, and the later ones
// count.
func (a *Answer) anthropicUsage(u *anthropicUsage) {
	if u == nil {
		return
	}
	if u.InputTokens != nil {
		a.Usage.Input = *u.InputTokens + u.CacheCreation + u.CacheRead
		a.Usage.Cached = u.CacheRead
	}
	a.Usage.Output = u.OutputTokens
}

func (a *Answer) anthropicStop(reason string) {
	switch reason {
	case "tool_use":
		a.Stop = StopCalls
	case "max_tokens", "model_context_window_exceeded":
		a.Stop = StopLength
	case "refusal":
		a.Stop = StopRefused
	default:
		a.Stop = StopDone
	}
}

func (a *Answer) anthropicStream(ctx context.Context, resp *http.Response, text func(string)) error {
	var (
		words  strings.Builder
		calls  partial
		reason string
	)
	err := readEvents(ctx, resp.Body, func(data []byte) error {
		var e anthropicEvent
		if json.Unmarshal(data, &e) != nil {
			return connectors.Permanent(connectors.CodeBadResponse, "the model's server did not stream in its protocol")
		}
		switch e.Type {
		case "message_start":
			if e.Message.Model != "" {
				a.Model = e.Message.Model
			}
			a.anthropicUsage(e.Message.Usage)
		case "content_block_start":
			if e.Block.Type == "tool_use" {
				call := calls.at(e.Index)
				call.ID, call.Name = e.Block.ID, e.Block.Name
			}
		case "content_block_delta":
			switch e.Delta.Type {
			case "text_delta":
				words.WriteString(e.Delta.Text)
				if text != nil && e.Delta.Text != "" {
					text(e.Delta.Text)
				}
			case "input_json_delta":
				calls.at(e.Index).Arguments += e.Delta.PartialJSON
			}
		case "message_delta":
			if e.Delta.StopReason != "" {
				reason = e.Delta.StopReason
			}
			a.anthropicUsage(e.Usage)
		case "message_stop":
			return errEnough
		case "error":
			return anthropicFailure(e.Error.Type, e.Error.Message)
		}
		return nil // pings, ends of blocks, and what is yet to be invented
	})
	if err != nil {
		return err
	}
	if reason == "" {
		return connectors.Retryable(connectors.CodeBadResponse, "the model's server ended its answer without saying why")
	}
	a.Text, a.Calls = words.String(), calls.all()
	for i := range a.Calls {
		if a.Calls[i].Arguments == "" { // a tool that takes nothing
			a.Calls[i].Arguments = "{}"
		}
	}
	a.anthropicStop(reason)
	return nil
}

// anthropicFailure is an error in the middle of a stream: the status that would have
// told of it is long sent.
func anthropicFailure(kind, message string) error {
	switch kind {
	case "invalid_request_error", "authentication_error", "permission_error", "not_found_error", "request_too_large":
		return connectors.Permanent(CodeModelFailed, "the model's server failed: %s", message)
	}
	return connectors.Retryable(CodeModelFailed, "the model's server failed: %s", message)
}

// Models lists the models.
func (o *Anthropic) Models(ctx context.Context, c *connectors.Connection) ([]string, error) {
	return o.wire.models(ctx, c, "/v1/models")
}
