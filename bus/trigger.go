package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
)

// Created is a new trigger with what is shown of it only once.
type Created struct {
	Trigger *models.Trigger
	// Secret signs what goes out, or proves what comes in. Empty: there is none.
	Secret string
	// Token is the part of the address an inbound webhook is sent to that nobody else
	// knows. Empty: it is no inbound webhook.
	Token string
}

// maxPayload bounds the bytes of a payload template.
const maxPayload = 64 << 10

// CheckTrigger fills in what a trigger leaves out and tells what is wrong with it.
// Places begin with the field. It does not ask whether its workflow exists.
func (b *Bus) CheckTrigger(trg *models.Trigger) []models.FieldError {
	var errs []models.FieldError
	add := func(field, typ, msg string) {
		errs = append(errs, models.FieldError{Loc: []any{field}, Msg: msg, Type: typ})
	}
	if trg.TargetType == "" {
		trg.TargetType = models.TargetWorkflow
	}
	switch {
	case !slices.Contains(models.TriggerKinds, trg.Type):
		add("type", "enum", "must be one of event, schedule, webhook")
		return errs
	case !slices.Contains(models.TargetTypes, trg.TargetType):
		add("target_type", "enum", "must be one of workflow, webhook")
		return errs
	case trg.TargetType == models.TargetWebhook && trg.Type != models.TriggerOnEvent:
		add("target_type", "invalid", "only a trigger of type event can tell an address outside")
	case trg.TargetType == models.TargetWorkflow && trg.WorkflowID == nil:
		add("workflow_id", "missing", "is required")
	case trg.TargetType == models.TargetWebhook && trg.WorkflowID != nil:
		add("workflow_id", "invalid", "a trigger whose target is a webhook has no workflow")
	}
	errs = append(errs, b.checkFields(trg)...)
	if len(trg.Payload) > maxPayload {
		add("payload", "limit", "must have at most 65536 bytes")
	}
	if _, bad := compileCondition(trg); len(bad) > 0 {
		errs = append(errs, bad...)
	}
	switch {
	case trg.Type == models.TriggerOnSchedule:
		errs = append(errs, b.checkSchedule(trg)...)
	case trg.Type == models.TriggerOnWebhook:
		errs = append(errs, b.checkHook(trg)...)
	case trg.TargetType == models.TargetWebhook:
		errs = append(errs, b.checkTarget(trg)...)
	}
	if trg.Name == "" {
		trg.Name = nameFor(trg)
	}
	return errs
}

// checkFields refuses what a trigger of its type has no use for.
func (b *Bus) checkFields(trg *models.Trigger) (errs []models.FieldError) {
	on := func(used, given bool, field, whose string) {
		if given && !used {
			errs = append(errs, models.FieldError{Loc: []any{field}, Msg: "only " + whose + " have it", Type: "invalid"})
		}
	}
	event, schedule := trg.Type == models.TriggerOnEvent, trg.Type == models.TriggerOnSchedule
	on(event, trg.EventType != "", "event_type", "triggers of type event")
	on(event, trg.Source != "", "source", "triggers of type event")
	on(!schedule, trg.Filter != "", "filter", "triggers of type event and webhook")
	on(!schedule, trg.Dedupe != nil, "dedupe", "triggers of type event and webhook")
	on(schedule, trg.Cron != "", "cron", "triggers of type schedule")
	on(schedule, trg.Timezone != "", "timezone", "triggers of type schedule")
	on(schedule, trg.Missed != "", "missed", "triggers of type schedule")
	on(trg.Type == models.TriggerOnWebhook, trg.Verify != "", "verify", "triggers of type webhook")
	on(trg.TargetType == models.TargetWebhook, trg.URL != "", "url", "triggers whose target is a webhook")
	if event {
		errs = append(errs, checkListening(trg)...)
	}
	return errs
}

// checkListening checks which events a trigger listens for.
func checkListening(trg *models.Trigger) (errs []models.FieldError) {
	add := func(field, typ, msg string) {
		errs = append(errs, models.FieldError{Loc: []any{field}, Msg: msg, Type: typ})
	}
	switch {
	case trg.EventType == "":
		add("event_type", "missing", "is required")
	case len(trg.EventType) > MaxEventType:
		add("event_type", "limit", "must have at most 200 characters")
	case !models.ValidEventPattern(trg.EventType):
		add("event_type", "pattern", "must be a word such as lead.created, or a beginning with * after it, such as lead.*")
	}
	switch {
	case trg.Source == "":
	case len(trg.Source) > MaxSource:
		add("source", "limit", "must have at most 64 characters")
	case !sourcePattern.MatchString(trg.Source):
		add("source", "pattern", "must be a word: letters, digits and _ . : -")
	}
	return errs
}

// nameFor is what a trigger is called that nobody gave a name.
func nameFor(trg *models.Trigger) string {
	switch trg.Type {
	case models.TriggerOnSchedule:
		return "At " + trg.Cron
	case models.TriggerOnWebhook:
		return "Webhook"
	case models.TriggerOnEvent:
	}
	return "On " + trg.EventType
}

// CreateTrigger checks and keeps a new trigger. It fills in what is left out.
func (b *Bus) CreateTrigger(ctx context.Context, ws models.WorkspaceID, trg *models.Trigger) (*Created, error) {
	trg.WorkspaceID = ws // it is part of what a secret is sealed for
	if errs := b.CheckTrigger(trg); len(errs) > 0 {
		return nil, &models.InvalidError{Fields: errs}
	}
	if err := b.checkWorkflow(ctx, ws, trg); err != nil {
		return nil, err
	}
	made, err := b.prepare(ctx, trg, b.now())
	if err != nil {
		return nil, err
	}
	t := b.store.For(ws)
	if err = t.CreateTrigger(ctx, trg); errors.Is(err, models.ErrConflict) {
		err = b.makeAgain(ctx, made)
	}
	return made, err
}

// prepare gives a trigger that has been checked what it needs to be kept.
func (b *Bus) prepare(ctx context.Context, trg *models.Trigger, now time.Time) (*Created, error) {
	if trg.ID == "" {
		trg.ID = models.TriggerID(ids.Make(ctx, models.TriggerPrefix))
	}
	trg.CreatedAt, trg.UpdatedAt = now, now
	made := &Created{Trigger: trg}
	return made, b.equip(trg, made)
}

// makeAgain is for a trigger that is there already. Only a repeated request makes an
// id twice: the first try got this far, and what it would have shown nobody has seen.
func (b *Bus) makeAgain(ctx context.Context, made *Created) (err error) {
	trg := made.Trigger
	made.Trigger, err = b.store.For(trg.WorkspaceID).UpdateTrigger(ctx, trg.ID, trg.CreatedAt, func(kept *models.Trigger) error {
		kept.TokenHash, kept.Secret = trg.TokenHash, trg.Secret
		return nil
	})
	return err
}

// checkWorkflow refuses a trigger for a workflow that cannot be started any more.
func (b *Bus) checkWorkflow(ctx context.Context, ws models.WorkspaceID, trg *models.Trigger) error {
	if trg.WorkflowID == nil {
		return nil
	}
	refuse := func(typ, msg string) error {
		return &models.InvalidError{Fields: []models.FieldError{{Loc: []any{"workflow_id"}, Msg: msg, Type: typ}}}
	}
	if !models.ValidID(models.WorkflowPrefix, string(*trg.WorkflowID)) {
		return refuse("unknown", "there is no such workflow")
	}
	wf, err := b.store.For(ws).Workflow(ctx, *trg.WorkflowID)
	switch {
	case errors.Is(err, models.ErrNotFound):
		return refuse("unknown", "there is no such workflow")
	case err != nil:
		return err
	case wf.Status == models.WorkflowArchived:
		return refuse("archived", "the workflow is archived")
	}
	return nil
}

// UpdateTrigger lets fn change a trigger, and checks what comes of it. What a
// trigger is does not change: its type, target and workflow stay. fn may be called
// twice and must not wait for anything.
func (b *Bus) UpdateTrigger(ctx context.Context, ws models.WorkspaceID, id models.TriggerID, fn func(*models.Trigger) error) (*models.Trigger, error) {
	return b.store.For(ws).UpdateTrigger(ctx, id, b.now(), func(trg *models.Trigger) error {
		was := *trg
		if err := fn(trg); err != nil {
			return err
		}
		trg.Type, trg.TargetType, trg.WorkflowID = was.Type, was.TargetType, was.WorkflowID
		if trg.Enabled && !was.Enabled {
			trg.DisabledReason = ""
		}
		if errs := b.CheckTrigger(trg); len(errs) > 0 {
			return &models.InvalidError{Fields: errs}
		}
		if sameSchedule(&was, trg) { // a tick that is due just now must not be passed over
			trg.NextFireAt = was.NextFireAt
		}
		return nil
	})
}

// Trial is what an event would mean to a trigger.
type Trial struct {
	Matched bool
	Reason  string // why it would not fire
	Payload []byte // what a run would get
}

// TestTrigger tells what an event would mean to a trigger. Nothing is fired and
// nothing is kept.
func (b *Bus) TestTrigger(ctx context.Context, ws models.WorkspaceID, id models.TriggerID, e *models.Event) (*Trial, error) {
	t := b.store.For(ws)
	trg, err := t.Trigger(ctx, id)
	if err != nil {
		return nil, err
	}
	no := func(format string, args ...any) (*Trial, error) {
		return &Trial{Reason: fmt.Sprintf(format, args...)}, nil
	}
	switch {
	case trg.Type == models.TriggerOnSchedule:
		return no("a schedule listens to no event")
	case trg.Type == models.TriggerOnEvent && !covers(trg.EventType, e.Type):
		return no("the trigger listens for %s, not for %s", trg.EventType, e.Type)
	case trg.Source != "" && trg.Source != e.Source:
		return no("the trigger listens to the source %s, not to %s", trg.Source, e.Source)
	}
	m := &matching{bus: b, tenant: t}
	c := newCandidate(trg, &occasion{Event: e})
	if err := m.weigh(ctx, c); err != nil {
		return nil, err
	}
	if !c.open() {
		return no("%s", c.match.Reason)
	}
	out := &Trial{Matched: true, Payload: c.payload}
	if c.key != "" {
		have, err := t.TriggerKey(ctx, trg.ID, c.key)
		switch {
		case errors.Is(err, models.ErrNotFound):
		case err != nil:
			return nil, err
		case have.Until.After(e.ReceivedAt):
			out.Matched, out.Reason = false, "event "+string(have.EventID)+" with the same key came before it"
		}
	}
	if !trg.Enabled {
		out.Matched, out.Reason = false, "the trigger is disabled"
	}
	return out, nil
}
