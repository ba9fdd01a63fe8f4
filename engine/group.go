package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"runtime/debug"
	"time"

	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// op is one operation on one run, on its way through a lane.
type op struct {
	ref  store.RunRef
	what happening
	// def is set for a run that does not exist yet, and where it is at hand.
	def *definition
	// then gives what happens next in the same transaction, if anything.
	then func(p *plan) happening

	plans []*plan
	run   *models.Run // as it is after the operation
	err   error
	done  chan struct{}
	// heldSince is when another transaction was first found to hold the run.
	heldSince time.Time
}

// lane gathers operations into groups and commits one group at a time. A lone
// operation goes at once; what arrives while a group is in commit makes the next.
// Operations on one run always take the same lane, so lanes do not wait for each
// other's locks.
type lane struct {
	e    *Engine
	ops  chan *op
	stop chan struct{}
	gone chan struct{} // closed when the lane has ended
	last int           // how many operations the last group had
	// heedful is until when groups leave runs out that another transaction holds. One
	// that is held for long, by a process that froze, must not hold up all others.
	heedful time.Time
}

const (
	laneQueue     = 4096
	commitTimeout = 15 * time.Second
	maxTries      = 5
	// heldPatience is how long an operation waits for a run that is held, and
	// heldRetry how often it looks. heedfulFor is how long lanes look out for more.
	heldPatience = 5 * time.Second
	heldRetry    = 50 * time.Millisecond
	heedfulFor   = 2 * time.Second
)

func (e *Engine) startLanes() {
	for range e.cfg.Lanes {
		l := &lane{e: e, ops: make(chan *op, laneQueue), stop: make(chan struct{}), gone: make(chan struct{})}
		e.lanes = append(e.lanes, l)
		go l.loop()
	}
}

// errClosed is what operations after Close get.
var errClosed = fmt.Errorf("the engine is closed: %w", models.ErrUnavailable)

// Close commits what has been handed in and stops. What is handed in during or
// after it may fail with models.ErrUnavailable. It may be called once.
func (e *Engine) Close(context.Context) error {
	e.lines.close()
	for _, l := range e.lanes {
		close(l.stop)
	}
	for _, l := range e.lanes {
		<-l.gone
	}
	return nil
}

// do hands an operation to its lane and waits until it is committed.
func (e *Engine) do(ctx context.Context, o *op) error {
	o.done = make(chan struct{})
	h := fnv.New32a()
	_, _ = h.Write([]byte(o.ref.Run))
	l := e.lanes[h.Sum32()%uint32(len(e.lanes))]
	select {
	case l.ops <- o:
	case <-l.stop:
		return errClosed
	case <-ctx.Done():
		return ctxError(ctx)
	}
	select {
	case <-o.done:
		return o.err
	case <-l.gone:
		select {
		case <-o.done: // in its last group
			return o.err
		default:
			return errClosed
		}
	case <-ctx.Done():
		return ctxError(ctx) // it may still be committed; whoever asks again will see
	}
}

// ctxError tells a deadline, which is an outage to the caller, from one who left.
func ctxError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("the engine did not answer in time: %w", models.ErrUnavailable)
	}
	return ctx.Err()
}

func (l *lane) loop() {
	defer close(l.gone)
	for {
		select {
		case first := <-l.ops:
			l.commit(l.gather(first))
		case <-l.stop:
			for { // what was handed in before still counts
				select {
				case o := <-l.ops:
					l.commit(l.gather(o))
				default:
					return
				}
			}
		}
	}
}

// gather makes a group of what has arrived. After a group of several it waits a
// moment until there are as many again: under load a larger group costs the
// database less, and where there is no load nobody waits.
func (l *lane) gather(first *op) []*op {
	group := []*op{first}
	var linger <-chan time.Time
	if l.last > 1 {
		t := time.NewTimer(l.e.cfg.Linger)
		defer t.Stop()
		linger = t.C
	}
	for len(group) < l.e.cfg.GroupSize {
		select {
		case o := <-l.ops:
			group = append(group, o)
			continue
		default:
		}
		if linger == nil || len(group) >= l.last {
			break
		}
		select {
		case o := <-l.ops:
			group = append(group, o)
			continue
		case <-linger:
		}
		break
	}
	l.last = len(group)
	return group
}

// commit commits a group. If it fails for a reason that is not the database's,
// each operation is tried alone, so that one cannot spoil the others.
func (l *lane) commit(group []*op) {
	g, err := l.try(group)
	switch {
	case err == nil:
		l.e.handOver(g)
	case len(group) > 1 && !errors.Is(err, models.ErrUnavailable):
		for _, o := range group {
			l.commit([]*op{o})
		}
		return
	default:
		for _, o := range group {
			o.err = err
		}
	}
	for _, o := range group {
		if errors.Is(o.err, errHeld) && l.later(o) {
			continue
		}
		close(o.done)
	}
}

// errHeld is what an operation gets whose run another transaction held for too long.
var errHeld = fmt.Errorf("the run is held by another transaction: %w", models.ErrUnavailable)

// later hands an operation in again whose run is held, unless it has waited for long
// enough.
func (l *lane) later(o *op) bool {
	now := time.Now()
	if o.heldSince.IsZero() {
		o.heldSince = now
	}
	if now.Sub(o.heldSince) > heldPatience {
		return false
	}
	l.heedful = now.Add(heedfulFor)
	time.AfterFunc(heldRetry, func() {
		select {
		case l.ops <- o:
		case <-l.stop: // whoever waits for it sees that, too
		}
	})
	return true
}

// try commits a group, again if the database gave it up for a passing reason.
func (l *lane) try(group []*op) (*group, error) {
	for tries := 1; ; tries++ {
		ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
		g, err := l.e.commitGroup(ctx, group, time.Now().After(l.heedful))
		cancel()
		if store.Held(err) {
			l.heedful = time.Now().Add(heedfulFor)
		}
		// A conflict is a run that another process has just started under the same id:
		// the next try finds it.
		if again := store.TryAgain(err) || errors.Is(err, models.ErrConflict); !again || tries == maxTries {
			return g, err
		}
		l.e.log.Warn("transaction was given up and is tried again", obs.Attempt(tries), obs.Err(err))
	}
}

// group is the work of one transaction.
type group struct {
	e    *Engine
	now  time.Time
	runs []*runWork
	// skipHeld leaves out what another transaction holds, instead of waiting.
	skipHeld bool
}

// runWork is what happens to one run in a group.
type runWork struct {
	ref    store.RunRef
	ops    []*op
	def    *definition
	snap   *snapshot
	isNew  bool
	need   *needs
	rounds int // how often steps were found to be missing

	changed bool
	folded  bool // a start was made part of the run
	steps   map[stepKey]*models.Step
	created map[stepKey]bool
	inputs  map[stepKey]bool
	order   []stepKey
	plans   []*plan
}

func (e *Engine) commitGroup(ctx context.Context, ops []*op, wait bool) (*group, error) {
	g := &group{e: e, skipHeld: !wait}
	byRef := map[store.RunRef]*runWork{}
	var refs []store.RunRef
	for _, o := range ops {
		o.plans, o.run, o.err = nil, nil, nil // it may be a second try
		rw := byRef[o.ref]
		if rw == nil {
			rw = &runWork{ref: o.ref, steps: map[stepKey]*models.Step{}, created: map[stepKey]bool{}, inputs: map[stepKey]bool{}}
			byRef[o.ref] = rw
			g.runs = append(g.runs, rw)
			refs = append(refs, o.ref)
		}
		rw.ops = append(rw.ops, o)
	}
	foreseen := foresee(g.runs)
	wants := foreseen.wants()
	wants.Runs, wants.SkipHeld = refs, !wait
	err := e.deps.Store.WithWants(ctx, wants, func(tx *store.RunTx) (*store.Changes, error) {
		// Read with the locks in hand: what waited for them comes after what held them.
		g.now = e.deps.Clock.Now()
		if err := g.prepare(ctx, tx, foreseen); err != nil {
			return nil, err
		}
		if err := g.plan(ctx, tx); err != nil {
			return nil, err
		}
		return g.changes(), nil
	})
	return g, err
}

// prepare finds each run's definition and reads what its operations will ask for.
func (g *group) prepare(ctx context.Context, tx *store.RunTx, foreseen *reading) error {
	for _, rw := range g.runs {
		run := tx.Runs[rw.ref]
		if tx.Held[rw.ref] {
			for _, o := range rw.ops {
				o.err = errHeld
			}
			rw.ops = nil
			continue
		}
		if run == nil {
			if !rw.create() {
				for _, o := range rw.ops {
					o.err = fmt.Errorf("run %s: %w", rw.ref.Run, models.ErrNotFound)
				}
				rw.ops = nil
			}
			continue
		}
		def, err := g.e.cache.get(ctx, run.WorkspaceID, run.WorkflowID, run.WorkflowVersion)
		if err != nil {
			return err
		}
		rw.def, rw.snap = def, newSnapshot(run)
		if run.Hold != models.HoldNone { // it has no steps yet
			rw.snap.complete, rw.snap.openKnown = true, true
		}
	}
	if err := g.slots(ctx, tx); err != nil {
		return err
	}
	foreseen.take(tx)
	want := newReading()
	for _, rw := range g.runs {
		if rw.isNew {
			continue
		}
		for _, o := range rw.ops {
			want.expect(rw, o.what)
		}
	}
	return want.read(ctx, tx)
}

// create prepares for a run that does not exist, if an operation starts it.
func (rw *runWork) create() bool {
	for _, o := range rw.ops {
		if s, ok := o.what.(runStarts); ok {
			rw.isNew, rw.def = true, o.def
			rw.snap = newSnapshot(s.run)
			rw.snap.complete, rw.snap.openKnown, rw.snap.havePayload = true, true, true
			return true
		}
	}
	return false
}

// plan makes the plans of all operations, reading what they turn out to need.
func (g *group) plan(ctx context.Context, tx *store.RunTx) error {
	r := rules{lease: g.e.cfg.Lease, redeliver: g.e.cfg.Redeliver, horizon: g.e.cfg.Horizon, maxCrashes: g.e.cfg.MaxCrashes}
	for {
		want := newReading()
		blocked := false
		for _, rw := range g.runs {
			if rw.advance(g.now, r) {
				blocked = true
				want.need(rw)
			}
		}
		if !blocked {
			return nil
		}
		if err := want.read(ctx, tx); err != nil {
			return err
		}
	}
}

// advance plans the operations of a run in order, until one needs more to be read.
func (rw *runWork) advance(now time.Time, r rules) (blocked bool) {
	for len(rw.ops) > 0 {
		o := rw.ops[0]
		what := o.what
		follows := len(o.plans) > 0
		if follows {
			what = o.then(o.plans[0])
		}
		if _, starts := what.(runStarts); starts && (!rw.isNew || len(rw.plans) > 0) {
			what = nil // the run exists: the request was repeated
		}
		if what != nil {
			p, need, err := advanceSafely(rw.def, rw.snap, what, now, r)
			if need != nil {
				rw.need = need
				return true
			}
			if err != nil {
				o.err = err
			} else {
				rw.keep(o, p)
			}
		}
		if !follows && o.err == nil && o.then != nil && len(o.plans) == 1 && o.plans[0].refused == "" {
			continue // now for what follows, if anything does
		}
		run := *rw.snap.run
		o.run = &run
		rw.ops = rw.ops[1:]
	}
	return false
}

// advanceSafely makes a fault of a plan one of its operation: a panic would end
// the process, and the next one would come to the same place.
func advanceSafely(d *definition, s *snapshot, h happening, now time.Time, r rules) (p *plan, need *needs, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			p, need, err = nil, nil, fmt.Errorf("engine: %T cannot be planned: %v\n%s", h, fault, debug.Stack())
		}
	}()
	return advance(d, s, h, now, r)
}

// keep makes a plan part of what will be saved.
func (rw *runWork) keep(o *op, p *plan) {
	o.plans = append(o.plans, p)
	if p.refused != "" {
		return
	}
	if p.run != nil {
		before := rw.snap.run
		if p.newRun {
			before = nil
		}
		followSlot(rw.snap.slot, before, p.run)
		followGathering(rw.snap.gather, p.run)
	}
	if p.folded != nil {
		rw.def, rw.folded = p.folded, true
		rw.snap.payload, rw.snap.havePayload = nil, true
	}
	rw.snap.apply(p)
	rw.plans = append(rw.plans, p)
	rw.changed = rw.changed || p.run != nil
	for _, k := range p.order {
		if _, seen := rw.steps[k]; !seen {
			rw.order = append(rw.order, k)
		}
		rw.steps[k] = p.steps[k]
		rw.created[k] = rw.created[k] || p.created[k]
		rw.inputs[k] = rw.inputs[k] || p.inputs[k]
	}
}

// changes gathers what the plans of a group write.
func (g *group) changes() *store.Changes {
	c := &store.Changes{}
	for _, rw := range g.runs {
		switch {
		case len(rw.plans) == 0:
			continue
		case rw.isNew:
			c.NewRuns = append(c.NewRuns, rw.snap.run)
		case rw.changed:
			c.Runs = append(c.Runs, rw.snap.run)
		}
		if rw.folded && !rw.isNew {
			c.Folded = append(c.Folded, rw.snap.run)
		}
		for _, k := range rw.order {
			row := rw.steps[k]
			if rw.created[k] {
				c.NewSteps = append(c.NewSteps, row)
				continue
			}
			if row.Input != nil && !rw.inputs[k] {
				kept := *row
				kept.Input = nil // it is there already, and may be large
				row = &kept
			}
			c.Steps = append(c.Steps, row)
		}
		for _, p := range rw.plans {
			c.Attempts = append(c.Attempts, p.attempts...)
			c.Events = append(c.Events, p.events...)
			c.NewWaits = append(c.NewWaits, p.newWaits...)
			nameEvents(p, g.now)
			c.BusEvents = append(c.BusEvents, p.told...)
			for _, id := range p.closedWaits {
				c.ClosedWaits = append(c.ClosedWaits, store.StepRef{RunRef: rw.ref, Step: id})
			}
		}
	}
	return c
}

// handOver tells the queue and the watchers what a commit brought about. Neither
// may hold up the next commit, and both may be lost.
func (e *Engine) handOver(g *group) {
	var deliveries []Delivery
	var notices []Notice
	for _, rw := range g.runs {
		for _, p := range rw.plans {
			for _, d := range p.deliveries {
				row := rw.steps[stepKey{d.Task.Step, d.Task.Iteration}]
				d.Begun = !d.Wake && row.Status == models.StepRunning
				deliveries = append(deliveries, d)
			}
		}
		if rw.changed {
			r := rw.snap.run
			notices = append(notices, Notice{Workspace: r.WorkspaceID, Run: r.ID, Seq: r.LastSeq, Ended: r.Status.Ended()})
		}
	}
	e.handOn(g)
	ctx := context.Background()
	e.enqueueJobs(ctx, g)
	if len(notices) > 0 {
		e.deps.Notifier.Notify(ctx, notices)
	}
	if len(deliveries) > 0 {
		e.deps.Enqueuer.Enqueue(ctx, deliveries)
	}
}
