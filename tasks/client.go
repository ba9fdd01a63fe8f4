package tasks

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// Entry is one task to put into the queue.
type Entry struct {
	Step Step
	Wake bool      // a wait ends, rather than a step begins
	At   time.Time // not before; zero means now
}

// ClientConfig are a Client's settings.
type ClientConfig struct {
	// Timeout bounds one enqueueing. Default 1s.
	Timeout time.Duration
	// Rest is how long nothing is tried after a failure. Default 1s.
	Rest time.Duration
	// Parallel is how many tasks of a batch are under way at once. Default 16:
	// with more of them Redis takes no more a second.
	Parallel int
}

// Client puts tasks into the queue. It may be used concurrently.
type Client struct {
	queue *asynq.Client
	redis redis.UniversalClient
	log   *slog.Logger
	cfg   ClientConfig

	// restUntil is when to try again after a failure, in nanoseconds since start.
	restUntil atomic.Int64
	start     time.Time
	stats     struct{ enqueued, repeated, lost atomic.Int64 }
}

// ClientStats counts what became of tasks since the client was made.
type ClientStats struct {
	Enqueued int64 // put into the queue
	Repeated int64 // were there already
	Lost     int64 // could not be put there; the sweep delivers them
}

// NewClient makes a Client on a connection that stays the caller's.
func NewClient(r redis.UniversalClient, log *slog.Logger, cfg ClientConfig) *Client {
	cfg.Timeout = cmp.Or(cfg.Timeout, time.Second)
	cfg.Rest = cmp.Or(cfg.Rest, time.Second)
	cfg.Parallel = cmp.Or(cfg.Parallel, 16)
	return &Client{queue: asynq.NewClientFromRedisClient(r), redis: r, log: log, cfg: cfg, start: time.Now()}
}

const (
	// maxRetry and taskTimeout keep asynq from acting on its own. It would archive
	// a task that has no retry left when its worker dies, and then refuse its id
	// for 90 days; with retries left it hands the task out again after a minute or
	// two, when the claim has long been another's and is refused. And it would
	// call a handler failed after half an hour, which is for the step to say.
	maxRetry    = 25
	taskTimeout = 365 * 24 * time.Hour
)

func options(e Entry) []asynq.Option {
	queue := e.Step.Queue
	if queue == "" {
		queue = QueueDefault
		if e.Wake {
			queue = QueueSystem
		}
	}
	return taskOptions(e.Step.ID(), queue, e.At)
}

func taskOptions(id, queue string, at time.Time) []asynq.Option {
	opts := []asynq.Option{
		asynq.TaskID(id), asynq.Queue(queue),
		asynq.MaxRetry(maxRetry), asynq.Timeout(taskTimeout), asynq.Retention(0),
	}
	if !at.IsZero() {
		opts = append(opts, asynq.ProcessAt(wholeSecond(at)))
	}
	return opts
}

// wholeSecond rounds up: asynq cuts the fraction off and would be early by it.
func wholeSecond(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); whole.Before(t) {
		return whole.Add(time.Second)
	}
	return t
}

// Enqueue puts entries into the queue. What fails is counted and logged once: it
// is found again by the sweep. After a failure nothing is tried for a while, so
// that a Redis that is away costs no caller more than one timeout.
func (c *Client) Enqueue(ctx context.Context, entries []Entry) {
	c.all(ctx, len(entries), func(i int) (*asynq.Task, []asynq.Option) {
		e := entries[i]
		if e.Wake {
			return NewWake(e.Step), options(e)
		}
		return NewStep(e.Step), options(e)
	})
}

// EnqueueJobs puts jobs into the queue, as Enqueue does with steps.
func (c *Client) EnqueueJobs(ctx context.Context, jobs []Job) {
	c.all(ctx, len(jobs), func(i int) (*asynq.Task, []asynq.Option) { return NewJob(jobs[i]), jobs[i].options() })
}

// all puts n tasks into the queue, some of them side by side.
func (c *Client) all(ctx context.Context, n int, task func(i int) (*asynq.Task, []asynq.Option)) {
	if n == 0 {
		return
	}
	var (
		next  atomic.Int64
		lost  atomic.Int64
		mu    sync.Mutex
		first error
	)
	put := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			one, opts := task(i)
			if err := c.put(ctx, one, opts); err != nil {
				lost.Add(1)
				mu.Lock()
				first = cmp.Or(first, err)
				mu.Unlock()
			}
		}
	}
	var group sync.WaitGroup
	for range min(n, c.cfg.Parallel) - 1 {
		group.Go(put)
	}
	put()
	group.Wait()
	if gone := lost.Load(); gone > 0 {
		c.stats.lost.Add(gone)
		if !errors.Is(first, errResting) { // else it has been said
			c.log.WarnContext(ctx, "tasks were not enqueued, the sweep will deliver them",
				slog.Int64("count", gone), slog.String("error", first.Error()))
		}
	}
}

var errResting = errors.New("resting after a failure")

func (c *Client) put(ctx context.Context, task *asynq.Task, opts []asynq.Option) error {
	if time.Since(c.start) < time.Duration(c.restUntil.Load()) {
		return errResting
	}
	// A caller that goes away must not take the delivery with it.
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.Timeout)
	defer stop()
	_, err := c.queue.EnqueueContext(ctx, task, opts...)
	switch {
	case err == nil:
		c.stats.enqueued.Add(1)
		return nil
	case errors.Is(err, asynq.ErrTaskIDConflict):
		// Delivered already, or the answer to our own first try was lost.
		c.stats.repeated.Add(1)
		return nil
	}
	c.restUntil.Store(int64(time.Since(c.start) + c.cfg.Rest))
	return err
}

// Stats tells what became of tasks so far.
func (c *Client) Stats() ClientStats {
	return ClientStats{
		Enqueued: c.stats.enqueued.Load(), Repeated: c.stats.repeated.Load(), Lost: c.stats.lost.Load(),
	}
}

// allQueues is asynq's set of the names of queues.
const allQueues = "asynq:queues"

// Announce makes the queues known to whoever inspects them. asynq does so once a
// process, so after Redis has lost its data they would work and not be seen.
func (c *Client) Announce(ctx context.Context) error {
	var names []any
	for queue := range Queues {
		for _, name := range Ranks(queue) {
			names = append(names, name)
		}
	}
	return c.redis.SAdd(ctx, allQueues, names...).Err()
}
