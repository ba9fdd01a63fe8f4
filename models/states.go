package models

import "slices"

// RunStatus is where a run stands.
type RunStatus string

// The states of a run. Waiting means that only waits are open.
const (
	RunQueued    RunStatus = "queued"
	RunRunning   RunStatus = "running"
	RunWaiting   RunStatus = "waiting"
	RunPaused    RunStatus = "paused"
	RunCompleted RunStatus = "completed"
	RunFailed    RunStatus = "failed"
	RunCancelled RunStatus = "cancelled"
)

// RunStatuses lists every state of a run.
var RunStatuses = []RunStatus{RunQueued, RunRunning, RunWaiting, RunPaused, RunCompleted, RunFailed, RunCancelled}

var runMoves = map[RunStatus][]RunStatus{
	RunQueued:    {RunRunning, RunWaiting, RunPaused, RunCompleted, RunFailed, RunCancelled},
	RunRunning:   {RunWaiting, RunPaused, RunCompleted, RunFailed, RunCancelled},
	RunWaiting:   {RunRunning, RunPaused, RunCompleted, RunFailed, RunCancelled},
	RunPaused:    {RunQueued, RunRunning, RunWaiting, RunCompleted, RunFailed, RunCancelled},
	RunCompleted: {},
	RunFailed:    {},
	RunCancelled: {},
}

// Ended tells whether nothing can happen to the run any more.
func (s RunStatus) Ended() bool { return s == RunCompleted || s == RunFailed || s == RunCancelled }

// CanMove tells whether a run may go from s to next.
func (s RunStatus) CanMove(next RunStatus) bool { return slices.Contains(runMoves[s], next) }

// StepStatus is where a step of a run, or one iteration of it, stands.
type StepStatus string

// The states of a step. Pending is a join some of whose edges have not been
// settled yet, or an iteration whose turn has not come.
const (
	StepPending   StepStatus = "pending"
	StepQueued    StepStatus = "queued"
	StepRunning   StepStatus = "running"
	StepWaiting   StepStatus = "waiting"
	StepCompleted StepStatus = "completed"
	StepFailed    StepStatus = "failed"
	StepSkipped   StepStatus = "skipped"
	StepCancelled StepStatus = "cancelled"
)

// StepStatuses lists every state of a step.
var StepStatuses = []StepStatus{StepPending, StepQueued, StepRunning, StepWaiting, StepCompleted, StepFailed, StepSkipped, StepCancelled}

var stepMoves = map[StepStatus][]StepStatus{
	// Running: a step over a list goes there as its iterations are queued.
	// Completed and failed at once: branches, empty lists, expressions that fail.
	StepPending: {StepQueued, StepRunning, StepWaiting, StepCompleted, StepFailed, StepSkipped, StepCancelled},
	StepQueued:  {StepRunning, StepFailed, StepCancelled},
	// Queued again: a retry, or a lease that was lost or handed back. Waiting: a person
	// has to say whether it is done again, or it is for another run to end; running again:
	// one of the iterations that waited for runs is back.
	StepRunning:   {StepQueued, StepWaiting, StepCompleted, StepFailed, StepCancelled},
	StepWaiting:   {StepQueued, StepRunning, StepCompleted, StepFailed, StepCancelled},
	StepCompleted: {},
	StepFailed:    {},
	StepSkipped:   {},
	StepCancelled: {},
}

// Ended tells whether the step has settled.
func (s StepStatus) Ended() bool {
	return s == StepCompleted || s == StepFailed || s == StepSkipped || s == StepCancelled
}

// CanMove tells whether a step may go from s to next.
func (s StepStatus) CanMove(next StepStatus) bool { return slices.Contains(stepMoves[s], next) }

// WorkflowStatus is where a workflow stands.
type WorkflowStatus string

// The states of a workflow. Only an active one starts runs.
const (
	WorkflowActive   WorkflowStatus = "active"
	WorkflowPaused   WorkflowStatus = "paused"
	WorkflowArchived WorkflowStatus = "archived"
)

// WorkflowStatuses lists every state of a workflow.
var WorkflowStatuses = []WorkflowStatus{WorkflowActive, WorkflowPaused, WorkflowArchived}

// TriggerType says what started a run.
type TriggerType string

// What can start a run.
const (
	TriggerManual   TriggerType = "manual"
	TriggerEvent    TriggerType = "event"
	TriggerSchedule TriggerType = "schedule"
	TriggerWebhook  TriggerType = "webhook"
	TriggerMCP      TriggerType = "mcp"
	TriggerFlow     TriggerType = "flow"
)

// TriggerTypes lists every way a run can start.
var TriggerTypes = []TriggerType{TriggerManual, TriggerEvent, TriggerSchedule, TriggerWebhook, TriggerMCP, TriggerFlow}
