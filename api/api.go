package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/10ex/flows/agents"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/registered"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/deltas"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/internal/trace"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/templates"
)

// Engine is what the operations ask of the engine.
type Engine interface {
	Check(ctx context.Context, ws models.WorkspaceID, d engine.Draft) (errs, warnings []models.FieldError, err error)
	Start(ctx context.Context, req engine.StartRequest) (*models.Run, error)
	Rerun(ctx context.Context, ref store.RunRef, req engine.RerunRequest) (*models.Run, error)
	Pause(ctx context.Context, ref store.RunRef) (*models.Run, error)
	Resume(ctx context.Context, ref store.RunRef) (*models.Run, error)
	Cancel(ctx context.Context, ref store.RunRef) (*models.Run, error)
	Decide(ctx context.Context, ref store.RunRef, step string, d engine.Decision) (*models.Run, error)
	Why(ctx context.Context, ref store.RunRef) (*engine.Why, error)
	Trace(ctx context.Context, ref store.RunRef) ([]engine.StepTrace, error)
	Iterations(ctx context.Context, ref store.RunRef, step string, statuses []models.StepStatus, p store.Page) ([]engine.IterationTrace, error)
}

var _ Engine = (*engine.Engine)(nil)

// Watcher tells that the log of a run has grown, or that the run has ended, in
// whatever process. Missing some is safe: watched runs are looked at now and then.
type Watcher interface {
	Watch(ref store.RunRef) (grown <-chan struct{}, stop func())
	WatchEnd(ref store.RunRef) (ended <-chan struct{}, stop func())
}

var _ Watcher = (*engine.Hub)(nil)

// Deltas passes on what models say while they say it, in whatever process.
type Deltas interface {
	Watch(ws models.WorkspaceID, run models.RunID) (said <-chan deltas.Delta, stop func())
}

var _ Deltas = (*deltas.Hub)(nil)

// Deps are what an API works with.
type Deps struct {
	Store       *store.Store          // required
	Engine      Engine                // required
	Bus         Bus                   // required
	Hub         Watcher               // required
	Connectors  *connectors.Catalogue // required
	Agents      *agents.Runner        // required
	Connections Connections           // required
	// Registered registers connectors. Nil: that cannot be done here.
	Registered *registered.Service
	// Deltas tells what models say in a run while they say it. Nil: nobody does.
	Deltas Deltas
	// Redis counts rate limits across processes and spreads revocations. Nil: this
	// process counts by itself, and readyz does not ask for Redis.
	Redis *redis.Client
	// Clock tells the time. Default: this process's.
	Clock clock.Clock
	// Log gets what the API has to say. Default: nowhere.
	Log *slog.Logger
	// Metrics is where the API puts its metrics, and what /metrics shows. Default:
	// a registry of its own.
	Metrics *prometheus.Registry
	// Monitoring shows the queues at /monitoring. Nil: there is no such page.
	Monitoring http.Handler
	// Tracer makes a span of every request to an operation. Nil: none are made.
	Tracer *trace.Tracer
	// Version and Commit say which build this is. Default: dev.
	Version, Commit string
}

// Config are the API's settings. The zero Config works.
type Config struct {
	// RateLimit is how many requests a minute a key may make. Default 1000.
	RateLimit int
	// MaxBody is the largest body of a request, in bytes. Default 1 MiB.
	MaxBody int
	// MaxOutput is the largest output of an action or agent that is tried, in bytes, as
	// that of a step is. Default 1 MiB.
	MaxOutput int
	// RequestTimeout is how long an operation may take. Default 30s.
	RequestTimeout time.Duration
	// TrustedProxies are the addresses and networks whose X-Forwarded-For and
	// X-Forwarded-Proto are believed. Default: none.
	TrustedProxies []string
	// PublicURL is where others reach this server, without a slash at its end. Default:
	// the address of the request at hand.
	PublicURL string
	// SessionKey signs the sessions of people who log in; processes that serve the
	// same people share one of at least 32 bytes. Default: a random one, so that
	// sessions end with the process.
	SessionKey []byte
}

// configError names a setting that cannot be used.
type configError struct{ field, value, allowed string }

func (e *configError) Error() string {
	return fmt.Sprintf("api config %s is %q; allowed are %s", e.field, e.value, e.allowed)
}

// API serves the product over HTTP. It may be used concurrently.
type API struct {
	deps        Deps
	cfg         Config
	store       *store.Store
	engine      Engine
	bus         Bus
	connectors  *connectors.Catalogue
	agents      *agents.Runner
	connections Connections
	gallery     *templates.Gallery
	redis       *redis.Client
	clock       clock.Clock
	log         *slog.Logger

	app        *fiber.App
	huma       huma.API
	table      map[string]route // the table of routes, by name
	openapi    []byte
	bodies     *bodySchemas
	keys       *keyCache
	touched    *touches
	limiter    *limiter
	strangers  *localLimiter // requests without a live key, by address
	feeds      *feeds
	places     *places // of streams
	metrics    *metrics
	proxies    []netip.Prefix
	sessionKey []byte

	stopWork  context.CancelFunc
	work      sync.WaitGroup
	mu        sync.Mutex
	stopped   bool // Shutdown has begun
	listeners []*lingeringListener
}

// New makes an API. Shutdown ends it.
func New(deps Deps, cfg Config) (*API, error) {
	if deps.Store == nil || deps.Engine == nil || deps.Bus == nil || deps.Hub == nil || deps.Connectors == nil || deps.Agents == nil || deps.Connections == nil {
		return nil, errors.New("api: a dependency is missing")
	}
	if deps.Clock == nil {
		deps.Clock = clock.System{}
	}
	if deps.Log == nil {
		deps.Log = obs.Discard()
	}
	if deps.Metrics == nil {
		deps.Metrics = prometheus.NewRegistry()
	}
	deps.Version = cmp.Or(deps.Version, "dev")
	deps.Commit = cmp.Or(deps.Commit, "dev")
	a := &API{
		deps: deps, store: deps.Store, engine: deps.Engine, bus: deps.Bus, connectors: deps.Connectors, agents: deps.Agents,
		connections: deps.Connections, redis: deps.Redis, clock: deps.Clock, log: deps.Log,
	}
	if err := a.configure(cfg); err != nil {
		return nil, err
	}
	var err error
	if a.gallery, err = templates.Load(); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	if a.metrics, err = newMetrics(deps.Metrics); err != nil {
		return nil, fmt.Errorf("api metrics: %w", err)
	}
	a.keys, a.touched = newKeyCache(a.store), newTouches()
	a.strangers = newLocalLimiter(a.cfg.RateLimit, time.Now)
	shared := a.redis
	if a.store.Embedded() {
		shared = nil // there is one process, so it need not ask anybody
	}
	a.limiter = newLimiter(a.cfg.RateLimit, redisPatience, shared, newLocalLimiter(a.cfg.RateLimit, time.Now), a.log)
	a.feeds, a.places = newFeeds(a.store, deps.Hub, a.log), newPlaces()
	if err := a.assemble(); err != nil {
		return nil, err
	}
	a.startWork()
	return a, nil
}

func (a *API) configure(cfg Config) (err error) {
	cfg.RateLimit = cmp.Or(cfg.RateLimit, 1000)
	cfg.MaxBody = cmp.Or(cfg.MaxBody, 1<<20)
	cfg.MaxOutput = cmp.Or(cfg.MaxOutput, 1<<20)
	cfg.RequestTimeout = cmp.Or(cfg.RequestTimeout, 30*time.Second)
	switch {
	case cfg.RateLimit < 1 || cfg.RateLimit > 10_000_000:
		return &configError{"RateLimit", fmt.Sprint(cfg.RateLimit), "1 to 10000000"}
	case cfg.MaxBody < 1024 || cfg.MaxBody > 1<<30:
		return &configError{"MaxBody", fmt.Sprint(cfg.MaxBody), "1024 to 1073741824"}
	case cfg.MaxOutput < 0:
		return &configError{"MaxOutput", fmt.Sprint(cfg.MaxOutput), "1 and more"}
	case cfg.RequestTimeout < time.Second:
		return &configError{"RequestTimeout", cfg.RequestTimeout.String(), "1s and more"}
	case len(cfg.SessionKey) > 0 && len(cfg.SessionKey) < 32:
		return errors.New("api config SessionKey is too short; allowed are 32 bytes and more")
	}
	a.cfg, a.sessionKey = cfg, cfg.SessionKey
	if len(a.sessionKey) == 0 {
		a.sessionKey = make([]byte, 32)
		_, _ = rand.Read(a.sessionKey) // never fails: documented in crypto/rand
	}
	a.proxies, err = parseProxies(cfg.TrustedProxies)
	return err
}

func (a *API) now() time.Time { return a.clock.Now() }

// assemble builds the server from the table of routes.
func (a *API) assemble() error {
	a.app = fiber.New(fiber.Config{
		AppName:               "flows",
		DisableStartupMessage: true,
		ErrorHandler:          a.onError,
		BodyLimit:             a.cfg.MaxBody,
		ReadBufferSize:        16 << 10, // the most headers may be
		ReadTimeout:           30 * time.Second,
		WriteTimeout:          30 * time.Second, // streams move it with every event
		IdleTimeout:           2 * time.Minute,
		CaseSensitive:         true,
		// What Fiber gives would else be overwritten by the next request.
		Immutable: true,
	})
	a.app.Server().HeaderReceived = a.sizeOfBody
	a.app.Use(a.enter)
	a.app.Get("/livez", a.livez)
	a.app.Get("/readyz", a.readyz)
	a.app.Get("/version", a.showBuild)
	a.app.Get("/metrics", a.metrics.handler)
	a.traceRequests(a.app)
	ownErrors()
	h := humafiber.New(a.app, humaConfig(a.deps.Version))
	registerShapes(h.OpenAPI().Components.Schemas)
	a.app.Post(base+"/triggers", a.noteOrigin)
	a.app.Post(base+"/connections/:id/authorize", a.noteOrigin)
	a.app.Post(hooksPath+":token", a.receiveHook)
	a.app.Get(ApprovalsPath+":token", a.showApproval)
	a.app.Post(ApprovalsPath+":token", a.decideApproval)
	a.app.Add(fiber.MethodGet, oauthPath, a.returnFromOAuth) // and not HEAD: it counts once
	a.huma, a.table = h, map[string]route{}
	for _, r := range a.routes() {
		a.table[r.name] = r
		a.register(h, r)
		if tags := &h.OpenAPI().Tags; !slices.ContainsFunc(*tags, func(t *huma.Tag) bool { return t.Name == r.tag() }) {
			*tags = append(*tags, &huma.Tag{Name: r.tag()})
		}
	}
	if err := a.publish(h.OpenAPI()); err != nil {
		return err
	}
	a.app.Get("/openapi.json", func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderContentType, "application/json")
		return c.Send(a.openapi)
	})
	a.pages(a.app)
	return nil
}

// publish finishes the OpenAPI document and compiles the schemas in it.
func (a *API) publish(doc *huma.OpenAPI) (err error) {
	graph := doc.Components.Schemas.Schema(graphType, true, "Graph")
	if a.bodies, err = newBodySchemas(doc, map[string]*huma.Schema{graphSchemaName: graph}); err != nil {
		return err
	}
	describeHook(doc) // after that: its body is the sender's affair
	a.openapi, err = json.Marshal(doc)
	return err
}

// touchPause is how often the use of keys is written down.
const touchPause = 5 * time.Second

// startWork starts what runs beside the requests.
func (a *API) startWork() {
	ctx, stop := context.WithCancel(context.Background())
	a.stopWork = stop
	a.work.Go(func() { a.hearRevoked(ctx) })
	a.work.Go(func() {
		tick := time.NewTicker(touchPause)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := a.flushTouches(ctx); err != nil && ctx.Err() == nil {
					a.log.WarnContext(ctx, "use of keys is not written down", obs.Err(err))
				}
			}
		}
	})
}

// App is the server, for tests that need no socket.
func (a *API) App() *fiber.App { return a.app }

// OpenAPI is the document of all operations, as JSON.
func (a *API) OpenAPI() []byte { return a.openapi }

// Listen serves until Shutdown, and not at all after that. It closes l.
func (a *API) Listen(l net.Listener) error {
	lingering := newLingeringListener(l)
	a.mu.Lock()
	if a.stopped {
		a.mu.Unlock()
		return l.Close()
	}
	a.listeners = append(a.listeners, lingering)
	a.mu.Unlock()
	err := a.app.Listener(lingering)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return nil // whatever it says of having been closed
	}
	return err
}

// Shutdown takes no new request, lets those in hand finish until ctx ends, and
// ends streams, which clients take up elsewhere. It may be called twice.
func (a *API) Shutdown(ctx context.Context) error {
	a.mu.Lock()
	a.stopped = true
	listeners := a.listeners
	a.mu.Unlock()
	a.feeds.stop()
	for _, l := range listeners {
		l.end()
	}
	err := a.app.ShutdownWithContext(ctx)
	a.stopWork()
	a.work.Wait()
	a.feeds.close()
	for _, l := range listeners {
		_ = l.Close() // it may have come too late for the server to know of it
		l.drain(ctx)
	}
	flush, stop := context.WithTimeout(context.WithoutCancel(ctx), healthPatience)
	defer stop()
	return errors.Join(err, a.flushTouches(flush), a.limiter.close())
}
