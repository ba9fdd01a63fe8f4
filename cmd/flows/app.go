package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynqmon"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/10ex/flows/agents"
	"github.com/10ex/flows/agents/llm"
	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/connections"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/core"
	"github.com/10ex/flows/connectors/email"
	"github.com/10ex/flows/connectors/flows"
	"github.com/10ex/flows/connectors/googlesheets"
	"github.com/10ex/flows/connectors/http"
	"github.com/10ex/flows/connectors/hubspot"
	"github.com/10ex/flows/connectors/mcp"
	"github.com/10ex/flows/connectors/openapi"
	"github.com/10ex/flows/connectors/registered"
	"github.com/10ex/flows/connectors/slack"
	"github.com/10ex/flows/connectors/tenex"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/broker"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/deltas"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/limits"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/internal/trace"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/scheduler"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/tasks"
	"github.com/10ex/flows/worker"
)

// roles say what a process does.
type roles struct {
	command                string
	api, worker, scheduler bool
	// migrate brings the schema up to date at the start, which is for a database
	// that is this process's own.
	migrate bool
	queues  []string // of the worker; empty means all
}

// app is the parts of one process, in the order in which they are made and
// started. They stop in the opposite order: first nothing new comes in, then what
// is under way ends, and what it needs goes last.
type app struct {
	cfg   config
	roles roles
	log   *slog.Logger

	metrics     *prometheus.Registry
	tracer      *trace.Tracer     // 0: hears of all others; nil where nobody asks for traces
	store       *store.Store      // 1: the facts
	broker      *broker.Broker    // 2: Redis
	clock       clock.Clock       // 3: the database's time
	clockSync   *clockSync        // keeps it so; nil where it is this host's
	deliverer   *worker.Deliverer // 4: feeds the queue
	hub         *engine.Hub       // 5: watchers of runs
	deltas      *deltas.Hub       // 5: those who hear what models say
	engine      *engine.Engine    // 6: decides
	bus         *bus.Bus          // 6: brings events to triggers
	courier     *worker.Courier   // 6: sends webhooks; nil without a worker
	egress      *egress.Client    // 7: the way outside
	catalogue   *connectors.Catalogue
	registered  *registered.Service // connectors that workspaces have registered
	agents      *agents.Runner
	connections *connections.Service // 7: accounts at other sides
	limits      *limits.Limiter      // 7: holds steps back; nil without a worker
	worker      *worker.Worker       // 8: does steps; nil without the role
	server      server               // 9: HTTP

	listening atomic.Pointer[string] // the address of HTTP, once it is served

	monitoring *asynqmon.HTTPHandler // the queue's pages; nil without the API

	loops sync.WaitGroup // those of the scheduler, the clock and the notices
}

// server is what listens for HTTP.
type server interface {
	// Listen answers on l until Shutdown, and then returns nil.
	Listen(l net.Listener) error
	// Shutdown takes no more requests and waits for those under way until ctx ends.
	Shutdown(ctx context.Context) error
}

// newApp makes all parts and touches what they stand on. Nothing runs yet. On an
// error everything is closed again.
func newApp(ctx context.Context, cfg config, r roles, log *slog.Logger) (*app, error) {
	a := &app{cfg: cfg, roles: r, log: log, metrics: prometheus.NewRegistry()}
	a.metrics.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	for _, open := range []func(context.Context) error{
		a.openTracing, a.openStore, a.openBroker, a.openClock, a.openEngine, a.openBus, a.openConnections, a.openOutside, a.openWorker, a.openServer,
	} {
		if err := open(ctx); err != nil {
			a.close(ctx)
			return nil, err
		}
	}
	return a, nil
}

func (a *app) openStore(ctx context.Context) (err error) {
	if a.store, err = openDatabase(ctx, store.Config{URL: a.cfg.DatabaseURL, MaxConns: a.cfg.DatabaseConns}); err != nil {
		return err
	}
	registerStoreMetrics(a.metrics, a.store)
	ctx, stop := context.WithTimeout(ctx, startTimeout)
	defer stop()
	if a.roles.migrate && a.store.Embedded() {
		if _, err = a.store.Migrate(ctx); err != nil {
			return err
		}
		return a.store.TakeOver(ctx, clock.System{}.Now())
	}
	err = a.store.CheckSchema(ctx)
	if errors.Is(err, store.ErrOldSchema) {
		return errMigrate
	}
	return err
}

func (a *app) openBroker(ctx context.Context) (err error) {
	tellOfRedis(a.log)
	a.broker, err = broker.Open(broker.Config{URL: a.cfg.RedisURL, Log: a.log}) //nolint:contextcheck // it lives on when the start is over
	if err != nil {
		return fmt.Errorf("FLOWS_REDIS_URL is not valid (its value is a secret and is not shown): %w", err)
	}
	ctx, stop := context.WithTimeout(ctx, startTimeout)
	defer stop()
	err = a.broker.Ping(ctx)
	switch {
	case broker.Refused(err):
		return fmt.Errorf("FLOWS_REDIS_URL (its value is a secret and is not shown) names a server that refuses: %w", err)
	case err != nil:
		// Everything works without it, only slowly, so this is no reason not to start.
		a.log.WarnContext(ctx, "redis cannot be reached: until it can, the sweep brings everything", obs.Err(err))
		return nil
	}
	if err := a.broker.CheckPolicy(ctx); err != nil {
		a.log.WarnContext(ctx, "it is not known whether Redis drops data when its memory is full", obs.Err(err))
	}
	return nil
}

func (a *app) openClock(ctx context.Context) error {
	if a.store.Embedded() {
		a.clock = clock.System{}
		return nil
	}
	shared := clock.NewShared(a.store.Now)
	a.clock, a.clockSync = shared, newClockSync(shared, a.log, a.metrics)
	return a.clockSync.once(ctx)
}

func (a *app) openEngine(context.Context) (err error) {
	client := tasks.NewClient(a.broker.Client(), a.log, tasks.ClientConfig{})
	registerTaskMetrics(a.metrics, client)
	a.deliverer = worker.NewDeliverer(client, a.broker, a.clock, a.log) //nolint:contextcheck // it lives on when the start is over
	a.hub, a.deltas = engine.NewHub(), deltas.NewHub()
	if a.catalogue, err = a.connectors(); err != nil {
		return err
	}
	a.engine, err = engine.New(engine.Deps{ //nolint:contextcheck // it lives on when the start is over
		Store: a.store, Clock: a.clock, Enqueuer: a.deliverer, Jobs: a.deliverer, Notifier: notifier{a.hub, a.broker},
		Catalogue: a.catalogue, Log: a.log,
	}, engine.Config{})
	return err
}

// connectors is the list of all connectors that are built in, and of the kinds of
// those that workspaces register.
func (a *app) connectors() (c *connectors.Catalogue, err error) {
	private := a.cfg.AllowPrivate != nil && *a.cfg.AllowPrivate
	outbound := egress.Config{AllowPrivate: private, UserAgent: "flows/" + version}
	if a.tracer != nil {
		outbound.Observe = a.tracer.Call
	}
	if a.egress, err = egress.New(outbound); err != nil {
		return nil, err
	}
	prices, err := llm.LoadPrices()
	if err != nil {
		return nil, err
	}
	servers := mcp.NewKind(a.egress)
	if a.cfg.AllowStdioMCP {
		servers = servers.WithPrograms([]string{"PATH=" + a.cfg.Path})
	}
	documents := openapi.NewKind(a.egress)
	builtIn, err := connectors.NewRegistry(
		core.Connector{},
		http.New(a.egress),
		flows.New(host{a}),
		email.New(a.egress, email.Config{}),
		slack.New(a.egress),
		googlesheets.New(a.egress),
		hubspot.New(a.egress),
		tenex.New(a.egress),
		openapi.NewDirect(documents),
		mcp.NewDirect(servers),
		llm.NewOpenAIConnector(a.egress, prices),
		llm.NewAnthropicConnector(a.egress, prices),
	)
	if err != nil {
		return nil, err
	}
	a.registered, err = registered.New(registered.Deps{
		Store: a.store, BuiltIn: builtIn, Clock: a.clock,
		Kinds: map[models.ConnectorKind]connectors.Kind{
			models.ConnectorOpenAPI: documents, models.ConnectorMCP: servers,
		},
		Open: func(ctx context.Context, ws models.WorkspaceID, id string) (*connectors.Connection, error) {
			return a.connections.Open(ctx, ws, id) // which is made later, for it asks which connectors there are
		},
	})
	return connectors.NewCatalogue(builtIn, a.registered).WithSpending(agents.NewPurse(a.ledger, a.clock)), err
}

func (a *app) ledger(ws models.WorkspaceID) agents.Ledger { return a.store.For(ws) }

func (a *app) openOutside(context.Context) (err error) {
	a.agents, err = agents.New(agents.Deps{
		Egress: a.egress, Clock: a.clock, Tools: a.catalogue, OpenFunc: a.connections.Open,
		PeekFunc: func(ctx context.Context, ws models.WorkspaceID, id string) (string, error) {
			c, err := a.connections.Get(ctx, ws, models.ConnectionID(id))
			if err != nil {
				return "", err
			}
			return c.Connector, nil
		},
		LedgerFunc: a.ledger,
		DeltaFunc:  deltaNotifier{a.deltas, a.broker}.tell,
	})
	return err
}

func (a *app) openWorker(context.Context) (err error) {
	if !a.roles.worker {
		return nil
	}
	shared := a.broker.Client()
	if a.broker.Embedded() {
		shared = nil // there is nobody to share with
	}
	a.limits = limits.New(limits.Config{Redis: shared, Lease: a.engine.Lease(), Log: a.log}) //nolint:contextcheck // it lives on when the start is over
	a.worker, err = worker.New(worker.Deps{
		Engine: a.engine, Connectors: a.catalogue, Agents: a.agents,
		AgentFunc: func(ctx context.Context, ws models.WorkspaceID, slug string) (*models.Agent, error) {
			return a.store.For(ws).Agent(ctx, slug)
		},
		ConnectionFunc: a.connections.Open, UsedFunc: a.connections.Used, Limits: a.limits, Jobs: a.busJobs(), Match: a.bus.Match, Broker: a.broker, Log: a.log, Metrics: a.metrics, Tracer: a.tracer,
	}, worker.Config{
		Concurrency: a.cfg.Concurrency, Queues: a.roles.queues, DrainTimeout: a.cfg.Drain, MaxOutput: a.cfg.MaxOutput,
		WorkspaceLimit: a.cfg.WorkspaceLimit,
	})
	return err
}

// openServer makes what listens for HTTP: the API, or a few words to operators.
func (a *app) openServer(context.Context) (err error) {
	if a.roles.api {
		return a.openAPI() //nolint:contextcheck // it lives on when the start is over
	}
	if a.cfg.HTTPAddr != "" {
		a.server = newOpsServer(a.metrics, map[string]func(context.Context) error{
			"database": a.store.Ping, "migrations": a.store.CheckSchema, "redis": a.broker.Ping,
		})
	}
	return nil
}

// run starts everything, tells ready where HTTP is served, and returns when ctx
// has ended and everything has stopped, or when a part has failed. The app is
// closed then.
func (a *app) run(ctx context.Context, ready func(url string) error) error {
	loops, endLoops := context.WithCancel(context.WithoutCancel(ctx))
	failed := make(chan error, 1)
	l, err := a.listen(loops)
	if err == nil {
		err = a.start(loops, l, failed, ready)
	}
	if err == nil {
		select {
		case <-ctx.Done():
			a.log.InfoContext(ctx, "stopping")
		case err = <-failed:
		}
	}
	a.stop(context.WithoutCancel(ctx), endLoops)
	return err
}

// listen takes the address of HTTP before anything runs: links name it, and the first
// step that a worker takes may ask a person. Who calls meanwhile waits. It is nil where
// nothing is served.
func (a *app) listen(ctx context.Context) (net.Listener, error) {
	if a.server == nil {
		return nil, nil //nolint:nilnil // a role alone serves nothing
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", a.cfg.HTTPAddr)
	if err != nil {
		return nil, fmt.Errorf("HTTP cannot be served on %q: %w", a.cfg.HTTPAddr, listenCause(err))
	}
	url := urlOf(l.Addr())
	a.listening.Store(&url)
	return l, nil
}

func (a *app) start(loops context.Context, l net.Listener, failed chan<- error, ready func(url string) error) error {
	if a.clockSync != nil {
		a.loops.Go(func() { a.clockSync.run(loops) })
	}
	if a.roles.api && !a.broker.Embedded() {
		a.loops.Go(func() { notifier{a.hub, a.broker}.listen(loops) })
		a.loops.Go(func() { deltaNotifier{a.deltas, a.broker}.listen(loops) })
	}
	if a.worker != nil {
		if err := a.worker.Start(); err != nil { //nolint:contextcheck // it lives until it is stopped
			if l != nil {
				_ = l.Close() // nobody serves on it
			}
			return err
		}
		a.deliverer.Attach(a.worker)
	}
	if a.roles.scheduler {
		// It runs beside every scheduler there is, and in dev and serve: those must
		// mend by themselves what they lost. A worker or an API alone has at least one
		// scheduler beside it.
		sweep := scheduler.NewSweep(a.engine, a.log, a.metrics, scheduler.SweepConfig{})
		prune := scheduler.NewPrune(a.store, a.clock, a.log, scheduler.PruneConfig{Runs: a.cfg.Retention})
		a.loops.Go(func() { sweep.Run(loops) })
		a.sweepBus(loops)
		a.loops.Go(func() { prune.Run(loops) })
	}
	if l == nil {
		return ready("")
	}
	go func() {
		if err := a.server.Listen(l); err != nil {
			failed <- fmt.Errorf("HTTP is served no longer: %w", err)
		}
	}()
	return ready(urlOf(l.Addr()))
}

// listenCause leaves out the address, which the caller names.
func listenCause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// urlOf gives an address at which this host can ask a listener.
func urlOf(at net.Addr) string {
	host, port, err := net.SplitHostPort(at.String())
	if err != nil {
		return "http://" + at.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(strings.TrimSpace(host), port)
}

const (
	// serverGrace is how long requests under way may take once the process stops.
	serverGrace = 5 * time.Second
	// closeGrace is how long the rest may take.
	closeGrace = 5 * time.Second
)

// stop ends everything in the opposite order of its start.
func (a *app) stop(ctx context.Context, endLoops context.CancelFunc) {
	if a.server != nil {
		sctx, stop := context.WithTimeout(ctx, serverGrace)
		if err := a.server.Shutdown(sctx); err != nil {
			a.log.WarnContext(ctx, "requests were cut off", obs.Err(err))
		}
		stop()
	}
	if a.worker != nil {
		a.deliverer.Attach(nil)
		var both sync.WaitGroup // each is bounded by a drain timeout of its own
		both.Go(func() { a.worker.Stop(ctx) })
		both.Go(func() { a.courier.Stop(ctx) })
		both.Wait()
	}
	endLoops()
	a.loops.Wait()
	a.close(ctx)
}

// close closes what is open.
func (a *app) close(ctx context.Context) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
	defer stop()
	var errs []error
	if a.engine != nil {
		errs = append(errs, a.engine.Close(ctx))
	}
	if a.limits != nil {
		a.limits.Close()
	}
	if a.deliverer != nil {
		a.deliverer.Close()
	}
	if a.monitoring != nil {
		errs = append(errs, a.monitoring.Close())
	}
	if a.egress != nil {
		a.egress.CloseIdleConnections()
	}
	if a.broker != nil {
		errs = append(errs, a.broker.Close())
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	if err := errors.Join(errs...); err != nil {
		a.log.WarnContext(ctx, "not everything closed well", obs.Err(err))
	}
	a.closeTracing(ctx)
}
