package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/limits"
	"github.com/10ex/flows/internal/obs"
)

// Limits hold back steps that would be too much for the other side, over all workers.
// *limits.Limiter is one.
type Limits interface {
	Enter(ctx context.Context, key, holder string, limit limits.Limit, hasTurn bool) limits.Verdict
	Leave(ctx context.Context, key, holder string, limit limits.Limit, took time.Duration)
	Block(ctx context.Context, key string, d time.Duration)
}

var _ Limits = (*limits.Limiter)(nil)

// burden is something that bears only so much.
type burden struct {
	key   string
	name  string // in words
	limit limits.Limit
}

// heldBackError is an attempt that may not begin yet.
type heldBackError struct {
	after time.Duration
	why   string
	cause limits.Cause
}

func (h *heldBackError) Error() string { return h.why }

// shortWait is for how long a step waits in its slot: to hand it back would take longer.
const shortWait = 50 * time.Millisecond

// burdensOf lists what a step burdens, the narrowest first.
func (w *Worker) burdensOf(work *engine.Work, conn *connectors.Connection, host string) []burden {
	ws := string(work.Ref.Workspace)
	var burdens []burden
	switch {
	case conn != nil:
		burdens = append(burdens, ofConnection(ws, conn, "its connection"))
	case host != "":
		burdens = append(burdens, ofHost(ws, host))
	}
	if w.cfg.WorkspaceLimit != (limits.Limit{}) {
		burdens = append(burdens, burden{"workspace:" + ws, "its workspace", w.cfg.WorkspaceLimit})
	}
	return burdens
}

func ofConnection(ws string, conn *connectors.Connection, name string) burden {
	return burden{"connection:" + ws + ":" + conn.ID, name, limitOf(conn)}
}

func ofHost(ws, host string) burden {
	return burden{"host:" + ws + ":" + host, host, limits.Limit{}}
}

func limitOf(c *connectors.Connection) limits.Limit {
	return limits.Limit{Count: c.Limits.Count, Per: c.Limits.Per, Concurrency: c.Limits.Concurrency}
}

// letIn asks every one of them for leave; the first so many have given a turn already.
// The error is a *heldBackError where one refuses, and otherwise done must be called after
// the use.
func (w *Worker) letIn(ctx context.Context, work *engine.Work, burdens []burden, turns int) (done func(), err error) {
	if w.deps.Limits == nil || len(burdens) == 0 {
		return func() {}, nil
	}
	holder := work.IdempotencyKey
	var in []burden
	began := time.Now()
	done = func() {
		for _, p := range in {
			w.deps.Limits.Leave(ctx, p.key, holder, p.limit, time.Since(began))
		}
	}
	for i, p := range burdens {
		v := w.deps.Limits.Enter(ctx, p.key, holder, p.limit, i < turns)
		for v.Cause != "" && v.Wait <= shortWait {
			if rest(ctx, v.Wait) != nil {
				break
			}
			v = w.deps.Limits.Enter(ctx, p.key, holder, p.limit, true)
		}
		if v.Cause != "" {
			done()
			return nil, &heldBackError{after: v.Wait, why: p.name + " " + because(v.Cause, p.limit), cause: v.Cause}
		}
		in = append(in, p)
	}
	return done, nil
}

// turnsOf tells how many of the burdens of a step have given it a turn: the one that held
// it back, after those before it.
func turnsOf(work *engine.Work, burdens []burden) int {
	turns := 0
	for i, p := range burdens {
		if gaveTurn(work.HeldBy, p.name) {
			turns = i + 1
		}
	}
	return turns
}

// then stands before why a step was held back earlier, where that turn is kept and
// another has refused meanwhile.
const then = " (then "

// gaveTurn tells whether a turn is kept by what is so called, going by why the step was
// put back.
func gaveTurn(heldBy, name string) bool {
	return strings.HasPrefix(heldBy, name+" ") || strings.Contains(heldBy, then+name+" ")
}

// keeping adds to why a step is put back the turn that it was given before.
func keeping(why, name, heldBy string) string {
	if strings.HasPrefix(heldBy, name+" ") {
		_, heldBy, _ = strings.Cut(heldBy, then)
		heldBy = strings.TrimSuffix(heldBy, ")")
	}
	if heldBy == "" {
		return why
	}
	return why + then + heldBy + ")"
}

func because(c limits.Cause, l limits.Limit) string {
	switch c {
	case limits.CauseRate:
		return fmt.Sprintf("allows %d in %s", l.Count, l.Per)
	case limits.CauseConcurrency:
		return fmt.Sprintf("allows %d at once", l.Concurrency)
	case limits.CauseBlock:
	}
	return "asked to be left alone for a while"
}

// heed has everybody leave alone what has asked for it.
func (w *Worker) heed(ctx context.Context, burdens []burden, err error) {
	if err == nil || w.deps.Limits == nil || len(burdens) == 0 {
		return
	}
	e := connectors.AsError(err)
	if e.RetryAfter > 0 && (e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable) {
		w.deps.Limits.Block(ctx, burdens[0].key, e.RetryAfter)
	}
}

// within does an attempt within the limits of its burdens.
func (w *Worker) within(ctx context.Context, work *engine.Work, burdens []burden, do func() (connectors.Response, error)) (connectors.Response, error) {
	done, err := w.letIn(ctx, work, burdens, turnsOf(work, burdens))
	if err != nil {
		return connectors.Response{}, err
	}
	defer done()
	resp, err := do()
	w.heed(ctx, burdens, err)
	return resp, err
}

// gate holds back what an attempt of an agent does through connections. One attempt does
// one thing after the other.
type gate struct {
	w    *Worker
	work *engine.Work
	used bool // the turn that was given when the step was put back
}

var _ connectors.Gate = (*gate)(nil)

func (g *gate) burdens(b connectors.Burden) []burden {
	ws := string(g.work.Ref.Workspace)
	switch {
	case b.Connection != nil:
		return []burden{ofConnection(ws, b.Connection, "connection "+b.Connection.ID)}
	case b.Host != "":
		return []burden{ofHost(ws, b.Host)}
	}
	return nil
}

// Enter asks for leave to use something.
func (g *gate) Enter(ctx context.Context, b connectors.Burden) (leave func(error), err error) {
	burdens := g.burdens(b)
	turns := 0
	if len(burdens) > 0 && !g.used && gaveTurn(g.work.HeldBy, burdens[0].name) {
		turns, g.used = 1, true
	}
	if b.Again {
		turns = len(burdens)
	}
	done, err := g.w.letIn(ctx, g.work, burdens, turns)
	if err != nil {
		return nil, err
	}
	return func(err error) {
		done()
		g.w.heed(ctx, burdens, err)
		g.w.used(ctx, g.work, b.Connection, err)
	}, nil
}

// Heed hears of a failure amid a use.
func (g *gate) Heed(ctx context.Context, b connectors.Burden, err error) {
	g.w.heed(ctx, g.burdens(b), err)
}

// withinAgent runs an agent within the limits of its workspace. What it uses meanwhile
// has limits of its own: where one of those held it back, its workspace had let it in.
func (w *Worker) withinAgent(ctx context.Context, work *engine.Work, run func(connectors.Gate) (connectors.Response, error)) (connectors.Response, error) {
	burdens, turns := w.burdensOf(work, nil, ""), 0
	if work.HeldBy != "" {
		turns = len(burdens)
	}
	done, err := w.letIn(ctx, work, burdens, turns)
	if held, ok := errors.AsType[*heldBackError](err); ok {
		held.why = keeping(held.why, burdens[0].name, work.HeldBy)
	}
	if err != nil {
		return connectors.Response{}, err
	}
	defer done()
	return run(&gate{w: w, work: work})
}

// putBack hands a step back that was held back.
func (w *Worker) putBack(ctx context.Context, work *engine.Work, held *heldBackError) {
	w.metrics.heldBack.WithLabelValues(string(held.cause)).Inc()
	if err := patiently(ctx, func() error { return w.deps.Engine.PutBack(ctx, work.Lease, held.after, held.why) }); err != nil {
		w.log.WarnContext(ctx, "a step over a limit could not be put back, its lease will end", obs.Err(err))
	}
}
