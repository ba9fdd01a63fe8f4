package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/10ex/flows/engine/expression"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// Why says what a run is waiting for.
type Why struct {
	Status    models.RunStatus `json:"status"`
	Summary   string           `json:"summary"`
	WaitingOn []WaitingOn      `json:"waiting_on"`
}

// WaitingOn is one thing a run is waiting for. Kind is timer, event, approval, run,
// retry, queue, limit, worker or join; or concurrency or debounce, which hold the run as a
// whole, before it begins: then there is no step.
type WaitingOn struct {
	StepID string     `json:"step_id"`
	Kind   string     `json:"kind"`
	Since  *time.Time `json:"since"`
	Until  *time.Time `json:"until"`
	Detail string     `json:"detail"`

	Key     string         `json:"key,omitempty"`     // of concurrency and debounce
	Ahead   *int           `json:"ahead,omitempty"`   // runs in line before this one
	Limit   int            `json:"limit,omitempty"`   // runs that may be active at once
	Holders []models.RunID `json:"held_by,omitempty"` // runs that are, up to ten

	items bool // Detail tells of the items of a list
}

// Why tells, in words and data, why a run has not ended.
func (e *Engine) Why(ctx context.Context, ref store.RunRef) (*Why, error) {
	tenant := e.deps.Store.For(ref.Workspace)
	run, err := tenant.Run(ctx, ref.Run)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", ref.Run, err)
	}
	why := &Why{Status: run.Status, WaitingOn: []WaitingOn{}}
	if run.Status.Ended() {
		why.Summary, err = endSummary(ctx, tenant, run)
		return why, err
	}
	def, err := e.cache.get(ctx, ref.Workspace, run.WorkflowID, run.WorkflowVersion)
	if err != nil {
		return nil, err
	}
	if run.Hold != models.HoldNone {
		return e.whyHeld(ctx, def, run)
	}
	rows, err := tenant.Steps(ctx, ref.Run)
	if err != nil {
		return nil, err
	}
	later := map[string][]store.LaterItems{}
	if slices.ContainsFunc(rows, itemsUnderWay) {
		items, err := tenant.LaterItems(ctx, ref.Run, e.deps.Clock.Now())
		if err != nil {
			return nil, err
		}
		for _, some := range items {
			later[some.StepID] = append(later[some.StepID], some)
		}
	}
	for _, row := range rows {
		if n := def.nodes[row.StepID]; n != nil && !row.Status.Ended() {
			on := waitingOn(n, row)
			if some := later[row.StepID]; len(some) > 0 && itemsUnderWay(row) {
				on.withLater(row, some)
			}
			why.WaitingOn = append(why.WaitingOn, on)
		}
	}
	why.Summary = openSummary(run, why.WaitingOn)
	return why, nil
}

func waitingOn(n *node, row *models.Step) WaitingOn {
	on := WaitingOn{StepID: row.StepID, Since: row.QueuedAt}
	switch row.Status {
	case models.StepPending:
		on.Kind = "join"
		on.Detail = fmt.Sprintf("the rest of its incoming edges: %d of %d have settled", row.Settled, len(n.in))
	case models.StepWaiting:
		on.Since, on.Until = row.StartedAt, row.WakeAt
		switch {
		case n.def.Event != nil:
			on.Kind, on.Detail = "event", fmt.Sprintf("an event of type %q", n.def.Event.Type)
			if n.def.Event.Match != "" {
				on.Detail += " for which " + strings.TrimSpace(expression.Bare(n.def.Event.Match))
			}
		case row.IterTotal > 0:
			on.Kind, on.Detail = "run", "the ends of the runs it started: "+itemsSummary(row)
		case awaits(row):
			on.Kind, on.Detail = "run", "the end of the run it started"
			var out struct {
				Run models.RunID `json:"run_id"`
			}
			if json.Unmarshal(row.Output, &out) == nil && out.Run != "" {
				on.Detail = "the end of run " + string(out.Run)
			}
		case n.def.Type.Executed():
			on.Kind, on.Detail = "approval", "a person's decision: it may or may not have acted, for no answer arrived; "+
				"approve to do it again, reject to let it fail"
		case n.def.Approval != nil:
			on.Kind, on.Detail = "approval", "a person's approval"
			if prompt := promptOf(row); prompt != "" {
				on.Detail += ": " + prompt
			}
		default:
			on.Kind, on.Detail = "timer", "a timer"
		}
	case models.StepRunning:
		on.Kind, on.Since = "worker", row.StartedAt
		on.Detail = fmt.Sprintf("attempt %d is running", row.Attempt)
		if row.IterTotal > 0 {
			on.Detail = itemsSummary(row)
		}
	case models.StepQueued:
		on.Kind, on.Detail = "queue", "a free worker"
		if row.Reason != "" && row.DueAt != nil {
			on.Kind, on.Until, on.Detail = "limit", row.DueAt, "its turn: "+row.Reason
			break
		}
		if row.Attempt > 1 && row.Error != nil && row.DueAt != nil {
			on.Kind, on.Until = "retry", row.DueAt
			on.Detail = fmt.Sprintf("attempt %d, after the one before failed: %s", row.Attempt, row.Error.Message)
		}
	case models.StepCompleted, models.StepFailed, models.StepSkipped, models.StepCancelled: // nothing waits for these
	}
	return on
}

// itemsUnderWay tells whether workers are, or will be, at items of a step over a list.
func itemsUnderWay(row *models.Step) bool {
	return row.IterActive > 0 && (row.Status == models.StepQueued || row.Status == models.StepRunning)
}

// withLater says of a step over a list which of its items may not begin yet. If none may,
// that is what it waits for.
func (on *WaitingOn) withLater(row *models.Step, later []store.LaterItems) {
	first, held := later[0], 0
	parts := []string{itemsSummary(row)}
	for _, some := range later {
		held += some.Count
		if some.First.Before(first.First) {
			first = some
		}
		verb, what := "have", "for their turn: "+some.Reason
		if some.Count == 1 {
			verb, what = "has", "for its turn: "+some.Reason
		}
		if some.Reason == "" {
			what = "for the next attempt, after one that failed"
		}
		parts = append(parts, fmt.Sprintf("%d %s to wait until %s %s", some.Count, verb, some.First.UTC().Format(time.RFC3339), what))
	}
	on.Detail = strings.Join(parts, "; ")
	if held < row.IterActive {
		return
	}
	on.Kind, on.Until, on.items = "limit", &first.First, true
	if first.Reason == "" {
		on.Kind = "retry"
	}
}

// itemsSummary tells how the items of a step over a list are.
func itemsSummary(row *models.Step) string {
	s := fmt.Sprintf("%d of %d iterations are done, %d are under way", row.IterDone, row.IterTotal, row.IterActive)
	if n := waitingItems(row); n > 0 {
		s += fmt.Sprintf(", %d wait for runs", n)
	}
	return s
}

func openSummary(run *models.Run, on []WaitingOn) string {
	parts := make([]string, 0, 4)
	for _, w := range on {
		if w.Kind == "join" && len(on) > 1 {
			continue // what it waits for is in the list as well
		}
		if len(parts) == 3 {
			parts = append(parts, "and more")
			break
		}
		parts = append(parts, inWords(w))
	}
	text := strings.Join(parts, "; ")
	end := "."
	if strings.HasSuffix(text, ".") || strings.HasSuffix(text, "?") || strings.HasSuffix(text, "!") {
		end = "" // a prompt or message brings its own
	}
	switch {
	case run.Status == models.RunPaused && text == "":
		return "The run is paused; nothing goes on until it is resumed."
	case run.Status == models.RunPaused:
		return "The run is paused; nothing new starts until it is resumed. Then: " + text + end
	case run.Halted:
		return fmt.Sprintf("Step %q failed, so the run will fail; %s%s", run.Error.StepID, text, end)
	}
	if text == "" { // it has moved on since it was read
		return "The run waits for nothing."
	}
	return strings.ToUpper(text[:1]) + text[1:] + end
}

func inWords(w WaitingOn) string {
	if w.Kind == "worker" {
		return fmt.Sprintf("step %q is being executed: %s", w.StepID, w.Detail)
	}
	s := fmt.Sprintf("step %q waits", w.StepID)
	if w.Until != nil {
		s += " until " + w.Until.UTC().Format(time.RFC3339)
	}
	switch {
	case w.Kind == "timer":
		return s
	case w.items:
		return s + ": " + w.Detail
	}
	return s + " for " + w.Detail
}

func endSummary(ctx context.Context, tenant *store.Tenant, run *models.Run) (string, error) {
	switch {
	case run.Status == models.RunFailed && run.Error != nil && run.Error.StepID != "":
		return fmt.Sprintf("The run has failed at step %q: %s.", run.Error.StepID, strings.TrimSuffix(run.Error.Message, ".")), nil
	case run.Status == models.RunFailed && run.Error != nil:
		return fmt.Sprintf("The run has failed: %s.", strings.TrimSuffix(run.Error.Message, ".")), nil
	case run.Status == models.RunCancelled:
		reason, err := cancelReason(ctx, tenant, run)
		if err != nil || reason != "" {
			return fmt.Sprintf("The run is cancelled: %s.", reason), err
		}
	}
	return fmt.Sprintf("The run is %s; it waits for nothing.", run.Status), nil
}

// cancelReason gives why a run was cancelled that nobody cancelled, from the last line
// of its log.
func cancelReason(ctx context.Context, tenant *store.Tenant, run *models.Run) (string, error) {
	last, err := tenant.RunEvents(ctx, run.ID, run.LastSeq-1, 1)
	if err != nil || len(last) == 0 {
		return "", err
	}
	var data struct {
		Reason string `json:"reason"`
	}
	_ = json.Unmarshal(last[0].Data, &data) // without one there is none to tell
	return data.Reason, nil
}
