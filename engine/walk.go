package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/10ex/flows/engine/expression"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/tasks"
)

// walk makes one plan. It reads the snapshot, keeps what it changes in the plan,
// and notes what it would have to read in need.
type walk struct {
	def   *definition
	snap  *snapshot
	now   time.Time
	rules rules
	plan  *plan
	need  needs
	// ending is what the last line of the log says beside its type.
	ending map[string]any
	told   []told

	// arrivals are edges that were settled and whose targets have not been looked
	// at. A queue rather than recursion: a cascade may be as long as the graph.
	arrivals []arrival
}

type arrival struct {
	edge *edge
	live bool
	// reason says why a dead edge is dead.
	reason string
}

// errNeed stops a walk that has noted in need what it lacks.
var errNeed = errors.New("more has to be read")

func (w *walk) happen(h happening) error {
	if err := w.react(h); err != nil || w.plan.refused != "" {
		return err
	}
	if err := w.drain(); err != nil {
		return err
	}
	if err := w.conclude(); err != nil {
		return err
	}
	w.publish()
	return nil
}

func (w *walk) react(h happening) error {
	switch h := h.(type) {
	case runStarts:
		return w.start(h)
	case stepClaimed:
		return w.claim(h)
	case stepFinished:
		return w.finish(h)
	case effectBegins:
		return w.beginEffect(h)
	case leaseReturned:
		return w.returnLease(h)
	case leaseOver:
		return w.loseLease(h)
	case deliveryLost:
		return w.redeliver(h)
	case waitDue:
		return w.wake(h)
	case eventArrived:
		return w.signal(h)
	case runAwaited:
		return w.awaitedRun(h)
	case decided:
		return w.decide(h)
	case nothingOpen:
		return w.endStranded()
	case runLetIn:
		return w.letIn(h)
	case runFolded:
		return w.fold(h)
	case runDue:
		return w.runIsDue()
	case runPaused:
		return w.pause()
	case runResumed:
		return w.resume()
	case runCancelled:
		return w.cancel(h)
	default:
		return fmt.Errorf("engine: unknown happening %T", h)
	}
}

// run gives the run to change.
func (w *walk) run() *models.Run {
	if w.plan.run == nil {
		r := *w.snap.run
		w.plan.run = &r
	}
	return w.plan.run
}

// readRun gives the run to read.
func (w *walk) readRun() *models.Run {
	if w.plan.run != nil {
		return w.plan.run
	}
	return w.snap.run
}

// read gives a row to read, or nil where there is none.
func (w *walk) read(k stepKey) (*models.Step, error) {
	if row, ok := w.plan.steps[k]; ok {
		return row, nil
	}
	if row, ok := w.snap.steps[k]; ok {
		return row, nil
	}
	if w.snap.complete {
		return nil, nil //nolint:nilnil // there is no such row
	}
	w.need.steps[k] = true
	return nil, errNeed
}

// change gives a row that exists, to change it.
func (w *walk) change(row *models.Step) *models.Step {
	k := keyOf(row)
	if have, ok := w.plan.steps[k]; ok {
		return have
	}
	c := *row
	w.plan.steps[k] = &c
	w.plan.order = append(w.plan.order, k)
	return &c
}

// create makes the row of a step.
func (w *walk) create(n *node, iteration int) *models.Step {
	k := stepKey{n.id(), iteration}
	row := &models.Step{
		WorkspaceID: w.readRun().WorkspaceID, RunID: w.readRun().ID, StepID: n.id(), Iteration: iteration,
		Type: n.def.Type, Status: models.StepPending,
	}
	w.plan.steps[k] = row
	w.plan.created[k] = true
	w.plan.order = append(w.plan.order, k)
	return row
}

// log adds a line to the run's log.
func (w *walk) log(typ models.RunEventType, row *models.Step, data map[string]any) {
	r := w.run()
	r.LastSeq++
	e := &models.RunEvent{WorkspaceID: r.WorkspaceID, RunID: r.ID, Seq: r.LastSeq, Type: typ, At: w.now}
	if row != nil {
		e.StepID = row.StepID
		if row.Iteration != models.NoIteration {
			if data == nil {
				data = map[string]any{}
			}
			data["iteration"] = row.Iteration
		}
	}
	for name, v := range data {
		switch at := v.(type) {
		case time.Time:
			data[name] = models.TimeText(at)
		case *time.Time:
			if at != nil {
				data[name] = models.TimeText(*at)
			}
		}
	}
	if len(data) > 0 {
		e.Data = mustJSON(data)
	} else {
		e.Data = json.RawMessage("{}")
	}
	w.plan.events = append(w.plan.events, e)
}

// mustJSON writes values that are made of JSON values.
func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("engine: " + err.Error())
	}
	return b
}

// paused tells whether nothing may start for now.
func (w *walk) paused() bool { return w.readRun().Status == models.RunPaused }

// settle notes which outgoing edges of a step are alive. Their targets are looked
// at when what happened has been recorded.
func (w *walk) settle(n *node, live func(*edge) bool, reason string) {
	for _, e := range n.out {
		w.arrivals = append(w.arrivals, arrival{edge: e, live: live(e), reason: reason})
	}
}

// drain looks at targets of settled edges, in the order they were settled.
func (w *walk) drain() error {
	for len(w.arrivals) > 0 {
		a := w.arrivals[0]
		w.arrivals = w.arrivals[1:]
		if w.readRun().Halted {
			continue // what is halted starts nothing more
		}
		if err := w.arrive(a); err != nil {
			return err
		}
	}
	return nil
}

// arrive counts an edge at its target and decides whether the target starts, is
// skipped, or waits for more.
func (w *walk) arrive(a arrival) error {
	n := a.edge.to
	if len(n.in) == 1 {
		if a.live {
			return w.startStep(n, w.create(n, models.NoIteration))
		}
		w.skip(n, w.create(n, models.NoIteration), a.reason)
		return nil
	}
	row, err := w.read(theStep(n.id()))
	switch {
	case err != nil:
		return err
	case row == nil:
		row = w.create(n, models.NoIteration)
	case row.Status != models.StepPending:
		return nil // the join has opened, or can never open: the first decision stands
	default:
		row = w.change(row)
	}
	row.Settled++
	if a.live {
		row.Arrived++
	}
	switch verdict, reason := join(n.def.Join, row.Arrived, row.Settled, len(n.in)); verdict {
	case joinOpens:
		return w.startStep(n, row)
	case joinDead:
		if reason == "" {
			reason = a.reason
		}
		w.skip(n, row, reason)
	case joinWaits:
	}
	return nil
}

type joinVerdict int

const (
	joinWaits joinVerdict = iota
	joinOpens
	joinDead
)

// join decides over a join: arrived of settled edges came in alive, out of total.
func join(j *models.Join, arrived, settled, total int) (verdict joinVerdict, reason string) {
	want := 0 // all
	switch {
	case j == nil:
	case j.Any:
		want = 1
	default:
		want = j.Count
	}
	switch {
	case want == 0 && settled == total && arrived > 0:
		return joinOpens, ""
	case want == 0 && settled == total:
		return joinDead, ""
	case want > 0 && arrived >= want:
		return joinOpens, ""
	case want > 1 && arrived+total-settled < want:
		return joinDead, fmt.Sprintf("only %d of the %d edges it waits for can still arrive", arrived+total-settled, want)
	case want > 0 && arrived+total-settled < want:
		return joinDead, ""
	}
	return joinWaits, ""
}

// skip settles a step that will not run, and with it all its edges.
func (w *walk) skip(n *node, row *models.Step, reason string) {
	row.Status, row.Reason, row.FinishedAt = models.StepSkipped, reason, &w.now
	w.log(models.EventStepSkipped, row, map[string]any{"reason": reason})
	w.settle(n, func(*edge) bool { return false }, fmt.Sprintf("step %q was skipped", n.id()))
}

// startStep begins a step whose turn has come. row is new or pending.
func (w *walk) startStep(n *node, row *models.Step) error {
	if n.condition != nil {
		ok, failure, err := w.evalBool(n, n.condition, "if", nil)
		switch {
		case err != nil:
			return err
		case failure != nil:
			return w.failStep(n, row, failure)
		case !ok:
			w.skip(n, row, "its condition was false")
			return nil
		}
	}
	switch n.def.Type {
	case models.StepTypeBranch:
		return w.branch(n, row)
	case models.StepTypeWait:
		return w.openWait(n, row)
	case models.StepTypeAgent, models.StepTypeConnector:
		if n.foreach != nil {
			return w.expand(n, row)
		}
		return w.queueStep(n, row)
	default:
		return fmt.Errorf("engine: step %q has unknown type %q", n.id(), n.def.Type)
	}
}

// queueStep makes a step ready for a worker, its input filled in.
func (w *walk) queueStep(n *node, row *models.Step) error {
	input, failure, err := w.render(n, nil)
	switch {
	case err != nil:
		return err
	case failure != nil:
		return w.failStep(n, row, failure)
	}
	row.Input = input
	w.plan.inputs[keyOf(row)] = true
	w.run().ActiveSteps++
	w.queue(n, row, 1, w.now)
	w.log(models.EventStepQueued, row, nil)
	return nil
}

// queue puts an attempt of a step up for claiming from due on.
func (w *walk) queue(n *node, row *models.Step, attempt int, due time.Time) {
	row.Status, row.Attempt, row.Deliveries = models.StepQueued, attempt, 0
	row.LeaseToken, row.WorkerID, row.EffectAt = "", "", nil
	row.QueuedAt, row.DueAt, row.StartedAt, row.FinishedAt = &w.now, &due, nil, nil
	w.deliver(n, row)
}

// maxRedeliver bounds how long a queued step may lie unseen.
const maxRedeliver = 5 * time.Minute

// deliver hands a queued step to the queue, now or when it is due, and notes when
// the sweep has to see whether that worked.
func (w *walk) deliver(n *node, row *models.Step) {
	if w.paused() {
		row.AttendAt = nil // resume delivers it
		return
	}
	due := *row.DueAt
	if due.After(w.now.Add(w.rules.horizon)) {
		row.AttendAt = &due
		return
	}
	d := Delivery{Task: w.task(n, row)}
	// The longer it has been lying, the longer until the next look: a queue that is
	// long must not be made longer by looking.
	wait := min(max(w.rules.redeliver, w.now.Sub(due)), maxRedeliver)
	at := w.now.Add(wait)
	if due.After(w.now) {
		d.At = due
		at = due.Add(wait)
	}
	row.AttendAt = &at
	w.plan.deliveries = append(w.plan.deliveries, d)
}

func (w *walk) task(n *node, row *models.Step) tasks.Step {
	return tasks.Step{
		Workspace: string(row.WorkspaceID), Run: string(row.RunID), Step: row.StepID, Iteration: row.Iteration,
		Attempt: row.Attempt, Delivery: row.Deliveries, Queue: tasks.Ranked(queueOf(n.def.Type), w.def.priority()),
	}
}

// queueOf is the queue that steps of a type go to.
func queueOf(t models.StepType) string {
	if t == models.StepTypeAgent {
		return tasks.QueueAgents
	}
	return tasks.QueueDefault
}

// branch decides which edges to take. That is all a branch does, so it is over at
// once.
func (w *walk) branch(n *node, row *models.Step) error {
	var taken []*edge
	var fallback *edge
	for _, e := range n.out {
		if e.isDefault {
			fallback = e
			continue
		}
		if n.def.Mode != models.BranchAll && len(taken) > 0 {
			continue
		}
		ok, failure, err := w.evalBool(n, e.when, "the condition of the edge to "+e.to.id(), nil)
		switch {
		case err != nil:
			return err
		case failure != nil:
			return w.failStep(n, row, failure)
		case ok:
			taken = append(taken, e)
		}
	}
	if len(taken) == 0 && fallback != nil {
		taken = append(taken, fallback)
	}
	row.Taken = []string{}
	for _, e := range taken {
		row.Taken = append(row.Taken, e.to.id())
	}
	w.begun()
	row.Status, row.StartedAt, row.FinishedAt = models.StepCompleted, &w.now, &w.now
	w.log(models.EventStepCompleted, row, map[string]any{"taken": row.Taken})
	w.settle(n, func(e *edge) bool { return slices.Contains(taken, e) }, fmt.Sprintf("branch %q took another path", n.id()))
	return nil
}

// begun notes that the run has done something.
func (w *walk) begun() {
	if r := w.readRun(); r.StartedAt == nil {
		w.run().StartedAt = &w.now
		w.log(models.EventRunStarted, nil, nil)
		w.tellRun(models.FlowRunStarted)
	}
}

// complete ends a step well and walks on.
func (w *walk) complete(n *node, row *models.Step, output json.RawMessage, on models.EdgeOn) {
	row.Status, row.Output, row.Error, row.FinishedAt, row.AttendAt = models.StepCompleted, output, nil, &w.now, nil
	data := map[string]any{}
	if row.Attempt > 0 {
		data["attempt"] = row.Attempt
	}
	w.log(models.EventStepCompleted, row, data)
	w.settle(n, func(e *edge) bool { return e.on == on }, fmt.Sprintf("step %q did not end that way", n.id()))
}

// failStep ends a step for good: along its error edges if it has some, else the
// run halts.
func (w *walk) failStep(n *node, row *models.Step, failure *models.StepError) error {
	row.Status, row.Error, row.FinishedAt, row.AttendAt = models.StepFailed, failure, &w.now, nil
	w.begun()
	w.log(models.EventStepFailed, row, map[string]any{"error": failure})
	w.tell(models.FlowStepFailed, row, lifecycle{Error: failure})
	if n.hasEdge(models.OnError) && !w.readRun().Halted {
		w.settle(n, func(e *edge) bool { return e.on == models.OnError }, fmt.Sprintf("step %q failed", n.id()))
		return nil
	}
	return w.halt(row, failure)
}

// halt stops a run at a step that failed: what runs finishes, all else is over.
func (w *walk) halt(failed *models.Step, failure *models.StepError) error {
	if w.readRun().Halted {
		return nil // the first failure is the one to name
	}
	r := w.run()
	r.Halted = true
	r.Error = &models.RunError{StepID: failed.StepID, Code: failure.Code, Message: failure.Message}
	w.arrivals = nil
	return w.cancelOpen(fmt.Sprintf("the run failed at step %q", failed.StepID), false)
}

// conclude settles the state of the run after everything else has been.
func (w *walk) conclude() error {
	r := w.readRun()
	if r.Status.Ended() || r.Status == models.RunPaused {
		return nil
	}
	var next models.RunStatus
	switch {
	case r.Hold != models.HoldNone: // nothing has begun
		next = models.RunQueued
	case r.ActiveSteps > 0 && r.StartedAt == nil:
		next = models.RunQueued
	case r.ActiveSteps > 0:
		next = models.RunRunning
	case r.WaitingSteps > 0:
		next = models.RunWaiting
	case r.Halted:
		return w.end(models.RunFailed)
	default:
		failure, err := w.runOutput()
		if err != nil {
			return err
		}
		if failure != nil {
			w.run().Error = &models.RunError{Code: failure.Code, Message: failure.Message}
			return w.end(models.RunFailed)
		}
		return w.end(models.RunCompleted)
	}
	if next != r.Status {
		w.run().Status = next
		if next == models.RunWaiting {
			w.log(models.EventRunWaiting, nil, nil)
			w.tellRun(models.FlowRunWaiting)
		}
	}
	return nil
}

// end is the last thing to happen to a run.
func (w *walk) end(status models.RunStatus) error {
	if w.readRun().Hold == models.HoldNone {
		w.begun()
	}
	r := w.run()
	r.Status, r.FinishedAt = status, &w.now
	if w.def.control != nil {
		w.attendRun()
		r.Hold = models.HoldNone
	}
	switch status {
	case models.RunCompleted:
		w.log(models.EventRunCompleted, nil, nil)
		w.tellRun(models.FlowRunCompleted)
	case models.RunFailed:
		w.log(models.EventRunFailed, nil, map[string]any{"error": r.Error})
		w.tellRun(models.FlowRunFailed)
	case models.RunCancelled:
		w.log(models.EventRunCancelled, nil, w.ending)
		w.tellRun(models.FlowRunCancelled)
	case models.RunQueued, models.RunRunning, models.RunWaiting, models.RunPaused:
		return fmt.Errorf("engine: a run cannot end as %s", status)
	}
	return nil
}

// runOutput fills in the run's output: the template's, or the outputs of the
// steps nothing follows.
func (w *walk) runOutput() (*models.StepError, error) {
	if w.def.output != nil {
		vars, failure, err := w.inScope(w.def.output.Refs(), "output", nil)
		if failure != nil || err != nil {
			return failure, err
		}
		out, err := w.def.output.RenderJSON(context.Background(), vars)
		if err != nil {
			return &models.StepError{Code: codeExpression, Message: "output: " + expressionText(err)}, nil
		}
		w.run().Output = out
		return nil, nil //nolint:nilnil // there was no failure
	}
	outputs := map[string]json.RawMessage{}
	missing := false
	for _, n := range w.def.sinks {
		row, err := w.read(theStep(n.id()))
		switch {
		case err != nil:
			missing = true // ask for all of them at once
		case row != nil && row.Status == models.StepCompleted:
			outputs[n.id()] = row.Output
			if row.Output == nil {
				outputs[n.id()] = json.RawMessage("null")
			}
		}
	}
	if missing {
		return nil, errNeed
	}
	w.run().Output = mustJSON(outputs)
	return nil, nil //nolint:nilnil // as above
}

// codeExpression is the code of steps that failed because an expression did.
const codeExpression = "expression"

// expressionText is what an expression's error says to the author.
func expressionText(err error) string {
	if e, ok := errors.AsType[*expression.Error](err); ok {
		return e.Error()
	}
	return "the expression could not be evaluated"
}
