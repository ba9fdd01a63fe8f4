package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// IterationTrace is what became of one item of a step over a list.
type IterationTrace struct {
	Iteration  int
	Status     models.StepStatus
	Attempt    int
	Attempts   []AttemptTrace
	Input      json.RawMessage
	Output     json.RawMessage
	Error      *models.StepError
	Reason     string
	QueuedAt   *time.Time
	StartedAt  *time.Time
	FinishedAt *time.Time
	DueAt      *time.Time // of one that is queued: it begins no earlier
	Usage      json.RawMessage
}

// Iterations tells what became of the items of a step, a page of them in the order of
// the list. A step that is in the graph has none where it goes over no list, where the
// run has not come to it, and where a rerun kept it: then the earlier run has them.
func (e *Engine) Iterations(ctx context.Context, ref store.RunRef, step string, statuses []models.StepStatus, p store.Page) ([]IterationTrace, error) {
	tenant := e.deps.Store.For(ref.Workspace)
	run, err := tenant.Run(ctx, ref.Run)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", ref.Run, err)
	}
	def, err := e.cache.get(ctx, ref.Workspace, run.WorkflowID, run.WorkflowVersion)
	if err != nil {
		return nil, err
	}
	if def.nodes[step] == nil {
		return nil, fmt.Errorf("step %q of run %s: %w", step, ref.Run, models.ErrNotFound)
	}
	rows, err := tenant.Iterations(ctx, store.IterationFilter{Run: ref.Run, Step: step, Statuses: statuses}, p)
	if err != nil {
		return nil, err
	}
	var repeated []int // others have no earlier attempt
	for _, row := range rows {
		if row.Attempt > 1 {
			repeated = append(repeated, row.Iteration)
		}
	}
	attempts, err := tenant.IterationAttempts(ctx, ref.Run, step, repeated)
	if err != nil {
		return nil, err
	}
	earlier := map[int][]AttemptTrace{}
	for _, a := range attempts {
		earlier[a.Iteration] = append(earlier[a.Iteration], traceAttempt(a))
	}
	out := make([]IterationTrace, len(rows))
	for i, row := range rows {
		out[i] = traceIteration(row, earlier[row.Iteration])
	}
	return out, nil
}

func traceIteration(row *models.Step, earlier []AttemptTrace) IterationTrace {
	t := IterationTrace{
		Iteration: row.Iteration, Status: row.Status, Attempt: row.Attempt, Attempts: allAttempts(row, earlier),
		Input: row.Input, Output: row.Output, Error: row.Error, Reason: row.Reason,
		QueuedAt: row.QueuedAt, StartedAt: row.StartedAt, FinishedAt: row.FinishedAt, Usage: row.Usage,
	}
	if row.Status == models.StepQueued {
		t.DueAt = row.DueAt
	}
	return t
}
