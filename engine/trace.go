package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// StepTrace is what became of one step of a run.
type StepTrace struct {
	ID         string            `json:"id"`
	Type       models.StepType   `json:"type"`
	Name       string            `json:"name,omitempty"`
	Status     models.StepStatus `json:"status"`
	Attempt    int               `json:"attempt"`
	Attempts   []AttemptTrace    `json:"attempts"`
	Iterations *IterationsTrace  `json:"iterations,omitempty"`
	Input      json.RawMessage   `json:"input"`
	Output     json.RawMessage   `json:"output"`
	Error      *models.StepError `json:"error"`
	Branch     *BranchTrace      `json:"branch"`
	Reason     string            `json:"reason,omitempty"`
	QueuedAt   *time.Time        `json:"queued_at"`
	StartedAt  *time.Time        `json:"started_at"`
	FinishedAt *time.Time        `json:"finished_at"`
	WakeAt     *time.Time        `json:"wake_at"`
	Usage      json.RawMessage   `json:"usage"`
}

// AttemptTrace is one attempt of a step.
type AttemptTrace struct {
	Number     int               `json:"number"`
	Status     models.StepStatus `json:"status"`
	Error      *models.StepError `json:"error"`
	QueuedAt   *time.Time        `json:"queued_at"`
	StartedAt  *time.Time        `json:"started_at"`
	FinishedAt *time.Time        `json:"finished_at"`
}

// BranchTrace is the path a branch took.
type BranchTrace struct {
	Taken []string `json:"taken"`
}

// IterationsTrace counts the iterations of a step over a list.
type IterationsTrace struct {
	Total     int `json:"total"`
	Completed int `json:"completed"`
	Active    int `json:"active"`
	Waiting   int `json:"waiting" doc:"For the ends of runs they started"`
}

// Trace tells what became of the steps of a run, in the order they first started.
// Once the run has ended every step of its graph is in it: steps the run did not
// come to are cancelled.
func (e *Engine) Trace(ctx context.Context, ref store.RunRef) ([]StepTrace, error) {
	tenant := e.deps.Store.For(ref.Workspace)
	run, err := tenant.Run(ctx, ref.Run)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", ref.Run, err)
	}
	def, err := e.cache.get(ctx, ref.Workspace, run.WorkflowID, run.WorkflowVersion)
	if err != nil {
		return nil, err
	}
	rows, err := tenant.Steps(ctx, ref.Run)
	if err != nil {
		return nil, err
	}
	attempts, err := tenant.Attempts(ctx, ref.Run)
	if err != nil {
		return nil, err
	}
	earlier := map[string][]AttemptTrace{}
	for _, a := range attempts {
		earlier[a.StepID] = append(earlier[a.StepID], traceAttempt(a))
	}
	sortByStart(def, rows, earlier)
	out := make([]StepTrace, 0, len(def.order))
	seen := map[string]bool{}
	for _, row := range rows {
		n := def.nodes[row.StepID]
		if n == nil {
			continue // no step of this version: cannot be, and is not worth failing for
		}
		seen[row.StepID] = true
		out = append(out, trace(n, row, earlier[row.StepID]))
	}
	if run.Status.Ended() {
		for _, n := range def.order {
			if !seen[n.id()] {
				out = append(out, StepTrace{
					ID: n.id(), Type: n.def.Type, Name: n.def.Name, Status: models.StepCancelled, Attempts: []AttemptTrace{},
					Reason: "the run ended before it came to this step", FinishedAt: run.FinishedAt,
				})
			}
		}
	}
	return out, nil
}

// sortByStart puts steps in the order of their first start, those that never
// started last. Steps that started in the same moment, as a branch and what it
// leads to do, stand in the order of the graph.
func sortByStart(def *definition, rows []*models.Step, earlier map[string][]AttemptTrace) {
	first := func(row *models.Step) *time.Time {
		if a := earlier[row.StepID]; len(a) > 0 {
			return a[0].StartedAt
		}
		return row.StartedAt
	}
	rank := func(row *models.Step) int {
		if n := def.nodes[row.StepID]; n != nil {
			return n.rank
		}
		return len(def.sorted)
	}
	slices.SortStableFunc(rows, func(a, b *models.Step) int {
		s, t := first(a), first(b)
		switch {
		case s != nil && t != nil && !s.Equal(*t):
			return s.Compare(*t)
		case s != nil && t == nil:
			return -1
		case s == nil && t != nil:
			return 1
		}
		return rank(a) - rank(b)
	})
}

func trace(n *node, row *models.Step, earlier []AttemptTrace) StepTrace {
	t := StepTrace{
		ID: row.StepID, Type: row.Type, Name: n.def.Name, Status: row.Status, Attempt: row.Attempt, Attempts: allAttempts(row, earlier),
		Input: row.Input, Output: row.Output, Error: row.Error, Reason: row.Reason,
		QueuedAt: row.QueuedAt, StartedAt: row.StartedAt, FinishedAt: row.FinishedAt, WakeAt: row.WakeAt, Usage: row.Usage,
	}
	if row.Type == models.StepTypeBranch && row.Taken != nil {
		t.Branch = &BranchTrace{Taken: row.Taken}
	}
	if row.IterTotal > 0 {
		t.Iterations = &IterationsTrace{Total: row.IterTotal, Completed: row.IterDone, Active: row.IterActive, Waiting: waitingItems(row)}
	}
	return t
}

func traceAttempt(a *models.StepAttempt) AttemptTrace {
	return AttemptTrace{
		Number: a.Number, Status: a.Status, Error: a.Error, QueuedAt: a.QueuedAt, StartedAt: a.StartedAt, FinishedAt: a.FinishedAt,
	}
}

// allAttempts adds to the attempts of a row that were followed by another the last one,
// which is in the row itself.
func allAttempts(row *models.Step, earlier []AttemptTrace) []AttemptTrace {
	if row.Attempt == 0 {
		return append([]AttemptTrace{}, earlier...)
	}
	last := AttemptTrace{
		Number: row.Attempt, Status: row.Status, QueuedAt: row.QueuedAt, StartedAt: row.StartedAt, FinishedAt: row.FinishedAt,
	}
	if row.Status == models.StepFailed {
		last.Error = row.Error
	}
	return append(earlier, last)
}
