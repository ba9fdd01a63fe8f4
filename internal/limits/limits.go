// Package limits holds back what would be too much for the other side, over all
// processes that share a Redis: so many beginnings in a time, so many at once, and
// nothing at all while the other side has asked to be left alone. Who comes too
// early is told when to come again, and where the time is known, that turn is kept
// for them: they need not ask for it again.
//
// While Redis is away a process counts for itself: the limits then hold for each,
// which is too much by as many processes as there are, and better than to stand
// still. The package knows neither steps nor connections, only keys, and imports
// none of ours but internal/obs.
package limits

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/10ex/flows/internal/obs"
)

// Limit is what a key may do. The zero Limit holds nothing back by itself, but what
// Block says still counts.
type Limit struct {
	// Count beginnings within Per; 0 means any number. So many may come at once.
	Count int
	Per   time.Duration
	// Concurrency is how many may be at it at once; 0 means any number.
	Concurrency int
}

// Cause is why somebody has to wait.
type Cause string

// The causes.
const (
	CauseRate        Cause = "rate"        // Count was reached; the turn is kept
	CauseBlock       Cause = "block"       // the other side asked to be left alone; the turn is kept
	CauseConcurrency Cause = "concurrency" // Concurrency was reached; Wait is a guess
)

// Verdict is the answer to somebody who wants to begin. The zero one lets them.
type Verdict struct {
	Cause Cause // empty: begin
	Wait  time.Duration
}

// Config are the settings of a Limiter.
type Config struct {
	// Redis is what processes share. Nil: this process counts alone.
	Redis *redis.Client
	// Lease is how long a holder counts whose process is silent. Default 20s.
	Lease time.Duration
	// Patience is how long Redis has for an answer. Default 250ms.
	Patience time.Duration
	// Log gets a word when Redis does not answer. Default: nowhere.
	Log *slog.Logger
}

const (
	// rest is how long Redis is left alone after it gave no answer.
	rest = 2 * time.Second
	// pace is the distance of those who were kept waiting by a block, where no rate
	// says it: all of them at once would only be refused again.
	pace = 20 * time.Millisecond
	// firstGuess is how long something takes of which nothing is known, and the others
	// bound what somebody is told who waits for a place.
	firstGuess            = 500 * time.Millisecond
	leastGuess, mostGuess = 200 * time.Millisecond, 30 * time.Second
	waiterLife            = time.Minute
	defaultLease          = 20 * time.Second
	defaultPatience       = 250 * time.Millisecond
	renewals              = 4 // in a lease
)

// Limiter decides. It may be used concurrently. Close ends it.
type Limiter struct {
	cfg   Config
	local *local

	mu      sync.Mutex
	restTo  time.Time
	holders map[holding]struct{} // of this process, in Redis

	stop chan struct{}
	done chan struct{}
}

type holding struct{ key, holder string }

// New makes a Limiter.
func New(cfg Config) *Limiter {
	if cfg.Lease <= 0 {
		cfg.Lease = defaultLease
	}
	cfg.Patience = cmp.Or(cfg.Patience, defaultPatience)
	if cfg.Log == nil {
		cfg.Log = obs.Discard()
	}
	l := &Limiter{cfg: cfg, local: newLocal(time.Now), holders: map[holding]struct{}{}, stop: make(chan struct{}), done: make(chan struct{})}
	go l.renew()
	return l
}

// Close ends it. What is held counts until its lease is over.
func (l *Limiter) Close() {
	close(l.stop)
	<-l.done
}

// Enter asks for leave to begin. The holder names who asks, the same whenever it asks
// again; with a turn that was kept for it, it is not counted a second time. Whoever is
// let in says Leave.
func (l *Limiter) Enter(ctx context.Context, key, holder string, limit Limit, hasTurn bool) Verdict {
	if l.shared() {
		v, err := l.enter(ctx, key, holder, limit, hasTurn)
		if err == nil {
			if v.Cause == "" && limit.Concurrency > 0 {
				l.mu.Lock()
				l.holders[holding{key, holder}] = struct{}{}
				l.mu.Unlock()
			}
			return v
		}
		l.leaveAlone(ctx, err)
	}
	return l.local.enter(key, holder, limit, hasTurn)
}

// Leave gives the place back. Took is how long it was used.
func (l *Limiter) Leave(ctx context.Context, key, holder string, limit Limit, took time.Duration) {
	if limit.Concurrency == 0 {
		return
	}
	l.local.leave(key, holder, took)
	l.mu.Lock()
	_, held := l.holders[holding{key, holder}]
	delete(l.holders, holding{key, holder})
	l.mu.Unlock()
	if !held {
		return
	}
	if err := l.leave(context.WithoutCancel(ctx), key, holder, took); err != nil {
		l.leaveAlone(ctx, err) // its lease will end
	}
}

// Block lets nobody begin under a key for a while.
func (l *Limiter) Block(ctx context.Context, key string, d time.Duration) {
	l.local.block(key, d)
	if !l.shared() {
		return
	}
	if err := l.block(context.WithoutCancel(ctx), key, d); err != nil {
		l.leaveAlone(ctx, err)
	}
}

func (l *Limiter) shared() bool {
	if l.cfg.Redis == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return !time.Now().Before(l.restTo)
}

func (l *Limiter) leaveAlone(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // it was the caller who left
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); !now.Before(l.restTo) {
		l.cfg.Log.WarnContext(ctx, "limits are counted in this process only", obs.Err(err))
		l.restTo = now.Add(rest)
	}
}

// renew tells Redis now and then who is still at it.
func (l *Limiter) renew() {
	defer close(l.done)
	tick := time.NewTicker(l.cfg.Lease / renewals)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.stop:
			return
		}
		l.mu.Lock()
		held := make([]holding, 0, len(l.holders))
		for h := range l.holders {
			held = append(held, h)
		}
		l.mu.Unlock()
		if len(held) == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), l.cfg.Lease/renewals)
		if err := l.prolong(ctx, held); err != nil {
			l.leaveAlone(context.Background(), err)
		}
		cancel()
	}
}
