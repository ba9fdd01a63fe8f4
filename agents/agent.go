package agents

import (
	"encoding/json"

	"github.com/10ex/flows/connectors"
)

// Agent is an agent as a workspace has saved it.
type Agent struct {
	Slug, Name, Kind string
	// Config depends on Kind; ValidateConfig checks it.
	Config json.RawMessage
	// InputSchema and OutputSchema are JSON Schemas; empty ones allow anything.
	InputSchema, OutputSchema json.RawMessage
}

// Kinds of agents.
const (
	KindHTTP = "http"
)

// Request is that of connectors; an agent ignores Action.
type Request = connectors.Request

// Response is that of connectors.
type Response = connectors.Response

// Kinds lists the kinds that can be run, in order of name.
func Kinds() []string { return []string{KindHTTP} }
