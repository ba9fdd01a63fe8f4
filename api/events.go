package api

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// eventBody is an event as it is sent. company_id and timestamp are taken so that
// the body of a 10ex webhook can be sent on as it is.
type eventBody struct {
	ID         string          `json:"id,omitempty" doc:"The sender's id for it: the same id from the same source again has no second effect"`
	Type       string          `json:"type" doc:"What happened, such as lead.created"`
	Source     string          `json:"source,omitempty" doc:"Where: crm, connector or any word; crm if there is a company_id, else api"`
	OccurredAt time.Time       `json:"occurred_at,omitzero" doc:"Now if not given"`
	Data       json.RawMessage `json:"data" doc:"Whatever there is to know about it"`
	CompanyID  string          `json:"company_id,omitempty" maxLength:"255" doc:"Of a 10ex event. The workspace is the key's, whatever stands here"`
	Timestamp  json.RawMessage `json:"timestamp,omitempty" doc:"Of a 10ex event; not used"`
}

// crmSource is the source of events in the form of the 10ex platform.
const crmSource = "crm"

func (b *eventBody) model() *models.Event {
	e := &models.Event{ExternalID: b.ID, Type: b.Type, Source: b.Source, OccurredAt: b.OccurredAt, Data: b.Data}
	if e.Source == "" && b.CompanyID != "" {
		e.Source = crmSource
	}
	e.Source = cmp.Or(e.Source, bus.DefaultSource)
	return e
}

// event checks what was sent.
func (b *eventBody) event() (*models.Event, error) { return b.checked(false) }

// trial checks what is only tried, and may be an event about runs.
func (b *eventBody) trial() (*models.Event, error) { return b.checked(true) }

func (b *eventBody) checked(trial bool) (*models.Event, error) {
	e := b.model()
	bad, err := bus.CheckEvent(e)
	if trial {
		bad = slices.DeleteFunc(bad, func(f models.FieldError) bool { return f.Type == bus.FaultReserved })
	}
	switch {
	case err != nil:
		return nil, err
	case len(bad) > 0:
		return nil, &models.InvalidError{Fields: bad}
	}
	return e, nil
}

// Receipt says where an event was kept.
type Receipt struct {
	ID        models.EventID `json:"id" doc:"The event's; of the first one where it was sent again"`
	Duplicate bool           `json:"duplicate,omitempty" doc:"It was sent before, and has no second effect"`
}

type sendEventRequest struct{ Body eventBody }

type receiptAnswer struct {
	Location string `header:"Location"`
	Body     Receipt
}

func (a *API) sendEvent(ctx context.Context, in *sendEventRequest) (*receiptAnswer, error) {
	e, err := in.Body.event()
	if err != nil {
		return nil, under(err, "body")
	}
	got, err := a.bus.Publish(ctx, workspace(ctx), []*models.Event{e})
	if err != nil {
		return nil, err
	}
	return &receiptAnswer{Location: base + "/events/" + string(got[0].ID), Body: Receipt{got[0].ID, got[0].Duplicate}}, nil
}

type sendEventsRequest struct {
	Body struct {
		Items []eventBody `json:"items" nullable:"false" minItems:"1" maxItems:"500"`
	}
}

type receiptItem struct {
	ID        *models.EventID `json:"id,omitempty"`
	Duplicate bool            `json:"duplicate,omitempty"`
	Error     *itemError      `json:"error,omitempty"`
}

type receiptsAnswer struct {
	Body struct {
		Items []receiptItem `json:"items" nullable:"false" doc:"In the order of the request"`
	}
}

// sendEvents keeps many events. One that cannot be kept says so in its place and
// keeps none of the others back.
func (a *API) sendEvents(ctx context.Context, in *sendEventsRequest) (*receiptsAnswer, error) {
	out := new(receiptsAnswer)
	out.Body.Items = make([]receiptItem, len(in.Body.Items))
	var good []*models.Event
	var places []int
	for i := range in.Body.Items {
		e, err := in.Body.Items[i].event()
		if err != nil {
			out.Body.Items[i].Error = a.itemError(ctx, under(err, "body", "items", i))
			continue
		}
		good, places = append(good, e), append(places, i)
	}
	got, err := a.bus.Publish(ctx, workspace(ctx), good)
	if err != nil {
		return nil, err
	}
	for i, r := range got {
		out.Body.Items[places[i]] = receiptItem{ID: &r.ID, Duplicate: r.Duplicate}
	}
	return out, nil
}

// Event is something that happened, with what became of it.
type Event struct {
	EventFields
	Data    json.RawMessage `json:"data"`
	Matches []EventMatch    `json:"matches" nullable:"false" doc:"What became of it at the triggers that listen for it; at most 1000"`
}

// EventFields are the ones a list shows.
type EventFields struct {
	ID         models.EventID    `json:"id"`
	ExternalID string            `json:"external_id" doc:"The sender's id for it; the event's own where there was none"`
	Type       string            `json:"type"`
	Source     string            `json:"source"`
	Status     string            `json:"status" enum:"pending,matched" doc:"pending until it has been brought to all triggers"`
	OccurredAt stamp             `json:"occurred_at"`
	CreatedAt  stamp             `json:"created_at" doc:"When it came in"`
	RunID      *models.RunID     `json:"run_id" doc:"The run it tells of, or null"`
	TriggerID  *models.TriggerID `json:"trigger_id" doc:"The inbound webhook it came by, or null"`
}

// EventMatch is what became of an event at a trigger.
type EventMatch struct {
	TriggerID  models.TriggerID    `json:"trigger_id"`
	Outcome    models.MatchOutcome `json:"outcome" enum:"fired,ignored"`
	Reason     *string             `json:"reason" doc:"Why it was ignored, or null"`
	RunID      *models.RunID       `json:"run_id" doc:"The run that was started, or null"`
	DeliveryID *models.DeliveryID  `json:"delivery_id" doc:"The webhook that goes out, or null"`
	At         stamp               `json:"at"`
}

func showEvent(e *models.Event) EventFields {
	out := EventFields{
		ID: e.ID, ExternalID: e.ExternalID, Type: e.Type, Source: e.Source, Status: "pending",
		OccurredAt: stamp(e.OccurredAt), CreatedAt: stamp(e.ReceivedAt), RunID: e.RunID, TriggerID: e.TriggerID,
	}
	if e.AttendAt == nil {
		out.Status = "matched"
	}
	return out
}

func showMatch(m *models.Match) EventMatch {
	return EventMatch{
		TriggerID: m.TriggerID, Outcome: m.Outcome, Reason: unlessEmpty(m.Reason), RunID: m.RunID, DeliveryID: m.DeliveryID, At: stamp(m.At),
	}
}

type listEventsRequest struct {
	ListQuery
	Type          string    `query:"type" maxLength:"200"`
	Source        string    `query:"source" maxLength:"64"`
	CreatedAfter  time.Time `query:"created_after"`
	CreatedBefore time.Time `query:"created_before"`
}

type eventsAnswer struct{ Body page[EventFields] }

func (a *API) listEvents(ctx context.Context, in *listEventsRequest) (*eventsAnswer, error) {
	f := store.EventFilter{Type: in.Type, Source: in.Source}
	if !in.CreatedAfter.IsZero() {
		f.ReceivedAfter = new(in.CreatedAfter.UTC())
	}
	if !in.CreatedBefore.IsZero() {
		f.ReceivedBefore = new(in.CreatedBefore.UTC())
	}
	p, err := readPage(ctx, in.ListQuery, byID("events", models.EventPrefix, func(e *models.Event) models.EventID { return e.ID }),
		func(p store.Page) ([]*models.Event, error) { return a.store.For(workspace(ctx)).Events(ctx, f, p) },
		showEvent)
	return &eventsAnswer{p}, err
}

// EventPath is the path of one event.
type EventPath struct {
	ID string `path:"id" doc:"Id of an event"`
}

type eventAnswer struct{ Body Event }

// mostMatches bounds what an answer tells of one event.
const mostMatches = 1000

func (a *API) getEvent(ctx context.Context, in *EventPath) (*eventAnswer, error) {
	if !models.ValidID(models.EventPrefix, in.ID) {
		return nil, models.ErrNotFound
	}
	t := a.store.For(workspace(ctx))
	e, err := t.Event(ctx, models.EventID(in.ID))
	if err != nil {
		return nil, err
	}
	matches, err := t.Matches(ctx, e.ID, mostMatches)
	if err != nil {
		return nil, err
	}
	out := &eventAnswer{Event{EventFields: showEvent(e), Data: e.Data, Matches: make([]EventMatch, len(matches))}}
	for i, m := range matches {
		out.Body.Matches[i] = showMatch(m)
	}
	return out, nil
}
