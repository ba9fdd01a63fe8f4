package llm

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
)

// OpenAI asks by the chat completions protocol: OpenAI itself and the many servers
// that speak it as well.
type OpenAI struct{ wire wire }

var _ Vendor = (*OpenAI)(nil)

// openAIHost is the vendor's own server, which can do more than those that only
// speak like it.
const openAIHost = "api.openai.com"

// NewOpenAI makes an OpenAI; client sends its requests.
func NewOpenAI(client *egress.Client) *OpenAI {
	return &OpenAI{wire{client, func(*http.Request, *connectors.Connection) {}}}
}

type openAIRequest struct {
	Model    string          `json:"model"`
	Messages []openAIMessage `json:"messages"`
	Tools    []openAITool    `json:"tools,omitempty"`
	// The vendor's newer models know the second, other servers the first.
	MaxTokens           int              `json:"max_tokens,omitempty"`
	MaxCompletionTokens int              `json:"max_completion_tokens,omitempty"`
	Temperature         *float64         `json:"temperature,omitempty"`
	ResponseFormat      *responseFormat  `json:"response_format,omitempty"`
	Stream              bool             `json:"stream,omitempty"`
	StreamOptions       *json.RawMessage `json:"stream_options,omitempty"`
}

type responseFormat struct {
	Type   string         `json:"type"`
	Schema responseSchema `json:"json_schema"`
}

type responseSchema struct {
	Name   string          `json:"name"`
	Schema json.RawMessage `json:"schema"`
	Strict bool            `json:"strict"`
}

type openAIMessage struct {
	Role       string       `json:"role"`
	Content    *string      `json:"content"`
	ToolCalls  []openAICall `json:"tool_calls,omitempty"`
	ToolCallID string       `json:"tool_call_id,omitempty"`
	Refusal    string       `json:"refusal,omitempty"`
}

type openAICall struct {
	Index    int            `json:"index,omitempty"` // in streams
	ID       string         `json:"id,omitempty"`
	Type     string         `json:"type,omitempty"`
	Function openAIFunction `json:"function"`
}

type openAIFunction struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
}

type openAITool struct {
	Type     string `json:"type"`
	Function struct {
		Name        string          `json:"name"`
		Description string          `json:"description,omitempty"`
		Parameters  json.RawMessage `json:"parameters"`
	} `json:"function"`
}

type openAIAnswer struct {
	Model   string `json:"model"`
	Choices []struct {
		Message      openAIMessage `json:"message"`
		Delta        openAIMessage `json:"delta"`
		FinishReason string        `json:"finish_reason"`
	} `json:"choices"`
	Usage *struct {
		PromptTokens     int64 `json:"prompt_tokens"`
		CompletionTokens int64 `json:"completion_tokens"`
		Details          struct {
			CachedTokens int64 `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	} `json:"usage"`
	Error *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// Ask sends one turn.
func (o *OpenAI) Ask(ctx context.Context, c *connectors.Connection, key string, q Question, text func(string)) (*Answer, error) {
	resp, sent, err := o.wire.send(ctx, c, http.MethodPost, "/chat/completions", key, openAIBody(c, q))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &Answer{Model: q.Model}
	if isStream(resp) {
		err = a.openAIStream(ctx, resp, text)
	} else {
		err = a.openAIWhole(ctx, resp, text)
	}
	if err != nil {
		return nil, err
	}
	a.guess(sent)
	a.settle()
	return a, nil
}

func openAIBody(c *connectors.Connection, q Question) *openAIRequest {
	body := &openAIRequest{Model: q.Model, Temperature: q.Temperature, Stream: q.Stream}
	if vendorsOwn(c) {
		body.MaxCompletionTokens = q.MaxTokens
		if isObjectSchema(q.Output) {
			body.ResponseFormat = &responseFormat{"json_schema", responseSchema{Name: "output", Schema: q.Output}}
		}
	} else {
		body.MaxTokens = q.MaxTokens
	}
	if q.Stream {
		counted := json.RawMessage(`{"include_usage":true}`)
		body.StreamOptions = &counted
	}
	if q.System != "" {
		body.Messages = append(body.Messages, openAIMessage{Role: "system", Content: &q.System})
	}
	for _, m := range q.Messages {
		body.Messages = append(body.Messages, openAIMessages(m)...)
	}
	for _, t := range q.Tools {
		tool := openAITool{Type: "function"}
		tool.Function.Name, tool.Function.Description, tool.Function.Parameters = t.Name, t.Description, t.Input
		body.Tools = append(body.Tools, tool)
	}
	return body
}

func openAIMessages(m Message) []openAIMessage {
	switch m.Role {
	case RoleTools:
		var out []openAIMessage
		for _, r := range m.Results {
			out = append(out, openAIMessage{Role: "tool", ToolCallID: r.ID, Content: &r.Content})
		}
		return out
	case RoleAssistant:
		out := openAIMessage{Role: "assistant"}
		if m.Text != "" || len(m.Calls) == 0 {
			out.Content = &m.Text
		}
		for _, c := range m.Calls {
			out.ToolCalls = append(out.ToolCalls, openAICall{ID: c.ID, Type: "function", Function: openAIFunction{c.Name, c.Arguments}})
		}
		return []openAIMessage{out}
	case RoleUser:
	}
	return []openAIMessage{{Role: "user", Content: &m.Text}}
}

func vendorsOwn(c *connectors.Connection) bool {
	if c == nil {
		return false
	}
	u, err := url.Parse(c.BaseURL)
	return err == nil && strings.EqualFold(u.Hostname(), openAIHost)
}

// isObjectSchema tells whether a schema is of objects, the only ones that can be asked
// for by response_format.
func isObjectSchema(schema json.RawMessage) bool {
	var s struct {
		Type any `json:"type"`
	}
	return len(schema) > 0 && json.Unmarshal(schema, &s) == nil && s.Type == "object"
}

func (a *Answer) openAIWhole(ctx context.Context, resp *http.Response, text func(string)) error {
	var in openAIAnswer
	if err := decode(ctx, resp, &in); err != nil {
		return err
	}
	if in.Error != nil {
		return connectors.Retryable(CodeModelFailed, "the model's server failed: %s", in.Error.Message)
	}
	if len(in.Choices) == 0 {
		return connectors.Permanent(connectors.CodeBadResponse, "the model's server did not answer in its protocol")
	}
	m := in.Choices[0].Message
	if m.Content != nil {
		a.Text = *m.Content
	}
	for _, c := range m.ToolCalls {
		a.Calls = append(a.Calls, Call{ID: c.ID, Name: c.Function.Name, Arguments: c.Function.Arguments})
	}
	a.openAIUsage(&in)
	a.openAIStop(in.Choices[0].FinishReason, m.Refusal)
	if text != nil && a.Text != "" {
		text(a.Text)
	}
	return nil
}

func (a *Answer) openAIUsage(in *openAIAnswer) {
	if in.Model != "" {
		a.Model = in.Model
	}
	if in.Usage != nil {
		a.Usage = Usage{Input: in.Usage.PromptTokens, Cached: in.Usage.Details.CachedTokens, Output: in.Usage.CompletionTokens}
	}
}

func (a *Answer) openAIStop(reason, refusal string) {
	switch {
	case refusal != "":
		a.Stop, a.Text = StopRefused, refusal
	case reason == "length":
		a.Stop = StopLength
	case reason == "content_filter":
		a.Stop = StopRefused
	case reason == "tool_calls":
		a.Stop = StopCalls
	default:
		a.Stop = StopDone
	}
}

func (a *Answer) openAIStream(ctx context.Context, resp *http.Response, text func(string)) error {
	var (
		words, refusal strings.Builder
		calls          partial
		reason         string
		last           int
		moved          = map[int]int{} // where calls really are, of a server that counts nothing
	)
	err := readEvents(ctx, resp.Body, func(data []byte) error {
		if string(data) == "[DONE]" {
			return errEnough
		}
		var in openAIAnswer
		if json.Unmarshal(data, &in) != nil {
			return connectors.Permanent(connectors.CodeBadResponse, "the model's server did not stream in its protocol")
		}
		if in.Error != nil {
			return connectors.Retryable(CodeModelFailed, "the model's server failed: %s", in.Error.Message)
		}
		a.openAIUsage(&in)
		if len(in.Choices) == 0 { // the last piece holds the usage alone
			return nil
		}
		choice := in.Choices[0]
		if choice.FinishReason != "" {
			reason = choice.FinishReason
		}
		refusal.WriteString(choice.Delta.Refusal)
		if piece := choice.Delta.Content; piece != nil && *piece != "" {
			words.WriteString(*piece)
			if text != nil {
				text(*piece)
			}
		}
		for _, piece := range choice.Delta.ToolCalls {
			index, elsewhere := moved[piece.Index]
			if !elsewhere {
				index = piece.Index
			}
			if have := calls.at(index); have.ID != "" && piece.ID != "" && have.ID != piece.ID {
				index = last + 1
				moved[piece.Index] = index
			}
			last = max(last, index)
			call := calls.at(index)
			if piece.ID != "" {
				call.ID = piece.ID
			}
			call.Name += piece.Function.Name
			call.Arguments += piece.Function.Arguments
		}
		return nil
	})
	if err != nil && reason == "" { // else all is said, and only the farewell is missing
		return err
	}
	if reason == "" {
		return connectors.Retryable(connectors.CodeBadResponse, "the model's server ended its answer without saying why")
	}
	a.Text, a.Calls = words.String(), calls.all()
	a.openAIStop(reason, refusal.String())
	return nil
}

// Models lists the models.
func (o *OpenAI) Models(ctx context.Context, c *connectors.Connection) ([]string, error) {
	return o.wire.models(ctx, c, "/models")
}
