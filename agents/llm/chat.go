package llm

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/10ex/flows/connectors"
)

// Vendor is a protocol by which models are asked.
type Vendor interface {
	// Ask sends one turn over a connection and gives the whole answer. text, which may
	// be nil, hears the answer's words as they come. key names the turn to servers
	// that know the Idempotency-Key header. An error is a *connectors.Error.
	Ask(ctx context.Context, c *connectors.Connection, key string, q Question, text func(string)) (*Answer, error)
	// Models lists the models that the connection may use.
	Models(ctx context.Context, c *connectors.Connection) ([]string, error)
}

// Role says whose message it is.
type Role string

// The roles. What tools gave is in messages of RoleTools.
const (
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleTools     Role = "tools"
)

// Message is a part of a conversation.
type Message struct {
	Role    Role     `json:"role"`
	Text    string   `json:"text,omitempty"`
	Calls   []Call   `json:"calls,omitempty"`   // of the assistant
	Results []Result `json:"results,omitempty"` // of tools, one for each call before
}

// Call is the model's wish to use a tool.
type Call struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Arguments is what the model wrote; it need not be JSON.
	Arguments string `json:"arguments"`
}

// Result is what a tool gave.
type Result struct {
	ID      string `json:"id"` // of the call
	Content string `json:"content"`
	Failed  bool   `json:"failed,omitempty"`
}

// Tool is what the model is told of a tool.
type Tool struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Input       json.RawMessage `json:"input"` // JSON Schema of an object
}

// Question is all that a model is sent for one turn.
type Question struct {
	Model       string    `json:"model"`
	System      string    `json:"system,omitempty"`
	Messages    []Message `json:"messages"`
	Tools       []Tool    `json:"tools,omitempty"`
	MaxTokens   int       `json:"max_tokens"` // of the answer
	Temperature *float64  `json:"temperature,omitempty"`
	// Output is the JSON Schema that the last answer has to fit; empty: any text will
	// do. Vendors that can hold a model to it do so.
	Output json.RawMessage `json:"output,omitempty"`
	// Stream asks for the answer bit by bit.
	Stream bool `json:"stream,omitempty"`
}

// Stop says why an answer ends.
type Stop string

// Why an answer ends.
const (
	StopDone    Stop = "done"
	StopCalls   Stop = "calls"   // it waits for tools
	StopLength  Stop = "length"  // MaxTokens was reached
	StopRefused Stop = "refused" // the vendor or the model would not go on
)

// Answer is what a model gave for one turn.
type Answer struct {
	Text  string `json:"text"`
	Calls []Call `json:"calls,omitempty"`
	Stop  Stop   `json:"stop"`
	Model string `json:"model"`
	Usage Usage  `json:"usage"`
}

// Usage is what a turn took.
type Usage struct {
	Input  int64 `json:"input"` // all tokens sent, the cached ones included
	Cached int64 `json:"cached,omitempty"`
	Output int64 `json:"output"`
	// Estimated says that the server did not count, and that the numbers are our guess.
	Estimated bool `json:"estimated,omitempty"`
}

// guess fills in for a server that does not count: about four bytes make a token.
func (a *Answer) guess(sent int) {
	// What a server counts is paid for as it says, but no budget grows by it.
	const most = 1 << 40
	a.Usage.Input, a.Usage.Output = min(max(a.Usage.Input, 0), most), min(max(a.Usage.Output, 0), most)
	a.Usage.Cached = min(max(a.Usage.Cached, 0), a.Usage.Input)
	if a.Usage.Input > 0 || a.Usage.Output > 0 {
		return
	}
	size := len(a.Text)
	for _, c := range a.Calls {
		size += len(c.Name) + len(c.Arguments)
	}
	a.Usage = Usage{Input: int64(sent/4 + 1), Output: int64(size/4 + 1), Estimated: true}
}

// settle gives calls the names they need and the answer its reason to end.
func (a *Answer) settle() {
	for i := range a.Calls {
		if a.Calls[i].ID == "" { // some servers leave it out
			a.Calls[i].ID = fmt.Sprintf("call_%d", i+1)
		}
	}
	if len(a.Calls) > 0 && a.Stop == StopDone {
		a.Stop = StopCalls // some servers say stop
	}
}

// CodeModelFailed is the code of an answer that broke off with the server's word that
// it failed.
const CodeModelFailed = "model_failed"
