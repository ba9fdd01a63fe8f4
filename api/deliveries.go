package api

import (
	"context"
	"time"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// Delivery is an event on its way to the address of a trigger.
type Delivery struct {
	ID            models.DeliveryID     `json:"id"`
	TriggerID     models.TriggerID      `json:"trigger_id"`
	EventID       models.EventID        `json:"event_id"`
	Status        models.DeliveryStatus `json:"status" enum:"pending,sending,delivered,failed,cancelled"`
	Code          *int                  `json:"code" doc:"HTTP status of the last answer; null: there was none"`
	Error         *string               `json:"error" doc:"What went wrong last, or null"`
	Attempts      []DeliveryAttempt     `json:"attempts" nullable:"false" doc:"Those that have ended, the first one first"`
	NextAttemptAt maybeStamp            `json:"next_attempt_at"`
	CreatedAt     stamp                 `json:"created_at"`
	FinishedAt    maybeStamp            `json:"finished_at"`
}

// DeliveryAttempt is one attempt at a delivery.
type DeliveryAttempt struct {
	Number     int     `json:"number"`
	Status     string  `json:"status" enum:"delivered,failed"`
	Code       *int    `json:"code" doc:"HTTP status of the answer; null: there was none"`
	Error      *string `json:"error" doc:"What went wrong, or null"`
	Snippet    string  `json:"snippet" doc:"How the answer began"`
	Duration   string  `json:"duration" doc:"How long it took, such as 120ms"`
	DurationMS int     `json:"duration_ms"`
	At         stamp   `json:"at" doc:"When it ended"`
}

func showDelivery(d *models.Delivery, attempts []*models.DeliveryAttempt) Delivery {
	out := Delivery{
		ID: d.ID, TriggerID: d.TriggerID, EventID: d.EventID, Status: d.Status, Code: d.LastCode, Error: unlessEmpty(d.LastError),
		Attempts: make([]DeliveryAttempt, len(attempts)), CreatedAt: stamp(d.CreatedAt), FinishedAt: maybeStamp{d.FinishedAt},
	}
	if d.Status == models.DeliveryPending { // else it is when the lease ends
		out.NextAttemptAt = maybeStamp{d.AttendAt}
	}
	for i, a := range attempts {
		status := models.DeliveryDelivered
		if a.Error != "" {
			status = models.DeliveryFailed
		}
		out.Attempts[i] = DeliveryAttempt{
			Number: a.Number, Status: string(status), Code: a.Code, Error: unlessEmpty(a.Error), Snippet: a.Snippet,
			Duration: (time.Duration(a.DurationMS) * time.Millisecond).String(), DurationMS: a.DurationMS, At: stamp(a.At),
		}
	}
	return out
}

type listDeliveriesRequest struct {
	TriggerPath
	ListQuery
	Status string `query:"status" enum:"pending,sending,delivered,failed,cancelled"`
}

type deliveriesAnswer struct{ Body page[Delivery] }

// listDeliveries lists what was sent for a trigger. One that was deleted has none: who
// wants to know what became of an event finds it at the event.
func (a *API) listDeliveries(ctx context.Context, in *listDeliveriesRequest) (*deliveriesAnswer, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	t := a.store.For(workspace(ctx))
	if _, err := t.Trigger(ctx, id); err != nil {
		return nil, err
	}
	attempts := map[models.DeliveryID][]*models.DeliveryAttempt{}
	p, err := readPage(ctx, in.ListQuery, byID("deliveries of "+string(id), models.DeliveryPrefix, func(d *models.Delivery) models.DeliveryID { return d.ID }), func(p store.Page) ([]*models.Delivery, error) {
		rows, err := t.Deliveries(ctx, id, models.DeliveryStatus(in.Status), p)
		if err != nil {
			return nil, err
		}
		return rows, readAttempts(ctx, t, rows, attempts)
	}, func(d *models.Delivery) Delivery { return showDelivery(d, attempts[d.ID]) })
	return &deliveriesAnswer{p}, err
}

func readAttempts(ctx context.Context, t *store.Tenant, rows []*models.Delivery, into map[models.DeliveryID][]*models.DeliveryAttempt) error {
	names := make([]models.DeliveryID, len(rows))
	for i, d := range rows {
		names[i] = d.ID
	}
	all, err := t.DeliveryAttempts(ctx, names)
	for _, one := range all {
		into[one.DeliveryID] = append(into[one.DeliveryID], one)
	}
	return err
}

// DeliveryPath is the path of one delivery.
type DeliveryPath struct {
	ID string `path:"id" doc:"Id of a delivery"`
}

type deliveryAnswer struct{ Body Delivery }

func (a *API) redeliver(ctx context.Context, in *DeliveryPath) (*deliveryAnswer, error) {
	if !models.ValidID(models.DeliveryPrefix, in.ID) {
		return nil, models.ErrNotFound
	}
	d, err := a.bus.Redeliver(ctx, workspace(ctx), models.DeliveryID(in.ID))
	if err != nil {
		return nil, err
	}
	attempts := map[models.DeliveryID][]*models.DeliveryAttempt{}
	if err := readAttempts(ctx, a.store.For(workspace(ctx)), []*models.Delivery{d}, attempts); err != nil {
		return nil, err
	}
	return &deliveryAnswer{showDelivery(d, attempts[d.ID])}, nil
}
