package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/tasks"
)

// DefaultSource is the source of events that name none.
const DefaultSource = "api"

// Limits of events.
const (
	MaxEventType  = models.MaxEventType
	MaxSource     = 64
	MaxExternalID = 255
	// MaxEventData bounds the bytes of an event's data: as much as a run's payload
	// may have, which it becomes.
	MaxEventData = 1 << 20
)

// FaultReserved is the type of the fault of events that only the product itself sends.
const FaultReserved = "reserved"

// lifecyclePrefix begins the types of the events about runs, which nobody outside
// may send.
const lifecyclePrefix = "flow."

var sourcePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]*$`)

// CheckEvent tells what is wrong with an event from outside. Where it is too large
// there is an error instead.
func CheckEvent(e *models.Event) ([]models.FieldError, error) {
	if len(e.Data) > MaxEventData {
		return nil, fmt.Errorf("the data of an event: %w", models.ErrTooLarge)
	}
	var errs []models.FieldError
	add := func(field, typ, msg string) {
		errs = append(errs, models.FieldError{Loc: []any{field}, Msg: msg, Type: typ})
	}
	switch {
	case e.Type == "" || len(e.Type) > MaxEventType:
		add("type", "limit", "must have 1 to 200 characters")
	case !models.ValidEventType(e.Type):
		add("type", "pattern", "must be a word such as lead.created: letters, digits and _ . : / -")
	case strings.HasPrefix(e.Type, lifecyclePrefix):
		add("type", FaultReserved, "types that begin with flow. tell of runs and cannot be sent")
	}
	switch {
	case e.Source == "":
	case len(e.Source) > MaxSource:
		add("source", "limit", "must have at most 64 characters")
	case !sourcePattern.MatchString(e.Source):
		add("source", "pattern", "must be a word: letters, digits and _ . : -")
	case strings.EqualFold(e.Source, models.SourceFlows):
		add("source", FaultReserved, "the source flows is for events about runs and cannot be sent")
	}
	switch {
	case len(e.ExternalID) > MaxExternalID:
		add("id", "limit", "must have at most 255 bytes")
	case !printable(e.ExternalID):
		add("id", "pattern", "must be printable text")
	}
	if y := e.OccurredAt.Year(); !e.OccurredAt.IsZero() && (y < 1970 || y > 9999) {
		add("occurred_at", "limit", "must lie between the years 1970 and 9999")
	}
	return errs, nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// Receipt says what became of an event that was published.
type Receipt struct {
	// ID is the event's: of the first one, where it is a duplicate.
	ID        models.EventID
	Duplicate bool
}

// Publish keeps events and has them matched. When it returns they are stored for
// good, all of them, or it has failed and none is. An event whose source and
// external id are known already is not a new one and has no further effect. What is
// missing in an event is filled in: its ids, times and source.
func (b *Bus) Publish(ctx context.Context, ws models.WorkspaceID, events []*models.Event) ([]Receipt, error) {
	now := b.now()
	attend := now.Add(b.cfg.Attend)
	for _, e := range events {
		if e.ID == "" {
			// By the clock of received_at: whoever looks back for events goes by both.
			e.ID = models.EventID(ids.MakeAt(ctx, models.EventPrefix, now, b.published.Add(1)))
		}
		if e.ExternalID == "" {
			e.ExternalID = string(e.ID)
		}
		if e.Source == "" {
			e.Source = DefaultSource
		}
		if len(e.Data) == 0 {
			e.Data = json.RawMessage(`{}`)
		}
		if e.OccurredAt.IsZero() {
			e.OccurredAt = now
		}
		e.OccurredAt = e.OccurredAt.UTC().Truncate(time.Microsecond)
		e.WorkspaceID, e.ReceivedAt, e.AttendAt = ws, now, &attend
	}
	if len(events) == 0 {
		return nil, nil
	}
	kept, err := b.gathering.add(ctx, events)
	if err != nil {
		return nil, err
	}
	out := make([]Receipt, len(events))
	for i, e := range events {
		out[i] = Receipt{ID: kept[i], Duplicate: kept[i] != e.ID}
	}
	return out, nil
}

// matchJobs asks for events to be matched, those of a workspace together.
func matchJobs(events []store.DueEvent) []tasks.Job {
	type line struct {
		ws  models.WorkspaceID
		try int
	}
	var jobs []tasks.Job
	open := map[line]int{} // the job of each that has room
	for _, e := range events {
		l := line{e.Workspace, e.Tries}
		if at, ok := open[l]; ok && len(jobs[at].More) < tasks.MatchTogether-1 {
			jobs[at].More = append(jobs[at].More, string(e.ID))
			continue
		}
		open[l] = len(jobs)
		jobs = append(jobs, tasks.Job{Type: tasks.TypeMatch, Workspace: string(e.Workspace), ID: string(e.ID), Try: e.Tries})
	}
	return jobs
}
