package api

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// Bus is what the operations ask of the bus.
type Bus interface {
	Publish(ctx context.Context, ws models.WorkspaceID, events []*models.Event) ([]bus.Receipt, error)
	CreateTrigger(ctx context.Context, ws models.WorkspaceID, trg *models.Trigger) (*bus.Created, error)
	Install(ctx context.Context, ws models.WorkspaceID, w *models.Workflow, v *models.Version, triggers []*models.Trigger) ([]*bus.Created, error)
	UpdateTrigger(ctx context.Context, ws models.WorkspaceID, id models.TriggerID, fn func(*models.Trigger) error) (*models.Trigger, error)
	TestTrigger(ctx context.Context, ws models.WorkspaceID, id models.TriggerID, e *models.Event) (*bus.Trial, error)
	ReadLink(token string) (*bus.Question, error)
	Hooks
}

var _ Bus = (*bus.Bus)(nil)

// Trigger starts runs of a workflow, or tells an address outside, when something
// happens.
type Trigger struct {
	ID             models.TriggerID      `json:"id"`
	Name           string                `json:"name"`
	Type           models.TriggerKind    `json:"type" enum:"event,schedule,webhook"`
	WorkflowID     *models.WorkflowID    `json:"workflow_id" doc:"Null where the target is a webhook"`
	TargetType     models.TargetType     `json:"target_type" enum:"workflow,webhook"`
	Source         *string               `json:"source" doc:"Null: any"`
	EventType      *string               `json:"event_type" doc:"Exact, or a beginning with * after it"`
	Filter         *string               `json:"filter" doc:"An expression over event; null: all"`
	Payload        json.RawMessage       `json:"payload" doc:"Template of the run's payload; null: the event's data"`
	Dedupe         orNull[triggerDedupe] `json:"dedupe" doc:"The same key within the window fires once"`
	Cron           *string               `json:"cron"`
	Timezone       *string               `json:"timezone"`
	Missed         *string               `json:"missed" doc:"What becomes of ticks that nobody was there for: skip, latest or all"`
	URL            *string               `json:"url" doc:"Where a webhook goes out to"`
	Verify         *string               `json:"verify" doc:"How a webhook that comes in proves where it comes from"`
	Enabled        bool                  `json:"enabled"`
	DisabledReason *string               `json:"disabled_reason" doc:"Why it was disabled without being asked to"`
	LastFiredAt    maybeStamp            `json:"last_fired_at"`
	NextFireAt     maybeStamp            `json:"next_fire_at"`
	CreatedAt      stamp                 `json:"created_at"`
	UpdatedAt      stamp                 `json:"updated_at"`
}

func showTrigger(t *models.Trigger) Trigger {
	return Trigger{
		ID: t.ID, Name: t.Name, Type: t.Type, WorkflowID: t.WorkflowID, TargetType: t.TargetType,
		Source: unlessEmpty(t.Source), EventType: unlessEmpty(t.EventType), Filter: unlessEmpty(t.Filter),
		Payload: t.Payload, Dedupe: maybe(showDedupe(t.Dedupe)),
		Cron: unlessEmpty(t.Cron), Timezone: unlessEmpty(t.Timezone), Missed: unlessEmpty(string(t.Missed)),
		URL: unlessEmpty(t.URL), Verify: unlessEmpty(string(t.Verify)),
		Enabled: t.Enabled, DisabledReason: unlessEmpty(t.DisabledReason),
		LastFiredAt: maybeStamp{t.LastFiredAt}, NextFireAt: maybeStamp{t.NextFireAt}, CreatedAt: stamp(t.CreatedAt), UpdatedAt: stamp(t.UpdatedAt),
	}
}

// unlessEmpty gives null for a text that is not set.
func unlessEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// NewTrigger is a trigger with what is shown of it only once.
type NewTrigger struct {
	Trigger
	Secret *string `json:"secret,omitempty" doc:"Signs what goes out, or proves what comes in; shown this once"`
	Token  *string `json:"token,omitempty" doc:"Of type webhook: the end of its url, which nobody else knows; shown this once"`
}

type newTriggerAnswer struct {
	Location string `header:"Location"`
	Body     NewTrigger
}

type triggerAnswer struct{ Body Trigger }

type triggerDedupe struct {
	Key    string `json:"key" doc:"An expression over event; null is no key"`
	Window string `json:"window" doc:"A duration, such as 90s, 24h or 7d"`
}

func (d *triggerDedupe) model() *models.Dedupe {
	if d == nil {
		return nil
	}
	return &models.Dedupe{Key: d.Key, Window: d.Window}
}

func showDedupe(d *models.Dedupe) *triggerDedupe {
	if d == nil {
		return nil
	}
	return &triggerDedupe{Key: d.Key, Window: d.Window}
}

type createTriggerRequest struct {
	Body struct {
		Name       string          `json:"name,omitempty" pattern:"^$|\\S" maxLength:"200" doc:"For people"`
		Type       string          `json:"type" enum:"event,schedule,webhook"`
		WorkflowID string          `json:"workflow_id,omitempty" doc:"Which workflow to start; needed unless the target is a webhook"`
		TargetType string          `json:"target_type,omitempty" enum:"workflow,webhook" doc:"workflow if not given"`
		Source     string          `json:"source,omitempty" doc:"Of type event: only events of that source"`
		EventType  string          `json:"event_type,omitempty" doc:"Of type event: which, exact or a beginning with * after it, such as lead.*"`
		Filter     string          `json:"filter,omitempty" doc:"An expression over event; all if not given"`
		Payload    json.RawMessage `json:"payload,omitempty" doc:"Template of the run's payload; the event's data if not given"`
		Dedupe     *triggerDedupe  `json:"dedupe,omitempty" doc:"The same key within the window fires once"`
		Cron       string          `json:"cron,omitempty" doc:"Of type schedule: when"`
		Timezone   string          `json:"timezone,omitempty" doc:"Of type schedule: an IANA zone"`
		Missed     string          `json:"missed,omitempty" enum:"skip,latest,all" doc:"Of type schedule: what becomes of ticks that nobody was there for"`
		URL        string          `json:"url,omitempty" doc:"Where a webhook goes out to"`
		Verify     string          `json:"verify,omitempty" enum:"none,10ex,standard,github,stripe,slack" doc:"Of type webhook: how it proves where it comes from; 10ex if not given"`
		Secret     string          `json:"secret,omitempty" minLength:"16" maxLength:"256" doc:"Of webhooks that come in or go out: one that was made elsewhere; a new one if not given"`
		Enabled    *bool           `json:"enabled,omitempty" doc:"true if not given"`
	}
}

func (a *API) createTrigger(ctx context.Context, in *createTriggerRequest) (*newTriggerAnswer, error) {
	b := in.Body
	trg := &models.Trigger{
		WorkspaceID: workspace(ctx),
		ID:          models.TriggerID(ids.Make(ctx, models.TriggerPrefix)), Name: b.Name, Type: models.TriggerKind(b.Type), TargetType: models.TargetType(b.TargetType),
		Source: b.Source, EventType: b.EventType, Filter: b.Filter, Payload: orNil(b.Payload), Dedupe: b.Dedupe.model(),
		Cron: b.Cron, Timezone: b.Timezone, Missed: models.MissedPolicy(b.Missed),
		URL: b.URL, Verify: models.VerifyKind(b.Verify), Enabled: b.Enabled == nil || *b.Enabled,
	}
	if b.WorkflowID != "" {
		trg.WorkflowID = new(models.WorkflowID(b.WorkflowID))
	}
	if b.Secret != "" {
		if err := a.bus.SetSecret(trg, b.Secret); err != nil {
			return nil, under(err, "body")
		}
	}
	made, err := a.bus.CreateTrigger(ctx, workspace(ctx), trg)
	if err != nil {
		return nil, under(err, "body")
	}
	return &newTriggerAnswer{Location: base + "/triggers/" + string(made.Trigger.ID), Body: showNewTrigger(ctx, made)}, nil
}

func showNewTrigger(ctx context.Context, made *bus.Created) NewTrigger {
	out := NewTrigger{Trigger: showTrigger(made.Trigger), Secret: unlessEmpty(made.Secret)}
	if made.Token != "" {
		out.Token = &made.Token
		out.URL = new(hookURL(ctx, made.Token))
	}
	return out
}

type listTriggersRequest struct {
	ListQuery
	WorkflowID string `query:"workflow_id"`
	Type       string `query:"type" enum:"event,schedule,webhook"`
	TargetType string `query:"target_type" enum:"workflow,webhook"`
	EventType  string `query:"event_type" maxLength:"200" doc:"As the trigger has it"`
	Enabled    string `query:"enabled" enum:"true,false"`
}

type triggersAnswer struct{ Body page[Trigger] }

func (a *API) listTriggers(ctx context.Context, in *listTriggersRequest) (*triggersAnswer, error) {
	f := store.TriggerFilter{Type: models.TriggerKind(in.Type), TargetType: models.TargetType(in.TargetType), EventType: in.EventType}
	if in.Enabled != "" {
		f.Enabled = new(in.Enabled == "true")
	}
	if in.WorkflowID != "" {
		f.WorkflowID = new(models.WorkflowID(in.WorkflowID))
	}
	p, err := readPage(ctx, in.ListQuery, byID("triggers", models.TriggerPrefix, func(t *models.Trigger) models.TriggerID { return t.ID }),
		func(p store.Page) ([]*models.Trigger, error) { return a.store.For(workspace(ctx)).Triggers(ctx, f, p) },
		showTrigger)
	return &triggersAnswer{p}, err
}

// TriggerPath is the path of everything about one trigger.
type TriggerPath struct {
	ID string `path:"id" doc:"Id of a trigger"`
}

func (in TriggerPath) id() (models.TriggerID, error) {
	if !models.ValidID(models.TriggerPrefix, in.ID) {
		return "", models.ErrNotFound
	}
	return models.TriggerID(in.ID), nil
}

func (a *API) getTrigger(ctx context.Context, in *TriggerPath) (*triggerAnswer, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	t, err := a.store.For(workspace(ctx)).Trigger(ctx, id)
	if err != nil {
		return nil, err
	}
	return &triggerAnswer{showTrigger(t)}, nil
}

// change is a field of a PATCH that null takes away. What is not there stays.
type change[T any] struct {
	set   bool
	value *T
}

// UnmarshalJSON notes that the field is there.
func (c *change[T]) UnmarshalJSON(b []byte) error {
	c.set = true
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	c.value = new(T)
	return json.Unmarshal(b, c.value)
}

// Schema describes it.
func (change[T]) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{r.Schema(reflect.TypeFor[T](), true, ""), {Type: "null"}}}
}

// into writes the field to where it belongs; null becomes empty.
func into[T any, V any](c change[T], to *V, as func(*T) V) {
	if c.set {
		*to = as(c.value)
	}
}

func text[V ~string](s *string) V {
	if s == nil {
		return ""
	}
	return V(*s)
}

type patchTriggerRequest struct {
	TriggerPath
	Body struct {
		Name      *string               `json:"name,omitempty" minLength:"1" pattern:"^$|\\S" maxLength:"200"`
		Source    change[string]        `json:"source,omitzero"`
		EventType *string               `json:"event_type,omitempty"`
		Filter    change[string]        `json:"filter,omitzero"`
		Payload   json.RawMessage       `json:"payload,omitempty" doc:"Null: the event's data"`
		Dedupe    change[triggerDedupe] `json:"dedupe,omitzero"`
		Cron      *string               `json:"cron,omitempty"`
		Timezone  *string               `json:"timezone,omitempty"`
		Missed    *string               `json:"missed,omitempty" enum:"skip,latest,all"`
		URL       *string               `json:"url,omitempty"`
		Verify    *string               `json:"verify,omitempty" enum:"none,10ex,standard,github,stripe,slack"`
		Secret    *string               `json:"secret,omitempty" minLength:"16" maxLength:"256" doc:"One that was made elsewhere; the one before no longer counts"`
		Enabled   *bool                 `json:"enabled,omitempty"`
	}
}

func (a *API) patchTrigger(ctx context.Context, in *patchTriggerRequest) (*triggerAnswer, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	b := &in.Body
	t, err := a.bus.UpdateTrigger(ctx, workspace(ctx), id, func(t *models.Trigger) error {
		for to, from := range map[*string]*string{&t.Name: b.Name, &t.EventType: b.EventType, &t.Cron: b.Cron, &t.Timezone: b.Timezone, &t.URL: b.URL} {
			if from != nil {
				*to = *from
			}
		}
		if b.Missed != nil {
			t.Missed = models.MissedPolicy(*b.Missed)
		}
		if b.Enabled != nil {
			t.Enabled = *b.Enabled
		}
		if b.Payload != nil {
			t.Payload = orNil(b.Payload)
		}
		into(b.Source, &t.Source, text)
		into(b.Filter, &t.Filter, text)
		into(b.Dedupe, &t.Dedupe, (*triggerDedupe).model)
		if b.Verify != nil {
			t.Verify = models.VerifyKind(*b.Verify)
		}
		if b.Secret != nil {
			return a.bus.SetSecret(t, *b.Secret)
		}
		return nil
	})
	if err != nil {
		return nil, under(err, "body")
	}
	return &triggerAnswer{showTrigger(t)}, nil
}

func (a *API) deleteTrigger(ctx context.Context, in *TriggerPath) (*struct{}, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	return nil, a.store.For(workspace(ctx)).DeleteTrigger(ctx, id, a.now())
}

type testTriggerRequest struct {
	TriggerPath
	Body struct {
		Event eventBody `json:"event"`
	}
}

type testTriggerAnswer struct {
	Body struct {
		Matched bool            `json:"matched" doc:"Whether the trigger would fire"`
		Reason  *string         `json:"reason" doc:"Why it would not, or null"`
		Payload json.RawMessage `json:"payload" doc:"What a run would get, or null"`
	}
}

func (a *API) testTrigger(ctx context.Context, in *testTriggerRequest) (*testTriggerAnswer, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	e, err := in.Body.Event.trial()
	if err != nil {
		return nil, under(err, "body", "event")
	}
	e.ID, e.ReceivedAt = models.EventID(ids.New(models.EventPrefix)), a.now()
	if e.OccurredAt.IsZero() {
		e.OccurredAt = e.ReceivedAt
	}
	trial, err := a.bus.TestTrigger(ctx, workspace(ctx), id, e)
	if err != nil {
		return nil, err
	}
	out := new(testTriggerAnswer)
	out.Body.Matched, out.Body.Reason, out.Body.Payload = trial.Matched, unlessEmpty(trial.Reason), trial.Payload
	return out, nil
}
