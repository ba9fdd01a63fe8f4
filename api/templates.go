package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/templates"
)

// Template is a workflow to be copied, with its triggers.
type Template struct {
	TemplateFields
	Graph    json.RawMessage `json:"graph" doc:"As that of a workflow; {{ inputs.x }} may stand in place of any value"`
	Output   json.RawMessage `json:"output" doc:"Template of a run's output, or null"`
	Settings json.RawMessage `json:"settings" doc:"How runs are started, or null"`
}

// TemplateFields are the ones a list shows.
type TemplateFields struct {
	Slug         string                `json:"slug"`
	Name         string                `json:"name"`
	Description  string                `json:"description"`
	Category     string                `json:"category"`
	Version      int                   `json:"version"`
	Status       models.TemplateStatus `json:"status" enum:"published,draft,deprecated"`
	Builtin      bool                  `json:"builtin" doc:"Whether it comes with the product, rather than from the workspace"`
	TriggerTypes []string              `json:"trigger_types" nullable:"false" doc:"Types of its triggers"`
	Inputs       json.RawMessage       `json:"inputs" doc:"JSON Schema of what has to be given to make a workflow of it"`
	InputSchema  json.RawMessage       `json:"input_schema" doc:"JSON Schema of a run's payload, or null"`
	Triggers     []json.RawMessage     `json:"triggers" nullable:"false" doc:"Triggers that are made with the workflow"`
	Requires     requirements          `json:"requires" doc:"What has to be there; where an input names it, its default"`
	CreatedAt    stamp                 `json:"created_at" doc:"Of the first version"`
	UpdatedAt    stamp                 `json:"updated_at" doc:"Of this version"`
}

func showTemplateFields(t *models.Template) TemplateFields {
	d := &t.Document
	out := TemplateFields{
		Slug: t.Slug, Name: t.Name, Description: t.Description, Category: t.Category, Version: t.Version, Status: t.Status,
		Builtin: t.WorkspaceID == "", TriggerTypes: t.TriggerTypes, Inputs: d.Inputs, InputSchema: d.InputSchema, Triggers: d.Triggers,
		Requires:  requirements{Agents: d.Requires.Agents, Connectors: d.Requires.Connectors},
		CreatedAt: stamp(t.FirstAt), UpdatedAt: stamp(t.CreatedAt),
	}
	if out.Triggers == nil {
		out.Triggers = []json.RawMessage{}
	}
	return out
}

func showTemplate(t *models.Template) Template {
	d := &t.Document
	return Template{TemplateFields: showTemplateFields(t), Graph: d.Graph, Output: d.Output, Settings: d.Settings}
}

type listTemplatesRequest struct {
	ListQuery
	Category      string    `query:"category" maxLength:"64"`
	Q             string    `query:"q" maxLength:"200" doc:"A part of the slug, name or description"`
	Status        []string  `query:"status" enum:"published,draft,deprecated" doc:"One or several, separated by commas"`
	TriggerType   []string  `query:"trigger_type" enum:"event,schedule,webhook" doc:"Those with a trigger of one of these types"`
	CreatedAfter  time.Time `query:"created_after"`
	CreatedBefore time.Time `query:"created_before"`
}

// admits tells whether a template is asked for.
func (in *listTemplatesRequest) admits(t *models.Template) bool {
	q := strings.ToLower(in.Q)
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), q) }
	switch {
	case in.Category != "" && t.Category != in.Category,
		q != "" && !has(t.Slug) && !has(t.Name) && !has(t.Description),
		len(in.Status) > 0 && !slices.Contains(in.Status, string(t.Status)),
		len(in.TriggerType) > 0 && !slices.ContainsFunc(in.TriggerType, func(typ string) bool { return slices.Contains(t.TriggerTypes, typ) }),
		!in.CreatedAfter.IsZero() && !t.FirstAt.After(in.CreatedAfter),
		!in.CreatedBefore.IsZero() && !t.FirstAt.Before(in.CreatedBefore):
		return false
	}
	return true
}

type templatesAnswer struct{ Body page[TemplateFields] }

func (a *API) listTemplates(ctx context.Context, in *listTemplatesRequest) (*templatesAnswer, error) {
	own, err := a.store.For(workspace(ctx)).Templates(ctx)
	if err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(slices.Concat(own, a.gallery.All()), func(t *models.Template) bool { return !in.admits(t) })
	p, err := readPage(ctx, in.ListQuery, order[*models.Template]{"templates", templatePlace, templatePlaces.MatchString},
		func(p store.Page) ([]*models.Template, error) { return templatesAfter(all, p), nil },
		showTemplateFields)
	if err != nil {
		return nil, err
	}
	return &templatesAnswer{p}, a.addDocuments(ctx, p.Items)
}

// templatePlace is where a template stands in the list: the workspace's own before
// those that are built in, then by time and slug. None of it ever changes.
func templatePlace(t *models.Template) string {
	rank := 1
	if t.WorkspaceID == "" {
		rank = 0
	}
	return fmt.Sprintf("%d/%020d/%s", rank, t.FirstAt.UnixMicro(), t.Slug)
}

var templatePlaces = regexp.MustCompile(`^[01]/\d{20}/[a-z0-9][a-z0-9-]*$`)

// templatesAfter gives a page of a list that is in the order of falling places.
func templatesAfter(all []*models.Template, p store.Page) []*models.Template {
	if p.After != "" {
		i := slices.IndexFunc(all, func(t *models.Template) bool { return templatePlace(t) < p.After })
		if i < 0 {
			i = len(all)
		}
		all = all[i:]
	}
	return all[:min(len(all), p.Limit)]
}

// documentsAtOnce bounds the documents in memory: a page shows little of each.
const documentsAtOnce = 20

// addDocuments adds what a list shows of the documents of the workspace's own
// templates.
func (a *API) addDocuments(ctx context.Context, items []TemplateFields) error {
	places := map[string]int{}
	var slugs []string
	for i, item := range items {
		if !item.Builtin {
			places[item.Slug] = i
			slugs = append(slugs, item.Slug)
		}
	}
	for some := range slices.Chunk(slugs, documentsAtOnce) {
		rows, err := a.store.For(workspace(ctx)).TemplatesNamed(ctx, some)
		if err != nil {
			return err
		}
		for _, t := range rows {
			items[places[t.Slug]] = showTemplateFields(t)
		}
	}
	return nil
}

// TemplatePath is the path of everything about one template.
type TemplatePath struct {
	Slug string `path:"slug" doc:"Slug of a template"`
}

var templateSlug = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

func (a *API) template(ctx context.Context, slug string) (*models.Template, error) {
	if t, ok := a.gallery.Get(slug); ok {
		return t, nil
	}
	if !templateSlug.MatchString(slug) {
		return nil, models.ErrNotFound
	}
	return a.store.For(workspace(ctx)).Template(ctx, slug)
}

type templateAnswer struct {
	Location string `header:"Location"`
	Body     Template
}

func (a *API) getTemplate(ctx context.Context, in *TemplatePath) (*templateAnswer, error) {
	t, err := a.template(ctx, in.Slug)
	if err != nil {
		return nil, err
	}
	return &templateAnswer{Body: showTemplate(t)}, nil
}

type publishTemplateRequest struct {
	Body struct {
		Slug        string          `json:"slug" pattern:"^[a-z0-9][a-z0-9-]{0,63}$" doc:"A new one, or that of a template of the workspace to publish its next version"`
		WorkflowID  string          `json:"workflow_id" doc:"What to copy, with its triggers of type event and schedule"`
		Version     int             `json:"version,omitempty" minimum:"1" doc:"Of the workflow; the current one if not given"`
		Name        string          `json:"name" minLength:"1" pattern:"^$|\\S" maxLength:"200"`
		Description string          `json:"description,omitempty" maxLength:"2000"`
		Category    string          `json:"category,omitempty" pattern:"^[a-z0-9][a-z0-9-]{0,63}$" doc:"own if not given"`
		Status      string          `json:"status,omitempty" enum:"published,draft,deprecated" doc:"published if not given"`
		Inputs      json.RawMessage `json:"inputs,omitempty" doc:"JSON Schema (2020-12) of an object. Each property has a default; where the workflow holds exactly that text or number, the input takes its place"`
	}
}

func (a *API) publishTemplate(ctx context.Context, in *publishTemplateRequest) (*templateAnswer, error) {
	b := &in.Body
	if _, taken := a.gallery.Get(b.Slug); taken {
		return nil, models.Conflict(models.CodeConflict, "the slug %s belongs to a template that is built in", b.Slug)
	}
	v, triggers, err := a.toPublish(ctx, WorkflowPath{b.WorkflowID}, b.Version)
	if err != nil {
		return nil, err
	}
	inputs := orNil(b.Inputs)
	if err := engine.CheckSchema(inputs); err != nil {
		return nil, under(err, "body", "inputs")
	}
	doc, err := templates.Make(inputs, v, triggers)
	if err != nil {
		return nil, under(err, "body")
	}
	doc.Request = ids.Make(ctx, "req")
	t := &models.Template{
		Slug: b.Slug, Name: b.Name, Description: b.Description, Category: b.Category, Status: models.TemplateStatus(b.Status),
		TriggerTypes: templates.Types(doc), Document: *doc,
	}
	if t.Category == "" {
		t.Category = "own"
	}
	if t.Status == "" {
		t.Status = models.TemplatePublished
	}
	if t, err = a.store.For(workspace(ctx)).PublishTemplate(ctx, t, a.now()); err != nil {
		return nil, err
	}
	return &templateAnswer{Location: base + "/templates/" + t.Slug, Body: showTemplate(t)}, nil
}

// maxTemplateTriggers bounds the triggers of a template.
const maxTemplateTriggers = 100

// toPublish gives the version of a workflow to make a template of, and its triggers,
// the oldest first.
func (a *API) toPublish(ctx context.Context, path WorkflowPath, n int) (*models.Version, []*models.Trigger, error) {
	id, err := path.id()
	if err != nil {
		return nil, nil, err
	}
	t := a.store.For(workspace(ctx))
	w, err := t.Workflow(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if w.Status == models.WorkflowArchived {
		return nil, nil, models.Conflict(models.CodeInvalidState, "workflow %s is archived", id)
	}
	if n == 0 {
		n = w.Version
	}
	v, err := t.Version(ctx, id, n)
	if err != nil {
		return nil, nil, err
	}
	if v.ArchivedAt != nil {
		return nil, nil, models.Conflict(models.CodeVersionArchived, "version %d of workflow %s is archived", n, id)
	}
	var triggers []*models.Trigger
	for _, kind := range []models.TriggerKind{models.TriggerOnEvent, models.TriggerOnSchedule} {
		rows, err := t.Triggers(ctx, store.TriggerFilter{WorkflowID: &id, Type: kind}, store.Page{Limit: maxTemplateTriggers + 1})
		if err != nil {
			return nil, nil, err
		}
		slices.Reverse(rows)
		triggers = append(triggers, rows...)
	}
	if len(triggers) > maxTemplateTriggers {
		return nil, nil, models.Conflict(models.CodeConflict, "the workflow has more than %d triggers, too many for a template", maxTemplateTriggers)
	}
	return v, triggers, nil
}

type installRequest struct {
	TemplatePath
	Body struct {
		Name   string          `json:"name,omitempty" pattern:"^$|\\S" maxLength:"200" doc:"The template's if not given"`
		Inputs json.RawMessage `json:"inputs,omitempty" doc:"What the template asks for; see its inputs"`
	}
}

// InstalledWorkflow is a workflow with the triggers that were made with it.
type InstalledWorkflow struct {
	Workflow
	Triggers []NewTrigger `json:"triggers" nullable:"false"`
}

type installAnswer struct {
	Location string `header:"Location"`
	ETag     string `header:"ETag"`
	Body     InstalledWorkflow
}

func (a *API) installTemplate(ctx context.Context, in *installRequest) (*installAnswer, error) {
	t, err := a.template(ctx, in.Slug)
	if err != nil {
		return nil, err
	}
	if t.Status == models.TemplateDeprecated {
		return nil, models.Conflict(models.CodeInvalidState, "the template %s is deprecated: workflows made of it stay, but no more are made", t.Slug)
	}
	c, err := a.fillTemplate(ctx, t, orNil(in.Body.Inputs))
	if err != nil {
		return nil, err
	}
	w := &models.Workflow{
		ID: models.WorkflowID(ids.Make(ctx, models.WorkflowPrefix)), Name: in.Body.Name, Description: t.Description, Status: models.WorkflowActive,
		Tags: []string{}, Template: &models.TemplateRef{Slug: t.Slug, Version: t.Version}, CreatedAt: c.Version.CreatedAt, UpdatedAt: c.Version.CreatedAt,
	}
	if w.Name == "" {
		w.Name = t.Name
	}
	made, err := a.bus.Install(ctx, workspace(ctx), w, c.Version, c.Triggers)
	if err != nil {
		return nil, blame(t, under(err, "triggers"))
	}
	out := &installAnswer{Location: base + "/workflows/" + string(w.ID), ETag: etag(w.Revision)}
	out.Body = InstalledWorkflow{Workflow: answerWorkflow(w, c.Version).Body, Triggers: make([]NewTrigger, len(made))}
	for i, m := range made {
		out.Body.Triggers[i] = showNewTrigger(ctx, m)
	}
	return out, nil
}

// fillTemplate makes the content of a workflow of a template, and checks it as that of
// any workflow.
func (a *API) fillTemplate(ctx context.Context, t *models.Template, inputs json.RawMessage) (*templates.Content, error) {
	inputs, err := engine.FitSchema(t.Document.Inputs, inputs)
	if err != nil {
		return nil, under(err, "body", "inputs")
	}
	c, err := templates.Fill(&t.Document, inputs)
	if err != nil {
		return nil, under(err, "body")
	}
	errs, _, err := a.engine.Check(ctx, workspace(ctx), draft(c.Version))
	if err != nil {
		return nil, err
	}
	if len(errs) > 0 {
		for i := range errs {
			errs[i].Msg += howToMend(errs[i], c.Version.Graph)
		}
		return nil, blame(t, &models.InvalidError{Fields: errs})
	}
	c.Version.CreatedAt = a.now()
	c.Version.Hash, err = c.Version.ContentHash()
	return c, err
}

// howToMend says what to do about an agent that is missing.
func howToMend(e models.FieldError, g *models.Graph) string {
	if e.Type != "unknown" || len(e.Loc) != 4 || e.Loc[3] != "agent" {
		return ""
	}
	i, _ := e.Loc[2].(int)
	return `: make it with POST ` + base + `/agents {"slug":` + strconv.Quote(g.Steps[i].Agent) + `,"kind":"http","config":{"url":"https://…"}}, or name one that GET ` + base + `/agents lists`
}

// blame brings what is wrong with a filled template back to the inputs.
func blame(t *models.Template, err error) error {
	bad, ok := errors.AsType[*models.InvalidError](err)
	if !ok {
		return err
	}
	return &models.InvalidError{Fields: models.Under(templates.Blame(&t.Document, bad.Fields), "body")}
}
