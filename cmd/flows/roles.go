package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/10ex/flows/tasks"
)

type serveCommand struct {
	Addr string `help:"Where HTTP is served. Default: FLOWS_HTTP_ADDR, or :8080." placeholder:"HOST:PORT"`
	workerFlags
}

// Run runs all roles in one process.
func (c serveCommand) Run(ctx context.Context, p *program) error {
	return p.role(ctx, roles{command: "serve", api: true, worker: true, scheduler: true}, c.Addr, c.workerFlags)
}

type apiCommand struct {
	Addr string `help:"Where HTTP is served. Default: FLOWS_HTTP_ADDR, or :8080." placeholder:"HOST:PORT"`
}

// Run runs the API.
func (c apiCommand) Run(ctx context.Context, p *program) error {
	return p.role(ctx, roles{command: "api", api: true}, c.Addr, workerFlags{})
}

type workerCommand struct{ workerFlags }

// Run runs a worker.
func (c workerCommand) Run(ctx context.Context, p *program) error {
	return p.role(ctx, roles{command: "worker", worker: true}, "", c.workerFlags)
}

type schedulerCommand struct{}

// Run runs a scheduler.
func (schedulerCommand) Run(ctx context.Context, p *program) error {
	return p.role(ctx, roles{command: "scheduler", scheduler: true}, "", workerFlags{})
}

// workerFlags are those of every command that has a worker in it.
type workerFlags struct {
	Concurrency *int     `help:"Steps to do at once. Default: FLOWS_WORKER_CONCURRENCY, or 100."                   placeholder:"N"`
	Queues      []string `help:"Queues to take from, separated by commas: default, agents, system. Default: all." placeholder:"QUEUE"`
}

func (f workerFlags) apply(c *config, r *roles) error {
	if f.Concurrency != nil {
		if *f.Concurrency < 1 || *f.Concurrency > 1000 {
			return fmt.Errorf("--concurrency is %d: it must be a number from 1 to 1000", *f.Concurrency)
		}
		c.Concurrency = *f.Concurrency
	}
	for _, q := range f.Queues {
		if _, ok := tasks.Queues[q]; !ok {
			return fmt.Errorf("--queues is %q: allowed are default, agents and system", q)
		}
		if !slices.Contains(r.queues, q) {
			r.queues = append(r.queues, q)
		}
	}
	return nil
}

// role runs a process that shares its stores with others.
func (p *program) role(ctx context.Context, r roles, addr string, flags workerFlags) error {
	cfg, err := p.config()
	if err != nil {
		return err
	}
	if err := cfg.shared(r.command); err != nil {
		return err
	}
	if err := flags.apply(&cfg, &r); err != nil {
		return err
	}
	initial := "" // a worker or scheduler listens only where it is told to
	if r.api {
		initial = ":8080"
	}
	if cfg.HTTPAddr, err = addrOf(addr, cfg.HTTPAddr, initial); err != nil {
		return err
	}
	log := p.logger(cfg)
	a, err := newApp(ctx, cfg, r, log)
	if err != nil {
		return err
	}
	return a.run(ctx, func(url string) error {
		log.InfoContext(ctx, "ready", slog.String("command", r.command), slog.String("url", url), slog.String("version", version))
		return nil
	})
}
