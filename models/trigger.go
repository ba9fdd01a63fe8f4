package models

import (
	"encoding/json"
	"time"

	"github.com/uptrace/bun"
)

// TriggerKind is what a trigger listens to. TriggerType says it of a run.
type TriggerKind string

// The kinds of triggers.
const (
	TriggerOnEvent    TriggerKind = "event"
	TriggerOnSchedule TriggerKind = "schedule"
	TriggerOnWebhook  TriggerKind = "webhook"
)

// TriggerKinds lists every kind of trigger.
var TriggerKinds = []TriggerKind{TriggerOnEvent, TriggerOnSchedule, TriggerOnWebhook}

// TargetType is what a trigger does when it fires.
type TargetType string

// The targets of triggers.
const (
	TargetWorkflow TargetType = "workflow" // start a run
	TargetWebhook  TargetType = "webhook"  // tell an address outside
)

// TargetTypes lists every target of triggers.
var TargetTypes = []TargetType{TargetWorkflow, TargetWebhook}

// MissedPolicy is what becomes of ticks that were due while nobody was there.
type MissedPolicy string

// The policies for missed ticks.
const (
	MissedSkip   MissedPolicy = "skip"
	MissedLatest MissedPolicy = "latest"
	MissedAll    MissedPolicy = "all"
)

// MissedPolicies lists every policy for missed ticks.
var MissedPolicies = []MissedPolicy{MissedSkip, MissedLatest, MissedAll}

// VerifyKind is how a webhook that comes in proves where it comes from.
type VerifyKind string

// The kinds of proof.
const (
	VerifyNone     VerifyKind = "none"
	Verify10ex     VerifyKind = "10ex"
	VerifyStandard VerifyKind = "standard"
	VerifyGitHub   VerifyKind = "github"
	VerifyStripe   VerifyKind = "stripe"
	VerifySlack    VerifyKind = "slack"
)

// VerifyKinds lists every kind of proof.
var VerifyKinds = []VerifyKind{VerifyNone, Verify10ex, VerifyStandard, VerifyGitHub, VerifyStripe, VerifySlack}

// Trigger starts runs of a workflow, or tells an address outside, when something
// happens.
type Trigger struct {
	bun.BaseModel `bun:"table:triggers"`

	WorkspaceID WorkspaceID `bun:"workspace_id,pk"`
	ID          TriggerID   `bun:"id,pk"`
	Name        string      `bun:"name"`
	Type        TriggerKind `bun:"type"`
	TargetType  TargetType  `bun:"target_type"`
	WorkflowID  *WorkflowID `bun:"workflow_id"`

	// Of type event: which events.
	Source    string          `bun:"source"`     // empty: any
	EventType string          `bun:"event_type"` // exact, or a beginning with * after it
	Filter    string          `bun:"filter"`     // an expression; empty: all
	Payload   json.RawMessage `bun:"payload,type:json,nullzero"`
	Dedupe    *Dedupe         `bun:"dedupe,type:json"`

	// Of type schedule: when.
	Cron     string       `bun:"cron"`
	Timezone string       `bun:"timezone"`
	Missed   MissedPolicy `bun:"missed"`

	// URL is where a webhook goes out to.
	URL string `bun:"url"`
	// TokenHash finds the trigger a webhook comes in for.
	TokenHash []byte     `bun:"token_hash,nullzero"`
	Verify    VerifyKind `bun:"verify"`
	// Secret signs what goes out and proves what comes in, sealed. Until
	// OldSecretUntil the one before it counts as well.
	Secret         []byte     `bun:"secret,nullzero"`
	OldSecret      []byte     `bun:"old_secret,nullzero"`
	OldSecretUntil *time.Time `bun:"old_secret_until"`

	Enabled        bool       `bun:"enabled"`
	DisabledReason string     `bun:"disabled_reason"` // why it was disabled without being asked to
	LastFiredAt    *time.Time `bun:"last_fired_at"`
	NextFireAt     *time.Time `bun:"next_fire_at"` // of type schedule
	CreatedAt      time.Time  `bun:"created_at"`
	UpdatedAt      time.Time  `bun:"updated_at"`
}

// Dedupe lets a trigger fire once for a key within a window.
type Dedupe struct {
	Key    string `json:"key"`    // an expression
	Window string `json:"window"` // a duration
}

// TriggerKey is a key that made a trigger fire, and until when it does not again.
type TriggerKey struct {
	bun.BaseModel `bun:"table:trigger_keys"`

	WorkspaceID WorkspaceID `bun:"workspace_id,pk"`
	TriggerID   TriggerID   `bun:"trigger_id,pk"`
	Key         string      `bun:"key,pk"`
	EventID     EventID     `bun:"event_id"` // the one that fired
	Until       time.Time   `bun:"until"`
}

// TickOutcome is what became of a tick of a schedule.
type TickOutcome string

// The outcomes of ticks.
const (
	TickPending TickOutcome = "pending"
	TickFired   TickOutcome = "fired"
	TickIgnored TickOutcome = "ignored"
)

// TickOutcomes lists every outcome of a tick.
var TickOutcomes = []TickOutcome{TickPending, TickFired, TickIgnored}

// Tick is one time a schedule was due.
type Tick struct {
	bun.BaseModel `bun:"table:schedule_ticks"`

	WorkspaceID WorkspaceID `bun:"workspace_id,pk"`
	TriggerID   TriggerID   `bun:"trigger_id,pk"`
	DueAt       time.Time   `bun:"due_at,pk"`
	Outcome     TickOutcome `bun:"outcome"`
	Reason      string      `bun:"reason"`
	RunID       *RunID      `bun:"run_id"`
	AttendAt    *time.Time  `bun:"attend_at"` // when the sweep must look at a pending one
	CreatedAt   time.Time   `bun:"created_at"`
}
