package models

import (
	"encoding/json"
	"time"

	"github.com/uptrace/bun"
)

// TemplateStatus is where a template stands.
type TemplateStatus string

// The states of a template.
const (
	TemplatePublished  TemplateStatus = "published"
	TemplateDraft      TemplateStatus = "draft"
	TemplateDeprecated TemplateStatus = "deprecated"
)

// TemplateStatuses lists every state of a template.
var TemplateStatuses = []TemplateStatus{TemplatePublished, TemplateDraft, TemplateDeprecated}

// Template is one version of a workflow to be copied, published by a workspace.
// Those that are built in are data of package templates.
type Template struct {
	bun.BaseModel `bun:"table:templates"`

	WorkspaceID  WorkspaceID      `bun:"workspace_id,pk"`
	Slug         string           `bun:"slug,pk"`
	Version      int              `bun:"version,pk"`
	Name         string           `bun:"name"`
	Description  string           `bun:"description"`
	Category     string           `bun:"category"`
	Status       TemplateStatus   `bun:"status"`
	TriggerTypes []string         `bun:"trigger_types,type:json"`
	Document     TemplateDocument `bun:"document,type:json"`
	CreatedAt    time.Time        `bun:"created_at"`
	// FirstAt is when the first version was published: a template keeps its place in
	// the list. It is read with the row, not kept in it.
	FirstAt time.Time `bun:"first_at,scanonly"`
}

// TemplateDocument is what a template copies. {{ inputs.x }} in it is filled in at
// creation; everything else stays for run time.
type TemplateDocument struct {
	Inputs      json.RawMessage   `json:"inputs,omitempty"` // JSON Schema of what has to be given
	Graph       json.RawMessage   `json:"graph"`
	InputSchema json.RawMessage   `json:"input_schema,omitempty"`
	Output      json.RawMessage   `json:"output,omitempty"`
	Settings    json.RawMessage   `json:"settings,omitempty"`
	Triggers    []json.RawMessage `json:"triggers,omitempty"` // bodies of triggers, without workflow_id
	Requires    Requirements      `json:"requires"`
	// Request names the request that published it, so that it does so once when it is
	// repeated.
	Request string `json:"request,omitempty"`
}

// Requirements are what a workspace must have before a template can be used.
type Requirements struct {
	Connectors []string `json:"connectors"`
	Agents     []string `json:"agents"`
}
