package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/hibiken/asynq"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/internal/trace"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/tasks"
)

// errDatabaseAway is the one reason for which a task is given back to the queue:
// the database could not be asked. Everything else has an outcome on record.
var errDatabaseAway = errors.New("the database could not be reached")

// ProcessTask does what a task asks for. It obeys the lease on the step and not
// asynq's context, which ends when Redis is away for a while.
func (w *Worker) ProcessTask(ctx context.Context, t *asynq.Task) error {
	if tasks.IsJob(t.Type()) {
		return w.job(ctx, t)
	}
	s, err := tasks.DecodeStep(t.Payload())
	if err != nil {
		w.log.ErrorContext(ctx, "task was thrown away", slog.String("type", t.Type()), obs.Err(err))
		return err
	}
	s.Queue = tasks.QueueDefault
	if queue, ok := asynq.GetQueueName(ctx); ok {
		s.Queue = queue
	}
	ctx = context.WithoutCancel(ctx)
	switch t.Type() {
	case tasks.TypeWake:
		return w.wake(ctx, s)
	case tasks.TypeStep:
		return w.step(ctx, s)
	}
	w.log.ErrorContext(ctx, "task was thrown away", slog.String("type", t.Type()))
	return fmt.Errorf("task of type %q: %w", t.Type(), asynq.SkipRetry)
}

func (w *Worker) wake(ctx context.Context, s tasks.Step) error {
	ctx = obs.With(ctx, obs.Run(models.RunID(s.Run)), obs.Step(s.Step))
	ctx, stop := context.WithTimeout(ctx, wakeTimeout)
	defer stop()
	return w.judge(ctx, w.deps.Engine.Wake(ctx, s))
}

const wakeTimeout = 30 * time.Second

// judge sorts errors of the engine: a database that is away passes, and the task
// comes again; anything else is told here, and the sweep takes the step up again.
func (w *Worker) judge(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, models.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", errDatabaseAway, err)
	}
	w.log.ErrorContext(ctx, "task could not be done, the sweep takes the step up again", obs.Err(err))
	return nil
}

// step carries out a step that a task names, when a slot is free.
func (w *Worker) step(ctx context.Context, s tasks.Step) error {
	if w.held.known(attemptOf(s)) {
		w.metrics.tasks.WithLabelValues("known").Inc()
		return nil
	}
	queue, rank := tasks.Rank(s.Queue)
	agent := queue == tasks.QueueAgents
	if err := w.await(ctx, s, agent, rank); err != nil {
		return err
	}
	if !w.begin() {
		w.slots.release(s.Workspace, agent)
		return errStopping
	}
	defer w.jobs.Done()
	return w.carryOut(ctx, s, agent)
}

// patience is how long a task waits for a slot here before it is offered to
// others as well.
const patience = 200 * time.Millisecond

// await waits for a slot. While it does, the task is under way in the queue and
// nobody else would see it; so after a while it is put on the lane, too.
func (w *Worker) await(ctx context.Context, s tasks.Step, agent bool, rank int) error {
	if w.slots.try(s.Workspace, agent) {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	forget := context.AfterFunc(w.running, func() { cancel(errStopping) }) //nolint:contextcheck // both lives count
	defer forget()
	hasty, stop := context.WithTimeoutCause(ctx, patience, errImpatient)
	defer stop()
	if err := w.slots.acquire(hasty, s.Workspace, agent, rank); !errors.Is(err, errImpatient) {
		return err
	}
	if !w.deps.Broker.Embedded() && w.shares.allow(s.Workspace) {
		pushLane(w.deps.Broker, s, false)
	}
	return w.slots.acquire(ctx, s.Workspace, agent, rank)
}

var errImpatient = errors.New("waited long enough")

// begin counts a job in, unless the worker is stopping.
func (w *Worker) begin() bool {
	w.admit.RLock()
	defer w.admit.RUnlock()
	if w.stopping.Load() {
		return false
	}
	w.jobs.Add(1)
	return true
}

// Offer hands a step over within the process. It returns at once, and false when
// no slot is free; the task in the queue then does it. The end of ctx is not obeyed.
func (w *Worker) Offer(ctx context.Context, s tasks.Step) bool {
	queue, _ := tasks.Rank(s.Queue)
	if !slices.Contains(w.cfg.Queues, queue) || w.held.known(attemptOf(s)) {
		return false
	}
	agent := queue == tasks.QueueAgents
	if !w.slots.try(s.Workspace, agent) {
		return false
	}
	if !w.begin() {
		w.slots.release(s.Workspace, agent)
		return false
	}
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer w.jobs.Done()
		if err := w.carryOut(ctx, s, agent); err != nil {
			w.log.DebugContext(ctx, "offered step was left to the queue", obs.Err(err))
		}
	}()
	return true
}

// OfferWake hands a wait that is due over within the process, as Offer does.
func (w *Worker) OfferWake(ctx context.Context, s tasks.Step) bool {
	if !slices.Contains(w.cfg.Queues, tasks.QueueSystem) || !w.begin() {
		return false
	}
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer w.jobs.Done()
		if err := w.wake(ctx, s); err != nil {
			w.log.DebugContext(ctx, "offered wait was left to the queue", obs.Err(err))
		}
	}()
	return true
}

// carryOut claims a step and does it, and then, in the same slot, what became
// ready with its result. It gives the slot back.
func (w *Worker) carryOut(ctx context.Context, s tasks.Step, agent bool) error {
	a := attemptOf(s)
	if !w.held.begin(a) {
		w.slots.release(s.Workspace, agent)
		w.metrics.tasks.WithLabelValues("known").Inc()
		return nil
	}
	claiming := obs.With(ctx, obs.Run(models.RunID(s.Run)), obs.Step(s.Step), obs.Attempt(s.Attempt))
	work, asked, err := w.claim(claiming, s)
	if work == nil {
		w.held.refused(a)
		w.slots.release(s.Workspace, agent)
		w.metrics.tasks.WithLabelValues("refused").Inc()
		return w.judge(claiming, err)
	}
	w.metrics.tasks.WithLabelValues("claimed").Inc()
	chain := 0
	for work != nil {
		work, asked, agent = w.do(ctx, work, asked, agent, chain)
		chain++
	}
	w.slots.release(s.Workspace, agent)
	return nil
}

// claimTimeout bounds one claim; then the queue brings the task again.
const claimTimeout = 30 * time.Second

// claim asks for a step. Where the answer is lost on the way from the database it asks
// again for a while, under the same token: the step may be this worker's already, and
// would lie until the lease is over. The database being away for longer is a matter
// for the queue.
func (w *Worker) claim(ctx context.Context, s tasks.Step) (*engine.Work, time.Time, error) {
	ctx, stop := context.WithTimeout(ctx, claimTimeout)
	defer stop()
	again, enough := context.WithTimeout(ctx, w.deps.Engine.Lease()/4)
	defer enough()
	forget := context.AfterFunc(w.running, enough) //nolint:contextcheck // both lives count
	defer forget()
	req := engine.ClaimRequest{Task: s, Worker: w.cfg.ID, Token: engine.NewToken()}
	for tries := (backoff{}); ; {
		asked := time.Now() // the lease began after this
		work, err := w.deps.Engine.Claim(ctx, req)
		if !errors.Is(err, models.ErrUnavailable) || tries.wait(again) != nil {
			return work, asked, err
		}
	}
}

// do does one claimed step and records what came of it. It returns the next one,
// if one was claimed with the result, and the kind of slot it is then in.
func (w *Worker) do(ctx context.Context, work *engine.Work, claimed time.Time, agent bool, chain int) (*engine.Work, time.Time, bool) {
	ctx = obs.With(ctx, obs.Workspace(work.Ref.Workspace), obs.Run(work.Ref.Run),
		obs.Step(work.Ref.Step), obs.Attempt(work.Attempt))
	ctx, span := w.deps.Tracer.Step(ctx, trace.Step{
		Workspace: work.Ref.Workspace, Run: work.Ref.Run, Workflow: work.WorkflowID, Version: work.Version,
		Step: work.Step, Iteration: work.Ref.Iteration, Attempt: work.Attempt,
	})
	ctx, cancel := context.WithCancelCause(ctx) // ends with the lease
	defer cancel(nil)
	a := attemptOfWork(work)
	j := &job{lease: work.Lease, cancel: cancel, until: w.leaseEnd(claimed), body: true}
	w.held.hold(a, j)

	start := time.Now()
	wctx, stop := context.WithTimeoutCause(ctx, work.Timeout, errTimeout)
	out := w.attemptWork(wctx, work)
	stop()
	w.held.recording(j)
	tell := func(outcome string) {
		w.metrics.done(work, outcome, start)
		span.End(outcome, out.err)
	}
	if err := ctx.Err(); err != nil {
		w.held.end(a, false)
		tell("stopped")
		w.log.InfoContext(ctx, "step was stopped", obs.Err(context.Cause(ctx)))
		return nil, time.Time{}, agent
	}
	if out.held != nil {
		w.putBack(ctx, work, out.held)
		w.held.end(a, false)
		tell("held back")
		return nil, time.Time{}, agent
	}

	req := engine.FinishRequest{
		Lease: work.Lease, Output: out.output, Usage: out.usage, Error: out.err, Unknown: out.unknown, RetryAfter: out.retryAfter, AwaitRun: out.await,
	}
	next, asked, slot, err := w.finish(ctx, req, agent, chain)
	w.held.end(a, err == nil)
	switch {
	case err != nil:
		tell("dropped")
		w.log.WarnContext(ctx, "the result of a step was dropped", obs.Err(err))
	case out.err != nil:
		tell("failed")
	default:
		tell("completed")
	}
	return next, asked, slot
}

func (w *Worker) leaseEnd(begun time.Time) time.Time {
	lease := w.deps.Engine.Lease()
	return begun.Add(lease - lease/10) // stop a little before others may begin
}

// finish records a result, and claims what follows from it where that can be done
// at once. While the database is away it tries again for as long as the lease is
// kept: the step has run, and losing its result would run it twice.
func (w *Worker) finish(ctx context.Context, req engine.FinishRequest, agent bool, chain int) (*engine.Work, time.Time, bool, error) {
	slot := agent
	if w.mayFollow(string(req.Lease.Ref.Workspace), chain) {
		// A step of an agent may follow only where agents have a slot to spare.
		slot = agent || w.slots.change(agent, true)
		req.Next = &engine.NextClaim{Worker: w.cfg.ID, Queues: w.queuesOf(slot)}
	}
	var (
		next  *engine.Work
		asked time.Time
		err   error
	)
	for tries := (backoff{}); ; {
		asked = time.Now()
		next, err = w.deps.Engine.Finish(ctx, req)
		if err == nil || errors.Is(err, engine.ErrLeaseLost) {
			break
		}
		if ctx.Err() != nil { // the lease is over; whose fault the error is does not matter
			err = context.Cause(ctx)
			break
		}
		if !errors.Is(err, models.ErrUnavailable) {
			if req.Error != nil && req.Error.Code == codeInternal {
				break
			}
			// The result itself cannot be recorded. That is an outcome, too.
			w.log.ErrorContext(ctx, "the result of a step could not be recorded", obs.Err(err))
			req.Output, req.Usage, req.RetryAfter, req.AwaitRun, req.Unknown = nil, nil, 0, "", false
			req.Error = &models.StepError{Code: codeInternal, Message: "the result could not be recorded", Retryable: true}
		}
		if ended := tries.wait(ctx); ended != nil {
			err = ended
			break
		}
	}
	want := agent
	if next != nil {
		want = next.Queue == tasks.QueueAgents
	}
	w.slots.change(slot, want)
	return next, asked, want, err
}

// longChain is how many steps may follow each other in one slot while others wait
// for one.
const longChain = 8

func (w *Worker) mayFollow(workspace string, chain int) bool {
	return !w.stopping.Load() && (chain < longChain || !w.slots.waiting()) && !w.slots.outdone(workspace)
}

func (w *Worker) queuesOf(agent bool) []string {
	queues := slices.Clone(w.cfg.Queues)
	if !agent {
		queues = slices.DeleteFunc(queues, func(q string) bool { return q == tasks.QueueAgents })
	}
	return queues
}
