package api

import (
	"context"
	"encoding/json"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// StepIteration is what became of one item of a step over a list.
type StepIteration struct {
	Iteration  int                      `json:"iteration" doc:"Its place in the list, from 0"`
	Status     models.StepStatus        `json:"status" enum:"pending,queued,running,waiting,completed,failed,skipped,cancelled"`
	Attempt    int                      `json:"attempt"`
	Attempts   []attemptTrace           `json:"attempts" nullable:"false"`
	Input      json.RawMessage          `json:"input"`
	Output     json.RawMessage          `json:"output"`
	Error      orNull[models.StepError] `json:"error"`
	Reason     *string                  `json:"reason" doc:"Why it was cancelled, what keeps it back while it is queued, or what ended its wait"`
	QueuedAt   maybeStamp               `json:"queued_at"`
	StartedAt  maybeStamp               `json:"started_at"`
	FinishedAt maybeStamp               `json:"finished_at"`
	DueAt      maybeStamp               `json:"due_at" doc:"While it is queued: it begins no earlier"`
	Usage      json.RawMessage          `json:"usage" doc:"What it used, or null"`
}

type listIterationsRequest struct {
	RunPath
	Step string `path:"step" doc:"Id of a step of the run"`
	ListQuery
	Status []string `query:"status" enum:"pending,queued,running,waiting,completed,failed,skipped,cancelled" doc:"One or several, separated by commas"`
}

type iterationsAnswer struct{ Body page[StepIteration] }

func (a *API) listIterations(ctx context.Context, in *listIterationsRequest) (*iterationsAnswer, error) {
	ref, err := in.ref(ctx)
	if err != nil {
		return nil, err
	}
	if !models.ValidStepID(in.Step) {
		return nil, models.ErrNotFound
	}
	var statuses []models.StepStatus
	for _, s := range in.Status {
		statuses = append(statuses, models.StepStatus(s))
	}
	p, err := readPage(ctx, in.ListQuery, byNumber("iterations of "+in.ID+" "+in.Step, func(it engine.IterationTrace) int64 { return int64(it.Iteration) }),
		func(p store.Page) ([]engine.IterationTrace, error) {
			return a.engine.Iterations(ctx, ref, in.Step, statuses, p)
		},
		showIteration)
	return &iterationsAnswer{p}, err
}

func showIteration(it engine.IterationTrace) StepIteration {
	out := StepIteration{
		Iteration: it.Iteration, Status: it.Status, Attempt: it.Attempt, Attempts: showAttempts(it.Attempts),
		Input: it.Input, Output: it.Output, Error: maybe(it.Error),
		QueuedAt: maybeStamp{it.QueuedAt}, StartedAt: maybeStamp{it.StartedAt}, FinishedAt: maybeStamp{it.FinishedAt},
		DueAt: maybeStamp{it.DueAt}, Usage: it.Usage,
	}
	if it.Reason != "" {
		out.Reason = &it.Reason
	}
	return out
}
