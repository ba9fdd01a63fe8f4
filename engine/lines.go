package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// lines hands slots on after the commits that freed them. Losing that is safe: every
// run whose slot has not been handed on is marked, and the sweep finds it.
type lines struct {
	e      *Engine
	ctx    context.Context //nolint:containedctx // it is the life of what was begun after a commit
	cancel context.CancelFunc
	atOnce chan struct{}
	work   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	keys   map[store.SlotKey]*line
}

// line is a key that is being looked at.
type line struct{ marks []store.RunMark }

// How many lines are looked at together, and how many runs are let in together.
const (
	linesAtOnce = 8
	mostLetIn   = 32
)

func newLines(e *Engine) *lines {
	ctx, cancel := context.WithCancel(context.Background())
	return &lines{e: e, ctx: ctx, cancel: cancel, atOnce: make(chan struct{}, linesAtOnce), keys: map[store.SlotKey]*line{}}
}

func (l *lines) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.work.Wait()
}

// handOn looks at the lines that a commit may have moved.
func (e *Engine) handOn(g *group) {
	for _, rw := range g.runs {
		if len(rw.plans) == 0 || rw.snap.run.SlotKey == nil || rw.snap.run.AttendAt == nil {
			continue
		}
		if r := rw.snap.run; r.Status.Ended() || r.Hold == models.HoldConcurrency {
			e.lines.look(slotKey(r), store.RunMark{RunRef: rw.ref, At: *r.AttendAt})
		}
	}
}

// look has the line of a key looked at, once more if that is under way.
func (l *lines) look(k store.SlotKey, mark store.RunMark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if at := l.keys[k]; at != nil {
		at.marks = append(at.marks, mark)
		return
	}
	l.keys[k] = &line{marks: []store.RunMark{mark}}
	l.work.Go(func() { l.attend(k) })
}

func (l *lines) attend(k store.SlotKey) {
	l.atOnce <- struct{}{}
	defer func() { <-l.atOnce }()
	for {
		l.mu.Lock()
		marks := l.keys[k].marks
		if len(marks) == 0 || l.closed {
			delete(l.keys, k)
			l.mu.Unlock()
			return
		}
		l.keys[k].marks = nil
		l.mu.Unlock()
		err := l.e.moveUp(l.ctx, k)
		if err == nil {
			err = l.e.deps.Store.SettleRuns(l.ctx, marks)
		}
		if err != nil && l.ctx.Err() == nil {
			l.e.log.WarnContext(l.ctx, "the next run in line was not let in, the sweep does it", obs.Workspace(k.Workspace), obs.Err(err))
		}
	}
}

// moveUp ends the runs of a key that later ones take the place of, and lets in as
// many as there is room for, until nothing more can be done.
func (e *Engine) moveUp(ctx context.Context, k store.SlotKey) error {
	if err := e.outrun(ctx, k); err != nil {
		return err
	}
	for {
		first, err := e.deps.Store.InLine(ctx, k, mostLetIn)
		if err != nil || len(first) == 0 {
			return err
		}
		ops, err := e.letIn(ctx, k, first)
		if err != nil {
			return err
		}
		in := 0
		for i, err := range e.doAll(ctx, ops) {
			switch {
			case errors.Is(err, models.ErrNotFound):
			case err != nil:
				return err
			case ops[i].plans[0].refused == "":
				in++
			}
		}
		if in == 0 && e.sameFirst(ctx, k, first[0].ID) {
			return nil
		}
	}
}

// sameFirst tells whether a run is still the first in line.
func (e *Engine) sameFirst(ctx context.Context, k store.SlotKey, id models.RunID) bool {
	first, err := e.deps.Store.InLine(ctx, k, 1)
	return err != nil || len(first) == 0 || first[0].ID == id
}

// letIn gives the operations that let the first in line begin, as far as there seems
// to be room. Whether there is they see for themselves.
func (e *Engine) letIn(ctx context.Context, k store.SlotKey, first []*models.Run) ([]*op, error) {
	holders, err := e.deps.Store.SlotHolders(ctx, k, models.MaxConcurrency)
	if err != nil {
		return nil, err
	}
	var ops []*op
	for i, r := range first {
		def, err := e.cache.get(ctx, r.WorkspaceID, r.WorkflowID, r.WorkflowVersion)
		if err != nil {
			return nil, err
		}
		if i > 0 && len(holders)+i >= def.control.limit {
			break
		}
		what := runLetIn{}
		if r.FromStep != "" && r.RerunOf != nil {
			if what.earlier, err = e.deps.Store.For(r.WorkspaceID).Steps(ctx, *r.RerunOf); err != nil {
				return nil, err
			}
		}
		ops = append(ops, &op{ref: store.RunRef{Workspace: r.WorkspaceID, Run: r.ID}, what: what})
	}
	return ops, nil
}

// mostOutrun is how many runs are ended together because a later one takes their
// place.
const mostOutrun = 200

// outrun ends the runs of a key for which there is no room beside later ones, where
// the latest wants that.
func (e *Engine) outrun(ctx context.Context, k store.SlotKey) error {
	for {
		newest, err := e.deps.Store.NewestOfSlot(ctx, k)
		if err != nil || newest == nil {
			return err
		}
		def, err := e.cache.get(ctx, newest.WorkspaceID, newest.WorkflowID, newest.WorkflowVersion)
		if err != nil {
			return err
		}
		if def.control.policy != models.PolicyCancelRunning {
			return nil
		}
		ids, err := e.deps.Store.Outrun(ctx, k, def.control.limit, mostOutrun)
		if err != nil || len(ids) == 0 {
			return err
		}
		ops := make([]*op, len(ids))
		for i, id := range ids {
			ops[i] = &op{ref: store.RunRef{Workspace: k.Workspace, Run: id}, what: runCancelled{by: newest.ID}}
		}
		for _, err := range e.doAll(ctx, ops) {
			if err != nil && !errors.Is(err, models.ErrConflict) && !errors.Is(err, models.ErrNotFound) {
				return err
			}
		}
	}
}

// sweepRuns looks at up to limit runs that wanted to be looked at by now: gathered
// starts, deadlines, and slots that were not handed on.
func (e *Engine) sweepRuns(ctx context.Context, limit int, res *SweepResult) error {
	due, err := e.deps.Store.DueRuns(ctx, e.deps.Clock.Now(), limit)
	if err != nil {
		return err
	}
	res.More = res.More || len(due) == limit
	marks := map[store.SlotKey][]store.RunMark{}
	var ops []*op
	for _, r := range due {
		ref := store.RunRef{Workspace: r.WorkspaceID, Run: r.ID}
		if r.SlotKey != nil && (r.FinishedAt != nil || r.Hold == models.HoldConcurrency) {
			marks[slotKey(r)] = append(marks[slotKey(r)], store.RunMark{RunRef: ref, At: *r.AttendAt})
			continue
		}
		ops = append(ops, &op{ref: ref, what: runDue{}})
	}
	errs := e.doAll(ctx, ops)
	for i, o := range ops {
		if errs[i] == nil && len(o.plans) > 0 && o.plans[0].refused == "" {
			res.Woken++
		}
	}
	for k, m := range marks {
		err := e.moveUp(ctx, k)
		if err == nil {
			err = e.deps.Store.SettleRuns(ctx, m)
			res.Woken += len(m)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
