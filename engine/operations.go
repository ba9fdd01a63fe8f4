package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/10ex/flows/engine/expression"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/tasks"
)

// ErrLeaseLost tells a worker that the step is no longer its own: the run was
// cancelled, or it was silent for too long. What it has to say does not count.
var ErrLeaseLost = errors.New("the lease was lost")

// Start starts a run of a workflow.
func (e *Engine) Start(ctx context.Context, req StartRequest) (*models.Run, error) {
	wf, err := e.workflows.Get(ctx, workflowKey{req.Workspace, req.Workflow})
	if err != nil {
		return nil, fmt.Errorf("workflow %s: %w", req.Workflow, err)
	}
	if wf.Status != models.WorkflowActive {
		return nil, models.Conflict(models.CodeWorkflowNotActive, "workflow %s is %s: only an active one can be started", wf.ID, wf.Status)
	}
	version, err := e.runnable(ctx, wf, req.Version)
	if err != nil {
		return nil, err
	}
	def, err := e.cache.get(ctx, req.Workspace, req.Workflow, version)
	if err != nil {
		return nil, err
	}
	payload, err := checkedPayload(def, req.Payload)
	if err != nil {
		return nil, err
	}
	run := e.newRun(req.ID, wf, version, payload)
	run.TriggerType, run.TriggerID, run.EventID, run.Metadata = req.Trigger, req.TriggerID, req.EventID, req.Metadata
	run.Depth = req.Depth
	return e.startControlled(ctx, def, runStarts{run: run})
}

// runnable gives the version to run: the current one, or another that is not
// archived.
func (e *Engine) runnable(ctx context.Context, wf *models.Workflow, asked *int) (int, error) {
	if asked == nil || *asked == wf.Version {
		return wf.Version, nil
	}
	v, err := e.deps.Store.For(wf.WorkspaceID).Version(ctx, wf.ID, *asked)
	if err != nil {
		return 0, fmt.Errorf("workflow %s version %d: %w", wf.ID, *asked, err)
	}
	if v.ArchivedAt != nil {
		return 0, models.Conflict(models.CodeVersionArchived, "version %d of workflow %s is archived", *asked, wf.ID)
	}
	return v.Number, nil
}

func checkedPayload(def *definition, raw json.RawMessage) (json.RawMessage, error) {
	payload, err := def.checkPayload(raw)
	if err == nil {
		if _, bad := expression.Decode(payload); bad != nil {
			err = &models.InvalidError{Fields: []models.FieldError{{Msg: "the payload is not JSON, or too deep", Type: "json"}}}
		}
	}
	if invalid, ok := errors.AsType[*models.InvalidError](err); ok {
		return nil, &models.InvalidError{Fields: models.Under(invalid.Fields, "payload")}
	}
	return payload, err
}

func (e *Engine) newRun(id models.RunID, wf *models.Workflow, version int, payload json.RawMessage) *models.Run {
	return &models.Run{
		WorkspaceID: wf.WorkspaceID, ID: id, WorkflowID: wf.ID, WorkflowVersion: version, WorkflowName: wf.Name,
		Status: models.RunQueued, TriggerType: models.TriggerManual, Payload: payload, CreatedAt: e.deps.Clock.Now(),
	}
}

func (e *Engine) start(ctx context.Context, def *definition, s runStarts) (*models.Run, error) {
	o := &op{ref: store.RunRef{Workspace: s.run.WorkspaceID, Run: s.run.ID}, what: s, def: def}
	if err := e.do(ctx, o); err != nil {
		return nil, err
	}
	return e.whole(ctx, o)
}

// Rerun starts a run like an earlier one.
func (e *Engine) Rerun(ctx context.Context, ref store.RunRef, req RerunRequest) (*models.Run, error) {
	tenant := e.deps.Store.For(ref.Workspace)
	old, err := tenant.Run(ctx, ref.Run)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", ref.Run, err)
	}
	wf, err := tenant.Workflow(ctx, old.WorkflowID)
	if err != nil {
		return nil, fmt.Errorf("workflow %s: %w", old.WorkflowID, err)
	}
	if wf.Status != models.WorkflowActive {
		return nil, models.Conflict(models.CodeWorkflowNotActive, "workflow %s is %s: only an active one can be started", wf.ID, wf.Status)
	}
	version := old.WorkflowVersion
	if req.Version != nil {
		version = *req.Version
	}
	if version, err = e.runnable(ctx, wf, &version); err != nil {
		return nil, err
	}
	def, err := e.cache.get(ctx, ref.Workspace, wf.ID, version)
	if err != nil {
		return nil, err
	}
	payload := old.Payload
	if req.Payload != nil {
		payload = req.Payload
	}
	if payload, err = checkedPayload(def, payload); err != nil {
		return nil, err
	}
	run := e.newRun(req.ID, wf, version, payload)
	run.TriggerType, run.TriggerID, run.EventID, run.Metadata = old.TriggerType, old.TriggerID, old.EventID, old.Metadata
	run.RerunOf, run.Depth = &old.ID, old.Depth
	s := runStarts{run: run, from: req.FromStep}
	if req.FromStep != "" {
		if s.earlier, err = e.earlier(ctx, def, old, req.FromStep); err != nil {
			return nil, err
		}
	}
	return e.startControlled(ctx, def, s)
}

// earlier gives the rows of the steps of a run that a rerun goes on from.
func (e *Engine) earlier(ctx context.Context, def *definition, old *models.Run, from string) ([]*models.Step, error) {
	if def.nodes[from] == nil {
		return nil, &models.InvalidError{Fields: []models.FieldError{{
			Loc: []any{"from_step"}, Msg: fmt.Sprintf("version %d has no step %q", def.version, from), Type: "unknown",
		}}}
	}
	if !old.Status.Ended() {
		return nil, models.Conflict(models.CodeInvalidState, "run %s is %s: a rerun from a step needs one that has ended", old.ID, old.Status)
	}
	return e.deps.Store.For(old.WorkspaceID).Steps(ctx, old.ID)
}

// Pause keeps a run from starting anything new.
func (e *Engine) Pause(ctx context.Context, ref store.RunRef) (*models.Run, error) {
	return e.control(ctx, ref, runPaused{})
}

// Resume lets a paused run go on.
func (e *Engine) Resume(ctx context.Context, ref store.RunRef) (*models.Run, error) {
	return e.control(ctx, ref, runResumed{})
}

// Cancel ends a run and everything open in it.
func (e *Engine) Cancel(ctx context.Context, ref store.RunRef) (*models.Run, error) {
	return e.control(ctx, ref, runCancelled{})
}

func (e *Engine) control(ctx context.Context, ref store.RunRef, h happening) (*models.Run, error) {
	o := &op{ref: ref, what: h}
	if err := e.do(ctx, o); err != nil {
		return nil, err
	}
	return e.whole(ctx, o)
}

// whole gives the run of an operation with the fields the engine does not read.
// It is the run after the operation, whatever happened since.
func (e *Engine) whole(ctx context.Context, o *op) (*models.Run, error) {
	run := o.run
	if _, starts := o.what.(runStarts); starts && len(o.plans) > 0 {
		return run, nil
	}
	full, err := e.deps.Store.For(run.WorkspaceID).Run(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	run.Payload = full.Payload
	if run.Output == nil && run.Status.Ended() {
		run.Output = full.Output
	}
	return run, nil
}

// Decide answers an approval a run waits for.
func (e *Engine) Decide(ctx context.Context, ref store.RunRef, step string, d Decision) (*models.Run, error) {
	o := &op{ref: ref, what: decided{key: theStep(step), decision: d}}
	return e.answered(ctx, o, "step %q of run %s is not waiting for approval", step, ref.Run)
}

func (e *Engine) answered(ctx context.Context, o *op, otherwise string, args ...any) (*models.Run, error) {
	if err := e.do(ctx, o); err != nil {
		return nil, err
	}
	if o.plans[0].refused != "" {
		return nil, models.Conflict(models.CodeInvalidState, otherwise, args...)
	}
	return e.whole(ctx, o)
}

// Lease is a worker's right to a step. It lasts until it is finished, handed
// back, or not renewed for Engine.Lease.
type Lease struct {
	Ref   store.StepRef
	Token string
	// WorkflowID and Version say what the run follows. They are known to whoever has
	// the step, and spare a round trip when its result is recorded.
	WorkflowID models.WorkflowID
	Version    int
}

// Work is a step to execute, with everything it takes.
type Work struct {
	Lease
	Step           *models.GraphStep // shared: not to be changed
	Input          json.RawMessage
	IdempotencyKey string // the same for every attempt
	Attempt        int
	Timeout        time.Duration
	Queue          string
	// HeldBy is why the step was put back before, see PutBack.
	HeldBy string
}

// ClaimRequest asks for the step a task names.
type ClaimRequest struct {
	Task   tasks.Step
	Worker string
	// Token is to be the one of the lease, made by NewToken. Who asks again with the
	// same, for the answer was lost, is given the step it has. Empty: any.
	Token string
}

// NewToken makes a token that no other claim has.
func NewToken() string { return ids.New("lease") }

func taskRef(t tasks.Step) (store.RunRef, stepKey) {
	return store.RunRef{Workspace: models.WorkspaceID(t.Workspace), Run: models.RunID(t.Run)}, stepKey{t.Step, t.Iteration}
}

// Claim makes a step the worker's own. It returns nil without an error where
// there is nothing to do: another worker has it, it is not due, or its run is
// not active.
func (e *Engine) Claim(ctx context.Context, req ClaimRequest) (*Work, error) {
	ref, key := taskRef(req.Task)
	if req.Token == "" {
		req.Token = NewToken()
	}
	o := &op{ref: ref, what: stepClaimed{key: key, attempt: req.Task.Attempt, worker: req.Worker, token: req.Token}}
	if err := e.do(ctx, o); err != nil {
		if errors.Is(err, models.ErrNotFound) {
			return nil, nil //nolint:nilnil // the task outlived its run
		}
		return nil, err
	}
	return e.work(ctx, o.run, o.plans[0].claimed)
}

func (e *Engine) work(ctx context.Context, run *models.Run, row *models.Step) (*Work, error) {
	if row == nil {
		return nil, nil //nolint:nilnil // nothing was claimed
	}
	def, err := e.cache.get(ctx, run.WorkspaceID, run.WorkflowID, run.WorkflowVersion)
	if err != nil {
		return nil, err
	}
	n := def.nodes[row.StepID]
	key := string(row.RunID) + ":" + row.StepID
	if row.Iteration != models.NoIteration {
		key += ":" + strconv.Itoa(row.Iteration)
	}
	return &Work{
		Lease: Lease{
			Ref:   store.StepRef{RunRef: store.RunRef{Workspace: row.WorkspaceID, Run: row.RunID}, Step: row.StepID, Iteration: row.Iteration},
			Token: row.LeaseToken, WorkflowID: run.WorkflowID, Version: run.WorkflowVersion,
		},
		Step: n.def, Input: row.Input,
		IdempotencyKey: key, Attempt: row.Attempt, Timeout: n.timeout, Queue: queueOf(n.def.Type), HeldBy: row.Reason,
	}, nil
}

// NextClaim lets Finish claim a successor for the same worker in the same commit,
// which saves a hop where the worker has a slot to spare.
type NextClaim struct {
	Worker string
	Queues []string
}

// FinishRequest is the result of a step. A nil Error means success.
type FinishRequest struct {
	Lease  Lease
	Output json.RawMessage
	Usage  json.RawMessage
	Error  *models.StepError
	// Unknown says that the error may hide an effect: no answer arrived. It counts where
	// one began that must not be repeated, see BeginEffect.
	Unknown    bool
	RetryAfter time.Duration // the other side asked to be left alone that long
	// AwaitRun is a run of the workspace whose end the step waits for after its success,
	// without a worker: what comes of that run is what comes of the step. Empty: none.
	AwaitRun models.RunID
	Next     *NextClaim
}

// Finish records the result of a step and what follows from it. It fails with
// ErrLeaseLost where the step is no longer the worker's.
func (e *Engine) Finish(ctx context.Context, req FinishRequest) (next *Work, err error) {
	o := &op{ref: req.Lease.Ref.RunRef, def: e.cache.known(req.Lease), what: stepFinished{
		key: leaseKey(req.Lease), token: req.Lease.Token, output: req.Output, usage: req.Usage,
		failure: req.Error, unknown: req.Unknown, retryAfter: req.RetryAfter, await: req.AwaitRun,
	}}
	if req.Next != nil {
		o.then = func(p *plan) happening { return nextClaim(p, *req.Next) }
	}
	if err := e.do(ctx, o); err != nil {
		return nil, lostIfGone(err)
	}
	if o.plans[0].refused != "" {
		return nil, ErrLeaseLost
	}
	if len(o.plans) < 2 {
		return nil, nil //nolint:nilnil // nothing was claimed beside it
	}
	return e.work(ctx, o.run, o.plans[1].claimed)
}

func leaseKey(l Lease) stepKey { return stepKey{l.Ref.Step, l.Ref.Iteration} }

func lostIfGone(err error) error {
	if errors.Is(err, models.ErrNotFound) {
		return ErrLeaseLost
	}
	return err
}

// nextClaim claims the first step of a plan that can begin now.
func nextClaim(p *plan, n NextClaim) happening {
	for _, d := range p.deliveries {
		queue, _ := tasks.Rank(d.Task.Queue)
		if d.Wake || !d.At.IsZero() || !slices.Contains(n.Queues, queue) {
			continue
		}
		row := p.steps[stepKey{d.Task.Step, d.Task.Iteration}]
		if row == nil || row.Status != models.StepQueued || row.Input == nil {
			continue // the input of an iteration that waited is not in hand
		}
		return stepClaimed{key: keyOf(row), attempt: row.Attempt, worker: n.Worker, token: NewToken()}
	}
	return nil
}

// BeginEffect asks whether the step is still the worker's, before it touches the
// outside. If to do so twice is not as good as once, that it began is noted: should
// the worker not tell what came of it, the attempt ends as outcome_unknown, and what
// follows is the choice of the step's author.
func (e *Engine) BeginEffect(ctx context.Context, l Lease, repeatable bool) error {
	return e.leased(ctx, l, effectBegins{key: leaseKey(l), token: l.Token, repeatable: repeatable})
}

// Release hands steps back unfinished. Others may claim them at once, but for those
// with an effect of which nobody knows whether it happened, see BeginEffect.
func (e *Engine) Release(ctx context.Context, leases []Lease) error {
	var errs []error
	for _, l := range leases {
		h := leaseReturned{key: leaseKey(l), token: l.Token, why: "its worker is stopping"}
		if err := e.leased(ctx, l, h); !errors.Is(err, ErrLeaseLost) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// PutBack hands a step back that has to wait before it may begin, as the same attempt.
// Why, in a few words, is shown to people, and to whoever claims the step next.
func (e *Engine) PutBack(ctx context.Context, l Lease, after time.Duration, why string) error {
	return e.leased(ctx, l, leaseReturned{key: leaseKey(l), token: l.Token, after: after, why: why})
}

func (e *Engine) leased(ctx context.Context, l Lease, h happening) error {
	o := &op{ref: l.Ref.RunRef, def: e.cache.known(l), what: h}
	if err := e.do(ctx, o); err != nil {
		return lostIfGone(err)
	}
	if o.plans[0].refused != "" {
		return ErrLeaseLost
	}
	return nil
}

// Heartbeat renews leases and tells which were lost.
func (e *Engine) Heartbeat(ctx context.Context, worker string, leases []Lease) (lost []Lease, err error) {
	if len(leases) == 0 {
		return nil, nil
	}
	kept, err := e.deps.Store.RenewLeases(ctx, worker, heldLeases(leases), e.deps.Clock.Now().Add(e.cfg.Lease))
	if err != nil {
		return nil, err
	}
	for _, l := range leases {
		if !kept[l.Token] {
			lost = append(lost, l)
		}
	}
	return lost, nil
}

func heldLeases(leases []Lease) []store.HeldLease {
	held := make([]store.HeldLease, len(leases))
	for i, l := range leases {
		held[i] = store.HeldLease{StepRef: l.Ref, Token: l.Token}
	}
	return held
}

// Abandoned tells which of leases that are lost are of steps that nobody goes on with:
// they were cancelled, or have failed. All others are another worker's, will be, or are
// done.
func (e *Engine) Abandoned(ctx context.Context, lost []Lease) ([]Lease, error) {
	if len(lost) == 0 {
		return nil, nil
	}
	status, err := e.deps.Store.LeasedSteps(ctx, heldLeases(lost))
	if err != nil {
		return nil, err
	}
	var abandoned []Lease
	for _, l := range lost {
		switch status[l.Token] {
		case models.StepPending, models.StepQueued, models.StepRunning, models.StepWaiting, models.StepCompleted:
		case models.StepFailed, models.StepSkipped, models.StepCancelled, "": // or the run is gone altogether
			abandoned = append(abandoned, l)
		}
	}
	return abandoned, nil
}

// Wake ends the wait a task names, if it is due.
func (e *Engine) Wake(ctx context.Context, t tasks.Step) error {
	ref, key := taskRef(t)
	var what happening = waitDue{key: key}
	if key.id == runAlarm {
		what = runDue{}
	}
	err := e.do(ctx, &op{ref: ref, what: what})
	if errors.Is(err, models.ErrNotFound) {
		return nil
	}
	return err
}
