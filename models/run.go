package models

import (
	"encoding/json"
	"time"

	"github.com/uptrace/bun"
)

// Run is one execution of one version of a workflow.
type Run struct {
	bun.BaseModel `bun:"table:runs"`

	WorkspaceID     WorkspaceID       `bun:"workspace_id,pk"`
	ID              RunID             `bun:"id,pk"`
	WorkflowID      WorkflowID        `bun:"workflow_id"`
	WorkflowVersion int               `bun:"workflow_version"`
	WorkflowName    string            `bun:"workflow_name"` // as it was when the run started
	Status          RunStatus         `bun:"status"`
	Halted          bool              `bun:"halted"`        // a step failed for good: what runs may finish, nothing starts
	ActiveSteps     int               `bun:"active_steps"`  // steps queued or running
	WaitingSteps    int               `bun:"waiting_steps"` // waits open
	LastSeq         int64             `bun:"last_seq"`      // of the run's log
	TriggerType     TriggerType       `bun:"trigger_type"`
	TriggerID       *TriggerID        `bun:"trigger_id"`
	EventID         *EventID          `bun:"event_id"`
	Payload         json.RawMessage   `bun:"payload,type:json,nullzero"`
	Output          json.RawMessage   `bun:"output,type:json,nullzero"`
	Error           *RunError         `bun:"error,type:json"`
	RerunOf         *RunID            `bun:"rerun_of"`
	Metadata        map[string]string `bun:"metadata,type:jsonb"`
	CreatedAt       time.Time         `bun:"created_at"`
	Depth           int               `bun:"depth"` // how many flows started each other before it
	StartedAt       *time.Time        `bun:"started_at"`
	FinishedAt      *time.Time        `bun:"finished_at"`

	Hold        Hold       `bun:"hold"`         // why a queued run has not begun; empty where it has
	SlotKey     *string    `bun:"slot_key"`     // what limits how many are active at once; nil: nothing does
	SlotSeq     int64      `bun:"slot_seq"`     // the order in which runs of a key came
	DebounceKey *string    `bun:"debounce_key"` // what starts have in common that are gathered in one run
	FromStep    string     `bun:"from_step"`    // where a rerun begins; empty: at the start
	BeginAt     *time.Time `bun:"begin_at"`     // when a run that gathers starts begins
	DeadlineAt  *time.Time `bun:"deadline_at"`  // when the run is ended if it has not by then
	PausedAt    *time.Time `bun:"paused_at"`
	AttendAt    *time.Time `bun:"attend_at"` // when the sweep must look: due, or the slot not handed on
}

// Hold says why a run that is queued has not begun.
type Hold string

// What holds a run.
const (
	HoldNone        Hold = ""
	HoldConcurrency Hold = "concurrency" // others of its key are active
	HoldDebounce    Hold = "debounce"    // it gathers starts
)

// Holds lists everything a row may say of what holds a run.
var Holds = []Hold{HoldNone, HoldConcurrency, HoldDebounce}

// RunError says which step ended a run, and why. StepID is empty where no single
// step is to blame.
type RunError struct {
	StepID  string `json:"step_id,omitempty"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// NoIteration is the Iteration of a row that stands for the step itself.
const NoIteration = -1

// Step is a step of a run, or one iteration of a step over a list. Rows are made
// when the walk reaches a step, not when the run starts.
type Step struct {
	bun.BaseModel `bun:"table:steps"`

	WorkspaceID WorkspaceID `bun:"workspace_id,pk"`
	RunID       RunID       `bun:"run_id,pk"`
	StepID      string      `bun:"step_id,pk"`
	Iteration   int         `bun:"iteration,pk"`
	Type        StepType    `bun:"type"`
	Status      StepStatus  `bun:"status"`

	Attempt    int        `bun:"attempt"`     // the attempt that is queued or running, from 1; 0 where nothing is executed
	Crashes    int        `bun:"crashes"`     // attempts that ended with their worker, not by themselves
	Deliveries int        `bun:"deliveries"`  // how often the sweep had to deliver this attempt again
	DueAt      *time.Time `bun:"due_at"`      // not claimed before
	AttendAt   *time.Time `bun:"attend_at"`   // when the sweep must look: undelivered, lease over, or wait due
	LeaseToken string     `bun:"lease_token"` // fences the worker that claimed it
	WorkerID   string     `bun:"worker_id"`
	EffectAt   *time.Time `bun:"effect_at"` // when the attempt began an effect outside that must not be repeated blindly

	Arrived int `bun:"arrived"` // incoming edges that came in alive
	Settled int `bun:"settled"` // incoming edges that came in at all

	IterTotal  int `bun:"iter_total"`
	IterNext   int `bun:"iter_next"`   // the first iteration not yet queued
	IterActive int `bun:"iter_active"` // iterations queued or running
	IterDone   int `bun:"iter_done"`

	Input  json.RawMessage `bun:"input,type:json,nullzero"`
	Output json.RawMessage `bun:"output,type:json,nullzero"`
	Error  *StepError      `bun:"error,type:json"`
	Taken  []string        `bun:"taken,type:json"` // targets of the edges a branch took
	Reason string          `bun:"reason"`          // why it was skipped or cancelled, or what woke a wait
	Usage  json.RawMessage `bun:"usage,type:json,nullzero"`

	QueuedAt   *time.Time `bun:"queued_at"`
	StartedAt  *time.Time `bun:"started_at"`
	FinishedAt *time.Time `bun:"finished_at"`
	WakeAt     *time.Time `bun:"wake_at"` // when a wait ends by itself
}

// StepError is why an attempt, and in the end a step, failed.
type StepError struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Status    int    `json:"status,omitempty"` // HTTP status, where the other side gave one
	Retryable bool   `json:"retryable"`
	Iteration *int   `json:"iteration,omitempty"` // the one that failed, for a step over a list
}

// StepAttempt is an attempt that ended and was followed by another one. The last
// attempt of a step is in the step itself.
type StepAttempt struct {
	bun.BaseModel `bun:"table:step_attempts"`

	WorkspaceID WorkspaceID `bun:"workspace_id,pk"`
	RunID       RunID       `bun:"run_id,pk"`
	StepID      string      `bun:"step_id,pk"`
	Iteration   int         `bun:"iteration,pk"`
	Number      int         `bun:"number,pk"`
	Status      StepStatus  `bun:"status"`
	Error       *StepError  `bun:"error,type:json"`
	QueuedAt    *time.Time  `bun:"queued_at"`
	StartedAt   *time.Time  `bun:"started_at"`
	FinishedAt  *time.Time  `bun:"finished_at"`
}

// RunEvent is one line of a run's log. Seq counts from 1 without gaps.
type RunEvent struct {
	WorkspaceID WorkspaceID
	RunID       RunID
	Seq         int64
	Type        RunEventType
	StepID      string // empty for lines about the run itself
	At          time.Time
	Data        json.RawMessage
}

// RunLog is the lines of a run's log that one transaction wrote, as they are kept.
type RunLog struct {
	bun.BaseModel `bun:"table:run_log"`

	WorkspaceID WorkspaceID `bun:"workspace_id,pk"`
	RunID       RunID       `bun:"run_id,pk"`
	Seq         int64       `bun:"seq,pk"` // of the last line
	At          time.Time   `bun:"at"`
	Lines       []RunLine   `bun:"lines,type:json"`
}

// RunLine is what a RunEvent says besides when, in which run and at which place.
type RunLine struct {
	Type   RunEventType    `json:"type"`
	StepID string          `json:"step,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"`
}

// RunEventType names what a line of the log tells.
type RunEventType string

// What a run's log tells.
const (
	EventRunQueued     RunEventType = "run.queued"
	EventRunStarted    RunEventType = "run.started"
	EventRunWaiting    RunEventType = "run.waiting"
	EventRunPaused     RunEventType = "run.paused"
	EventRunResumed    RunEventType = "run.resumed"
	EventRunCompleted  RunEventType = "run.completed"
	EventRunFailed     RunEventType = "run.failed"
	EventRunCancelled  RunEventType = "run.cancelled"
	EventStepQueued    RunEventType = "step.queued"
	EventStepStarted   RunEventType = "step.started"
	EventStepRetrying  RunEventType = "step.retrying"
	EventStepWaiting   RunEventType = "step.waiting"
	EventStepCompleted RunEventType = "step.completed"
	EventStepFailed    RunEventType = "step.failed"
	EventStepSkipped   RunEventType = "step.skipped"
	EventStepCancelled RunEventType = "step.cancelled"
)

// Terminal tells whether no line can follow one of this type.
func (t RunEventType) Terminal() bool {
	return t == EventRunCompleted || t == EventRunFailed || t == EventRunCancelled
}

// Wait is an open wait for an event. The bus finds it by workspace and type.
type Wait struct {
	bun.BaseModel `bun:"table:waits"`

	WorkspaceID WorkspaceID `bun:"workspace_id,pk"`
	RunID       RunID       `bun:"run_id,pk"`
	StepID      string      `bun:"step_id,pk"`
	EventType   string      `bun:"event_type"`
	OpenedAt    time.Time   `bun:"opened_at"`
	// MatchKey is what an event must have to match, where the condition is such a
	// comparison; empty where only the condition can tell.
	MatchKey string     `bun:"match_key"`
	AttendAt *time.Time `bun:"attend_at"` // until earlier events have been looked at
}
