package models

// Settings say how the runs of a workflow are started. They are a part of a version.
type Settings struct {
	Timeout     string       `json:"timeout,omitempty"`
	Concurrency *Concurrency `json:"concurrency,omitempty"`
	Debounce    *Debounce    `json:"debounce,omitempty"`
	Priority    Priority     `json:"priority,omitempty"`
}

// Concurrency limits how many runs of a key are active at once.
type Concurrency struct {
	Key    string            `json:"key,omitempty"` // an expression over payload; empty: all runs share one
	Limit  int               `json:"limit"`
	Policy ConcurrencyPolicy `json:"policy,omitempty"` // default queue
}

// Debounce makes one run of starts that follow each other closely.
type Debounce struct {
	Key    string `json:"key,omitempty"` // as in Concurrency
	Period string `json:"period"`
	Max    string `json:"max,omitempty"` // empty: as long as starts keep coming
}

// MaxConcurrency bounds the limit of a Concurrency.
const MaxConcurrency = 1000

// ConcurrencyPolicy says what happens to a start for which there is no room.
type ConcurrencyPolicy string

// The policies.
const (
	PolicyQueue         ConcurrencyPolicy = "queue"
	PolicySkip          ConcurrencyPolicy = "skip"
	PolicyCancelRunning ConcurrencyPolicy = "cancel_running"
)

// ConcurrencyPolicies lists every policy.
var ConcurrencyPolicies = []ConcurrencyPolicy{PolicyQueue, PolicySkip, PolicyCancelRunning}

// Priority says whose steps go first where there are more than can be done.
type Priority string

// The priorities. Empty is normal.
const (
	PriorityLow    Priority = "low"
	PriorityNormal Priority = "normal"
	PriorityHigh   Priority = "high"
)

// Priorities lists every priority, the lowest first.
var Priorities = []Priority{PriorityLow, PriorityNormal, PriorityHigh}
