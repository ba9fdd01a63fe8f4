package models

import (
	"slices"
	"time"

	"github.com/uptrace/bun"
)

// Workspace is a tenant. Everything else belongs to exactly one.
type Workspace struct {
	bun.BaseModel `bun:"table:workspaces"`

	ID        WorkspaceID `bun:"id,pk"`
	Name      string      `bun:"name"`
	CreatedAt time.Time   `bun:"created_at"`
}

// Scope is a permission a key may carry.
type Scope string

// The scopes of the API. ScopeAll stands for every one of them.
const (
	ScopeAll              Scope = "*"
	ScopeFlowsRead        Scope = "flows:read"
	ScopeFlowsWrite       Scope = "flows:write"
	ScopeRunsRead         Scope = "runs:read"
	ScopeRunsWrite        Scope = "runs:write"
	ScopeEventsWrite      Scope = "events:write"
	ScopeConnectionsWrite Scope = "connections:write"
	ScopeAdmin            Scope = "admin"
)

// Scopes lists every scope.
var Scopes = []Scope{ScopeAll, ScopeFlowsRead, ScopeFlowsWrite, ScopeRunsRead, ScopeRunsWrite, ScopeEventsWrite, ScopeConnectionsWrite, ScopeAdmin}

// APIKey lets a client act in one workspace. Only a hash of its secret is kept.
type APIKey struct {
	bun.BaseModel `bun:"table:api_keys"`

	WorkspaceID WorkspaceID `bun:"workspace_id,pk"`
	ID          KeyID       `bun:"id,pk"`
	Prefix      string      `bun:"prefix"` // eight characters, unique everywhere: the way to find the row
	Hash        []byte      `bun:"hash"`   // SHA-256 of the secret: it has 190 random bits, so a slow hash adds nothing
	Name        string      `bun:"name"`
	Scopes      []Scope     `bun:"scopes,type:json"`
	CreatedAt   time.Time   `bun:"created_at"`
	LastUsedAt  *time.Time  `bun:"last_used_at"`
	ExpiresAt   *time.Time  `bun:"expires_at"`
	RevokedAt   *time.Time  `bun:"revoked_at"`
}

// Allows tells whether the key carries scope s.
func (k *APIKey) Allows(s Scope) bool {
	return slices.Contains(k.Scopes, ScopeAll) || slices.Contains(k.Scopes, s)
}

// Live tells whether the key may be used at now.
func (k *APIKey) Live(now time.Time) bool {
	return k.RevokedAt == nil && (k.ExpiresAt == nil || now.Before(*k.ExpiresAt))
}
