package api

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// Workflow is a workflow with the content of its current version.
type Workflow struct {
	WorkflowFields
	Graph       *models.Graph   `json:"graph"`
	InputSchema json.RawMessage `json:"input_schema" doc:"JSON Schema of a run's payload, or null"`
	Output      json.RawMessage `json:"output" doc:"Template of a run's output, or null"`
	Settings    Settings        `json:"settings"`
}

// WorkflowFields are the ones a list shows.
type WorkflowFields struct {
	ID          models.WorkflowID          `json:"id"`
	Name        string                     `json:"name"`
	Description string                     `json:"description"`
	Status      models.WorkflowStatus      `json:"status" enum:"active,paused,archived"`
	Version     int                        `json:"version" doc:"The current one"`
	Tags        []string                   `json:"tags" nullable:"false"`
	Template    orNull[models.TemplateRef] `json:"template" doc:"What it was made from, or null"`
	CreatedAt   stamp                      `json:"created_at"`
	UpdatedAt   stamp                      `json:"updated_at"`
}

func showWorkflow(w *models.Workflow) WorkflowFields {
	return WorkflowFields{
		ID: w.ID, Name: w.Name, Description: w.Description, Status: w.Status, Version: w.Version,
		Tags: w.Tags, Template: maybe(w.Template), CreatedAt: stamp(w.CreatedAt), UpdatedAt: stamp(w.UpdatedAt),
	}
}

type workflowAnswer struct {
	Location string `header:"Location"`
	ETag     string `header:"ETag"`
	Body     Workflow
}

func answerWorkflow(w *models.Workflow, v *models.Version) *workflowAnswer {
	return &workflowAnswer{
		ETag: etag(w.Revision),
		Body: Workflow{
			WorkflowFields: showWorkflow(w), Graph: v.Graph, InputSchema: v.InputSchema, Output: v.Output, Settings: Settings(v.Settings),
		},
	}
}

func etag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

// Content is what a version holds, in the requests that make one.
type Content struct {
	Graph       *models.Graph   `json:"graph"`
	InputSchema json.RawMessage `json:"input_schema,omitempty" doc:"JSON Schema (2020-12) of a run's payload"`
	Output      json.RawMessage `json:"output,omitempty" doc:"Template of a run's output"`
	Settings    Settings        `json:"settings,omitempty"`
}

// orNil takes null for nothing.
func orNil(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// version checks the content and makes a version of it.
func (a *API) version(ctx context.Context, c Content) (*models.Version, error) {
	if c.Graph != nil && c.Graph.Edges == nil {
		c.Graph.Edges = []models.Edge{} // none is a list, too
	}
	v := &models.Version{Graph: c.Graph, InputSchema: orNil(c.InputSchema), Output: orNil(c.Output), Settings: orNil(json.RawMessage(c.Settings))}
	errs, _, err := a.engine.Check(ctx, workspace(ctx), draft(v))
	switch {
	case err != nil:
		return nil, err
	case len(errs) > 0:
		return nil, invalid(models.Under(errs, "body")...)
	}
	v.CreatedAt = a.now()
	v.Hash, err = v.ContentHash()
	return v, err
}

func draft(v *models.Version) engine.Draft {
	return engine.Draft{Graph: v.Graph, InputSchema: v.InputSchema, Output: v.Output, Settings: v.Settings}
}

type createWorkflowRequest struct {
	Body struct {
		Name        string   `json:"name" minLength:"1" pattern:"^$|\\S" maxLength:"200"`
		Description string   `json:"description,omitempty" maxLength:"2000"`
		Tags        []string `json:"tags,omitempty" nullable:"false" maxItems:"50"`
		Status      string   `json:"status,omitempty" enum:"active,paused" doc:"active if not given"`
		Content
	}
}

func (a *API) createWorkflow(ctx context.Context, in *createWorkflowRequest) (*workflowAnswer, error) {
	tags, err := cleanTags(in.Body.Tags)
	if err != nil {
		return nil, err
	}
	v, err := a.version(ctx, in.Body.Content)
	if err != nil {
		return nil, err
	}
	status := models.WorkflowActive
	if in.Body.Status != "" {
		status = models.WorkflowStatus(in.Body.Status)
	}
	return a.makeWorkflow(ctx, &models.Workflow{
		Name: in.Body.Name, Description: in.Body.Description, Status: status, Tags: tags,
	}, v)
}

// makeWorkflow keeps a new workflow with its first version.
func (a *API) makeWorkflow(ctx context.Context, w *models.Workflow, v *models.Version) (*workflowAnswer, error) {
	w.ID = models.WorkflowID(ids.Make(ctx, models.WorkflowPrefix))
	w.CreatedAt, w.UpdatedAt = v.CreatedAt, v.CreatedAt
	t := a.store.For(workspace(ctx))
	if err := t.CreateWorkflow(ctx, w, v); err != nil {
		if !errors.Is(err, models.ErrConflict) {
			return nil, err
		}
		// Only a repeated request makes an id twice: the first try got this far.
		if w, err = t.Workflow(ctx, w.ID); err != nil {
			return nil, err
		}
		if v, err = t.Version(ctx, w.ID, w.Version); err != nil {
			return nil, err
		}
	}
	out := answerWorkflow(w, v)
	out.Location = base + "/workflows/" + string(w.ID)
	return out, nil
}

const maxTag = 64

// cleanTags sorts out repetitions and refuses tags no list could be filtered by.
func cleanTags(tags []string) ([]string, error) {
	out := make([]string, 0, len(tags))
	for i, tag := range tags {
		tag = strings.TrimSpace(tag)
		if tag == "" || len([]rune(tag)) > maxTag {
			return nil, invalid(models.FieldError{Loc: []any{"body", "tags", i}, Msg: "must have 1 to 64 characters", Type: "limit"})
		}
		if !slices.Contains(out, tag) {
			out = append(out, tag)
		}
	}
	return out, nil
}

type listWorkflowsRequest struct {
	ListQuery
	Status []string `query:"status" enum:"active,paused,archived" doc:"One or several, separated by commas; archived ones are left out unless asked for"`
	Tag    string   `query:"tag" maxLength:"64"`
	Q      string   `query:"q" maxLength:"200" doc:"A part of the name or description"`
}

type workflowsAnswer struct{ Body page[WorkflowFields] }

func (a *API) listWorkflows(ctx context.Context, in *listWorkflowsRequest) (*workflowsAnswer, error) {
	f := store.WorkflowFilter{Tag: in.Tag, Query: in.Q}
	for _, s := range in.Status {
		f.Statuses = append(f.Statuses, models.WorkflowStatus(s))
	}
	if len(f.Statuses) == 0 {
		f.Statuses = []models.WorkflowStatus{models.WorkflowActive, models.WorkflowPaused}
	}
	p, err := readPage(ctx, in.ListQuery, byID("workflows", models.WorkflowPrefix, func(w *models.Workflow) models.WorkflowID { return w.ID }),
		func(p store.Page) ([]*models.Workflow, error) {
			return a.store.For(workspace(ctx)).Workflows(ctx, f, p)
		},
		showWorkflow)
	return &workflowsAnswer{p}, err
}

// WorkflowPath is the path of everything about one workflow.
type WorkflowPath struct {
	ID string `path:"id" doc:"Id of a workflow"`
}

func (in WorkflowPath) id() (models.WorkflowID, error) {
	if !models.ValidID(models.WorkflowPrefix, in.ID) {
		return "", models.ErrNotFound
	}
	return models.WorkflowID(in.ID), nil
}

func (a *API) getWorkflow(ctx context.Context, in *WorkflowPath) (*workflowAnswer, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	t := a.store.For(workspace(ctx))
	w, err := t.Workflow(ctx, id)
	if err != nil {
		return nil, err
	}
	return a.currentOf(ctx, w)
}

// currentOf answers with a workflow and its current version.
func (a *API) currentOf(ctx context.Context, w *models.Workflow) (*workflowAnswer, error) {
	v, err := a.store.For(workspace(ctx)).Version(ctx, w.ID, w.Version)
	if err != nil {
		return nil, err
	}
	return answerWorkflow(w, v), nil
}

// Condition is the condition of requests that change a workflow.
type Condition struct {
	IfMatch string `header:"If-Match" maxLength:"1000" doc:"ETag of the state the change was made for; another state is 412"`
}

// revision gives the one the workflow has to be at, nil where any will do. A
// header may name several: only the current one matters then.
func (m Condition) revision(ctx context.Context, t *store.Tenant, id models.WorkflowID) (wanted *int64, err error) {
	header := strings.TrimSpace(m.IfMatch)
	if header == "" || header == "*" {
		return wanted, nil // none in particular
	}
	var named []int64
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimSpace(tag)
		inner, opens := strings.CutPrefix(tag, `"`)
		inner, closes := strings.CutSuffix(inner, `"`)
		if n, err := strconv.ParseInt(inner, 10, 64); opens && closes && err == nil {
			named = append(named, n)
		}
	}
	if len(named) == 1 {
		return &named[0], nil
	}
	w, err := t.Workflow(ctx, id)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(named, w.Revision) {
		return nil, models.ErrPrecondition
	}
	return &w.Revision, nil
}

type patchWorkflowRequest struct {
	WorkflowPath
	Condition
	Body struct {
		Name        *string   `json:"name,omitempty" minLength:"1" pattern:"^$|\\S" maxLength:"200"`
		Description *string   `json:"description,omitempty" maxLength:"2000"`
		Status      *string   `json:"status,omitempty" enum:"active,paused,archived"`
		Tags        *[]string `json:"tags,omitempty" nullable:"false" maxItems:"50"`
	}
}

func (a *API) patchWorkflow(ctx context.Context, in *patchWorkflowRequest) (*workflowAnswer, error) {
	var tags []string
	if in.Body.Tags != nil {
		var err error
		if tags, err = cleanTags(*in.Body.Tags); err != nil {
			return nil, err
		}
	}
	w, err := a.changeWorkflow(ctx, in.WorkflowPath, in.Condition, func(w *models.Workflow) error {
		if w.Status == models.WorkflowArchived && in.Body.Status == nil {
			return models.Conflict(models.CodeInvalidState, "the workflow is archived; set its status to bring it back")
		}
		if in.Body.Name != nil {
			w.Name = *in.Body.Name
		}
		if in.Body.Description != nil {
			w.Description = *in.Body.Description
		}
		if in.Body.Status != nil {
			w.Status = models.WorkflowStatus(*in.Body.Status)
		}
		if in.Body.Tags != nil {
			w.Tags = tags
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a.currentOf(ctx, w)
}

func (a *API) changeWorkflow(ctx context.Context, path WorkflowPath, cond Condition, fn func(*models.Workflow) error) (*models.Workflow, error) {
	id, err := path.id()
	if err != nil {
		return nil, err
	}
	t := a.store.For(workspace(ctx))
	rev, err := cond.revision(ctx, t, id)
	if err != nil {
		return nil, err
	}
	return t.UpdateWorkflow(ctx, id, rev, a.now(), fn)
}

type putGraphRequest struct {
	WorkflowPath
	Condition
	Body Content
}

func (a *API) putGraph(ctx context.Context, in *putGraphRequest) (*workflowAnswer, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	t := a.store.For(workspace(ctx))
	rev, err := in.revision(ctx, t, id)
	if err != nil {
		return nil, err
	}
	if _, err := t.Workflow(ctx, id); err != nil {
		return nil, err // what does not exist is not checked
	}
	v, err := a.version(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	w, v, err := t.AddVersion(ctx, id, rev, v, a.now())
	if err != nil {
		return nil, err
	}
	return answerWorkflow(w, v), nil
}

type deleteWorkflowRequest struct {
	WorkflowPath
	Condition
}

func (a *API) deleteWorkflow(ctx context.Context, in *deleteWorkflowRequest) (*struct{}, error) {
	_, err := a.changeWorkflow(ctx, in.WorkflowPath, in.Condition, func(w *models.Workflow) error {
		w.Status = models.WorkflowArchived
		return nil
	})
	return nil, err
}

type validateRequest struct {
	Body struct {
		Graph       json.RawMessage `json:"graph" doc:"A graph, right or wrong"`
		InputSchema json.RawMessage `json:"input_schema,omitempty"`
		Output      json.RawMessage `json:"output,omitempty"`
		Settings    json.RawMessage `json:"settings,omitempty" doc:"Settings, right or wrong"`
	}
}

type validateAnswer struct {
	Body struct {
		Valid    bool                `json:"valid"`
		Errors   []models.FieldError `json:"errors" nullable:"false"`
		Warnings []models.FieldError `json:"warnings" nullable:"false"`
	}
}

func (a *API) validateWorkflow(ctx context.Context, in *validateRequest) (*validateAnswer, error) {
	graph, errs := a.decodeGraph(in.Body.Graph)
	var warnings []models.FieldError
	if len(errs) == 0 {
		var err error
		errs, warnings, err = a.engine.Check(ctx, workspace(ctx), engine.Draft{
			Graph: graph, InputSchema: orNil(in.Body.InputSchema), Output: orNil(in.Body.Output), Settings: orNil(in.Body.Settings),
		})
		if err != nil {
			return nil, err
		}
	}
	out := new(validateAnswer)
	out.Body.Valid = len(errs) == 0
	out.Body.Errors = models.Under(errs, "body")
	out.Body.Warnings = models.Under(warnings, "body")
	return out, nil
}
