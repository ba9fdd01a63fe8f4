package worker_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
	"github.com/10ex/flows/tasks"
	"github.com/10ex/flows/worker"
)

// address is what webhooks are sent to: it behaves as its kind says and notes what it
// got.
type address struct {
	kind    string // good, failing or hanging
	trigger models.TriggerID

	mu      sync.Mutex
	seen    map[string]int
	at      int
	most    int
	release chan struct{}
	once    sync.Once
}

// letGo ends all requests that hang.
func (a *address) letGo() { a.once.Do(func() { close(a.release) }) }

func (a *address) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	a.mu.Lock()
	a.at++
	a.most = max(a.most, a.at)
	id := r.Header.Get("Webhook-Id")
	a.seen[id]++
	a.mu.Unlock()
	switch a.kind {
	case "failing":
		w.WriteHeader(http.StatusInternalServerError)
	case "hanging":
		select {
		case <-r.Context().Done():
		case <-a.release:
		}
	}
	a.mu.Lock()
	a.at--
	a.mu.Unlock()
}

// mail is a bus with a courier, on a real database.
type mail struct {
	t       *testing.T
	store   *store.Store
	bus     *bus.Bus
	courier *worker.Courier
	ws      models.WorkspaceID
}

// EnqueueJobs does jobs at once, in place of a queue.
func (m *mail) EnqueueJobs(ctx context.Context, jobs []tasks.Job) {
	for _, j := range jobs {
		switch {
		case j.Type == tasks.TypeDeliver && j.At.IsZero():
			_ = m.courier.Job(ctx, j)
		case j.Type == tasks.TypeMatch:
			_ = m.bus.MatchJob(ctx, j)
		}
	}
}

// Start starts no runs: these tests have no flows.
func (m *mail) Start(context.Context, engine.StartRequest) (*models.Run, error) {
	return nil, models.ErrNotFound
}

// MatchWaits ends no waits, for the same reason.
func (m *mail) MatchWaits(context.Context, *models.Event) (int, error) { return 0, nil }

func newMail(t *testing.T, s *store.Store, webhooks bus.WebhookConfig, cfg worker.CourierConfig) *mail {
	t.Helper()
	m := &mail{t: t, store: s, ws: models.WorkspaceID(ids.New(models.WorkspacePrefix))}
	require.NoError(t, s.CreateWorkspace(t.Context(), &models.Workspace{ID: m.ws, Name: "test", CreatedAt: clock.System{}.Now()}))
	ring, err := seal.New(make([]byte, seal.KeySize))
	require.NoError(t, err)
	outside, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	t.Cleanup(outside.CloseIdleConnections)
	m.bus, err = bus.New(bus.Deps{
		Store: s, Engine: m, Clock: clock.System{}, Jobs: m, Seal: ring, Egress: outside, Log: testkit.Logger(t),
	}, bus.Config{Webhooks: webhooks})
	require.NoError(t, err)
	m.courier, err = worker.NewCourier(m.bus, clock.System{}, testkit.Logger(t), nil, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { m.courier.Stop(context.Background()) })
	return m
}

// address serves an address of that kind and has a trigger tell it of events.
func (m *mail) address(kind string) *address {
	a := &address{kind: kind, seen: map[string]int{}, release: make(chan struct{})}
	srv := httptest.NewServer(a)
	m.t.Cleanup(srv.Close)
	m.t.Cleanup(a.letGo)
	made, err := m.bus.CreateTrigger(m.t.Context(), m.ws, &models.Trigger{
		Type: models.TriggerOnEvent, TargetType: models.TargetWebhook, EventType: "test.*", URL: srv.URL, Enabled: true,
	})
	require.NoError(m.t, err)
	a.trigger = made.Trigger.ID
	return a
}

func (m *mail) publish(n int) {
	for range n {
		_, err := m.bus.Publish(m.t.Context(), m.ws, []*models.Event{{
			Type: "test.sent", Data: []byte(`{}`),
		}})
		require.NoError(m.t, err)
	}
}

func (m *mail) states(a *address) map[models.DeliveryStatus]int {
	out := map[models.DeliveryStatus]int{}
	rows, err := m.store.For(m.ws).Deliveries(m.t.Context(), a.trigger, "", store.Page{Limit: 1000})
	require.NoError(m.t, err)
	for _, d := range rows {
		out[d.Status]++
	}
	return out
}

func TestSlowAndBrokenAddressesDelayNoOther(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		const each, events = 6, 8
		m := newMail(t, s, bus.WebhookConfig{
			Timeout: time.Hour, Retries: []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond},
		},
			// Fewer places than attempts at addresses that hang would take: two each.
			worker.CourierConfig{Fast: 8, Slow: 4})
		all := map[string][]*address{}
		for range each {
			for _, kind := range []string{"good", "failing", "hanging"} {
				all[kind] = append(all[kind], m.address(kind))
			}
		}
		m.publish(events)
		require.Eventually(t, func() bool {
			return !slices.ContainsFunc(all["good"], func(a *address) bool { return m.states(a)[models.DeliveryDelivered] < events })
		}, limit, 20*time.Millisecond)
		for _, a := range all["good"] {
			a.mu.Lock()
			require.LessOrEqual(t, a.most, 8)
			for id, n := range a.seen {
				require.Equal(t, 1, n, id)
			}
			a.mu.Unlock()
		}
		for _, a := range all["hanging"] {
			states := m.states(a)
			require.Equal(t, events, states[models.DeliveryPending]+states[models.DeliverySending], "the good ones did not wait for those that hang: %v", states)
			a.mu.Lock()
			require.LessOrEqual(t, a.most, 2, "an address that hangs gets few at once")
			a.mu.Unlock()
		}
		require.Eventually(t, func() bool {
			return !slices.ContainsFunc(all["failing"], func(a *address) bool { return m.states(a)[models.DeliveryFailed] < events })
		}, limit, 20*time.Millisecond)
		for _, a := range all["failing"] {
			for id, n := range a.seen {
				require.Equal(t, 4, n, id)
			}
		}
	})
}

func TestAnAddressThatWasSlowIsForgiven(t *testing.T) {
	t.Parallel()
	m := newMail(t, storetest.SQLite(t), bus.WebhookConfig{Retries: []time.Duration{time.Millisecond}}, worker.CourierConfig{Patience: 10 * time.Millisecond, Slow: 1})
	a := m.address("hanging")
	m.publish(1)
	require.Eventually(t, func() bool { return m.states(a)[models.DeliverySending] == 1 }, limit, time.Millisecond)
	a.letGo()
	require.Eventually(t, func() bool { return m.states(a)[models.DeliveryDelivered] == 1 }, limit, time.Millisecond)
	m.publish(20)
	require.Eventually(t, func() bool { return m.states(a)[models.DeliveryDelivered] == 21 }, limit, time.Millisecond)
}

// heldBack is deliveries that take until they are let go, and count.
type heldBack struct {
	left    atomic.Int64
	sending atomic.Int64
	release chan struct{}
	cut     atomic.Int64
	next    atomic.Pointer[time.Time]
	claims  chan struct{}
}

func (h *heldBack) ClaimDelivery(context.Context, models.WorkspaceID, models.TriggerID) (*bus.Sending, *time.Time, error) {
	if h.claims != nil {
		h.claims <- struct{}{}
	}
	if h.left.Add(-1) < 0 {
		return nil, h.next.Swap(nil), nil
	}
	return &bus.Sending{}, nil, nil
}

func (h *heldBack) Deliver(ctx context.Context, _ *bus.Sending) (bus.Outcome, error) {
	h.sending.Add(1)
	defer h.sending.Add(-1)
	select {
	case <-h.release:
	case <-ctx.Done():
		h.cut.Add(1)
	}
	return bus.Outcome{Arrived: true}, nil
}

func courier(t *testing.T, h *heldBack, cfg worker.CourierConfig) *worker.Courier {
	t.Helper()
	c, err := worker.NewCourier(h, clock.System{}, testkit.Logger(t), nil, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { c.Stop(context.Background()) })
	return c
}

func deliverJob(trigger string) tasks.Job {
	return tasks.Job{Type: tasks.TypeDeliver, Workspace: "ws_1", ID: "dlv_1", Extra: trigger}
}

func TestOneAddressHasFewAttemptsAtOnce(t *testing.T) {
	t.Parallel()
	h := &heldBack{release: make(chan struct{})}
	h.left.Store(100)
	c := courier(t, h, worker.CourierConfig{})
	for range 50 {
		require.NoError(t, c.Job(t.Context(), deliverJob("trg_1")))
	}
	require.Eventually(t, func() bool { return h.sending.Load() == 2 }, limit, time.Millisecond)
	require.NoError(t, c.Job(t.Context(), deliverJob("trg_2")))
	require.Eventually(t, func() bool { return h.sending.Load() == 3 }, limit, time.Millisecond)
	close(h.release)
	require.Eventually(t, func() bool { return h.left.Load() < 0 && h.sending.Load() == 0 }, limit, time.Millisecond, "the rest is taken when one ends")
}

func TestStopCutsOffWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	h := &heldBack{release: make(chan struct{})}
	h.left.Store(3)
	c := courier(t, h, worker.CourierConfig{Drain: 10 * time.Millisecond})
	for _, trigger := range []string{"trg_1", "trg_2", "trg_3"} {
		require.NoError(t, c.Job(t.Context(), deliverJob(trigger)))
	}
	require.Eventually(t, func() bool { return h.sending.Load() == 3 }, limit, time.Millisecond)
	c.Stop(t.Context())
	require.EqualValues(t, 3, h.cut.Load())
	require.NoError(t, c.Job(t.Context(), deliverJob("trg_4")))
	c.Stop(t.Context())
	require.Zero(t, h.left.Load(), "nothing is begun any more")
}

func TestAnAddressIsLookedAtAgainWhenSomethingIsDue(t *testing.T) {
	t.Parallel()
	h := &heldBack{release: make(chan struct{}), claims: make(chan struct{}, 100)}
	at := time.Now().Add(30 * time.Millisecond)
	h.next.Store(&at)
	c := courier(t, h, worker.CourierConfig{})
	require.NoError(t, c.Job(t.Context(), deliverJob("trg_1")))
	receive(t, h.claims)
	receive(t, h.claims)
	require.False(t, time.Now().Before(at))
}

func TestCourierConfigIsChecked(t *testing.T) {
	t.Parallel()
	_, err := worker.NewCourier(&heldBack{}, clock.System{}, testkit.Logger(t), nil, worker.CourierConfig{Fast: -1})
	require.ErrorContains(t, err, "Fast:-1")
}
