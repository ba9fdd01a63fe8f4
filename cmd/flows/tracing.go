package main

import (
	"context"
	"time"

	"github.com/10ex/flows/api"
	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/internal/trace"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// traceGrace is how long spans that wait may take to be handed over once the
// process stops.
const traceGrace = 2 * time.Second

func (a *app) openTracing(context.Context) error {
	if !a.cfg.Tracing.on() {
		return nil
	}
	cfg, err := a.cfg.Tracing.config()
	if err != nil {
		return err
	}
	cfg.Log = a.log
	a.tracer, err = trace.New(cfg) //nolint:contextcheck // it lives on when the start is over
	return err
}

// closeTracing goes last: everything else may still have something to tell. It has a
// bound of its own, so that a collector that is away holds nobody up.
func (a *app) closeTracing(ctx context.Context) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), traceGrace)
	defer stop()
	if err := a.tracer.Shutdown(ctx); err != nil {
		a.log.WarnContext(ctx, "the last spans are lost", obs.Err(err))
	}
}

// apiEngine is the engine as the API sees it: with the runs it starts in the traces,
// if there are any.
func (a *app) apiEngine() api.Engine {
	if a.tracer == nil {
		return a.engine
	}
	return tracedEngine{a.engine, a.tracer}
}

// tracedEngine begins the trace of every run that is started.
type tracedEngine struct {
	api.Engine
	tracer *trace.Tracer
}

// Start starts a run.
func (e tracedEngine) Start(ctx context.Context, req engine.StartRequest) (*models.Run, error) {
	run, err := e.Engine.Start(ctx, req)
	if err == nil {
		e.tracer.Started(ctx, run)
	}
	return run, err
}

// busEngine is the engine as the bus sees it: also runs that events and schedules start
// are in the traces.
func (a *app) busEngine() bus.Engine {
	if a.tracer == nil {
		return a.engine
	}
	return struct {
		tracedEngine
		eventMatcher
	}{tracedEngine{a.engine, a.tracer}, a.engine}
}

// eventMatcher is what the bus asks of the engine besides starting runs.
type eventMatcher interface {
	MatchWaits(ctx context.Context, ev *models.Event) (woken int, err error)
}

// Rerun starts a run again.
func (e tracedEngine) Rerun(ctx context.Context, ref store.RunRef, req engine.RerunRequest) (*models.Run, error) {
	run, err := e.Engine.Rerun(ctx, ref, req)
	if err == nil {
		e.tracer.Started(ctx, run)
	}
	return run, err
}
