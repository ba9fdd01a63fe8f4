package bus

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/tasks"
)

// Engine is what the bus asks of the engine.
type Engine interface {
	Start(ctx context.Context, req engine.StartRequest) (*models.Run, error)
	MatchWaits(ctx context.Context, ev *models.Event) (woken int, err error)
}

var _ Engine = (*engine.Engine)(nil)

// Jobs delivers jobs. It returns at once, and losing some is safe.
type Jobs interface {
	EnqueueJobs(ctx context.Context, jobs []tasks.Job)
}

// Deps are what a Bus works with. All are required but Seal, Egress and Log.
type Deps struct {
	Store  *store.Store
	Engine Engine
	Clock  clock.Clock
	Jobs   Jobs
	// Seal keeps the secrets of webhooks. Nil: there can be none that need one.
	Seal *seal.Ring
	// Egress sends webhooks. Nil: none are sent by this Bus.
	Egress *egress.Client
	Log    *slog.Logger
}

// Config are the settings of a Bus.
type Config struct {
	// Attend is how long an event may stay unmatched before the sweep asks for it
	// again. It doubles with every time. Default 10s.
	Attend time.Duration
	// Claim is how long a process that matches an event has it for itself. One that dies
	// in between delays it by that, so it is shorter than Attend. Default half of Attend.
	Claim time.Duration
	// Parallel is how many runs of one batch of events are started side by side.
	// Default 32.
	Parallel int
	Webhooks WebhookConfig
	// LinkFunc gives the address at which the token of an approval is shown to a person,
	// or nothing where that is not known. Nil: it never is.
	LinkFunc func(token string) string
}

// Bus brings events to triggers. It may be used concurrently, and any number of
// them may work on one database.
type Bus struct {
	deps      Deps
	cfg       Config
	store     *store.Store
	log       *slog.Logger
	compiled  *conditions
	gathering *gathering
	published atomic.Int64   // counts events, so that those of one moment keep their order
	webhooks  *egress.Client // that follow no redirect
}

// New makes a Bus.
func New(deps Deps, cfg Config) (*Bus, error) {
	if deps.Store == nil || deps.Engine == nil || deps.Clock == nil || deps.Jobs == nil {
		return nil, errors.New("bus: a dependency is missing")
	}
	if deps.Log == nil {
		deps.Log = obs.Discard()
	}
	cfg.Attend = cmp.Or(cfg.Attend, 10*time.Second)
	cfg.Claim = cmp.Or(cfg.Claim, cfg.Attend/2)
	cfg.Parallel = cmp.Or(cfg.Parallel, 32)
	if err := cfg.Webhooks.complete(); err != nil {
		return nil, err
	}
	b := &Bus{deps: deps, cfg: cfg, store: deps.Store, log: deps.Log, compiled: newConditions(), gathering: &gathering{store: deps.Store, jobs: deps.Jobs}}
	if deps.Egress != nil {
		b.webhooks = deps.Egress.WithoutRedirects()
	}
	return b, nil
}

func (b *Bus) now() time.Time { return b.deps.Clock.Now() }
