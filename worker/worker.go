package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/10ex/flows/agents"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/broker"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/limits"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/internal/trace"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/tasks"
)

// Engine is what a worker asks of the engine.
type Engine interface {
	Claim(ctx context.Context, req engine.ClaimRequest) (*engine.Work, error)
	Finish(ctx context.Context, req engine.FinishRequest) (*engine.Work, error)
	BeginEffect(ctx context.Context, lease engine.Lease, repeatable bool) error
	Heartbeat(ctx context.Context, worker string, leases []engine.Lease) (lost []engine.Lease, err error)
	Abandoned(ctx context.Context, lost []engine.Lease) ([]engine.Lease, error)
	Release(ctx context.Context, leases []engine.Lease) error
	PutBack(ctx context.Context, lease engine.Lease, after time.Duration, why string) error
	Wake(ctx context.Context, task tasks.Step) error
	Lease() time.Duration
}

var _ Engine = (*engine.Engine)(nil)

// Deps are what a Worker works with. All are required but
// ConnectionFunc, UsedFunc, Limits, Log, Metrics and Tracer.
type Deps struct {
	Engine     Engine
	Connectors *connectors.Catalogue
	Agents     *agents.Runner
	// AgentFunc looks an agent up in a workspace; models.ErrNotFound if there is
	// none.
	AgentFunc func(ctx context.Context, ws models.WorkspaceID, slug string) (*models.Agent, error)
	// ConnectionFunc opens a connection of a workspace. Its error is a
	// *connectors.Error where it is the connection's fault. Nil: there are none.
	ConnectionFunc func(ctx context.Context, ws models.WorkspaceID, id string) (*connectors.Connection, error)
	// UsedFunc hears how a step fared that used a connection, and must return soon. Nil:
	// nobody does.
	UsedFunc func(ctx context.Context, ws models.WorkspaceID, c *connectors.Connection, err error)
	// Limits hold steps back. Nil: nothing does.
	Limits Limits
	// Jobs does what is no step, by type of task. One of a type that is not here is
	// thrown away.
	Jobs map[string]JobFunc
	// Match does jobs of type match, many at a time. Nil: Jobs does.
	Match   MatchFunc
	Broker  *broker.Broker
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Tracer  *trace.Tracer // nil: attempts leave no spans
}

// Config are a worker's settings.
type Config struct {
	// ID names the worker in the database and in logs. Default: a new one.
	ID string
	// Concurrency is how many steps run at once. Default 100. Agents never have
	// the last quarter of it.
	Concurrency int
	// Queues lists the queues to take from. Default: all.
	Queues []string
	// Loops is how many loops take tasks from the queue of quick steps. asynq
	// takes one after the other in each, so one is the limit on a busy machine.
	// Default 2.
	Loops int
	// TaskCheckInterval is how long an empty queue is left alone. What is offered
	// on a lane or within the process does not wait for it. Default 50ms, and 200ms
	// on an embedded Redis, where everything is offered within the process and each
	// look costs this process's own time.
	TaskCheckInterval time.Duration
	// DrainTimeout is how long Stop lets steps finish before it hands them back.
	// Default 25s.
	DrainTimeout time.Duration
	// MaxOutput bounds the bytes of a step's output. Default 1 MiB.
	MaxOutput int
	// WorkspaceLimit bounds the steps of each workspace over all workers. Default: none.
	WorkspaceLimit limits.Limit
}

// Worker carries out steps. Make it with New, start it once, stop it once.
type Worker struct {
	deps Deps
	cfg  Config
	log  *slog.Logger

	slots   *slots
	held    *held
	servers []*asynq.Server
	metrics metrics
	offered atomic.Int64 // jobs under way that were offered within the process
	shares  *laneShares
	matches *matches // events that are to be matched; nil where Jobs does it

	running  context.Context //nolint:containedctx // it is the worker's own life: ends when it takes no more work
	stop     context.CancelCauseFunc
	stopping atomic.Bool
	jobs     sync.WaitGroup // goroutines that carry out steps
	loops    sync.WaitGroup // heartbeat and lanes
	endLoops context.CancelFunc
	admit    sync.RWMutex // held to start a job, locked to stop: a job starts before Stop or not at all
}

var errStopping = errors.New("the worker is stopping")

// New makes a Worker. It takes no work before Start.
func New(deps Deps, cfg Config) (*Worker, error) {
	if deps.Engine == nil || deps.Connectors == nil || deps.Agents == nil || deps.AgentFunc == nil || deps.Broker == nil {
		return nil, errors.New("worker: a dependency is missing")
	}
	if deps.Log == nil {
		deps.Log = obs.Discard()
	}
	cfg.ID = cmp.Or(cfg.ID, ids.New("worker"))
	cfg.Concurrency = cmp.Or(cfg.Concurrency, 100)
	cfg.Loops = cmp.Or(cfg.Loops, 2)
	if deps.Broker.Embedded() {
		cfg.TaskCheckInterval = cmp.Or(cfg.TaskCheckInterval, 200*time.Millisecond)
	}
	cfg.TaskCheckInterval = cmp.Or(cfg.TaskCheckInterval, 50*time.Millisecond)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, 25*time.Second)
	cfg.MaxOutput = cmp.Or(cfg.MaxOutput, 1<<20)
	if cfg.Concurrency < 1 {
		return nil, fmt.Errorf("worker Concurrency %d: must be at least 1", cfg.Concurrency)
	}
	if len(cfg.Queues) == 0 {
		cfg.Queues = []string{tasks.QueueDefault, tasks.QueueAgents, tasks.QueueSystem}
	}
	for _, q := range cfg.Queues {
		if _, ok := tasks.Queues[q]; !ok {
			return nil, fmt.Errorf("worker Queues %q: there is no such queue", q)
		}
	}
	onlyAgents := !slices.Contains(cfg.Queues, tasks.QueueDefault)
	w := &Worker{
		deps: deps, cfg: cfg, log: deps.Log.With(slog.String("worker_id", cfg.ID)),
		slots: newSlots(cfg.Concurrency, onlyAgents), held: newHeld(), shares: newLaneShares(),
	}
	if deps.Match != nil {
		w.matches = newMatches()
	}
	w.metrics = newMetrics(deps.Metrics, w.slots)
	w.running, w.stop = context.WithCancelCause(context.Background())
	return w, nil
}

// ID is the worker's name.
func (w *Worker) ID() string { return w.cfg.ID }

// Start begins to take work. It returns at once.
func (w *Worker) Start() error {
	ctx, cancel := context.WithCancel(context.Background())
	w.endLoops = cancel
	w.loops.Go(func() { w.heartbeats(ctx) })
	if w.matches != nil {
		for range matchRunners {
			w.loops.Go(func() { w.runMatches(ctx) })
		}
	}
	if !w.deps.Broker.Embedded() { // else there is nobody to read from but ourselves
		w.loops.Go(w.readLanes)
	}
	for _, group := range w.serverGroups() {
		srv := asynq.NewServerFromRedisClient(w.deps.Broker.Client(), group)
		if err := srv.Start(asynq.HandlerFunc(w.ProcessTask)); err != nil {
			w.Stop(context.Background())
			return fmt.Errorf("start taking tasks: %w", err)
		}
		w.servers = append(w.servers, srv)
	}
	w.log.Info("worker started", slog.Int("concurrency", w.cfg.Concurrency), slog.Any("queues", w.cfg.Queues))
	return nil
}

// Stop takes no more work, lets what runs finish for the drain timeout or until
// ctx ends, hands back what is not done by then, and returns.
func (w *Worker) Stop(ctx context.Context) {
	w.admit.Lock()
	again := w.stopping.Swap(true)
	w.admit.Unlock()
	if again {
		return
	}
	w.stop(errStopping)
	if w.matches != nil {
		w.matches.stop()
	}
	var servers sync.WaitGroup
	for _, s := range w.servers {
		servers.Go(s.Stop)
	}
	servers.Wait()
	w.drain(ctx)
	// Only now: until here the leases of what still ran had to be kept alive.
	if w.endLoops != nil {
		w.endLoops()
	}
	w.loops.Wait()
	for _, s := range w.servers {
		servers.Go(s.Shutdown)
	}
	servers.Wait()
	w.log.InfoContext(ctx, "worker stopped")
}

func (w *Worker) drain(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		w.jobs.Wait()
		close(done)
	}()
	ctx, stop := context.WithTimeout(ctx, w.cfg.DrainTimeout)
	defer stop()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	// First the work ends here, then another may begin it: the other way round both
	// would be at it.
	leases := w.held.drain()
	giveUp := time.NewTimer(stopGrace)
	defer giveUp.Stop()
	select {
	case <-done:
	case <-giveUp.C:
		w.log.WarnContext(ctx, "steps do not obey their context")
	}
	if len(leases) == 0 {
		return
	}
	rctx, stopRelease := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer stopRelease()
	if err := w.deps.Engine.Release(rctx, leases); err != nil {
		w.log.WarnContext(ctx, "steps were not handed back, others take them when the leases are over", obs.Err(err), obs.Count(len(leases)))
		return
	}
	w.log.InfoContext(ctx, "steps were handed back", obs.Count(len(leases)))
}

// stopGrace is how long a step told to stop may take to do so.
const stopGrace = 3 * time.Second
