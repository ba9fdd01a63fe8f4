package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/tasks"
)

// WebhookConfig says how webhooks are sent.
type WebhookConfig struct {
	// Retries are the waits between attempts; after the last one the delivery has
	// failed. Default 1, 2, 4, 8 and 16 seconds.
	Retries []time.Duration
	// Timeout bounds one attempt. Default 10s.
	Timeout time.Duration
}

func (c *WebhookConfig) complete() error {
	if c.Retries == nil {
		c.Retries = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second}
	}
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	if c.Timeout < 0 {
		return fmt.Errorf("bus Webhooks.Timeout %s: must not be negative", c.Timeout)
	}
	for _, d := range c.Retries {
		if d < 0 {
			return fmt.Errorf("bus Webhooks.Retries %s: must not be negative", d)
		}
	}
	return nil
}

const (
	// maxURL bounds the characters of an address.
	maxURL = 2048
	// leaseSlack is how long, beyond the attempt itself, a delivery is one process's:
	// recording the result takes a moment, too.
	leaseSlack = 20 * time.Second
	// dueGrace is how long what is due is left to whoever was told at once.
	dueGrace = 2 * time.Second
	// mostEndpoints bounds the addresses one sweep asks for.
	mostEndpoints = 200
)

// Why deliveries end without having been tried.
const (
	reasonGone     = "the trigger was deleted"
	reasonDisabled = "the trigger is disabled"
	reasonNoEvent  = "the event is not kept any more"
)

// checkTarget tells what is wrong with a trigger that tells an address outside.
func (b *Bus) checkTarget(trg *models.Trigger) (errs []models.FieldError) {
	add := func(field, typ, msg string) {
		errs = append(errs, models.FieldError{Loc: []any{field}, Msg: msg, Type: typ})
	}
	if b.deps.Seal == nil {
		add("target_type", "unsupported", "this server has no key to keep a secret with")
	}
	if trg.Payload != nil {
		add("payload", "invalid", "only triggers whose target is a workflow have it")
	}
	switch {
	case trg.URL == "":
		add("url", "missing", "is required")
	case len(trg.URL) > maxURL:
		add("url", "limit", "must have at most 2048 characters")
	default:
		if _, err := egress.ParseURL(trg.URL); err != nil {
			add("url", "invalid", err.Error())
		}
	}
	return errs
}

// queueDelivery makes the delivery of an event to the address of a trigger: the
// same one when it is called again.
func (b *Bus) queueDelivery(ctx context.Context, trg *models.Trigger, e *models.Event) (models.DeliveryID, error) {
	now := b.now()
	d := &models.Delivery{
		ID:        models.DeliveryID(ids.NewSource([]byte(string(trg.ID)+"\x00"+string(e.ID)), e.ReceivedAt).Next(models.DeliveryPrefix)),
		TriggerID: trg.ID, EventID: e.ID, Status: models.DeliveryPending, AttendAt: &now, CreatedAt: now,
	}
	if err := b.store.For(trg.WorkspaceID).AddDelivery(ctx, d); err != nil {
		return "", err
	}
	b.deps.Jobs.EnqueueJobs(ctx, []tasks.Job{deliverJob(d, time.Time{})})
	return d.ID, nil
}

// deliverJob asks for the next attempt at a delivery. It names the trigger as well, for
// whoever does it counts by address.
func deliverJob(d *models.Delivery, at time.Time) tasks.Job {
	return tasks.Job{
		Type: tasks.TypeDeliver, Workspace: string(d.WorkspaceID), ID: string(d.ID), Extra: string(d.TriggerID), Try: d.Attempts, At: at,
	}
}

// Redeliver lets a delivery begin anew, also one that has arrived.
func (b *Bus) Redeliver(ctx context.Context, ws models.WorkspaceID, id models.DeliveryID) (*models.Delivery, error) {
	t := b.store.For(ws)
	d, err := t.Delivery(ctx, id)
	if err != nil {
		return nil, err
	}
	trg, err := t.Trigger(ctx, d.TriggerID)
	if reason, gone := unreachable(trg, err); gone {
		return nil, models.Conflict(models.CodeInvalidState, "delivery %s cannot be repeated: %s", id, reason)
	}
	if err != nil {
		return nil, err
	}
	if _, err := t.Event(ctx, d.EventID); isNotFound(err) {
		return nil, models.Conflict(models.CodeInvalidState, "delivery %s cannot be repeated: %s", id, reasonNoEvent)
	} else if err != nil {
		return nil, err
	}
	now := b.now()
	if d, err = t.RepeatDelivery(ctx, id, now); err != nil {
		return nil, err
	}
	b.deps.Jobs.EnqueueJobs(ctx, []tasks.Job{deliverJob(d, time.Time{})})
	return d, nil
}

// Sending is a delivery that is this process's for the time of one attempt.
type Sending struct {
	delivery *models.Delivery
	trigger  *models.Trigger
	event    *models.Event
}

// Delivery is what is being sent.
func (s *Sending) Delivery() models.DeliveryID { return s.delivery.ID }

// ClaimDelivery takes a delivery that is due for the address of a trigger. It is nil
// where none is; next then tells when one will be, if it is known. What was on its way
// to a trigger that is gone or disabled ends here.
func (b *Bus) ClaimDelivery(ctx context.Context, ws models.WorkspaceID, trigger models.TriggerID) (s *Sending, next *time.Time, err error) {
	t := b.store.For(ws)
	now := b.now()
	d, next, err := t.ClaimDelivery(ctx, trigger, now, now.Add(b.cfg.Webhooks.Timeout+leaseSlack), ids.New("lease"))
	if err != nil || d == nil {
		return nil, next, err
	}
	s = &Sending{delivery: d}
	s.trigger, err = t.Trigger(ctx, trigger)
	if reason, gone := unreachable(s.trigger, err); gone {
		return nil, nil, t.CancelDeliveries(ctx, trigger, reason, b.now())
	}
	if err == nil {
		s.event, err = t.Event(ctx, d.EventID)
	}
	if isNotFound(err) {
		return nil, &now, b.record(ctx, s, attempt{failed: reasonNoEvent}) // and at once to the next one
	}
	if err != nil {
		return nil, nil, err
	}
	return s, nil, nil
}

func isNotFound(err error) bool { return errors.Is(err, models.ErrNotFound) }

// unreachable tells why nothing is sent to the address of a trigger any more.
func unreachable(trg *models.Trigger, err error) (reason string, gone bool) {
	switch {
	case isNotFound(err):
		return reasonGone, true
	case err != nil:
		return "", false
	case !trg.Enabled:
		return cmp.Or(trg.DisabledReason, reasonDisabled), true
	}
	return "", false
}

// Outcome tells how an address behaved.
type Outcome struct {
	Arrived bool
	Took    time.Duration // of the address alone
}

// Deliver attempts a delivery, records what came of it and tells how the address
// behaved. Where ctx ends meanwhile it
// is given back, as if nothing had been tried. An error tells that nothing could be
// recorded: then it is attempted again when its lease is over.
func (b *Bus) Deliver(ctx context.Context, s *Sending) (Outcome, error) {
	ctx = obs.With(ctx, obs.Workspace(s.trigger.WorkspaceID), triggerAttr(s.trigger.ID), eventAttr(s.event.ID))
	start := time.Now()
	got := b.send(ctx, s)
	got.took = time.Since(start)
	out := Outcome{Arrived: got.failed == "", Took: got.took}
	recording, stop := context.WithTimeout(context.WithoutCancel(ctx), leaseSlack/2)
	defer stop()
	if ctx.Err() != nil && !got.answered() {
		return out, b.store.For(s.trigger.WorkspaceID).ReleaseDelivery(recording, s.delivery, b.now())
	}
	return out, b.record(recording, s, got)
}

// record keeps what came of an attempt and sees to the next one, if the delivery is
// still this process's.
func (b *Bus) record(ctx context.Context, s *Sending, got attempt) error {
	now := b.now()
	d := *s.delivery
	d.LastCode, d.LastError, d.AttendAt, d.FinishedAt = got.code, got.failed, nil, &now
	disable := ""
	switch wait, again := b.retry(d.Round, got); {
	case got.failed == "":
		d.Status = models.DeliveryDelivered
	case again:
		at := now.Add(wait).Truncate(time.Microsecond)
		d.Status, d.AttendAt, d.FinishedAt = models.DeliveryPending, &at, nil
	default:
		d.Status = models.DeliveryFailed
		if got.gone() {
			disable = reasonAnswered410
		}
	}
	held, err := b.store.For(d.WorkspaceID).FinishDelivery(ctx, &d, &models.DeliveryAttempt{
		Code: got.code, Error: got.failed, Snippet: got.snippet, DurationMS: int(got.took.Milliseconds()), At: now,
	}, disable)
	if err != nil || !held {
		return err
	}
	d.Attempts++
	if disable != "" {
		b.log.InfoContext(ctx, "a trigger was disabled, for its address is gone")
	}
	if d.AttendAt != nil {
		b.deps.Jobs.EnqueueJobs(ctx, []tasks.Job{deliverJob(&d, *d.AttendAt)})
	}
	return nil
}

// maxAsked bounds how long an address may ask us to wait.
const maxAsked = 5 * time.Minute

// retry tells whether and when a delivery is attempted again after one that is the
// round's. It never comes sooner than the setting says or than the address asked for.
func (b *Bus) retry(round int, got attempt) (wait time.Duration, again bool) {
	if got.final || round >= len(b.cfg.Webhooks.Retries) {
		return 0, false
	}
	wait = b.cfg.Webhooks.Retries[round]
	return max(wait, min(got.asked, maxAsked)), true
}

// sweepDeliveries asks again for what is due and was lost.
func (b *Bus) sweepDeliveries(ctx context.Context, limit int) (int, error) {
	due, err := b.store.DueEndpoints(ctx, b.now().Add(-dueGrace), min(limit, mostEndpoints))
	if err != nil {
		return 0, err
	}
	jobs := make([]tasks.Job, len(due))
	for i, e := range due {
		jobs[i] = deliverJob(&models.Delivery{WorkspaceID: e.Workspace, ID: e.Delivery, TriggerID: e.Trigger}, time.Time{})
	}
	b.deps.Jobs.EnqueueJobs(ctx, jobs)
	return len(due), nil
}
