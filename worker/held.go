package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/recent"
	"github.com/10ex/flows/tasks"
)

// attempt names one attempt of a step or iteration.
type attempt struct {
	run, step         string
	iteration, number int
}

func attemptOf(t tasks.Step) attempt { return attempt{t.Run, t.Step, t.Iteration, t.Attempt} }

func attemptOfWork(w *engine.Work) attempt {
	return attempt{string(w.Ref.Run), w.Ref.Step, w.Ref.Iteration, w.Attempt}
}

// Why a step in flight is told to stop. After none of these is a result recorded.
var (
	errAbandoned = errors.New("the step was cancelled")
	errTaken     = fmt.Errorf("the step is another worker's by now: %w", connectors.ErrHandedOver)
	errLeaseOver = fmt.Errorf("no sign of life reached the database for the length of a lease: %w", connectors.ErrHandedOver)
	errDrained   = fmt.Errorf("the worker is stopping and hands the step back: %w", connectors.ErrHandedOver)
)

// job is a step this process has a lease on.
type job struct {
	lease  engine.Lease
	cancel context.CancelCauseFunc
	until  time.Time // when the lease is over, unless a sign of life gets through
	body   bool      // the work goes on; false when only its result has to be recorded
}

// doneKept is how many finished attempts are remembered.
const doneKept = 8192

// held knows what this process is doing and what it has just done, so that the
// second hint about a step costs no question to the database.
type held struct {
	mu   sync.Mutex
	jobs map[attempt]*job     // nil while it is being claimed
	done *recent.Set[attempt] // were one in it by mistake, another process would get it from the sweep
}

func newHeld() *held {
	return &held{jobs: map[attempt]*job{}, done: recent.NewSet[attempt](doneKept)}
}

// known tells whether a hint about a has nothing new to say.
func (h *held) known(a attempt) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.has(a)
}

func (h *held) has(a attempt) bool {
	if _, ok := h.jobs[a]; ok {
		return true
	}
	return h.done.Has(a)
}

// begin notes that a is about to be claimed; false when it is known already.
func (h *held) begin(a attempt) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.has(a) {
		return false
	}
	h.jobs[a] = nil
	return true
}

// refused notes that a could not be claimed. Meanwhile it may have been claimed here
// in another way, with the result of the step before it: that one stays.
func (h *held) refused(a attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.jobs[a] == nil {
		delete(h.jobs, a)
	}
}

// hold notes that a was claimed.
func (h *held) hold(a attempt, j *job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.jobs[a] = j
}

// recording notes that the work is over and its result is being recorded.
func (h *held) recording(j *job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	j.body = false
}

// end notes that this process is through with a. Only what it finished itself is
// remembered: everything else may come back under the same number.
func (h *held) end(a attempt, finished bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.jobs, a)
	if finished {
		h.done.Add(a)
	}
}

// leases lists all leases this process has.
func (h *held) leases() []engine.Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]engine.Lease, 0, len(h.jobs))
	for _, j := range h.jobs {
		if j != nil {
			out = append(out, j.lease)
		}
	}
	return out
}

// extend notes that a sign of life for leases got through.
func (h *held) extend(leases []engine.Lease, until time.Time) {
	tokens := make(map[string]struct{}, len(leases))
	for _, l := range leases {
		tokens[l.Token] = struct{}{}
	}
	h.each(func(j *job) {
		if _, ok := tokens[j.lease.Token]; ok {
			j.until = until
		}
	})
}

// lose stops the jobs whose leases are lost, and says why.
func (h *held) lose(leases []engine.Lease, why error) (n int) {
	tokens := make(map[string]struct{}, len(leases))
	for _, l := range leases {
		tokens[l.Token] = struct{}{}
	}
	h.each(func(j *job) {
		if _, ok := tokens[j.lease.Token]; ok {
			j.cancel(why)
			n++
		}
	})
	return n
}

// expire stops the jobs whose leases are over by now.
func (h *held) expire(now time.Time) (n int) {
	h.each(func(j *job) {
		if !now.Before(j.until) {
			j.cancel(errLeaseOver)
			n++
		}
	})
	return n
}

// drain stops the jobs that are still at work and lists their leases.
func (h *held) drain() (leases []engine.Lease) {
	h.each(func(j *job) {
		if j.body {
			j.cancel(errDrained)
			leases = append(leases, j.lease)
		}
	})
	return leases
}

func (h *held) each(fn func(*job)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, j := range h.jobs {
		if j != nil {
			fn(j)
		}
	}
}
