package models

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// StepType says what a step of a graph does.
type StepType string

// The kinds of steps.
const (
	StepTypeAgent     StepType = "agent"
	StepTypeConnector StepType = "connector"
	StepTypeBranch    StepType = "branch"
	StepTypeWait      StepType = "wait"
)

// Limits of a graph.
const (
	MaxSteps = 1000
	MaxEdges = 5000
)

// Graph is what a workflow does: steps, and the edges that say what follows what.
type Graph struct {
	Steps []GraphStep `json:"steps"`
	Edges []Edge      `json:"edges"`
}

// GraphStep is one step as its author wrote it. Which fields it may have depends
// on Type; Validate says so.
type GraphStep struct {
	ID   string   `json:"id"`
	Type StepType `json:"type"`
	Name string   `json:"name,omitempty"`
	Join *Join    `json:"join,omitempty"`
	If   string   `json:"if,omitempty"`

	Agent      string          `json:"agent,omitempty"`
	Connector  string          `json:"connector,omitempty"`
	Action     string          `json:"action,omitempty"`
	Connection string          `json:"connection,omitempty"`
	Input      json.RawMessage `json:"input,omitempty"`

	Retry       *Retry `json:"retry,omitempty"`
	OnUnknown   string `json:"on_unknown,omitempty"`
	Timeout     string `json:"timeout,omitempty"`
	Foreach     string `json:"foreach,omitempty"`
	MaxParallel *int   `json:"max_parallel,omitempty"`

	Mode string `json:"mode,omitempty"`

	For      string        `json:"for,omitempty"`
	Until    string        `json:"until,omitempty"`
	Event    *EventWait    `json:"event,omitempty"`
	Approval *ApprovalWait `json:"approval,omitempty"`
}

// Executed tells whether a worker has to do something for steps of this type.
func (t StepType) Executed() bool { return t == StepTypeAgent || t == StepTypeConnector }

// Retry is the policy for attempts that fail in a way that may pass.
type Retry struct {
	MaxAttempts *int     `json:"max_attempts,omitempty"` // default 3
	Initial     string   `json:"initial,omitempty"`      // default 1s
	Multiplier  *float64 `json:"multiplier,omitempty"`   // default 2
	Max         string   `json:"max,omitempty"`          // default 1m
	Jitter      *bool    `json:"jitter,omitempty"`       // default true
}

// What to do where an action may or may not have had its effect, and doing it twice is
// not as good as once. Where a step does not say, its Retry decides.
const (
	UnknownRetry = "retry"
	UnknownFail  = "fail"
	UnknownAsk   = "ask" // a person
)

// EventWait waits for an event of a type.
type EventWait struct {
	Type    string `json:"type"`
	Match   string `json:"match,omitempty"`
	Timeout string `json:"timeout,omitempty"`
}

// ApprovalWait waits for a person.
type ApprovalWait struct {
	Prompt    string   `json:"prompt,omitempty"`
	Timeout   string   `json:"timeout,omitempty"`
	Assignees []string `json:"assignees,omitempty"`
}

// Modes of a branch.
const (
	BranchFirst = "first"
	BranchAll   = "all"
)

// Edge leads from one step to another.
type Edge struct {
	From    string `json:"from"`
	To      string `json:"to"`
	When    string `json:"when,omitempty"`
	Default bool   `json:"default,omitempty"`
	On      EdgeOn `json:"on,omitempty"`
}

// EdgeOn says after which outcome an edge is taken. Empty means success.
type EdgeOn string

// Outcomes an edge can follow.
const (
	OnSuccess  EdgeOn = "success"
	OnError    EdgeOn = "error"
	OnTimeout  EdgeOn = "timeout"
	OnRejected EdgeOn = "rejected"
)

// Outcome is On with its default filled in.
func (e Edge) Outcome() EdgeOn {
	if e.On == "" {
		return OnSuccess
	}
	return e.On
}

// Join says when a step with several incoming edges runs: after all live ones,
// after any, or after a number of them. In JSON it is "all", "any" or {"count":n}.
type Join struct {
	Any   bool
	Count int // 0: not by count
}

// UnmarshalJSON reads the three spellings.
func (j *Join) UnmarshalJSON(b []byte) error {
	var word string
	if json.Unmarshal(b, &word) == nil {
		switch word {
		case "all":
			*j = Join{}
			return nil
		case "any":
			*j = Join{Any: true}
			return nil
		}
		return fmt.Errorf("join is %q; allowed are \"all\", \"any\" and {\"count\":n}", word)
	}
	var obj struct {
		Count *int `json:"count"`
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&obj); err != nil || obj.Count == nil || *obj.Count < 1 {
		return fmt.Errorf("join must be \"all\", \"any\" or {\"count\":n} with n of at least 1")
	}
	*j = Join{Count: *obj.Count}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (j Join) MarshalJSON() ([]byte, error) {
	switch {
	case j.Any:
		return []byte(`"any"`), nil
	case j.Count > 0:
		return json.Marshal(map[string]int{"count": j.Count})
	default:
		return []byte(`"all"`), nil
	}
}
