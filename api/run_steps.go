package api

import (
	"context"
	"encoding/json"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// StepTrace is what became of one step of a run.
type StepTrace struct {
	ID         string                     `json:"id"`
	Type       models.StepType            `json:"type"`
	Name       string                     `json:"name"`
	Status     models.StepStatus          `json:"status" enum:"pending,queued,running,waiting,completed,failed,skipped,cancelled"`
	Attempt    int                        `json:"attempt"`
	Attempts   []attemptTrace             `json:"attempts" nullable:"false"`
	Iterations *engine.IterationsTrace    `json:"iterations,omitempty" doc:"Of a step over a list"`
	Input      json.RawMessage            `json:"input"`
	Output     json.RawMessage            `json:"output"`
	Error      orNull[models.StepError]   `json:"error"`
	Branch     orNull[engine.BranchTrace] `json:"branch" doc:"The way a branch took"`
	Reason     *string                    `json:"reason" doc:"Why it was skipped or cancelled, or what woke a wait"`
	QueuedAt   maybeStamp                 `json:"queued_at"`
	StartedAt  maybeStamp                 `json:"started_at"`
	FinishedAt maybeStamp                 `json:"finished_at"`
	WakeAt     maybeStamp                 `json:"wake_at"`
	Usage      json.RawMessage            `json:"usage" doc:"What it used, all its iterations together, or null"`
}

type attemptTrace struct {
	Number     int                      `json:"number"`
	Status     models.StepStatus        `json:"status"`
	Error      orNull[models.StepError] `json:"error"`
	QueuedAt   maybeStamp               `json:"queued_at"`
	StartedAt  maybeStamp               `json:"started_at"`
	FinishedAt maybeStamp               `json:"finished_at"`
}

type traceAnswer struct {
	Body struct {
		Items []StepTrace `json:"items" nullable:"false"`
	}
}

func (a *API) traceRun(ctx context.Context, in *RunPath) (*traceAnswer, error) {
	ref, err := in.ref(ctx)
	if err != nil {
		return nil, err
	}
	steps, err := a.engine.Trace(ctx, ref)
	if err != nil {
		return nil, err
	}
	out := new(traceAnswer)
	out.Body.Items = make([]StepTrace, len(steps))
	lists := false
	for i, s := range steps {
		out.Body.Items[i] = showStep(s)
		lists = lists || s.Iterations != nil
	}
	if lists {
		err = a.addUsageOfLists(ctx, ref, out.Body.Items)
	}
	return out, err
}

// addUsageOfLists gives steps over a list what their iterations used together.
func (a *API) addUsageOfLists(ctx context.Context, ref store.RunRef, steps []StepTrace) error {
	rows, err := a.store.For(ref.Workspace).RunUsage(ctx, ref.Run)
	if err != nil {
		return err
	}
	of := map[string][]*models.Step{}
	for _, row := range rows {
		of[row.StepID] = append(of[row.StepID], row)
	}
	for i := range steps {
		if sum := sumUsage(of[steps[i].ID]); sum != nil && steps[i].Iterations != nil {
			steps[i].Usage = mustJSON(sum)
		}
	}
	return nil
}

func showStep(s engine.StepTrace) StepTrace {
	out := StepTrace{
		ID: s.ID, Type: s.Type, Name: s.Name, Status: s.Status, Attempt: s.Attempt, Attempts: showAttempts(s.Attempts),
		Iterations: s.Iterations, Input: s.Input, Output: s.Output, Error: maybe(s.Error), Branch: maybe(s.Branch),
		QueuedAt: maybeStamp{s.QueuedAt}, StartedAt: maybeStamp{s.StartedAt}, FinishedAt: maybeStamp{s.FinishedAt},
		WakeAt: maybeStamp{s.WakeAt}, Usage: s.Usage,
	}
	if s.Reason != "" {
		out.Reason = &s.Reason
	}
	return out
}

func showAttempts(attempts []engine.AttemptTrace) []attemptTrace {
	out := make([]attemptTrace, len(attempts))
	for i, at := range attempts {
		out[i] = attemptTrace{
			at.Number, at.Status, maybe(at.Error), maybeStamp{at.QueuedAt}, maybeStamp{at.StartedAt}, maybeStamp{at.FinishedAt},
		}
	}
	return out
}
