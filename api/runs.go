package api

import (
	"context"
	"encoding/json"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// Run is a run with everything there is to tell about the whole of it.
type Run struct {
	RunFields
	Payload json.RawMessage  `json:"payload"`
	Output  json.RawMessage  `json:"output" doc:"Null until the run has completed"`
	Usage   orNull[RunUsage] `json:"usage" doc:"What all steps used so far, or null where nothing was metered"`
}

// RunUsage is what the steps of a run used together.
type RunUsage struct {
	InputTokens  int64   `json:"input_tokens"`
	OutputTokens int64   `json:"output_tokens"`
	Cost         float64 `json:"cost" doc:"In US dollars"`
	Turns        int     `json:"turns"`
	CostUnknown  bool    `json:"cost_unknown,omitempty" doc:"True where no price is known for some of it, which counts as 0"`
	Estimated    bool    `json:"estimated,omitempty" doc:"True where some of the tokens were not counted by the other side"`
}

// wholeRun is a run with what its steps used.
func (a *API) wholeRun(ctx context.Context, r *models.Run) (Run, error) {
	out := showRun(r)
	rows, err := a.store.For(r.WorkspaceID).RunUsage(ctx, r.ID)
	if err != nil {
		return Run{}, err
	}
	if sum := sumUsage(rows); sum != nil {
		out.Usage = maybe(&RunUsage{sum.InputTokens, sum.OutputTokens, sum.Cost, sum.Turns, sum.CostUnknown, sum.Estimated})
	}
	return out, nil
}

// sumUsage adds up what steps used, and is nil where that is nothing. There is a model
// where all used the same.
func sumUsage(rows []*models.Step) *connectors.Usage {
	var sum *connectors.Usage
	for _, row := range rows {
		var u connectors.Usage
		if json.Unmarshal(row.Usage, &u) != nil {
			continue
		}
		if sum == nil {
			sum = &connectors.Usage{Model: u.Model}
		}
		if sum.Model != u.Model {
			sum.Model = ""
		}
		sum.InputTokens += u.InputTokens
		sum.OutputTokens += u.OutputTokens
		sum.Cost += u.Cost
		sum.Turns += u.Turns
		sum.CostUnknown = sum.CostUnknown || u.CostUnknown
		sum.Estimated = sum.Estimated || u.Estimated
	}
	if sum != nil {
		sum.Cost = math.Round(sum.Cost*nanosPerDollar) / nanosPerDollar // as it is counted
	}
	return sum
}

// RunFields are the ones a list shows.
type RunFields struct {
	ID              models.RunID      `json:"id"`
	WorkflowID      models.WorkflowID `json:"workflow_id"`
	WorkflowVersion int               `json:"workflow_version" doc:"The version the run is pinned to"`
	Status          models.RunStatus  `json:"status" enum:"queued,running,waiting,paused,completed,failed,cancelled"`
	Trigger         runTrigger        `json:"trigger"`
	Error           orNull[runError]  `json:"error" doc:"Why the run failed, or null"`
	RerunOf         *models.RunID     `json:"rerun_of"`
	Metadata        map[string]string `json:"metadata"`
	CreatedAt       stamp             `json:"created_at"`
	StartedAt       maybeStamp        `json:"started_at"`
	FinishedAt      maybeStamp        `json:"finished_at"`
}

type runTrigger struct {
	Type    models.TriggerType `json:"type" enum:"manual,event,schedule,webhook,mcp,flow"`
	ID      *models.TriggerID  `json:"id"`
	EventID *models.EventID    `json:"event_id"`
}

type runError struct {
	StepID  *string `json:"step_id" doc:"Null where no single step is to blame"`
	Code    string  `json:"code"`
	Message string  `json:"message"`
}

func showRunFields(r *models.Run) RunFields {
	out := RunFields{
		ID: r.ID, WorkflowID: r.WorkflowID, WorkflowVersion: r.WorkflowVersion, Status: r.Status,
		Trigger: runTrigger{r.TriggerType, r.TriggerID, r.EventID}, RerunOf: r.RerunOf, Metadata: r.Metadata,
		CreatedAt: stamp(r.CreatedAt), StartedAt: maybeStamp{r.StartedAt}, FinishedAt: maybeStamp{r.FinishedAt},
	}
	if r.Error != nil && r.Status == models.RunFailed {
		shown := &runError{Code: r.Error.Code, Message: r.Error.Message}
		if r.Error.StepID != "" {
			shown.StepID = &r.Error.StepID
		}
		out.Error = maybe(shown)
	}
	if out.Metadata == nil {
		out.Metadata = map[string]string{}
	}
	return out
}

func showRun(r *models.Run) Run {
	return Run{RunFields: showRunFields(r), Payload: r.Payload, Output: r.Output}
}

type runAnswer struct {
	Location string `header:"Location"`
	Body     Run
}

// startedAnswer is the answer to what starts a run.
func startedAnswer(r *models.Run) *runAnswer {
	return &runAnswer{Location: runsPath + string(r.ID), Body: showRun(r)}
}

const runsPath = base + "/runs/"

type triggerBody struct {
	Payload  json.RawMessage   `json:"payload,omitempty" doc:"What the run works on; an empty object if not given"`
	Version  *int              `json:"version,omitempty" minimum:"1" doc:"The current one if not given"`
	Metadata map[string]string `json:"metadata,omitempty" doc:"To find the run by"`
}

type triggerRequest struct {
	WorkflowPath
	Body *triggerBody
}

func (a *API) triggerWorkflow(ctx context.Context, in *triggerRequest) (*runAnswer, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	if in.Body == nil {
		in.Body = &triggerBody{}
	}
	fresh := models.RunID(ids.Make(ctx, models.RunPrefix))
	a.hearBefore(ctx, fresh)
	run, err := a.start(ctx, id, fresh, in.Body)
	if err != nil {
		return nil, under(err, "body")
	}
	return startedAnswer(run), nil
}

func (a *API) start(ctx context.Context, wf models.WorkflowID, id models.RunID, b *triggerBody) (*models.Run, error) {
	if err := checkMetadata(b.Metadata); err != nil {
		return nil, err
	}
	return a.engine.Start(ctx, engine.StartRequest{
		Workspace: workspace(ctx), Workflow: wf, Version: b.Version, ID: id,
		Payload: orNil(b.Payload), Metadata: b.Metadata, Trigger: startedBy(ctx),
	})
}

const (
	mostMetadata     = 50
	maxMetadataKey   = 64
	maxMetadataValue = 500
)

func checkMetadata(m map[string]string) error {
	bad := func(key, msg string) error {
		return invalid(models.FieldError{Loc: []any{"metadata", key}, Msg: msg, Type: "limit"})
	}
	if len(m) > mostMetadata {
		return invalid(models.FieldError{Loc: []any{"metadata"}, Msg: "must have at most 50 members", Type: "limit"})
	}
	for k, v := range m {
		switch {
		case k == "" || len(k) > maxMetadataKey:
			return bad(k, "a key must have 1 to 64 bytes")
		case len(v) > maxMetadataValue:
			return bad(k, "must have at most 500 bytes")
		}
	}
	return nil
}

// RunPath is the path of everything about one run.
type RunPath struct {
	ID string `path:"id" doc:"Id of a run"`
}

// ref names the run, within the caller's workspace.
func (in RunPath) ref(ctx context.Context) (store.RunRef, error) {
	if !models.ValidID(models.RunPrefix, in.ID) {
		return store.RunRef{}, models.ErrNotFound
	}
	return store.RunRef{Workspace: workspace(ctx), Run: models.RunID(in.ID)}, nil
}

func (a *API) getRun(ctx context.Context, in *RunPath) (*runAnswer, error) {
	ref, err := in.ref(ctx)
	if err != nil {
		return nil, err
	}
	r, err := a.store.For(ref.Workspace).Run(ctx, ref.Run)
	if err != nil {
		return nil, err
	}
	out, err := a.wholeRun(ctx, r)
	return &runAnswer{Body: out}, err
}

// RunQuery is how runs are chosen, in lists.
type RunQuery struct {
	WorkflowID    string    `query:"workflow_id"`
	Status        []string  `query:"status" enum:"queued,running,waiting,paused,completed,failed,cancelled" doc:"One or several, separated by commas"`
	TriggerType   []string  `query:"trigger_type" enum:"manual,event,schedule,webhook,mcp,flow" doc:"One or several, separated by commas"`
	TriggerID     string    `query:"trigger_id"`
	CreatedAfter  time.Time `query:"created_after"`
	CreatedBefore time.Time `query:"created_before"`

	metadata map[string]string
}

// Resolve reads metadata.<key>=value, whose names no declaration can list.
func (f *RunQuery) Resolve(ctx huma.Context) []error {
	at := ctx.URL()
	query, err := url.ParseQuery(at.RawQuery)
	if err != nil {
		return []error{malformed("The query cannot be read.")}
	}
	for name, values := range query {
		if key, ok := strings.CutPrefix(name, "metadata."); ok && len(values) > 0 {
			if f.metadata == nil {
				f.metadata = map[string]string{}
			}
			f.metadata[key] = values[len(values)-1]
		}
	}
	return nil
}

// filter gives what the store understands. ok is false where nothing can match.
func (f *RunQuery) filter() (out store.RunFilter, ok bool) {
	out.Metadata = f.metadata
	if f.WorkflowID != "" {
		id := models.WorkflowID(f.WorkflowID)
		if !models.ValidID(models.WorkflowPrefix, f.WorkflowID) {
			return out, false
		}
		out.WorkflowID = &id
	}
	if f.TriggerID != "" {
		id := models.TriggerID(f.TriggerID)
		if !models.ValidID(models.TriggerPrefix, f.TriggerID) {
			return out, false
		}
		out.TriggerID = &id
	}
	for _, s := range f.Status {
		out.Statuses = append(out.Statuses, models.RunStatus(s))
	}
	for _, s := range f.TriggerType {
		out.TriggerTypes = append(out.TriggerTypes, models.TriggerType(s))
	}
	if !f.CreatedAfter.IsZero() {
		out.CreatedAfter = new(writable(f.CreatedAfter))
	}
	if !f.CreatedBefore.IsZero() {
		out.CreatedBefore = new(writable(f.CreatedBefore))
	}
	return out, true
}

type listRunsRequest struct {
	ListQuery
	RunQuery
}

type runsAnswer struct{ Body page[RunFields] }

func (a *API) listRuns(ctx context.Context, in *listRunsRequest) (*runsAnswer, error) {
	f, ok := in.filter()
	p, err := readPage(ctx, in.ListQuery, byID("runs", models.RunPrefix, func(r *models.Run) models.RunID { return r.ID }),
		func(p store.Page) ([]*models.Run, error) {
			if !ok {
				return nil, nil
			}
			return a.store.For(workspace(ctx)).Runs(ctx, f, p)
		},
		showRunFields)
	return &runsAnswer{p}, err
}

// RunEvent is a line of a run's log.
type RunEvent struct {
	Seq    int64               `json:"seq"`
	Type   models.RunEventType `json:"type"`
	StepID *string             `json:"step_id" doc:"Null where it is about the whole run"`
	At     stamp               `json:"at"`
	Data   json.RawMessage     `json:"data"`
}

func showRunEvent(e *models.RunEvent) RunEvent {
	out := RunEvent{Seq: e.Seq, Type: e.Type, At: stamp(e.At), Data: e.Data}
	if e.StepID != "" {
		out.StepID = &e.StepID
	}
	return out
}

type listRunEventsRequest struct {
	RunPath
	ListQuery
	After int64 `query:"after" minimum:"0" doc:"The last seq seen"`
}

type runEventsAnswer struct{ Body page[RunEvent] }

func (a *API) listRunEvents(ctx context.Context, in *listRunEventsRequest) (*runEventsAnswer, error) {
	ref, err := in.ref(ctx)
	if err != nil {
		return nil, err
	}
	t := a.store.For(ref.Workspace)
	if _, err := t.Run(ctx, ref.Run); err != nil {
		return nil, err
	}
	p, err := readPage(ctx, in.ListQuery, byNumber("events of "+in.ID, func(e *models.RunEvent) int64 { return e.Seq }),
		func(p store.Page) ([]*models.RunEvent, error) {
			after := in.After
			if p.After != "" {
				if after, err = readNumber(p.After); err != nil {
					return nil, err
				}
			}
			return t.RunEvents(ctx, ref.Run, after, p.Limit)
		},
		showRunEvent)
	return &runEventsAnswer{p}, err
}

type whyAnswer struct{ Body WhyRun }

// WhyRun says what a run is waiting for.
type WhyRun struct {
	Status    models.RunStatus `json:"status"`
	Summary   string           `json:"summary"`
	WaitingOn []waitingOn      `json:"waiting_on" nullable:"false"`
}

type waitingOn struct {
	StepID *string    `json:"step_id" doc:"Null where the run as a whole waits"`
	Kind   string     `json:"kind" doc:"timer, event, approval, run, retry, queue, limit, worker or join; concurrency or debounce of a run that has not begun"`
	Since  maybeStamp `json:"since"`
	Until  maybeStamp `json:"until"`
	Detail string     `json:"detail"`

	Key    string         `json:"key,omitempty" doc:"Of concurrency and debounce: what the starts have in common"`
	Ahead  *int           `json:"ahead,omitempty" doc:"Of concurrency: runs in line before this one"`
	Limit  int            `json:"limit,omitempty" doc:"Of concurrency: how many runs may be active at once"`
	HeldBy []models.RunID `json:"held_by,omitempty" nullable:"false" doc:"Of concurrency: runs that are, up to ten"`
}

func (a *API) whyRun(ctx context.Context, in *RunPath) (*whyAnswer, error) {
	ref, err := in.ref(ctx)
	if err != nil {
		return nil, err
	}
	why, err := a.engine.Why(ctx, ref)
	if err != nil {
		return nil, err
	}
	out := WhyRun{Status: why.Status, Summary: why.Summary, WaitingOn: make([]waitingOn, len(why.WaitingOn))}
	for i, w := range why.WaitingOn {
		out.WaitingOn[i] = waitingOn{
			unlessEmpty(w.StepID), w.Kind, maybeStamp{w.Since}, maybeStamp{w.Until}, w.Detail, w.Key, w.Ahead, w.Limit, w.Holders,
		}
	}
	return &whyAnswer{out}, nil
}
