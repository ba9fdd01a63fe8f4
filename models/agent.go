package models

import (
	"encoding/json"
	"time"

	"github.com/uptrace/bun"
)

// Agent is something a step of type agent can call, by its slug.
type Agent struct {
	bun.BaseModel `bun:"table:agents"`

	WorkspaceID  WorkspaceID     `bun:"workspace_id,pk"`
	ID           AgentID         `bun:"id"`
	Slug         string          `bun:"slug,pk"`
	Name         string          `bun:"name"`
	Kind         string          `bun:"kind"`
	Connection   string          `bun:"connection"` // id of the one it acts through; empty: none
	Config       json.RawMessage `bun:"config,type:json,nullzero"`
	InputSchema  json.RawMessage `bun:"input_schema,type:json,nullzero"`
	OutputSchema json.RawMessage `bun:"output_schema,type:json,nullzero"`
	CreatedAt    time.Time       `bun:"created_at"`
	UpdatedAt    time.Time       `bun:"updated_at"`
}

// AgentTurn is a line of an agent's journal: an exchange with its model, or a call of
// a tool that the model wished for. What is done is not done again by another attempt
// at the step.
type AgentTurn struct {
	bun.BaseModel `bun:"table:agent_turns"`

	WorkspaceID WorkspaceID `bun:"workspace_id,pk"`
	RunID       RunID       `bun:"run_id,pk"`
	StepID      string      `bun:"step_id,pk"`
	Iteration   int         `bun:"iteration,pk"`
	// Series counts how often the work began anew, because the agent was changed
	// between two attempts.
	Series int `bun:"series,pk"`
	Turn   int `bun:"turn,pk"` // from 1
	// Call numbers the calls of a turn from 0. NoCall: it is the turn itself.
	Call   int             `bun:"call,pk"`
	Hash   string          `bun:"hash"` // of all that was asked
	Status AgentTurnStatus `bun:"status"`
	// Response is what came back. Secrets have been taken out.
	Response   json.RawMessage `bun:"response,type:json,nullzero"`
	Usage      *AgentUsage     `bun:"usage,type:json"` // of a turn
	CreatedAt  time.Time       `bun:"created_at"`
	FinishedAt *time.Time      `bun:"finished_at"`
}

// NoCall is the Call of a row that stands for an exchange with the model.
const NoCall = -1

// AgentTurnStatus says how far a line of a journal has come.
type AgentTurnStatus string

// The statuses of lines of a journal.
const (
	// AgentTurnBegun is a call of a tool with an effect that must not be repeated
	// blindly: nobody knows yet whether it happened.
	AgentTurnBegun AgentTurnStatus = "begun"
	AgentTurnDone  AgentTurnStatus = "done"
)

// AgentTurnStatuses lists every status of a line of a journal.
var AgentTurnStatuses = []AgentTurnStatus{AgentTurnBegun, AgentTurnDone}

// AgentUsage is what one exchange with a model took. Cost is in billionths of a US
// dollar.
type AgentUsage struct {
	InputTokens  int64  `json:"input_tokens"`
	OutputTokens int64  `json:"output_tokens"`
	Cost         int64  `json:"cost_nano"`
	Model        string `json:"model"`
	CostUnknown  bool   `json:"cost_unknown,omitempty"`
	Estimated    bool   `json:"estimated,omitempty"`
}

// AgentPlace is the step, or the iteration of it, that an agent works for.
type AgentPlace struct {
	RunID     RunID
	StepID    string
	Iteration int
}
