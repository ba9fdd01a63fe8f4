// Package obs names what logs carry, so that one thing has one key everywhere,
// and lets the ids of a request, run and step ride in the context.
//
// It imports models only, for the types of ids.
package obs

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/10ex/flows/models"
)

// Err is the error that was handled.
func Err(err error) slog.Attr { return slog.String("error", err.Error()) }

// Workspace is the tenant.
func Workspace(id models.WorkspaceID) slog.Attr { return slog.String("workspace_id", string(id)) }

// Run is the run.
func Run(id models.RunID) slog.Attr { return slog.String("run_id", string(id)) }

// Step is a step of a run, by its author's name.
func Step(id string) slog.Attr { return slog.String("step_id", id) }

// Iteration is the place in the list of a step over a list.
func Iteration(n int) slog.Attr { return slog.Int("iteration", n) }

// Attempt is the number of the attempt.
func Attempt(n int) slog.Attr { return slog.Int("attempt", n) }

// Wait is how long something will be waited for.
func Wait(d time.Duration) slog.Attr { return slog.Duration("wait", d) }

// Took is how long something took.
func Took(d time.Duration) slog.Attr { return slog.Duration("took", d) }

// Count is how many of what the message names.
func Count(n int) slog.Attr { return slog.Int("count", n) }

type attrsKey struct{}

// With puts attributes into ctx; every line logged with that ctx carries them.
func With(ctx context.Context, attrs ...slog.Attr) context.Context {
	have, _ := ctx.Value(attrsKey{}).([]slog.Attr)
	return context.WithValue(ctx, attrsKey{}, append(slices.Clip(have), attrs...))
}

// NewLogger makes a logger that writes text or JSON lines to w.
func NewLogger(w io.Writer, level slog.Leveler, asJSON bool) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(w, opts)
	if asJSON {
		h = slog.NewJSONHandler(w, opts)
	}
	return slog.New(ctxHandler{h})
}

// Discard is a logger for those who do not care.
func Discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// ctxHandler adds what With put into the context.
type ctxHandler struct{ slog.Handler }

func (h ctxHandler) Handle(ctx context.Context, r slog.Record) error {
	if attrs, ok := ctx.Value(attrsKey{}).([]slog.Attr); ok {
		r.AddAttrs(attrs...)
	}
	return h.Handler.Handle(ctx, r)
}

func (h ctxHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return ctxHandler{h.Handler.WithAttrs(attrs)}
}

func (h ctxHandler) WithGroup(name string) slog.Handler { return ctxHandler{h.Handler.WithGroup(name)} }
