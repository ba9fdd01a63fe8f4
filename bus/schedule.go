package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/models"
)

const (
	// missedAfter is how late a tick may be and still not count as missed: longer
	// than a scheduler takes to look again, or to be replaced.
	missedAfter = time.Minute
	// ticksAtOnce bounds the ticks a schedule catches up with in one look.
	ticksAtOnce = 100
	// tickLease is how long a tick belongs to who took it.
	tickLease = 15 * time.Second
)

// checkSchedule checks what belongs to a trigger of type schedule, and says when it
// is due next.
func (b *Bus) checkSchedule(t *models.Trigger) (errs []models.FieldError) {
	t.NextFireAt = nil
	if t.Timezone == "" {
		t.Timezone = "UTC"
	}
	if t.Missed == "" {
		t.Missed = models.MissedSkip
	}
	zone, err := parseZone(t.Timezone)
	if err != nil {
		errs = append(errs, models.FieldError{Loc: []any{"timezone"}, Msg: err.Error(), Type: "timezone"})
		zone = time.UTC
	}
	if t.Cron == "" {
		return append(errs, models.FieldError{Loc: []any{"cron"}, Msg: "is required", Type: "missing"})
	}
	s, err := parseSchedule(t.Cron, zone)
	if err != nil {
		return append(errs, models.FieldError{Loc: []any{"cron"}, Msg: err.Error(), Type: "cron"})
	}
	if t.Enabled {
		next := s.next(b.now())
		t.NextFireAt = &next
	}
	return errs
}

// FireDue fires up to limit schedules that are due, and ticks that were left
// undone. It tells whether there may be more. It is safe in any number: one row a
// tick says whose it is.
func (b *Bus) FireDue(ctx context.Context, limit int) (fired int, more bool, err error) {
	now := b.now()
	lease := now.Add(tickLease)
	ticks, taken, err := b.store.TakeDueSchedules(ctx, now, limit, func(t *models.Trigger) ([]*models.Tick, *time.Time) {
		return dueTicks(t, now, lease)
	})
	if err != nil {
		return 0, false, fmt.Errorf("schedules that are due: %w", err)
	}
	late, err := b.store.TakeLateTicks(ctx, now, lease, limit)
	if err != nil {
		return 0, false, fmt.Errorf("ticks left undone: %w", err)
	}
	fired, err = b.fireTicks(ctx, append(ticks, late...))
	return fired, taken == limit || len(late) == limit, err
}

// fireTicks fires those that are pending, some side by side: they share commits. One
// that fails stays pending, and comes again when its lease is over.
func (b *Bus) fireTicks(ctx context.Context, ticks []*models.Tick) (fired int, err error) {
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		slots = make(chan struct{}, b.cfg.Parallel)
	)
	for _, tick := range ticks {
		if tick.Outcome != models.TickPending {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			failure := b.fireTick(ctx, tick)
			mu.Lock()
			defer mu.Unlock()
			if failure == nil {
				fired++
			}
			err = errors.Join(err, failure)
		})
	}
	wg.Wait()
	return fired, err
}

// dueTicks says which ticks a schedule has had by now, and when it is due next.
func dueTicks(t *models.Trigger, now, lease time.Time) (ticks []*models.Tick, next *time.Time) {
	zone, err := parseZone(t.Timezone)
	if err != nil {
		return nil, t.NextFireAt // it was checked when it was saved: another machine may know the zone
	}
	s, err := parseSchedule(t.Cron, zone)
	if err != nil || t.NextFireAt == nil {
		return nil, nil
	}
	tick := func(at time.Time, ignored string) *models.Tick {
		row := &models.Tick{WorkspaceID: t.WorkspaceID, TriggerID: t.ID, DueAt: at, Outcome: models.TickPending, AttendAt: &lease, CreatedAt: now}
		if ignored != "" {
			row.Outcome, row.Reason, row.AttendAt = models.TickIgnored, ignored, nil
		}
		return row
	}
	if t.Missed == models.MissedAll { // the earliest first; what is left is due at once
		at := t.NextFireAt.UTC()
		for len(ticks) < ticksAtOnce && !at.IsZero() && !at.After(now) {
			ticks = append(ticks, tick(at, ""))
			at = s.next(at)
		}
		return ticks, timeOrNone(at)
	}
	latest := s.latest(now)
	if latest.Before(*t.NextFireAt) { // the schedule is another one since
		return nil, timeOrNone(s.next(now))
	}
	missed := latest
	if t.Missed == models.MissedLatest || now.Sub(latest) <= missedAfter {
		ticks = append(ticks, tick(latest, ""))
		missed = s.latest(latest.Add(-time.Nanosecond))
	}
	if n := s.count(t.NextFireAt.UTC(), missed, maxMissed); n > 0 {
		ticks = append(ticks, tick(missed, missedReason(n)))
	}
	return ticks, timeOrNone(s.next(now))
}

// maxMissed bounds how far missed ticks are counted.
const maxMissed = 10_000

// missedReason tells of n ticks that were missed, in the row of the last of them.
func missedReason(n int) string {
	switch n {
	case 1:
		return "nobody was there when it was due"
	case maxMissed:
		return fmt.Sprintf("nobody was there when it was due, nor for more than %d before it", maxMissed-2)
	}
	return fmt.Sprintf("nobody was there when it was due, nor for %d before it", n-1)
}

func timeOrNone(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// fireTick starts what a tick is for, and records it. The run's id follows from
// the tick, so to do so twice starts one run.
func (b *Bus) fireTick(ctx context.Context, tick *models.Tick) error {
	trigger, err := b.store.For(tick.WorkspaceID).Trigger(ctx, tick.TriggerID)
	switch {
	case errors.Is(err, models.ErrNotFound):
		tick.Outcome, tick.Reason = models.TickIgnored, "the trigger is gone"
	case err != nil:
		return fmt.Errorf("trigger %s: %w", tick.TriggerID, err)
	case !trigger.Enabled:
		tick.Outcome, tick.Reason = models.TickIgnored, "the trigger is disabled"
	default:
		if err := b.startTick(ctx, trigger, tick); err != nil {
			return fmt.Errorf("trigger %s at %s: %w", tick.TriggerID, tick.DueAt.Format(time.RFC3339), err)
		}
	}
	return b.store.FinishTick(ctx, tick)
}

// startTick starts the run of a tick, or says why there is none.
func (b *Bus) startTick(ctx context.Context, trg *models.Trigger, tick *models.Tick) error {
	payload, reason, err := b.tickPayload(ctx, trg, tick)
	if err != nil {
		return err
	}
	if reason == "" {
		id := runID(trg.ID, "tick "+tick.DueAt.Format(time.RFC3339Nano), tick.DueAt)
		_, err = b.deps.Engine.Start(ctx, engine.StartRequest{
			Workspace: trg.WorkspaceID, Workflow: *trg.WorkflowID, ID: id, Payload: payload,
			Trigger: models.TriggerSchedule, TriggerID: &trg.ID,
		})
		if err == nil {
			tick.Outcome, tick.RunID = models.TickFired, &id
			return nil
		}
		var refused bool
		if reason, refused = Refusal(err); !refused {
			return err
		}
	}
	tick.Outcome, tick.Reason = models.TickIgnored, reason
	return nil
}

// tickPayload is the payload of the run of a tick: what the trigger's template
// makes of it, or nothing.
func (b *Bus) tickPayload(ctx context.Context, trg *models.Trigger, tick *models.Tick) (payload []byte, reason string, err error) {
	c, err := b.compiled.get(trg)
	if err != nil {
		return nil, err.Error(), nil //nolint:nilerr // a trigger that cannot be read is a reason, not an outage
	}
	o := &occasion{Event: tickEvent(tick)}
	vars, err := o.scope(trg)
	if err != nil {
		return nil, "", err
	}
	return c.input(ctx, vars, o.Event)
}

// tickEvent is what the template of a payload sees of a tick. It is not on the bus.
func tickEvent(tick *models.Tick) *models.Event {
	return &models.Event{
		WorkspaceID: tick.WorkspaceID, Source: "schedule", Type: "schedule.due", Data: []byte(`{}`),
		OccurredAt: tick.DueAt, ReceivedAt: tick.DueAt,
	}
}

// sameSchedule tells whether a trigger is due when it was due before.
func sameSchedule(a, b *models.Trigger) bool {
	return a.Enabled && b.Enabled && a.Cron == b.Cron && a.Timezone == b.Timezone
}
