package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// startControlled starts a run as the settings of its version say.
func (e *Engine) startControlled(ctx context.Context, def *definition, s runStarts) (*models.Run, error) {
	c := def.control
	if c == nil {
		return e.start(ctx, def, s)
	}
	if c.limit > 0 {
		key, err := keyFor(c.slot, s.run.Payload, "concurrency")
		if err != nil {
			return nil, err
		}
		s.run.SlotKey = &key
	}
	// Who repeats a run means that one run, so it is not made part of another.
	if c.period == 0 || s.run.RerunOf != nil {
		return e.start(ctx, def, s)
	}
	key, err := keyFor(c.gather, s.run.Payload, "debounce")
	if err != nil {
		return nil, err
	}
	s.run.DebounceKey = &key
	return e.gather(ctx, def, s)
}

// maxFolds bounds how often a start looks for the run to become part of. Each look
// that fails means that such a run has begun in between, or came to be.
const maxFolds = 20

// gather makes a start the first of a run that gathers starts, or part of one that
// is there.
func (e *Engine) gather(ctx context.Context, def *definition, s runStarts) (*models.Run, error) {
	run := s.run
	switch have, err := e.deps.Store.For(run.WorkspaceID).Run(ctx, run.ID); {
	case err == nil:
		return have, nil // the request was repeated
	case !errors.Is(err, models.ErrNotFound):
		return nil, err
	}
	for range maxFolds {
		pending, err := e.deps.Store.Pending(ctx, gatherKey(run))
		if err != nil {
			return nil, err
		}
		if pending == "" {
			first := *run
			started, err := e.start(ctx, def, runStarts{run: &first})
			found, ok := errors.AsType[*gathering](err)
			if !ok {
				return started, err
			}
			pending = found.run
		}
		o := &op{ref: store.RunRef{Workspace: run.WorkspaceID, Run: pending}, what: runFolded{start: run, def: def}}
		switch err := e.do(ctx, o); {
		case errors.Is(err, models.ErrNotFound):
			continue
		case err != nil:
			return nil, err
		case o.plans[0].refused != "":
			continue
		case pending == run.ID:
			return e.whole(ctx, o)
		}
		return nil, &models.ConflictError{
			Code: models.CodeConcurrencyLimit, Run: pending,
			Message: fmt.Sprintf("the start was made part of run %s, which gathers the starts of its key and begins with what came last", pending),
		}
	}
	return nil, fmt.Errorf("starts of key %s come and go: %w", *run.DebounceKey, models.ErrUnavailable)
}

func slotKey(r *models.Run) store.SlotKey {
	return store.SlotKey{Workspace: r.WorkspaceID, Workflow: r.WorkflowID, Kind: models.HoldConcurrency, Key: *r.SlotKey}
}

func gatherKey(r *models.Run) store.SlotKey {
	return store.SlotKey{Workspace: r.WorkspaceID, Workflow: r.WorkflowID, Kind: models.HoldDebounce, Key: *r.DebounceKey}
}

// lineRead is how many of a line's first are read where runs are to be let in.
const lineRead = 2 * mostLetIn

// slots locks the keys of runs that start or begin in the group, and reads what
// stands behind them. Where no run has one, nothing is asked.
//
// The order of locks is everywhere the same: rows of runs by id, then keys by number.
// A run that ends takes no lock on its key. It goes on counting until it has
// committed, and its place is given away by an operation of its own after that.
func (g *group) slots(ctx context.Context, tx *store.RunTx) error {
	line := map[store.SlotKey]int{}
	for _, rw := range g.runs {
		if rw.snap == nil {
			continue
		}
		for _, o := range rw.ops {
			switch r := rw.snap.run; o.what.(type) {
			case runStarts:
				switch {
				case !rw.isNew:
				case r.DebounceKey != nil:
					line[gatherKey(r)] = 0
				case r.SlotKey != nil:
					line[slotKey(r)] = max(line[slotKey(r)], 1)
				}
			case runLetIn:
				if r.SlotKey != nil {
					line[slotKey(r)] = lineRead
				}
			case runDue:
				if r.Hold == models.HoldDebounce && r.SlotKey != nil {
					line[slotKey(r)] = max(line[slotKey(r)], 1)
				}
			}
		}
	}
	if len(line) == 0 {
		return nil
	}
	wants := make([]store.SlotWant, 0, len(line))
	for k, n := range line {
		wants = append(wants, store.SlotWant{SlotKey: k, Line: n})
	}
	found, err := tx.Slots(ctx, wants, g.skipHeld)
	if err != nil {
		return err
	}
	g.now = g.e.deps.Clock.Now() // as after the locks on runs
	for _, rw := range g.runs {
		if rw.snap == nil {
			continue
		}
		r := rw.snap.run
		free := true
		if r.SlotKey != nil {
			rw.snap.slot = found[slotKey(r)]
			if _, wanted := line[slotKey(r)]; wanted && rw.snap.slot == nil {
				free = false
			}
		}
		if r.DebounceKey != nil {
			rw.snap.gather = found[gatherKey(r)]
			if _, wanted := line[gatherKey(r)]; wanted && rw.snap.gather == nil {
				free = false
			}
		}
		if !free {
			for _, o := range rw.ops {
				o.err = errHeld
			}
			rw.ops = nil
		}
	}
	return nil
}
