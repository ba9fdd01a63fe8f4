package engine

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/internal/share"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/tasks"
)

// Enqueuer delivers steps that are ready and waits that end soon. It is called
// after the commit and its failures are logged by it: losing a delivery is safe.
type Enqueuer interface {
	Enqueue(ctx context.Context, deliveries []Delivery)
}

// Jobs delivers what is to be done about rows that are not steps. It is called
// after the commit, and losing a job is safe.
type Jobs interface {
	EnqueueJobs(ctx context.Context, jobs []tasks.Job)
}

// Notifier tells the watchers of runs, in whatever process, that their logs have
// grown. Losing a notice is safe: watchers look by themselves now and then.
type Notifier interface {
	Notify(ctx context.Context, notices []Notice)
}

// Catalogue knows which actions of which connectors exist in a workspace.
type Catalogue interface {
	// Knows tells whether there is a connector, and which of the actions it does not
	// have. An error says that it cannot be told now.
	Knows(ctx context.Context, workspace, connector string, actions []string) (known bool, missing []string, err error)
	// TakesConnections lists the connectors whose connections actions of the connector
	// work with, and tells whether none works where a step names no connection.
	TakesConnections(ctx context.Context, workspace, connector string) (of []string, required bool, err error)
}

// Delivery is one hint that something can be done.
type Delivery struct {
	Task tasks.Step
	Wake bool      // a wait ends, rather than a step begins
	At   time.Time // not before; zero means now
	// Begun says that a worker took the step in the same commit: it need not be
	// offered to anybody, only be seen in the queue.
	Begun bool
}

// Notice says how far a run's log has grown.
type Notice struct {
	Workspace models.WorkspaceID `json:"ws"`
	Run       models.RunID       `json:"run"`
	Seq       int64              `json:"seq"`
	Ended     bool               `json:"ended,omitempty"`
}

// Deps are what an Engine works with. All are required but Jobs and Log.
type Deps struct {
	Store     *store.Store
	Clock     clock.Clock
	Enqueuer  Enqueuer
	Jobs      Jobs // nil: the sweep finds what is to be done
	Notifier  Notifier
	Catalogue Catalogue
	Log       *slog.Logger
}

// Config are the engine's settings.
type Config struct {
	// Lease is how long a worker owns a step without a sign of life. Default 20s.
	Lease time.Duration
	// Redeliver is how long a queued step may stay unclaimed before the sweep
	// delivers it again. It doubles with every time. Default 5s.
	Redeliver time.Duration
	// Horizon is how far ahead tasks are put into the queue. What is due later
	// stays in the database until then. Default 10m.
	Horizon time.Duration
	// MaxCrashes is how often a step may take its worker down. Default 3.
	MaxCrashes int
	// Lanes is how many groups may be in commit at once. Default 1: a second one
	// makes groups smaller, and a small group costs nearly as much as a large one.
	Lanes int
	// Linger is how long a group waits for more operations while there are many.
	// Default 2ms.
	Linger time.Duration
	// GroupSize bounds the operations of one commit. Default 64.
	GroupSize int
}

// Engine is the one way to change runs. It may be used concurrently, and any
// number of engines may work on one database.
type Engine struct {
	deps  Deps
	cfg   Config
	log   *slog.Logger
	cache *definitions
	lanes []*lane
	lines *lines
	// workflows reads rows of workflows, once for all who start one at the same time.
	// What it gives is not to be changed.
	workflows *share.Calls[workflowKey, *models.Workflow]

	stranded strandedWalk
}

// New makes an Engine. Close ends it.
func New(deps Deps, cfg Config) (*Engine, error) {
	if deps.Store == nil || deps.Clock == nil || deps.Enqueuer == nil || deps.Notifier == nil || deps.Catalogue == nil {
		return nil, errors.New("engine: a dependency is missing")
	}
	if deps.Log == nil {
		deps.Log = obs.Discard()
	}
	cfg.Lease = orDefault(cfg.Lease, 20*time.Second)
	cfg.Redeliver = orDefault(cfg.Redeliver, 5*time.Second)
	cfg.Horizon = orDefault(cfg.Horizon, 10*time.Minute)
	cfg.MaxCrashes = orDefault(cfg.MaxCrashes, 3)
	cfg.GroupSize = orDefault(cfg.GroupSize, 64)
	cfg.Lanes = orDefault(cfg.Lanes, 1)
	cfg.Linger = orDefault(cfg.Linger, 2*time.Millisecond)
	e := &Engine{deps: deps, cfg: cfg, log: deps.Log, cache: newDefinitions(deps.Store)}
	e.workflows = share.New(e.readWorkflow)
	e.lines = newLines(e)
	e.startLanes()
	return e, nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Lease is how long a claim lasts without a heartbeat.
func (e *Engine) Lease() time.Duration { return e.cfg.Lease }

// StartRequest asks for a run.
type StartRequest struct {
	Workspace models.WorkspaceID
	Workflow  models.WorkflowID
	// Version is the one to run. Nil: the current one.
	Version *int
	// ID is the run's. Where a run with it exists already, that one is returned
	// and nothing is started: this is what makes a repeated request harmless.
	ID        models.RunID
	Payload   json.RawMessage // nil: {}
	Metadata  map[string]string
	Trigger   models.TriggerType
	TriggerID *models.TriggerID
	EventID   *models.EventID
	// Depth is how many flows started each other before this run.
	Depth int
}

// RerunRequest asks for a run like an earlier one.
type RerunRequest struct {
	ID models.RunID // of the new run; as in StartRequest
	// FromStep keeps everything that does not come after this step as it was.
	// Empty: from the start. The earlier run has to have ended.
	FromStep string
	// Version to run. Nil: the one of the earlier run.
	Version *int
	// Payload to run with. Nil: the earlier run's.
	Payload json.RawMessage
}

// Decision is a person's answer to an approval.
type Decision struct {
	Approved bool
	Comment  string
	Data     json.RawMessage
	By       string // who decided, for the log: a key's prefix
	// Attempt is the question that is answered, as the event that asked it numbers it.
	// Nil: whatever the step asks.
	Attempt *int
}

// Signal is an event that wakes a wait for it.
type Signal struct {
	EventID models.EventID
	Event   json.RawMessage // {id,type,source,data,occurred_at}: the step's output
}
