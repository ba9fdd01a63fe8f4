package worker

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/tasks"
)

// Deliveries is what a Courier asks of the bus.
type Deliveries interface {
	ClaimDelivery(ctx context.Context, ws models.WorkspaceID, trigger models.TriggerID) (*bus.Sending, *time.Time, error)
	Deliver(ctx context.Context, s *bus.Sending) (bus.Outcome, error)
}

var _ Deliveries = (*bus.Bus)(nil)

// CourierConfig are the settings of a Courier.
type CourierConfig struct {
	// Fast is how many attempts may be under way at addresses that answer soon.
	// Default 64.
	Fast int
	// Slow is how many more may be begun at addresses that lately did not. Default 256.
	Slow int
	// Patience is how long an address may take and still answer soon. Default 1s.
	Patience time.Duration
	// Each is how many attempts may be under way at one address, and EachGood how many
	// when it has answered well for a while. Default 2 and 8.
	Each, EachGood int
	// Drain is how long Stop lets attempts end. Default 12s: longer than one takes.
	Drain time.Duration
}

func (c *CourierConfig) complete() error {
	c.Fast, c.Slow = cmp.Or(c.Fast, 64), cmp.Or(c.Slow, 256)
	c.Each, c.EachGood = cmp.Or(c.Each, 2), cmp.Or(c.EachGood, 8)
	c.Patience, c.Drain = cmp.Or(c.Patience, time.Second), cmp.Or(c.Drain, 12*time.Second)
	if c.Fast < 1 || c.Slow < 1 || c.Each < 1 || c.EachGood < 1 || c.Patience < 0 || c.Drain < 0 {
		return fmt.Errorf("courier config %+v: nothing may be negative", *c)
	}
	return nil
}

// Courier sends webhooks. An address that takes its time must not delay the others, so
// there are two pools: an attempt that takes longer than a moment gives its place in
// the fast one back and goes on in the slow one. At an address that did not answer, or
// keeps answering late, attempts begin there, until it answers soon again. How much waits for an address lies in the
// database and not here: a task only tells that something may be due, and takes no
// longer than that.
type Courier struct {
	bus     Deliveries
	clock   clock.Clock
	cfg     CourierConfig
	log     *slog.Logger
	metrics courierMetrics

	life context.Context //nolint:containedctx // of all attempts: ends when they have to
	end  context.CancelCauseFunc
	sent sync.WaitGroup // attempts under way

	mu        sync.Mutex
	stopping  bool
	endpoints map[models.TriggerID]*endpoint
	waiting   [2][]*endpoint // for a place, by pool; one is there as often as it may begin
	running   [2]int         // attempts, by pool
}

// pool is one of fast and slow.
type pool int

const (
	fast pool = iota
	slow
)

// endpoint is the address of a trigger.
type endpoint struct {
	ws      models.WorkspaceID
	trigger models.TriggerID
	pool    pool // where its attempts begin
	running int
	queued  int
	good    int         // how often in a row it answered well and soon
	late    int         // how often in a row it answered late
	again   bool        // more may have become due since those under way looked
	timer   *time.Timer // nil: none is set
	wakeAt  time.Time
}

// idle tells whether nothing would be lost with what is known of the address but how
// fast it is.
func (e *endpoint) idle() bool { return e.running == 0 && e.queued == 0 && e.timer == nil }

// mostEndpoints bounds the addresses that are remembered while nothing is on its way to
// them.
const mostEndpoints = 10_000

// lateStreak is after how many late answers an address is a slow one.
const lateStreak = 3

// goodStreak is after how many good answers an address may have more at once.
const goodStreak = 8

// NewCourier makes a Courier. Stop ends it. metrics may be nil.
func NewCourier(b Deliveries, now clock.Clock, log *slog.Logger, metrics prometheus.Registerer, cfg CourierConfig) (*Courier, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	c := &Courier{bus: b, clock: now, cfg: cfg, log: log, endpoints: map[models.TriggerID]*endpoint{}}
	c.life, c.end = context.WithCancelCause(context.Background())
	c.metrics = newCourierMetrics(metrics, c)
	return c, nil
}

// Job does a job of type deliver: it notes that something may be due. It returns at
// once.
func (c *Courier) Job(_ context.Context, j tasks.Job) error {
	if j.Extra == "" {
		return nil // no such job is made; the sweep finds the row
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hint(c.endpoint(models.WorkspaceID(j.Workspace), models.TriggerID(j.Extra)))
	return nil
}

func (c *Courier) endpoint(ws models.WorkspaceID, trigger models.TriggerID) *endpoint {
	if e := c.endpoints[trigger]; e != nil {
		return e
	}
	if len(c.endpoints) >= mostEndpoints {
		for id, e := range c.endpoints {
			if e.idle() {
				delete(c.endpoints, id)
			}
		}
	}
	e := &endpoint{ws: ws, trigger: trigger}
	c.endpoints[trigger] = e
	return e
}

// hint sees to it that somebody looks at what is due for the address after this.
func (c *Courier) hint(e *endpoint) {
	switch {
	case c.stopping:
		return
	case e.running+e.queued < c.most(e):
		c.enqueue(e)
	case e.queued == 0:
		e.again = true
	}
	c.begin()
}

// most is how many attempts may be under way at an address.
func (c *Courier) most(e *endpoint) int {
	if e.pool == fast && e.good >= goodStreak {
		return c.cfg.EachGood
	}
	return c.cfg.Each
}

func (c *Courier) enqueue(e *endpoint) {
	e.queued++
	c.waiting[e.pool] = append(c.waiting[e.pool], e)
}

// begin gives places that are free to those who wait, one after the other, unless the
// courier is stopping.
func (c *Courier) begin() {
	if c.stopping {
		return
	}
	for p, places := range [2]int{fast: c.cfg.Fast, slow: c.cfg.Slow} {
		for c.running[p] < places && len(c.waiting[p]) > 0 {
			e := c.waiting[p][0]
			c.waiting[p][0] = nil
			c.waiting[p] = c.waiting[p][1:]
			e.queued--
			if pool(p) == fast && e.pool == slow { // it has become so while it waited
				c.enqueue(e)
				continue
			}
			e.running++
			c.running[p]++
			c.sent.Add(1)
			go c.attempt(&place{courier: c, endpoint: e, pool: pool(p)})
		}
	}
}

// place is an attempt's place in a pool.
type place struct {
	courier  *Courier
	endpoint *endpoint
	pool     pool
	done     bool
}

// slowDown moves an attempt that takes its time to the slow pool, also if that is full:
// what has begun has begun. Only beginning there is bounded.
func (p *place) slowDown() {
	c := p.courier
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.done || p.pool == slow {
		return
	}
	c.running[p.pool]--
	p.pool = slow
	c.running[p.pool]++
	p.endpoint.good = 0
	c.begin()
}

// attempt sends what is due for an address, once.
func (c *Courier) attempt(p *place) {
	defer c.sent.Done()
	ctx := obs.With(c.life, obs.Workspace(p.endpoint.ws))
	s, next, err := c.claim(ctx, p.endpoint)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			c.log.WarnContext(ctx, "a webhook could not be taken up, the sweep will find it", obs.Err(err))
		}
		c.finish(p, false, nil)
		return
	case s == nil:
		c.finish(p, false, next)
		return
	}
	hurry := time.AfterFunc(c.cfg.Patience, p.slowDown)
	start := time.Now()
	out, err := c.deliver(ctx, s)
	hurry.Stop()
	c.metrics.took.Observe(time.Since(start).Seconds())
	if err != nil {
		c.log.WarnContext(ctx, "what came of a webhook was not recorded: it will be sent again", obs.Err(err))
	}
	c.judge(p.endpoint, out)
	c.finish(p, true, nil)
}

func (c *Courier) claim(ctx context.Context, e *endpoint) (*bus.Sending, *time.Time, error) {
	ctx, stop := context.WithTimeout(ctx, claimTimeout)
	defer stop()
	return c.bus.ClaimDelivery(ctx, e.ws, e.trigger)
}

// deliver keeps a fault of ours in one webhook from taking the process down.
func (c *Courier) deliver(ctx context.Context, s *bus.Sending) (out bus.Outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("webhook panicked: %v", p)
		}
	}()
	return c.bus.Deliver(ctx, s)
}

// judge learns from how an address behaved. One that let us wait in vain is slow; one
// that answered late is if it does so again and again, for a busy moment is no habit.
func (c *Courier) judge(e *endpoint, out bus.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	late := out.Took >= c.cfg.Patience
	switch {
	case !late:
		e.late, e.pool = 0, fast
	case out.Arrived:
		e.late++
	default:
		e.late = lateStreak
	}
	if e.late >= lateStreak {
		e.pool = slow
	}
	if e.good++; late || !out.Arrived {
		e.good = 0
	}
}

// finish gives a place back. Where something was sent there may be more; where nothing
// was due it is looked again when next is.
func (c *Courier) finish(p *place, sent bool, next *time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := p.endpoint
	p.done = true
	e.running--
	c.running[p.pool]--
	if c.stopping {
		return
	}
	more := 0
	if sent {
		more++
	}
	if e.again {
		e.again = false
		more++
	}
	for ; more > 0 && e.running+e.queued < c.most(e); more-- {
		c.enqueue(e)
	}
	if next != nil {
		c.wakeAt(e, *next)
	}
	c.begin()
}

// wakePad lets the time be past also by a clock that is read a little behind.
const wakePad = 5 * time.Millisecond

// wakeAt looks at an address again at a time, or sooner.
func (c *Courier) wakeAt(e *endpoint, at time.Time) {
	if e.timer != nil {
		if !at.Before(e.wakeAt) {
			return
		}
		e.timer.Stop()
	}
	e.wakeAt = at
	var t *time.Timer
	t = time.AfterFunc(max(at.Sub(c.clock.Now()), 0)+wakePad, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if e.timer != t {
			return
		}
		e.timer = nil
		c.hint(e)
	})
	e.timer = t
}

// Stop begins no more attempts, waits for those under way for the drain time or until
// ctx ends, cuts the rest off, which are given back, and returns.
func (c *Courier) Stop(ctx context.Context) {
	c.mu.Lock()
	c.stopping = true
	for _, e := range c.endpoints {
		if e.timer != nil {
			e.timer.Stop()
			e.timer = nil
		}
	}
	c.mu.Unlock()
	done := make(chan struct{})
	go func() {
		c.sent.Wait()
		close(done)
	}()
	drain := time.NewTimer(c.cfg.Drain)
	defer drain.Stop()
	select {
	case <-done:
	case <-drain.C:
	case <-ctx.Done():
	}
	c.end(errDrained)
	<-done
}

// courierMetrics count what a courier does. Labels hold no tenant's data.
type courierMetrics struct{ took prometheus.Histogram }

func newCourierMetrics(reg prometheus.Registerer, c *Courier) courierMetrics {
	f := promauto.With(reg)
	for p, name := range [2]string{fast: "fast", slow: "slow"} {
		f.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "flows_webhooks_sending", Help: "Webhooks under way in this process, by pool: fast, slow.",
			ConstLabels: prometheus.Labels{"pool": name},
		}, func() float64 {
			c.mu.Lock()
			defer c.mu.Unlock()
			return float64(c.running[p])
		})
	}
	return courierMetrics{took: f.NewHistogram(prometheus.HistogramOpts{
		Name: "flows_webhook_seconds", Help: "How long attempts to send webhooks took, with recording their results.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	})}
}
