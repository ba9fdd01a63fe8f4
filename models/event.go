package models

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

// SourceFlows is the source of events about runs. Nobody outside may use it.
const SourceFlows = "flows"

// MaxDepth is how long a chain of flows that start each other may become.
const MaxDepth = 10

// MaxEventType is how long the type of an event may be.
const MaxEventType = 200

var eventTypePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:/-]*$`)

// ValidEventType tells whether typ is made as the types of events are, of any length.
func ValidEventType(typ string) bool { return eventTypePattern.MatchString(typ) }

// ValidEventPattern tells whether what triggers and waits listen for can be the type of
// an event, or is the beginning of one with * after it.
func ValidEventPattern(pattern string) bool {
	beginning := strings.TrimSuffix(pattern, "*")
	return pattern == "*" || ValidEventType(beginning)
}

// Event is something that happened, here or outside. Source and ExternalID are
// how its sender names it: the same twice is one event.
type Event struct {
	bun.BaseModel `bun:"table:events"`

	WorkspaceID WorkspaceID     `bun:"workspace_id,pk"`
	ID          EventID         `bun:"id,pk"`
	ExternalID  string          `bun:"external_id"` // the id itself, where the sender gave none
	Source      string          `bun:"source"`
	Type        string          `bun:"type"`
	Data        json.RawMessage `bun:"data,type:json"`
	OccurredAt  time.Time       `bun:"occurred_at"`
	ReceivedAt  time.Time       `bun:"received_at"`
	RunID       *RunID          `bun:"run_id"`     // the run it tells of
	TriggerID   *TriggerID      `bun:"trigger_id"` // the inbound webhook it came by, which it is for
	Depth       int             `bun:"depth"`      // how many flows started each other before it
	AttendAt    *time.Time      `bun:"attend_at"`  // when the sweep must match it; nil when that is done
	Tries       int             `bun:"tries"`      // how often the sweep had to
	// ClaimedUntil is until when whoever matches it has it alone; nil when nobody does.
	ClaimedUntil *time.Time `bun:"claimed_until"`
}

// MatchOutcome is what an event meant to a trigger.
type MatchOutcome string

// The outcomes of matching. Triggers that an event's type and source do not
// concern leave no trace.
const (
	MatchFired   MatchOutcome = "fired"
	MatchIgnored MatchOutcome = "ignored"
)

// MatchOutcomes lists every outcome of matching.
var MatchOutcomes = []MatchOutcome{MatchFired, MatchIgnored}

// Match is what became of an event at a trigger.
type Match struct {
	bun.BaseModel `bun:"table:event_matches"`

	WorkspaceID WorkspaceID  `bun:"workspace_id,pk"`
	EventID     EventID      `bun:"event_id,pk"`
	TriggerID   TriggerID    `bun:"trigger_id,pk"`
	Outcome     MatchOutcome `bun:"outcome"`
	Reason      string       `bun:"reason"`
	RunID       *RunID       `bun:"run_id"`
	DeliveryID  *DeliveryID  `bun:"delivery_id"`
	At          time.Time    `bun:"at"`
}

// The lifecycle of runs, as events tell it.
const (
	FlowRunStarted        = "flow.run.started"
	FlowRunWaiting        = "flow.run.waiting"
	FlowRunPaused         = "flow.run.paused"
	FlowRunResumed        = "flow.run.resumed"
	FlowRunCompleted      = "flow.run.completed"
	FlowRunFailed         = "flow.run.failed"
	FlowRunCancelled      = "flow.run.cancelled"
	FlowStepFailed        = "flow.step.failed"
	FlowApprovalRequested = "flow.approval.requested"
	FlowApprovalResolved  = "flow.approval.resolved"
)
