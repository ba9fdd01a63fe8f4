package agents

import (
	"encoding/json"

	"github.com/10ex/flows/connectors"
)

// Agent is an agent as a workspace has saved it.
type Agent struct {
	Slug, Name, Kind string
	// Connection is the id of the one it acts through; empty: none.
	Connection string
	// Config depends on Kind; Runner.Check checks it.
	Config json.RawMessage
	// InputSchema and OutputSchema are JSON Schemas; empty ones allow anything.
	InputSchema, OutputSchema json.RawMessage
}

// Kinds of agents.
const (
	// KindHTTP is an agent behind a URL.
	KindHTTP = "http"
	// KindLLM is a language model with instructions and tools.
	KindLLM = "llm"
	// KindPlatform is an agent of the 10ex platform.
	KindPlatform = "platform"
)

// Request is that of connectors; an agent ignores Action.
type Request = connectors.Request

// Response is that of connectors.
type Response = connectors.Response

// Kinds lists the kinds that can be run, in order of name.
func Kinds() []string { return []string{KindHTTP, KindLLM, KindPlatform} }
