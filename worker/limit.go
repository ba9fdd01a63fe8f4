package worker

import (
	"context"
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

// heldBack is an attempt that may not begin yet.
type heldBack struct {
	after time.Duration
	why   string
	cause limits.Cause
}

func (h *heldBack) Error() string { return h.why }

// shortWait is for how long a step waits in its slot: to hand it back would take longer.
const shortWait = 50 * time.Millisecond

// burdensOf lists what a step burdens, the narrowest first.
func (w *Worker) burdensOf(work *engine.Work, conn *connectors.Connection, host string) []burden {
	ws := string(work.Ref.Workspace)
	var burdens []burden
	switch {
	case conn != nil:
		burdens = append(burdens, burden{"connection:" + ws + ":" + conn.ID, "its connection", limitOf(conn)})
	case host != "":
		burdens = append(burdens, burden{"host:" + ws + ":" + host, host, limits.Limit{}})
	}
	if w.cfg.WorkspaceLimit != (limits.Limit{}) {
		burdens = append(burdens, burden{"workspace:" + ws, "its workspace", w.cfg.WorkspaceLimit})
	}
	return burdens
}

func limitOf(c *connectors.Connection) limits.Limit {
	return limits.Limit{Count: c.Limits.Count, Per: c.Limits.Per, Concurrency: c.Limits.Concurrency}
}

// letIn asks every one of them for leave. The error is a *heldBack where one refuses, and
// otherwise done must be called after the attempt.
func (w *Worker) letIn(ctx context.Context, work *engine.Work, burdens []burden) (done func(), err error) {
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
	// It was given a turn by the one that held it back, after those before it.
	turns := 0
	for i, p := range burdens {
		if strings.HasPrefix(work.HeldBy, p.name) {
			turns = i + 1
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
			return nil, &heldBack{after: v.Wait, why: p.name + " " + because(v.Cause, p.limit), cause: v.Cause}
		}
		in = append(in, p)
	}
	return done, nil
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
	done, err := w.letIn(ctx, work, burdens)
	if err != nil {
		return connectors.Response{}, err
	}
	defer done()
	resp, err := do()
	w.heed(ctx, burdens, err)
	return resp, err
}

// putBack hands a step back that was held back.
func (w *Worker) putBack(ctx context.Context, work *engine.Work, held *heldBack) {
	w.metrics.heldBack.WithLabelValues(string(held.cause)).Inc()
	if err := patiently(ctx, func() error { return w.deps.Engine.PutBack(ctx, work.Lease, held.after, held.why) }); err != nil {
		w.log.WarnContext(ctx, "a step over a limit could not be put back, its lease will end", obs.Err(err))
	}
}
