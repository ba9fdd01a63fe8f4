package worker_test

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/agents"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/broker"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/tasks"
	"github.com/10ex/flows/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is how long a test waits for what must happen.
const limit = 30 * time.Second

// fakeEngine holds steps that can be claimed and remembers what it was told.
type fakeEngine struct {
	lease time.Duration

	mu        sync.Mutex
	work      map[string]*engine.Work // by name of the step, until it is claimed
	next      map[string]string       // which step follows which, in the same commit
	tokens    int
	claimErr  error
	answers   []error         // given to the next calls of Claim
	asked     map[string]bool // tokens of claims
	lost      map[string]bool // by token
	cancelled map[string]bool // those of them that were
	released  []engine.Lease
	away      bool // for heartbeats

	offered    func()          // called when a step is claimed with the result of the one before
	refusal    chan struct{}   // if set, a claim that is refused takes until it is closed
	finishErrs []error         // given to the next calls of Finish
	beginErrs  []error         // given to the next calls of BeginEffect
	effects    map[string]bool // by step: whether the effect that began may be repeated

	claims   chan string
	finished chan engine.FinishRequest
	woken    chan string
	putBack  chan heldStep
	beats    chan []engine.Lease
}

func newFakeEngine() *fakeEngine {
	return &fakeEngine{
		lease: 20 * time.Second, work: map[string]*engine.Work{}, next: map[string]string{}, lost: map[string]bool{}, cancelled: map[string]bool{}, effects: map[string]bool{},
		asked: map[string]bool{}, claims: make(chan string, 1000), finished: make(chan engine.FinishRequest, 1000),
		woken: make(chan string, 1000), putBack: make(chan heldStep, 1000), beats: make(chan []engine.Lease, 1000),
	}
}

// add makes a step of connector "test" that can be claimed.
func (f *fakeEngine) add(step, action, input string) *engine.Work {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens++
	w := &engine.Work{
		Lease: engine.Lease{
			Ref:   store.StepRef{RunRef: store.RunRef{Workspace: "ws_1", Run: "run_1"}, Step: step, Iteration: models.NoIteration},
			Token: "token-" + strconv.Itoa(f.tokens),
		},
		Step:  &models.GraphStep{ID: step, Type: models.StepTypeConnector, Connector: "test", Action: action},
		Input: json.RawMessage(input), IdempotencyKey: "run_1:" + step, Attempt: 1, Timeout: time.Hour, Queue: tasks.QueueDefault,
	}
	f.work[step] = w
	return w
}

func (f *fakeEngine) take(step string) *engine.Work {
	w := f.work[step]
	delete(f.work, step)
	return w
}

func (f *fakeEngine) Claim(_ context.Context, req engine.ClaimRequest) (*engine.Work, error) {
	f.claims <- req.Task.Step
	w, err := f.claim(req)
	if w == nil && err == nil && f.refusal != nil {
		<-f.refusal
	}
	return w, err
}

func (f *fakeEngine) claim(req engine.ClaimRequest) (*engine.Work, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[req.Token] = true
	if len(f.answers) > 0 {
		err := f.answers[0]
		f.answers = f.answers[1:]
		return nil, err
	}
	if f.claimErr != nil {
		return nil, f.claimErr
	}
	return f.take(req.Task.Step), nil
}

func (f *fakeEngine) Finish(_ context.Context, req engine.FinishRequest) (*engine.Work, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.finishErrs) > 0 {
		err := f.finishErrs[0]
		f.finishErrs = f.finishErrs[1:]
		return nil, err
	}
	f.finished <- req
	next := f.work[f.next[req.Lease.Ref.Step]]
	if next == nil || req.Next == nil || !slices.Contains(req.Next.Queues, next.Queue) {
		return nil, nil //nolint:nilnil // nothing follows
	}
	if f.offered != nil {
		f.offered()
	}
	return f.take(next.Ref.Step), nil
}

func (f *fakeEngine) BeginEffect(_ context.Context, l engine.Lease, repeatable bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.effects[l.Ref.Step] = repeatable
	if len(f.beginErrs) == 0 {
		return nil
	}
	err := f.beginErrs[0]
	f.beginErrs = f.beginErrs[1:]
	return err
}

func (f *fakeEngine) Heartbeat(_ context.Context, _ string, leases []engine.Lease) (lost []engine.Lease, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return nil, models.ErrUnavailable
	}
	f.beats <- leases
	for _, l := range leases {
		if f.lost[l.Token] {
			lost = append(lost, l)
		}
	}
	return lost, nil
}

func (f *fakeEngine) Abandoned(_ context.Context, lost []engine.Lease) (abandoned []engine.Lease, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range lost {
		if f.cancelled[l.Token] {
			abandoned = append(abandoned, l)
		}
	}
	return abandoned, nil
}

func (f *fakeEngine) Release(_ context.Context, leases []engine.Lease) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.released = append(f.released, leases...)
	return nil
}

func (f *fakeEngine) PutBack(_ context.Context, l engine.Lease, after time.Duration, why string) error {
	f.putBack <- heldStep{l.Ref.Step, after, why}
	return nil
}

// heldStep is a step that was put back.
type heldStep struct {
	step  string
	after time.Duration
	why   string
}

func (f *fakeEngine) Wake(_ context.Context, t tasks.Step) error {
	f.woken <- t.Step
	return nil
}

func (f *fakeEngine) Lease() time.Duration { return f.lease }

// testConnector does what the tests need done.
type testConnector struct {
	failure
	started chan context.Context // what a blocking action runs under
	release chan struct{}        // lets blocking actions end
}

func (c *testConnector) Spec() connectors.Spec {
	spec := connectors.Spec{
		Slug: "test", Name: "Test", Description: "For tests.",
		Connection: &connectors.ConnectionSpec{Auth: []connectors.AuthType{connectors.AuthBearer, connectors.AuthNone}},
	}
	for _, name := range []string{"echo", "block", "panic", "fail", "effect", "keyed"} {
		spec.Actions = append(spec.Actions, connectors.Action{
			Name: name, Description: name, Input: json.RawMessage(`{}`), Output: json.RawMessage(`{}`), Idempotent: name == "keyed",
		})
	}
	return spec
}

func (c *testConnector) Do(ctx context.Context, r connectors.Request) (connectors.Response, error) {
	switch r.Action {
	case "block":
		c.started <- ctx
		select {
		case <-c.release:
		case <-ctx.Done():
			return connectors.Response{}, connectors.NetworkError(ctx, ctx.Err())
		}
	case "panic":
		panic("a secret of the connector")
	case "fail":
		if err := c.answer(); err != nil {
			return connectors.Response{}, err
		}
		return connectors.Response{}, connectors.RetryAfter(7*time.Second, &connectors.Error{
			Code: "http_503", Message: "the server answered 503", Status: 503,
		})
	case "effect", "keyed":
		if err := r.Begin(ctx); err != nil {
			return connectors.Response{}, err
		}
		if err := c.answer(); err != nil {
			return connectors.Response{}, err
		}
		c.note(r.IdempotencyKey)
	}
	return connectors.Response{Output: r.Input, Usage: &connectors.Usage{Turns: 1}}, nil
}

// bench is a worker with everything around it.
type bench struct {
	engine    *fakeEngine
	connector *testConnector
	broker    *broker.Broker
	client    *tasks.Client
	worker    *worker.Worker
	agents    map[string]*models.Agent
}

// newBench makes a worker on Redis at url; empty means an embedded one. It is not
// started.
func newBench(t *testing.T, url string, cfg worker.Config) *bench {
	t.Helper()
	return newBenchWith(t, url, cfg, func(*worker.Deps) {})
}

// newBenchWith is newBench with other things for the worker to work with.
func newBenchWith(t *testing.T, url string, cfg worker.Config, with func(*worker.Deps)) *bench {
	t.Helper()
	log := testkit.Logger(t)
	b := &bench{
		engine: newFakeEngine(), agents: map[string]*models.Agent{},
		connector: &testConnector{started: make(chan context.Context, 1000), release: make(chan struct{})},
	}
	var err error
	b.broker, err = broker.Open(broker.Config{URL: url, Log: log})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.broker.Close()) })
	b.client = tasks.NewClient(b.broker.Client(), log, tasks.ClientConfig{})

	registry, err := connectors.NewRegistry(b.connector)
	require.NoError(t, err)
	outside, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	t.Cleanup(outside.CloseIdleConnections)
	runner, err := agents.New(agents.Deps{Egress: outside})
	require.NoError(t, err)
	deps := worker.Deps{
		Engine: b.engine, Connectors: connectors.NewCatalogue(registry, nil), Agents: runner, Broker: b.broker, Log: log,
		AgentFunc: func(_ context.Context, _ models.WorkspaceID, slug string) (*models.Agent, error) {
			if a := b.agents[slug]; a != nil {
				return a, nil
			}
			return nil, models.ErrNotFound
		},
	}
	with(&deps)
	b.worker, err = worker.New(deps, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { b.worker.Stop(context.Background()) })
	return b
}

func task(step string) tasks.Step {
	return tasks.Step{Workspace: "ws_1", Run: "run_1", Step: step, Iteration: models.NoIteration, Attempt: 1, Queue: tasks.QueueDefault}
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(limit):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}
