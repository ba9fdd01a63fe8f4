package worker

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/10ex/flows/internal/broker"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/tasks"
)

// offer is what goes over a lane.
type offer struct {
	Step tasks.Step `json:"step"`
	Wake bool       `json:"wake,omitempty"`
	// Type is set for a job, and there is no step then.
	Type string     `json:"type,omitempty"`
	Job  *tasks.Job `json:"job,omitempty"`
}

const (
	// laneShare is how many steps of one workspace a second go over the lanes of a
	// process, and laneBurst how many at once. With more there is a backlog, in which
	// nobody gains by a short way, and the steps of others would drown in it.
	laneShare = 500
	laneBurst = 64
	// mostShares bounds the workspaces that are counted.
	mostShares = 10_000
)

// laneShares counts what workspaces put on lanes.
type laneShares struct {
	mu sync.Mutex
	by map[string]*rate.Limiter
}

func newLaneShares() *laneShares { return &laneShares{by: map[string]*rate.Limiter{}} }

// allow tells whether a workspace may use a lane once more.
func (l *laneShares) allow(workspace string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	share := l.by[workspace]
	if share == nil {
		if len(l.by) >= mostShares {
			clear(l.by) // a few get more than their share for once
		}
		share = rate.NewLimiter(laneShare, laneBurst)
		l.by[workspace] = share
	}
	return share.Allow()
}

// pushLane offers a step to the processes that have a slot free.
func pushLane(b *broker.Broker, s tasks.Step, wake bool) {
	entry, err := json.Marshal(offer{Step: s, Wake: wake})
	if err != nil {
		return // strings and numbers always marshal
	}
	b.PushLane(s.Queue, entry)
}

// pushJobLane offers a job to the processes that have a slot free.
func pushJobLane(b *broker.Broker, j tasks.Job) {
	entry, err := json.Marshal(offer{Type: j.Type, Job: &j})
	if err != nil {
		return // strings and numbers always marshal
	}
	b.PushLane(j.Lane(), entry)
}

const (
	// laneWait is how long one look at the lanes waits for something.
	laneWait = 5 * time.Second
	// laneRest is how long they are left alone after a failure.
	laneRest = time.Second
)

// readLanes takes what other processes offer, while a slot is free.
func (w *Worker) readLanes() {
	var names []string // what stands first is read first
	for _, rank := range []int{1, 0, -1} {
		for _, queue := range w.cfg.Queues {
			for _, name := range tasks.Ranks(queue) {
				if _, r := tasks.Rank(name); r == rank {
					names = append(names, name)
				}
			}
		}
	}
	lanes := w.deps.Broker.ReadLanes(names...)
	defer lanes.Close()
	ctx := w.running
	cut := context.AfterFunc(ctx, func() { _ = lanes.Close() })
	defer cut()
	for w.slots.awaitFree(ctx) == nil {
		lane, entry, err := lanes.Pop(ctx, laneWait)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.log.DebugContext(ctx, "lanes cannot be read, the queue brings everything", obs.Err(err))
			if rest(ctx, laneRest) != nil {
				return
			}
		case entry != nil:
			w.take(ctx, lane, entry)
		}
	}
}

// take does what is offered. What nobody takes the queue brings.
func (w *Worker) take(ctx context.Context, lane string, entry []byte) {
	var o offer
	if err := json.Unmarshal(entry, &o); err != nil {
		return
	}
	if o.Job != nil {
		o.Job.Type, o.Job.Queue = o.Type, lane
		w.OfferJob(ctx, *o.Job)
		return
	}
	o.Step.Queue = lane
	if o.Wake {
		w.OfferWake(ctx, o.Step)
		return
	}
	w.Offer(ctx, o.Step)
}

func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
