package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/broker"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/tasks"
)

// Deliverer brings what the engine says is ready to whoever can do it: at once to
// a free slot in this process, or over a lane to one in another, and in any case
// into the queue, which is what survives and what can be seen. It returns at
// once; the queue is fed from a goroutine of its own.
type Deliverer struct {
	client *tasks.Client
	broker *broker.Broker
	clock  clock.Clock
	log    *slog.Logger

	echoes *rate.Limiter
	shares *laneShares

	mu      sync.Mutex
	local   *Worker // nil: this process does no steps
	pending []tasks.Entry
	jobs    []tasks.Job // pending, too
	dropped int
	alarms  map[*time.Timer]struct{}
	closed  bool

	wake chan struct{}
	done chan struct{}
}

var _ engine.Enqueuer = (*Deliverer)(nil)

const (
	// pendingLimit bounds what waits to go into the queue; the sweep finds the rest.
	pendingLimit = 50_000
	// alarmLimit bounds the timers of a process, alarmHorizon how far ahead they are
	// set. The queue and the sweep are late by up to a second or two; a timer is not.
	alarmLimit   = 10_000
	alarmHorizon = 2 * time.Minute
	// alarmPad lets the time be past also by a clock that is read a little behind.
	alarmPad = 2 * time.Millisecond
	// echoesPerSecond bounds how many steps go into the queue that a worker has begun
	// in the commit that made them ready. Nobody needs such a task: the lease guards
	// the step, and the claim is refused. It shows people what goes on, which more
	// than this does not.
	echoesPerSecond = 100
	// announceInterval is how often queues are made known again.
	announceInterval = 30 * time.Second
)

// NewDeliverer makes a Deliverer. Close ends it.
func NewDeliverer(client *tasks.Client, b *broker.Broker, c clock.Clock, log *slog.Logger) *Deliverer {
	d := &Deliverer{
		client: client, broker: b, clock: c, log: log, alarms: map[*time.Timer]struct{}{},
		echoes: rate.NewLimiter(echoesPerSecond, echoesPerSecond), shares: newLaneShares(),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go d.run()
	return d
}

// Attach makes w the worker of this process, which is offered everything first;
// nil takes it away.
func (d *Deliverer) Attach(w *Worker) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.local = w
}

// Enqueue delivers. It returns at once.
func (d *Deliverer) Enqueue(ctx context.Context, deliveries []engine.Delivery) {
	ctx = context.WithoutCancel(ctx)
	now := d.clock.Now()
	for _, one := range deliveries {
		if one.Task.Queue == "" {
			one.Task.Queue = tasks.QueueDefault
			if one.Wake {
				one.Task.Queue = tasks.QueueSystem
			}
		}
		switch ahead := one.At.Sub(now); {
		case one.Begun: // whoever took it is at it
			if !d.echoes.AllowN(now, 1) {
				continue
			}
		case !one.At.IsZero() && ahead > 0:
			d.setAlarm(ctx, one, ahead)
		default:
			d.offer(ctx, one)
		}
		d.put(one)
	}
}

// offer finds somebody who is free now.
func (d *Deliverer) offer(ctx context.Context, one engine.Delivery) {
	d.mu.Lock()
	local := d.local
	d.mu.Unlock()
	if local != nil {
		if one.Wake && local.OfferWake(ctx, one.Task) || !one.Wake && local.Offer(ctx, one.Task) {
			return
		}
	}
	if !d.broker.Embedded() && d.shares.allow(one.Task.Workspace) {
		pushLane(d.broker, one.Task, one.Wake)
	}
}

func (d *Deliverer) setAlarm(ctx context.Context, one engine.Delivery, ahead time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || ahead > alarmHorizon || len(d.alarms) >= alarmLimit {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(ahead+alarmPad, func() {
		d.mu.Lock()
		_, mine := d.alarms[t]
		delete(d.alarms, t)
		d.mu.Unlock()
		if mine {
			d.offer(ctx, one)
		}
	})
	d.alarms[t] = struct{}{}
}

// put hands a delivery to the goroutine that feeds the queue.
func (d *Deliverer) put(one engine.Delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || len(d.pending) >= pendingLimit {
		d.dropped++
		return
	}
	d.pending = append(d.pending, tasks.Entry{Step: one.Task, Wake: one.Wake, At: one.At})
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *Deliverer) run() {
	defer close(d.done)
	announce := time.NewTicker(announceInterval)
	defer announce.Stop()
	d.announce()
	for {
		select {
		case _, open := <-d.wake:
			d.flush()
			if !open {
				return
			}
		case <-announce.C:
			d.announce()
		}
	}
}

func (d *Deliverer) announce() {
	ctx, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	if err := d.client.Announce(ctx); err != nil {
		d.log.Debug("queues were not made known", obs.Err(err))
	}
}

// flush puts all that waits into the queue.
func (d *Deliverer) flush() {
	d.mu.Lock()
	batch, jobs, dropped := d.pending, d.jobs, d.dropped
	d.pending, d.jobs, d.dropped = nil, nil, 0
	d.mu.Unlock()
	if dropped > 0 {
		d.log.Warn("deliveries were dropped, the sweep will repeat them", obs.Count(dropped))
	}
	d.client.Enqueue(context.Background(), batch)
	d.client.EnqueueJobs(context.Background(), jobs)
}

// Close puts what waits into the queue and ends the Deliverer. What comes later
// is left to the sweep.
func (d *Deliverer) Close() {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		for t := range d.alarms {
			t.Stop()
		}
		clear(d.alarms)
		close(d.wake)
	}
	d.mu.Unlock()
	<-d.done
}
