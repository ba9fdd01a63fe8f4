package engine

import (
	"context"
	"slices"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// reading gathers what a group has to read, so that it is read with few
// statements however many runs there are.
type reading struct {
	steps    map[store.StepRef]bool // true: with its input
	payloads map[store.RunRef]bool
	works    map[store.RunRef]*runWork
	open     []*runWork
	all      []*runWork
	loops    []loopRead
	events   []*runWork // whose runs read the event that started them
}

type loopRead struct {
	rw   *runWork
	step string
}

func newReading() *reading {
	return &reading{
		steps: map[store.StepRef]bool{}, payloads: map[store.RunRef]bool{}, works: map[store.RunRef]*runWork{},
	}
}

func (r *reading) step(rw *runWork, k stepKey, input bool) {
	if rw.snap != nil { // else the run is not read yet
		if _, known := rw.snap.steps[k]; known {
			return
		}
	}
	r.works[rw.ref] = rw
	ref := store.StepRef{RunRef: rw.ref, Step: k.id, Iteration: k.iteration}
	r.steps[ref] = r.steps[ref] || input
}

func (r *reading) payload(rw *runWork) {
	if rw.snap == nil || !rw.snap.havePayload {
		r.works[rw.ref] = rw
		r.payloads[rw.ref] = true
	}
}

// event has the event read that started the run, once the run is known.
func (r *reading) event(rw *runWork) {
	if rw.snap != nil && rw.snap.run.EventID != nil && !rw.snap.haveEvent && !slices.Contains(r.events, rw) {
		r.events = append(r.events, rw)
	}
}

// expect foresees what an operation will read, which for most is all of it.
func (r *reading) expect(rw *runWork, h happening) {
	var key stepKey
	ends := false
	switch h := h.(type) {
	case stepClaimed:
		r.step(rw, h.key, true)
		if h.key.iteration != models.NoIteration {
			r.step(rw, theStep(h.key.id), false)
		}
		return
	case stepFinished:
		key, ends = h.key, h.failure == nil
	case waitDue:
		key, ends = h.key, true
	case eventArrived:
		key, ends = h.key, true
	case decided:
		key, ends = h.key, true
	case effectBegins:
		key = h.key
	case leaseReturned:
		key = h.key
	case leaseOver:
		key = h.key
	case deliveryLost:
		key = h.key
	default:
		return
	}
	r.step(rw, key, false)
	if key.iteration != models.NoIteration {
		r.step(rw, theStep(key.id), false)
		return // most iterations do not end their step
	}
	if rw.def == nil || !ends {
		return
	}
	n := rw.def.nodes[key.id]
	if n == nil {
		return
	}
	for _, ref := range n.following.Steps {
		if ref.ID != key.id {
			r.step(rw, theStep(ref.ID), false)
		}
	}
	for _, id := range n.joins {
		r.step(rw, theStep(id), false)
	}
	if n.following.Payload {
		r.payload(rw)
	}
	if n.following.TriggerEvent {
		r.event(rw)
	}
	if _, ok := h.(eventArrived); ok && n.match != nil {
		refs := n.match.Refs()
		for _, ref := range refs.Steps {
			r.step(rw, theStep(ref.ID), false)
		}
		if refs.Payload {
			r.payload(rw)
		}
	}
}

// foresee gathers what the operations of a group will read, as far as it shows
// before their runs are read: it then comes with the locks, in one round trip.
func foresee(works []*runWork) *reading {
	r := newReading()
	for _, rw := range works {
		for _, o := range rw.ops {
			if rw.def == nil {
				rw.def = o.def
			}
			r.expect(rw, o.what)
		}
	}
	return r
}

// wants is the reading in the words of the store.
func (r *reading) wants() (w store.Wants) {
	for ref, input := range r.steps {
		w.Steps = append(w.Steps, store.StepWant{StepRef: ref, Input: input})
	}
	for ref := range r.payloads {
		w.Payloads = append(w.Payloads, ref)
	}
	return w
}

// take takes up what was foreseen and has been read with the locks.
func (r *reading) take(tx *store.RunTx) {
	for ref, rw := range r.works {
		if rw.snap == nil || rw.isNew { // held by another, or not there yet
			delete(r.works, ref)
		}
	}
	r.takeSteps(tx.Foreseen)
	for ref := range r.payloads {
		r.takePayload(tx, ref)
	}
}

// need takes up what a plan turned out to need. Who needs more steps a third time
// gets every step of the run: a long cascade must not be read step by step.
func (r *reading) need(rw *runWork) {
	n := rw.need
	rw.need = nil
	r.works[rw.ref] = rw
	if n.payload {
		r.payload(rw)
	}
	if n.event {
		r.event(rw)
	}
	if n.open {
		r.open = append(r.open, rw)
	}
	for id := range n.iterations {
		r.loops = append(r.loops, loopRead{rw, id})
	}
	steps := false
	for k := range n.steps {
		if k.iteration == models.NoIteration {
			steps = true
			r.step(rw, k, false)
			continue
		}
		// Each of the operations that wait may end an iteration and begin the next.
		for i := range len(rw.ops) {
			r.step(rw, stepKey{k.id, k.iteration + i}, false)
		}
	}
	if steps {
		if rw.rounds++; rw.rounds > 2 {
			r.all = append(r.all, rw)
		}
	}
}

func (r *reading) read(ctx context.Context, tx *store.RunTx) error {
	if err := r.readSteps(ctx, tx); err != nil {
		return err
	}
	if len(r.payloads) > 0 {
		refs := make([]store.RunRef, 0, len(r.payloads))
		for ref := range r.payloads {
			refs = append(refs, ref)
		}
		if err := tx.LoadPayloads(ctx, refs); err != nil {
			return err
		}
		for _, ref := range refs {
			r.takePayload(tx, ref)
		}
	}
	for _, rw := range r.all {
		rows, err := tx.AllSteps(ctx, rw.ref)
		if err != nil {
			return err
		}
		rw.add(rows)
		for id := range rw.def.nodes {
			if _, ok := rw.snap.steps[theStep(id)]; !ok {
				rw.snap.steps[theStep(id)] = nil
			}
		}
	}
	if err := r.readEvents(ctx, tx); err != nil {
		return err
	}
	for _, rw := range r.open {
		rows, err := tx.OpenSteps(ctx, rw.ref)
		if err != nil {
			return err
		}
		rw.add(rows)
		rw.snap.openKnown = true
	}
	for _, l := range r.loops {
		l.rw.snap.iterations[l.step] = true
		size, err := tx.IterationBytes(ctx, l.rw.ref, l.step)
		if err != nil {
			return err
		}
		for k, row := range l.rw.steps { // what this group changed is not there yet
			if k.id == l.step && k.iteration != models.NoIteration {
				size += int64(len(row.Output))
			}
		}
		if size > maxIterationBytes {
			l.rw.snap.oversized[l.step] = true
			continue
		}
		rows, err := tx.Iterations(ctx, l.rw.ref, l.step)
		if err != nil {
			return err
		}
		l.rw.add(rows)
	}
	return nil
}

// readEvents reads the events that started runs. One that has been pruned is none.
func (r *reading) readEvents(ctx context.Context, tx *store.RunTx) error {
	if len(r.events) == 0 {
		return nil
	}
	var refs []store.EventRef
	for _, rw := range r.events {
		refs = append(refs, store.EventRef{Workspace: rw.ref.Workspace, Event: *rw.snap.run.EventID})
	}
	found, err := tx.Events(ctx, refs)
	if err != nil {
		return err
	}
	for i, rw := range r.events {
		rw.snap.haveEvent = true
		if ev := found[refs[i]]; ev != nil {
			rw.snap.event = eventVars(ev)
		}
	}
	return nil
}

func (r *reading) readSteps(ctx context.Context, tx *store.RunTx) error {
	if len(r.steps) == 0 {
		return nil
	}
	rows, err := tx.Steps(ctx, r.wants().Steps)
	if err != nil {
		return err
	}
	r.takeSteps(rows)
	return nil
}

func (r *reading) takeSteps(rows []*models.Step) {
	for _, row := range rows {
		if rw := r.works[store.RunRef{Workspace: row.WorkspaceID, Run: row.RunID}]; rw != nil {
			rw.add([]*models.Step{row})
		}
	}
	for ref := range r.steps { // what was looked for and is not there
		rw := r.works[ref.RunRef]
		if rw == nil {
			continue
		}
		k := stepKey{ref.Step, ref.Iteration}
		if _, ok := rw.snap.steps[k]; !ok {
			rw.snap.steps[k] = nil
		}
	}
}

func (r *reading) takePayload(tx *store.RunTx, ref store.RunRef) {
	if rw := r.works[ref]; rw != nil {
		rw.snap.run.Payload, rw.snap.havePayload = tx.Runs[ref].Payload, true
	}
}

// add takes rows into the snapshot. What is there already is newer: plans of the
// same group may have changed it.
func (rw *runWork) add(rows []*models.Step) {
	for _, row := range rows {
		k := keyOf(row)
		if have, ok := rw.snap.steps[k]; !ok || have == nil {
			rw.snap.steps[k] = row
		}
	}
}
