package models

import (
	"encoding/json"
	"time"

	"github.com/uptrace/bun"
)

// ConnectorKind says what a registered connector was made of.
type ConnectorKind string

// The kinds of registered connectors.
const (
	ConnectorOpenAPI ConnectorKind = "openapi" // a document
	ConnectorMCP     ConnectorKind = "mcp"     // a server and its tools
)

// ConnectorKinds lists every kind.
var ConnectorKinds = []ConnectorKind{ConnectorOpenAPI, ConnectorMCP}

// Connector is a connector that a workspace has registered. Those that are built in
// are part of the program.
type Connector struct {
	bun.BaseModel `bun:"table:connectors"`

	WorkspaceID WorkspaceID     `bun:"workspace_id,pk"`
	Slug        string          `bun:"slug,pk"`
	ID          ConnectorID     `bun:"id"`
	Kind        ConnectorKind   `bun:"kind"`
	Name        string          `bun:"name"`
	Description string          `bun:"description"`
	Config      json.RawMessage `bun:"config,type:json"`
	// Connection is the id of the one that is used where none is named; empty: none.
	Connection string `bun:"connection"`
	// Version counts the changes, so that a copy in memory is known to be old.
	Version int `bun:"version"`
	// ActionCount is how many actions it has.
	ActionCount int `bun:"action_count"`
	// Compiled is what the kind made of the description. Lists leave it out.
	Compiled  []byte    `bun:"compiled"`
	CreatedAt time.Time `bun:"created_at"`
	UpdatedAt time.Time `bun:"updated_at"`
}
