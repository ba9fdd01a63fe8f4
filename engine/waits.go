package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/10ex/flows/engine/expression"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/tasks"
)

// An event and a wait for it may come about at the same moment, in transactions that
// do not see each other. So each looks for the other after its own commit: an event
// for the waits that are open (MatchWaits), a wait for the events that were there
// before it (LookBack). Whichever committed last sees the other, and that both may
// is no harm: a wait ends once, under the lock of its run.

// candidate is an event as plans see it.
type candidate struct {
	event  *models.Event
	vars   map[string]any
	output json.RawMessage
	// sure means that it need not be asked whether the wait may have it.
	sure bool
}

func newCandidate(ev *models.Event) *candidate {
	vars := eventVars(ev)
	data := ev.Data
	if len(data) == 0 {
		data = json.RawMessage("null")
	}
	return &candidate{event: ev, vars: vars, output: mustJSON(struct {
		ID         models.EventID  `json:"id"`
		Type       string          `json:"type"`
		Source     string          `json:"source"`
		Data       json.RawMessage `json:"data"`
		OccurredAt any             `json:"occurred_at"`
	}{ev.ID, ev.Type, ev.Source, data, vars["occurred_at"]})}
}

// maxEventKeys is how many fields of an event waits are looked for by. One that has
// more looks at all waits of its type.
const maxEventKeys = 200

// MatchWaits ends the waits that an event is for, whichever run they are of, and tells
// how many. It may be done again, also at the same time. An error tells that it has to.
func (e *Engine) MatchWaits(ctx context.Context, ev *models.Event) (woken int, err error) {
	m := &waitMatch{e: e, ev: ev}
	vars := eventVars(ev)
	keys, all := expression.FieldKeys(vars, maxEventKeys)
	types := store.EventTypePatterns(ev.Type)
	if key := awaitedKey(ev); key != "" {
		keys = append(keys, key)
	}
	tenant := e.deps.Store.For(ev.WorkspaceID)
	if !all {
		every, _ := expression.FieldKeys(vars, len(ev.Data)+maxEventKeys)
		m.keys = map[string]bool{"": true, awaitedKey(ev): true}
		for _, k := range every {
			m.keys[k] = true
		}
		for _, typ := range types {
			err = errors.Join(err, m.pages(ctx, func(after store.WaitPlace) ([]*models.Wait, error) { return tenant.WaitsOfType(ctx, typ, after) }))
		}
		return m.woken, err
	}
	groups, err := tenant.WaitGroups(ctx, types, keys)
	if err != nil {
		return 0, err
	}
	for _, g := range groups {
		err = errors.Join(err, m.pages(ctx, func(after store.WaitPlace) ([]*models.Wait, error) { return tenant.WaitsOfGroup(ctx, g, after) }))
	}
	return m.woken, err
}

// waitMatch is an event on its way to waits.
type waitMatch struct {
	e     *Engine
	ev    *models.Event
	ready *candidate      // made for the first wait: most events have none
	keys  map[string]bool // nil: the waits are found by their keys
	woken int
}

func (m *waitMatch) pages(ctx context.Context, page func(after store.WaitPlace) ([]*models.Wait, error)) error {
	var after store.WaitPlace
	var errs []error
	for {
		waits, err := page(after)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		errs = append(errs, m.offer(ctx, waits)...)
		if len(waits) < store.WaitsPage || ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		last := waits[len(waits)-1]
		after = store.WaitPlace{MatchKey: last.MatchKey, Run: last.RunID, Step: last.StepID}
	}
}

// offer hands the event to waits. One that has not looked back yet does that first:
// what came before this event is before it.
func (m *waitMatch) offer(ctx context.Context, waits []*models.Wait) (errs []error) {
	if m.ready == nil && len(waits) > 0 {
		m.ready = newCandidate(m.ev)
	}
	var ops []*op
	for _, w := range waits {
		switch {
		case m.keys != nil && !m.keys[w.MatchKey]:
		case awaitedBy(w) != "":
			woken, err := m.e.lookAfter(ctx, w)
			if woken {
				m.woken++
			}
			errs = append(errs, err)
		case w.AttendAt != nil && w.AttendAt.Before(w.OpenedAt.Add(lookAgain)):
			woken, err := m.e.LookBack(ctx, runOf(w), w.StepID)
			if woken {
				m.woken++
			}
			errs = append(errs, err)
		default:
			ops = append(ops, &op{ref: runOf(w), what: eventArrived{key: theStep(w.StepID), events: []*candidate{m.ready}}})
		}
	}
	for i, err := range m.e.doAll(ctx, ops) {
		o := ops[i]
		switch {
		case err == nil && len(o.plans) > 0 && o.plans[0].refused == "":
			m.woken++
		case err == nil, errors.Is(err, models.ErrNotFound):
		case errors.Is(err, models.ErrUnavailable), ctx.Err() != nil:
			errs = append(errs, err)
		default: // it would be the same the next time
			m.e.log.ErrorContext(ctx, "event cannot be handed to a wait", obs.Run(o.ref.Run), obs.Err(err))
		}
	}
	return errs
}

func runOf(w *models.Wait) store.RunRef { return store.RunRef{Workspace: w.WorkspaceID, Run: w.RunID} }

// LookBack shows an open wait the events that came before it, since its run was
// created, in the order they came, and tells whether one ended it. It may be done
// again, also at the same time.
func (e *Engine) LookBack(ctx context.Context, ref store.RunRef, step string) (woken bool, err error) {
	tenant := e.deps.Store.For(ref.Workspace)
	w, created, err := tenant.Wait(ctx, ref.Run, step)
	if err != nil || w == nil {
		return false, err
	}
	if awaitedBy(w) != "" {
		return e.lookAfter(ctx, w)
	}
	var after models.EventID
	for more := true; more; {
		var page []*models.Event
		if page, more, err = tenant.EventsFor(ctx, w.EventType, created, after); err != nil {
			return false, err
		}
		var candidates []*candidate
		for _, ev := range page {
			after = ev.ID
			if w.MatchKey == "" || hasKey(ev, w.MatchKey) {
				candidates = append(candidates, newCandidate(ev))
			}
		}
		for len(candidates) > 0 { // not too many at once: others wait for their turn
			n := min(len(candidates), lookAtOnce)
			o := &op{ref: ref, what: eventArrived{key: theStep(step), events: candidates[:n]}}
			candidates = candidates[n:]
			switch err := e.do(ctx, o); {
			case errors.Is(err, models.ErrNotFound):
				return false, nil
			case err != nil:
				return false, err
			case o.plans[0].refused == "":
				return true, nil
			case o.plans[0].refused == refusedNotWaiting:
				return false, nil
			}
		}
	}
	var again *time.Time
	if at := w.OpenedAt.Add(lookAgain); hearsRuns(w.EventType) && e.deps.Clock.Now().Before(at) && !e.deps.Store.Embedded() {
		again = &at
	}
	return false, tenant.AttendWait(ctx, ref.Run, step, again)
}

// lookAtOnce bounds the events that one operation looks at.
const lookAtOnce = 25

// lookAgain is when a wait for events about runs looks back once more. Whether
// anybody listens for such an event is asked by the transaction that writes it, which
// may not see a wait that is opened meanwhile, and the look back of that wait may not
// see the event. By then no transaction is left that began before the wait was there.
const lookAgain = 2 * time.Minute

// hearsRuns tells whether an event type covers events about runs.
func hearsRuns(eventType string) bool {
	const runs = "flow."
	if prefix, ok := strings.CutSuffix(eventType, "*"); ok {
		return strings.HasPrefix(runs, prefix) || strings.HasPrefix(prefix, runs)
	}
	return strings.HasPrefix(eventType, runs)
}

func hasKey(ev *models.Event, key string) bool {
	keys, _ := expression.FieldKeys(eventVars(ev), len(ev.Data)+maxEventKeys)
	return slices.Contains(keys, key)
}

// LookBackJob does a job of type lookback.
func (e *Engine) LookBackJob(ctx context.Context, j tasks.Job) error {
	_, err := e.LookBack(ctx, store.RunRef{Workspace: models.WorkspaceID(j.Workspace), Run: models.RunID(j.ID)}, j.Extra)
	return err
}

// sweepWaits has waits look back that should have by now.
func (e *Engine) sweepWaits(ctx context.Context, limit int) (more bool, err error) {
	now := e.deps.Clock.Now()
	due, err := e.deps.Store.TakeDueWaits(ctx, now, now.Add(lookRest), limit)
	if err != nil || len(due) == 0 {
		return false, err
	}
	var jobs []tasks.Job
	for _, w := range due {
		if e.deps.Jobs == nil {
			_, lost := e.LookBack(ctx, runOf(w), w.StepID)
			err = errors.Join(err, lost)
			continue
		}
		// The task of an earlier try may be stuck, and hold its id.
		jobs = append(jobs, lookBackJob(w, 1+int(now.Sub(w.OpenedAt)/time.Second)))
	}
	if len(jobs) > 0 {
		e.deps.Jobs.EnqueueJobs(ctx, jobs)
	}
	return len(due) == limit, err
}

// lookRest is how long a wait is left alone that was to look back.
const lookRest = 30 * time.Second

// matchKey gives the key of what an event must have to end a wait that opens; empty
// where only the condition can tell. It must be good for as long as the wait is open,
// so of steps it reads only what cannot change any more.
func (w *walk) matchKey(n *node) (string, error) {
	if n.match == nil {
		return "", nil
	}
	for _, eq := range n.match.Equalities {
		final, err := w.final(eq.Value.Refs())
		if err != nil {
			return "", err
		}
		if !final {
			continue
		}
		value, failure, err := w.eval(eq.Value, "match", nil)
		if err != nil {
			return "", err
		}
		if failure != nil {
			continue
		}
		if key, ok := expression.FieldKey(eq.Field, value); ok {
			return key, nil
		}
	}
	return "", nil
}

// final tells whether what refs read of steps has settled.
func (w *walk) final(refs expression.Refs) (bool, error) {
	final, missing := true, false
	for _, ref := range refs.Steps {
		row, err := w.read(theStep(ref.ID))
		if err != nil {
			missing = true // ask for all of them at once
			continue
		}
		final = final && row != nil && row.Status.Ended()
	}
	if missing {
		return false, errNeed
	}
	return final, nil
}

// refusedNotWaiting is why an event comes too late.
const refusedNotWaiting = "the step is not waiting"

// signal ends a wait for an event with the first of some events that is the one, as
// its output.
func (w *walk) signal(h eventArrived) error {
	n, row, err := w.waiting(h.key)
	if err != nil || row == nil {
		return err
	}
	if n.def.Event == nil {
		return w.refuse("the step does not wait for an event")
	}
	for _, a := range h.events {
		ok, err := w.isFor(n, a)
		if err != nil {
			return err
		}
		if ok {
			w.endWait(n, w.change(row), a.output, models.OnSuccess, "")
			return nil
		}
	}
	return w.refuse("it is not the event the step waits for")
}

// isFor tells whether a wait is for an event. A condition that fails does not hold:
// the event lacks what the author counts on.
func (w *walk) isFor(n *node, a *candidate) (bool, error) {
	if !a.sure && !w.mayHear(n, a.event) {
		return false, nil
	}
	if n.match != nil {
		vars, failure, err := w.inScope(n.match.Refs(), "match", nil)
		if failure != nil || err != nil {
			return false, err
		}
		vars["event"] = a.vars
		holds, err := n.match.Eval(context.Background(), vars)
		if yes, _ := holds.(bool); err != nil || !yes {
			return false, nil //nolint:nilerr // what cannot be compared does not match
		}
	}
	return w.unused(n, a)
}

// mayHear tells whether an event is one that waits of the run may end with: one that
// came after the run was created, and is not about the run itself.
func (w *walk) mayHear(n *node, ev *models.Event) bool {
	r := w.readRun()
	switch {
	case ev.ReceivedAt.Before(r.CreatedAt), r.EventID != nil && *r.EventID == ev.ID:
		return false
	case ev.Source == models.SourceFlows && ev.RunID != nil && *ev.RunID == r.ID:
		return false
	}
	return coversType(n.def.Event.Type, ev.Type)
}

func coversType(pattern, typ string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(typ, prefix)
	}
	return pattern == typ
}

// unused tells whether no wait that comes before this one has ended with the event:
// who waits for a reply and then for a reply means another one.
func (w *walk) unused(n *node, a *candidate) (bool, error) {
	missing := false
	for _, before := range n.waitsBefore {
		row, err := w.read(theStep(before))
		if err != nil {
			missing = true
			continue
		}
		if row == nil || row.Status != models.StepCompleted || row.Reason != "" {
			continue
		}
		var ended struct {
			ID models.EventID `json:"id"`
		}
		if json.Unmarshal(row.Output, &ended) == nil && ended.ID == a.event.ID {
			return false, nil
		}
	}
	if missing {
		return false, errNeed
	}
	return true, nil
}

// Signal hands an event to a wait, if it is one the wait is for.
func (e *Engine) Signal(ctx context.Context, ref store.RunRef, step string, s Signal) (*models.Run, error) {
	vars, err := expression.Decode(s.Event)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", s.EventID, err)
	}
	a := &candidate{event: &models.Event{ID: s.EventID}, output: s.Event, sure: true}
	a.vars, _ = vars.(map[string]any)
	o := &op{ref: ref, what: eventArrived{key: theStep(step), events: []*candidate{a}}}
	return e.answered(ctx, o, "step %q of run %s is not waiting for this event", step, ref.Run)
}
