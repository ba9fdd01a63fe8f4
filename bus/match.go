package bus

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/tasks"
)

// listenersPage is how many triggers are looked at together.
const listenersPage = 500

// MatchJob does a job of type match.
func (b *Bus) MatchJob(ctx context.Context, j tasks.Job) error {
	events := []models.EventID{models.EventID(j.ID)}
	for _, id := range j.More {
		events = append(events, models.EventID(id))
	}
	return b.Match(ctx, models.WorkspaceID(j.Workspace), events...)
}

// Match brings events of a workspace to the triggers that listen for them, and
// notes what became of each. Events that have been matched are left alone, and so are
// those that somebody else has in hand. It may be done twice for the same event, also
// at the same time. An error tells that some of the events have to be matched again.
func (b *Bus) Match(ctx context.Context, ws models.WorkspaceID, events ...models.EventID) error {
	t := b.store.For(ws)
	now := b.now()
	until := now.Add(b.cfg.Claim)
	rows, err := t.ClaimEvents(ctx, events, now, until)
	if err != nil || len(rows) == 0 {
		return err
	}
	m := &matching{bus: b, tenant: t, failed: map[models.EventID]error{}}
	for _, e := range rows {
		m.occasions = append(m.occasions, &occasion{Event: e})
	}
	err = m.all(ctx)
	if err != nil {
		m.free(ctx, until)
	}
	return err
}

func (m *matching) all(ctx context.Context) error {
	if err := m.heard(ctx); err != nil {
		return err
	}
	if err := m.addressed(ctx); err != nil {
		return err
	}
	return m.settle(ctx)
}

// freeTimeout bounds how long what came to nothing is told to others.
const freeTimeout = 2 * time.Second

// free gives up the events of which nothing came, so that whoever comes next has them
// at once. The sweep looks for them soon, however long it has let them wait for their
// turn before. Where that fails they are free a little later.
func (m *matching) free(ctx context.Context, until time.Time) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), freeTimeout)
	defer stop()
	ids := make([]models.EventID, len(m.occasions))
	for i, o := range m.occasions {
		ids[i] = o.ID
	}
	if err := m.tenant.FreeEvents(ctx, ids, until, m.bus.now().Add(m.bus.cfg.Attend)); err != nil {
		m.bus.log.DebugContext(ctx, "events could not be freed, they are when their time is over", obs.Err(err), obs.Count(len(ids)))
	}
}

// matching is one batch of events on its way to triggers.
type matching struct {
	bus       *Bus
	tenant    *store.Tenant
	occasions []*occasion

	matches []*models.Match // decided, and not recorded yet

	mu     sync.Mutex
	failed map[models.EventID]error // those that have to come again
}

// candidate is an event at a trigger that listens for its type and source.
type candidate struct {
	trigger  *models.Trigger
	occasion *occasion
	when     *condition
	key      string // of dedupe; empty: none
	payload  []byte
	match    *models.Match
}

func (c *candidate) ignore(reason string) {
	c.match.Outcome, c.match.Reason = models.MatchIgnored, shorten(reason)
}

// open tells whether nothing has been decided about the candidate.
func (c *candidate) open() bool { return c.match.Outcome == "" }

// covers tells whether a trigger's event type means an event type.
func covers(pattern, typ string) bool {
	if n := len(pattern) - 1; n >= 0 && pattern[n] == '*' {
		return len(typ) >= n && typ[:n] == pattern[:n]
	}
	return pattern == typ
}

// types gives every event type that a listener may name to hear of the events.
func (m *matching) types() []string {
	var types []string
	seen := map[string]bool{}
	for _, o := range m.occasions {
		if !seen[o.Type] {
			seen[o.Type] = true
			types = append(types, store.EventTypePatterns(o.Type)...)
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// heard brings the events to the waits and triggers that name their types.
func (m *matching) heard(ctx context.Context) error {
	triggers, waits, err := m.tenant.Listening(ctx, m.types())
	if err != nil {
		return err
	}
	m.waits(ctx, waits)
	for _, pattern := range triggers {
		if err := m.listeners(ctx, pattern); err != nil {
			return err
		}
	}
	return nil
}

// waits brings the events to the waits of runs.
func (m *matching) waits(ctx context.Context, patterns []string) {
	for _, o := range m.occasions {
		if !slices.ContainsFunc(patterns, func(pattern string) bool { return covers(pattern, o.Type) }) {
			continue
		}
		if _, err := m.bus.deps.Engine.MatchWaits(ctx, o.Event); err != nil {
			m.failed[o.ID] = err
		}
	}
}

// listeners brings the events to the triggers that listen for an event type.
func (m *matching) listeners(ctx context.Context, pattern string) error {
	var after models.TriggerID
	for {
		triggers, err := m.tenant.Listeners(ctx, pattern, after, listenersPage)
		if err != nil {
			return err
		}
		var found []*candidate
		for _, trg := range triggers {
			for _, o := range m.occasions {
				if covers(pattern, o.Type) && (trg.Source == "" || trg.Source == o.Source) {
					found = append(found, newCandidate(trg, o))
				}
			}
		}
		if err := m.decide(ctx, found); err != nil {
			return err
		}
		if len(triggers) < listenersPage {
			return nil
		}
		after = triggers[len(triggers)-1].ID
	}
}

// addressed brings events to the trigger they came by.
func (m *matching) addressed(ctx context.Context) error {
	var found []*candidate
	for _, o := range m.occasions {
		if o.TriggerID == nil {
			continue
		}
		trg, err := m.tenant.Trigger(ctx, *o.TriggerID)
		if errors.Is(err, models.ErrNotFound) {
			continue // it has been deleted since
		}
		if err != nil {
			return err
		}
		c := newCandidate(trg, o)
		if !trg.Enabled {
			c.ignore("the trigger is disabled")
		}
		found = append(found, c)
	}
	return m.decide(ctx, found)
}

func newCandidate(trg *models.Trigger, o *occasion) *candidate {
	return &candidate{trigger: trg, occasion: o, match: &models.Match{EventID: o.ID, TriggerID: trg.ID}}
}

// decide does with candidates what is to be done and records it.
func (m *matching) decide(ctx context.Context, found []*candidate) error {
	if len(found) == 0 {
		return nil
	}
	for _, c := range found {
		if err := m.weigh(ctx, c); err != nil {
			return err
		}
	}
	if err := m.dedupe(ctx, found); err != nil {
		return err
	}
	m.fire(ctx, found)
	now := m.bus.now()
	for _, c := range found {
		if !c.open() {
			c.match.At = now
			m.matches = append(m.matches, c.match)
		}
	}
	if len(m.matches) < recordTogether {
		return nil
	}
	matches := m.matches
	m.matches = nil
	return m.tenant.RecordMatches(ctx, matches, nil, now)
}

// recordTogether is how many matches are recorded at once, where there are many.
const recordTogether = 1000

// weigh evaluates what the trigger says in expressions. What goes wrong in one is a
// reason to ignore the event, and no trouble of any other trigger.
func (m *matching) weigh(ctx context.Context, c *candidate) error {
	if !c.open() {
		return nil
	}
	if c.occasion.Depth >= models.MaxDepth {
		c.ignore("flows have started each other too many times: the chain ends here")
		return nil
	}
	var err error
	if c.when, err = m.bus.compiled.get(c.trigger); err != nil {
		c.ignore("the trigger cannot be read: " + err.Error())
		return nil //nolint:nilerr // it is told as the reason
	}
	vars, err := c.occasion.scope(c.trigger)
	if err != nil {
		c.ignore("the event's data cannot be read: " + err.Error())
		return nil //nolint:nilerr // as above
	}
	if w := c.trigger.WorkflowID; w != nil && c.occasion.tellsOf(*w) {
		c.ignore("a flow does not hear of its own runs")
		return nil
	}
	ok, reason, err := c.when.admits(ctx, vars)
	if ok {
		c.key, reason, err = c.when.dedupeKey(ctx, vars)
	}
	if ok && reason == "" && err == nil {
		token, address := m.bus.link(c.occasion.Event)
		c.payload, reason, err = c.when.input(ctx, withLink(vars, address), c.occasion.Event)
		reason = unlinked(reason, token)
	}
	if reason != "" {
		c.ignore(reason)
	}
	return err
}

// dedupe lets one event a key and window through.
func (m *matching) dedupe(ctx context.Context, found []*candidate) error {
	type key struct {
		trigger models.TriggerID
		key     string
	}
	var open []*candidate
	for _, c := range found {
		if c.open() && c.key != "" {
			open = append(open, c)
		}
	}
	for len(open) > 0 {
		// Each key once in a statement; the others see what came of it.
		var claims []store.KeyClaim
		turn := map[key]int{}
		var later []*candidate
		for _, c := range open {
			k := key{c.trigger.ID, c.key}
			if _, taken := turn[k]; taken {
				later = append(later, c)
				continue
			}
			turn[k] = len(claims)
			claims = append(claims, store.KeyClaim{
				Trigger: c.trigger.ID, Key: c.key, Event: c.occasion.ID,
				At: c.occasion.ReceivedAt, Until: c.occasion.ReceivedAt.Add(c.when.window),
			})
		}
		owners, err := m.tenant.ClaimKeys(ctx, claims)
		if err != nil {
			return err
		}
		judge := func(c *candidate) (settled bool) {
			owner := owners[turn[key{c.trigger.ID, c.key}]]
			if owner.EventID == c.occasion.ID {
				return true
			}
			if !owner.Until.After(c.occasion.ReceivedAt) {
				return false // that window is over: it may open the next
			}
			c.ignore("event " + string(owner.EventID) + " with the same key came before it")
			return true
		}
		for _, c := range open {
			judge(c)
		}
		open = slices.DeleteFunc(later, judge)
	}
	return nil
}

// fire fires the triggers of what is still open, some side by side.
func (m *matching) fire(ctx context.Context, found []*candidate) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, m.bus.cfg.Parallel)
	for _, c := range found {
		if !c.open() {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			m.fireOne(ctx, c)
		})
	}
	wg.Wait()
}

func (m *matching) fireOne(ctx context.Context, c *candidate) {
	res, err := m.bus.fire(ctx, c.trigger, c.occasion.Event, c.payload)
	if err == nil && res.refused != "" && c.key != "" {
		err = m.tenant.FreeKey(ctx, c.trigger.ID, c.key, c.occasion.ID) // nothing came of it
	}
	switch {
	case err != nil:
		m.mu.Lock()
		m.failed[c.occasion.ID] = err
		m.mu.Unlock()
	case res.refused != "":
		c.ignore(res.refused)
	default:
		c.match.Outcome, c.match.RunID, c.match.DeliveryID = models.MatchFired, res.run, res.delivery
	}
}

// settle records what is left to record, and which events need not come again.
func (m *matching) settle(ctx context.Context) error {
	var done []models.EventID
	var first error
	for _, o := range m.occasions {
		if err := m.failed[o.ID]; err != nil {
			first = err
			continue
		}
		done = append(done, o.ID)
	}
	if err := m.tenant.RecordMatches(ctx, m.matches, done, m.bus.now()); err != nil {
		return err
	}
	return first
}
