package models

import (
	"encoding/json"
	"time"

	"github.com/uptrace/bun"
)

// ConnectionStatus is what is known of a connection's credentials.
type ConnectionStatus string

// The statuses of connections.
const (
	ConnectionUnknown      ConnectionStatus = "unknown"      // not tried since it was changed
	ConnectionOK           ConnectionStatus = "ok"           // the last try got through
	ConnectionFailing      ConnectionStatus = "failing"      // the last try did not get through, for reasons that may pass
	ConnectionUnauthorized ConnectionStatus = "unauthorized" // the other side does not take the credentials
)

// ConnectionStatuses lists every status of a connection.
var ConnectionStatuses = []ConnectionStatus{ConnectionUnknown, ConnectionOK, ConnectionFailing, ConnectionUnauthorized}

// Connection is an account of a workspace at another side. What is secret of it is
// sealed; see package connections.
type Connection struct {
	bun.BaseModel `bun:"table:connections"`

	WorkspaceID WorkspaceID     `bun:"workspace_id,pk"`
	ID          ConnectionID    `bun:"id,pk"`
	Connector   string          `bun:"connector"`
	Name        string          `bun:"name"`
	Config      json.RawMessage `bun:"config,type:json"`

	// Secrets holds all secrets by name, sealed as one.
	Secrets     []byte   `bun:"secrets,nullzero"`
	SecretNames []string `bun:"secret_names,type:json"`

	// Token is what OAuth 2.0 gave, sealed. TokenVersion counts how often it was
	// replaced. Who holds RefreshLease until RefreshUntil alone may ask for another.
	Token          []byte     `bun:"token,nullzero"`
	TokenExpiresAt *time.Time `bun:"token_expires_at"`
	TokenVersion   int64      `bun:"token_version"`
	RefreshLease   string     `bun:"refresh_lease"`
	RefreshUntil   *time.Time `bun:"refresh_until"`

	// StateHash finds the connection that somebody is being sent away to authorise;
	// Pending holds, sealed, what has to be known when they come back.
	StateHash      []byte     `bun:"state_hash,nullzero"`
	Pending        []byte     `bun:"pending,nullzero"`
	StateExpiresAt *time.Time `bun:"state_expires_at"`

	Status        ConnectionStatus `bun:"status"`
	LastCheckedAt *time.Time       `bun:"last_checked_at"`
	LastError     string           `bun:"last_error"` // a code
	CreatedAt     time.Time        `bun:"created_at"`
	UpdatedAt     time.Time        `bun:"updated_at"`
}
