package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

const mostBulk = 500

type bulkRequest struct {
	Body struct {
		Action string      `json:"action" enum:"cancel,pause,resume,rerun"`
		IDs    []string    `json:"ids,omitempty" nullable:"false" minItems:"1" maxItems:"500" doc:"Either these runs"`
		Filter *bulkFilter `json:"filter,omitempty" doc:"or those that match this; at most 500, newest first. Without a status: those that the action can change, which for rerun are those that have ended"`
		Cursor string      `json:"cursor,omitempty" maxLength:"1000" doc:"next_cursor of the answer before, to go on with the same filter"`
		DryRun bool        `json:"dry_run,omitempty" doc:"Only tell how many runs it would be"`
	}
}

// bulkFilter has the fields of the list of runs.
type bulkFilter struct {
	WorkflowID    string            `json:"workflow_id,omitempty"`
	Status        []string          `json:"status,omitempty" nullable:"false" enum:"queued,running,waiting,paused,completed,failed,cancelled"`
	TriggerType   []string          `json:"trigger_type,omitempty" nullable:"false" enum:"manual,event,schedule,webhook,mcp,flow"`
	TriggerID     string            `json:"trigger_id,omitempty"`
	CreatedAfter  *time.Time        `json:"created_after,omitempty"`
	CreatedBefore *time.Time        `json:"created_before,omitempty"`
	Metadata      map[string]string `json:"metadata,omitempty"`
}

// BulkResult counts what an action on many runs did.
type BulkResult struct {
	Action    string     `json:"action"`
	DryRun    bool       `json:"dry_run"`
	Matched   int        `json:"matched" doc:"Runs that were named or found"`
	Succeeded int        `json:"succeeded" doc:"Runs the action was done to, or had been before"`
	Failed    int        `json:"failed"`
	More      bool       `json:"more" doc:"More runs match the filter than one request takes; ask again with next_cursor"`
	Items     []bulkItem `json:"items" nullable:"false"`
	// NextCursor is beside More for clients that know More only.
	NextCursor *string `json:"next_cursor" doc:"The cursor of the next request; null where no more runs match"`
}

type bulkItem struct {
	ID      models.RunID  `json:"id"`
	RerunID *models.RunID `json:"rerun_id,omitempty" doc:"The new run, where the action was rerun"`
	Error   *itemError    `json:"error,omitempty"`
}

type bulkAnswer struct {
	Status int
	Body   BulkResult
}

func (a *API) bulkRuns(ctx context.Context, in *bulkRequest) (*bulkAnswer, error) {
	b := &in.Body
	if (len(b.IDs) > 0) == (b.Filter != nil) {
		return nil, invalid(models.FieldError{Loc: []any{"body"}, Msg: "needs exactly one of ids and filter", Type: "invalid"})
	}
	if b.Cursor != "" && b.Filter == nil {
		return nil, invalid(models.FieldError{Loc: []any{"body", "cursor"}, Msg: "goes with a filter", Type: "invalid"})
	}
	runs, next, err := a.chosen(ctx, in)
	if err != nil {
		return nil, err
	}
	out := &bulkAnswer{Status: http.StatusOK, Body: BulkResult{
		Action: b.Action, DryRun: b.DryRun, Matched: len(runs), More: next != nil, NextCursor: next, Items: make([]bulkItem, len(runs)),
	}}
	fresh := make([]models.RunID, len(runs))
	for i, id := range runs {
		out.Body.Items[i].ID = id
		fresh[i] = models.RunID(ids.Make(ctx, models.RunPrefix)) // in order, so that a repeat makes the same
	}
	if b.DryRun {
		return out, nil
	}
	if b.Action == "rerun" {
		out.Status = http.StatusAccepted
	}
	eachItem(len(runs), func(i int) {
		item := &out.Body.Items[i]
		if err := a.bulkOne(ctx, b.Action, item, fresh[i]); err != nil {
			item.Error = a.itemError(ctx, err)
		}
	})
	for _, item := range out.Body.Items {
		if item.Error != nil {
			out.Body.Failed++
		} else {
			out.Body.Succeeded++
		}
	}
	return out, nil
}

func (a *API) bulkOne(ctx context.Context, action string, item *bulkItem, fresh models.RunID) (err error) {
	// The id came from outside, so it counts within the caller's workspace only.
	if !models.ValidID(models.RunPrefix, string(item.ID)) {
		return models.ErrNotFound
	}
	ref := store.RunRef{Workspace: workspace(ctx), Run: item.ID}
	switch action {
	case "pause":
		_, err = a.engine.Pause(ctx, ref)
	case "resume":
		_, err = a.engine.Resume(ctx, ref)
	case "cancel":
		_, err = a.engine.Cancel(ctx, ref)
	case "rerun":
		if _, err = a.engine.Rerun(ctx, ref, engine.RerunRequest{ID: fresh}); err == nil {
			item.RerunID = &fresh
		}
	default:
		err = errors.New("bulk action " + action + " is in the schema and not here")
	}
	return err
}

// changeable says which runs an action can change. A filter that names no status
// means those: newer runs that have ended must not hide older ones that have not.
var changeable = map[string][]string{
	"cancel": inStates(models.RunQueued, models.RunRunning, models.RunWaiting, models.RunPaused),
	"pause":  inStates(models.RunQueued, models.RunRunning, models.RunWaiting),
	"resume": inStates(models.RunPaused),
	"rerun":  inStates(models.RunCompleted, models.RunFailed, models.RunCancelled),
}

func inStates(states ...models.RunStatus) (names []string) {
	for _, s := range states {
		names = append(names, string(s))
	}
	return names
}

// chosen gives the runs a bulk request is about, and where the next request goes on.
func (a *API) chosen(ctx context.Context, in *bulkRequest) (runs []models.RunID, next *string, err error) {
	b := &in.Body
	f := b.Filter
	if f == nil {
		for _, id := range b.IDs {
			if run := models.RunID(id); !slices.Contains(runs, run) {
				runs = append(runs, run)
			}
		}
		return runs, nil, nil
	}
	q := RunQuery{
		WorkflowID: f.WorkflowID, Status: f.Status, TriggerType: f.TriggerType, TriggerID: f.TriggerID, metadata: f.Metadata,
	}
	if len(q.Status) == 0 {
		q.Status = changeable[b.Action]
	}
	if f.CreatedAfter != nil {
		q.CreatedAfter = *f.CreatedAfter
	}
	if f.CreatedBefore != nil {
		q.CreatedBefore = *f.CreatedBefore
	}
	list := ListQuery{Limit: mostBulk, Cursor: b.Cursor}
	p, err := readPage(ctx, list, byID("bulk", models.RunPrefix, func(r *models.Run) models.RunID { return r.ID }),
		func(p store.Page) ([]*models.Run, error) {
			filter, ok := q.filter()
			if !ok {
				return nil, nil
			}
			return a.store.For(workspace(ctx)).Runs(ctx, filter, p)
		},
		func(r *models.Run) models.RunID { return r.ID })
	return p.Items, p.NextCursor, inBody(err)
}

// inBody moves the places of an error of a list to the body, where this list is asked for.
func inBody(err error) error {
	if fields, ok := errors.AsType[*models.InvalidError](err); ok {
		for _, f := range fields.Fields {
			f.Loc[0] = "body"
		}
	}
	if p, ok := errors.AsType[*Problem](err); ok {
		for _, f := range p.Errors {
			f.Loc[0] = "body"
		}
	}
	return err
}
