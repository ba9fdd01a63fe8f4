package main

import (
	"context"

	"github.com/10ex/flows/api"
	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/scheduler"
	"github.com/10ex/flows/tasks"
	"github.com/10ex/flows/worker"
)

func (a *app) openBus(context.Context) error {
	ring, err := a.cfg.ring()
	if err != nil {
		return err
	}
	a.bus, err = bus.New(bus.Deps{
		Store: a.store, Engine: a.busEngine(), Clock: a.clock, Jobs: a.deliverer, Seal: ring, Egress: a.egress, Log: a.log,
	}, bus.Config{Webhooks: bus.WebhookConfig{Retries: a.cfg.WebhookRetries}, LinkFunc: a.approvalLink})
	if err != nil || !a.roles.worker {
		return err
	}
	a.courier, err = worker.NewCourier(a.bus, a.clock, a.log, a.metrics, worker.CourierConfig{}) //nolint:contextcheck // it lives on when the start is over
	return err
}

// approvalLink is where the token of an approval is shown to a person, if that is known.
func (a *app) approvalLink(token string) string {
	origin := a.cfg.PublicURL
	if origin == "" && a.roles.command == "dev" {
		if at := a.listening.Load(); at != nil {
			origin = *at
		}
	}
	if origin == "" {
		return ""
	}
	return origin + api.ApprovalsPath + token
}

// busJobs is what a worker does for the bus.
func (a *app) busJobs() map[string]worker.JobFunc {
	return map[string]worker.JobFunc{
		tasks.TypeDeliver:  a.courier.Job,
		tasks.TypeLookback: a.engine.LookBackJob,
	}
}

// sweepBus and the firing of schedules run in every scheduler.
func (a *app) sweepBus(loops context.Context) {
	sweep := scheduler.NewBusSweep(a.bus, a.log, a.metrics, scheduler.SweepConfig{})
	a.loops.Go(func() { sweep.Run(loops) })
	schedules := scheduler.NewSchedules(a.bus, a.log, a.metrics, scheduler.SweepConfig{})
	a.loops.Go(func() { schedules.Run(loops) })
}
