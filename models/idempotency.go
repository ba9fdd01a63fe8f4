package models

import (
	"time"

	"github.com/uptrace/bun"
)

// IdempotencyKey remembers the answer to a POST, so that repeating it has no
// second effect.
type IdempotencyKey struct {
	bun.BaseModel `bun:"table:idempotency_keys"`

	WorkspaceID WorkspaceID `bun:"workspace_id,pk"`
	Route       string      `bun:"route,pk"` // method and path, ids included
	Key         string      `bun:"key,pk"`
	BodyHash    []byte      `bun:"body_hash"`
	Seed        []byte      `bun:"seed"`         // ids made while answering come from it, so a repeat after a crash makes the same ones
	LockedUntil time.Time   `bun:"locked_until"` // while an answer is being made; after that another request may make it
	Status      int         `bun:"status"`       // of the answer; 0 until there is one
	Headers     []byte      `bun:"headers"`
	Body        []byte      `bun:"body"`
	CreatedAt   time.Time   `bun:"created_at"`
}
