// Package tasks is the contract between those who enqueue and those who work:
// the names of task types and queues, and payloads, which carry ids and nothing
// else. Losing a task is safe, for the database row is the truth and the sweep
// delivers it again; doing one twice is safe, for the claim decides.
//
// It imports nothing of ours. Only its constructors make asynq tasks.
package tasks

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/hibiken/asynq"
)

// Types of tasks.
const (
	TypeStep = "step" // execute a queued step
	TypeWake = "wake" // end a wait that is due
)

// Queues, with the share of attention each gets. None is strict, so none starves.
const (
	QueueDefault = "default" // connector steps: quick
	QueueAgents  = "agents"  // model calls: slow, must not hold up the quick ones
	QueueSystem  = "system"  // wake-ups, webhooks, event matching
)

// Queues is the weight of every queue.
var Queues = map[string]int{QueueDefault: 5, QueueAgents: 3, QueueSystem: 2}

// version of the payloads. Fields are only ever added; a change that old workers
// would misread gets a new number, which they refuse.
const version = 1

// Step names one delivery of one attempt of a step, or of an iteration of it.
type Step struct {
	Version   int    `json:"v"`
	Workspace string `json:"ws"`
	Run       string `json:"run"`
	Step      string `json:"step"`
	Iteration int    `json:"iter"` // -1: the step itself
	Attempt   int    `json:"attempt"`
	Delivery  int    `json:"delivery"`
	Queue     string `json:"-"`
}

// ID is the task's id: the same delivery of the same attempt is one task.
func (s Step) ID() string {
	id := s.Run + ":" + s.Step
	if s.Iteration >= 0 {
		id += ":" + strconv.Itoa(s.Iteration)
	}
	return id + ":" + strconv.Itoa(s.Attempt) + ":" + strconv.Itoa(s.Delivery)
}

// NewStep makes the task that executes a step.
func NewStep(s Step) *asynq.Task { return newTask(TypeStep, s) }

// NewWake makes the task that ends a wait. Attempt is not used.
func NewWake(s Step) *asynq.Task { return newTask(TypeWake, s) }

func newTask(typ string, s Step) *asynq.Task {
	s.Version = version
	b, err := json.Marshal(s)
	if err != nil {
		panic("tasks: " + err.Error()) // strings and numbers always marshal
	}
	return asynq.NewTask(typ, b)
}

// ErrPayload marks a payload this version cannot read. It is never worth a retry.
var ErrPayload = errors.New("task payload cannot be read")

// DecodeStep reads the payload of a step or wake task.
func DecodeStep(payload []byte) (Step, error) {
	var s Step
	if err := json.Unmarshal(payload, &s); err != nil {
		return Step{}, fmt.Errorf("%w: %w", ErrPayload, asynq.SkipRetry)
	}
	if s.Version != version || s.Workspace == "" || s.Run == "" || s.Step == "" {
		return Step{}, fmt.Errorf("%w: version %d: %w", ErrPayload, s.Version, asynq.SkipRetry)
	}
	return s, nil
}
