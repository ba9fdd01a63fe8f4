package models

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// Workflow is a named graph in a workspace, through all its versions.
type Workflow struct {
	bun.BaseModel `bun:"table:workflows"`

	WorkspaceID WorkspaceID    `bun:"workspace_id,pk"`
	ID          WorkflowID     `bun:"id,pk"`
	Name        string         `bun:"name"`
	Description string         `bun:"description"`
	Status      WorkflowStatus `bun:"status"`
	Version     int            `bun:"version"`      // the current one
	LastVersion int            `bun:"last_version"` // the highest ever made; numbers are not used twice
	Tags        []string       `bun:"tags,type:json"`
	Template    *TemplateRef   `bun:"template,type:json"`
	Revision    int64          `bun:"revision"` // counts every change: the ETag
	CreatedAt   time.Time      `bun:"created_at"`
	UpdatedAt   time.Time      `bun:"updated_at"`
}

// TemplateRef names the template a workflow was made from.
type TemplateRef struct {
	Slug    string `json:"slug"`
	Version int    `json:"version"`
}

// Version is one immutable state of a workflow's graph. Runs are pinned to the
// version they started with.
type Version struct {
	bun.BaseModel `bun:"table:workflow_versions"`

	WorkspaceID WorkspaceID     `bun:"workspace_id,pk"`
	WorkflowID  WorkflowID      `bun:"workflow_id,pk"`
	Number      int             `bun:"number,pk"`
	Graph       *Graph          `bun:"graph,type:json"`
	InputSchema json.RawMessage `bun:"input_schema,type:json,nullzero"`
	Output      json.RawMessage `bun:"output,type:json,nullzero"`
	Settings    json.RawMessage `bun:"settings,type:json,nullzero"`
	Hash        string          `bun:"hash"` // of graph, schema, output and settings: the same content makes no new version
	CreatedAt   time.Time       `bun:"created_at"`
	ArchivedAt  *time.Time      `bun:"archived_at"`
}

// ContentHash is the same for versions with the same content, however it was
// spaced.
func (v *Version) ContentHash() (string, error) {
	b, err := json.Marshal([]any{v.Graph, v.InputSchema, v.Output, v.Settings})
	if err != nil {
		return "", fmt.Errorf("content of version: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
