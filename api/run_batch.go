package api

import (
	"context"
	"sync"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
)

// mostAtOnce bounds how many items of one request are worked on side by side. The
// engine commits what comes together in one transaction.
const mostAtOnce = 32

// eachItem calls do for 0 to n-1, some of them side by side, and returns when all
// have ended.
func eachItem(n int, do func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, mostAtOnce)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do(i)
		})
	}
	wg.Wait()
}

// itemError is what went wrong with one item of a request that has many.
type itemError struct {
	Code   string              `json:"code"`
	Detail string              `json:"detail"`
	Errors []models.FieldError `json:"errors,omitempty" nullable:"false"`
}

func (a *API) itemError(ctx context.Context, err error) *itemError {
	p := a.problem(ctx, err)
	return &itemError{p.Code, p.Detail, p.Errors}
}

type triggerBatchRequest struct {
	WorkflowPath
	Body struct {
		Items []triggerBody `json:"items" nullable:"false" minItems:"1" maxItems:"500"`
	}
}

type batchItem struct {
	RunID *models.RunID `json:"run_id,omitempty"`
	Error *itemError    `json:"error,omitempty"`
}

type triggerBatchAnswer struct {
	Body struct {
		Items []batchItem `json:"items" nullable:"false" doc:"In the order of the request"`
	}
}

// triggerBatch starts many runs. One that cannot be started says so in its place
// and keeps none of the others back.
func (a *API) triggerBatch(ctx context.Context, in *triggerBatchRequest) (*triggerBatchAnswer, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	if _, err := a.store.For(workspace(ctx)).Workflow(ctx, id); err != nil {
		return nil, err
	}
	// Made before anything runs side by side, so that a repeated request gives
	// every item the id it had.
	runs := make([]models.RunID, len(in.Body.Items))
	for i := range runs {
		runs[i] = models.RunID(ids.Make(ctx, models.RunPrefix))
	}
	out := new(triggerBatchAnswer)
	out.Body.Items = make([]batchItem, len(runs))
	eachItem(len(runs), func(i int) {
		run, err := a.start(ctx, id, runs[i], &in.Body.Items[i])
		if err != nil {
			out.Body.Items[i].Error = a.itemError(ctx, under(err, "body", "items", i))
			return
		}
		out.Body.Items[i].RunID = &run.ID
	})
	return out, nil
}
