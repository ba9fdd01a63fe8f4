package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/tasks"
)

// What ended a wait, kept as the reason of its row: it says which edges were
// taken.
const (
	wokenByTimeout   = "it timed out"
	wokenByRejection = "it was rejected"
)

// codeTimeout is the code of waits that timed out without an edge for it.
const codeTimeout = "timeout"

// codeRejected is the code of approvals refused without an edge for it.
const codeRejected = "rejected"

// openWait begins a wait. One that is over already ends at once.
func (w *walk) openWait(n *node, row *models.Step) error {
	var wake *time.Time
	var kind, prompt string
	data := map[string]any{}
	switch {
	case n.waitFor > 0:
		kind = "timer"
		at := w.now.Add(n.waitFor)
		wake = &at
	case n.until != nil:
		kind = "timer"
		value, failure, err := w.eval(n.until, "until", nil)
		switch {
		case err != nil:
			return err
		case failure != nil:
			return w.failStep(n, row, failure)
		}
		at, _ := value.(time.Time) // compiled as Time, so it is one
		at = at.UTC().Truncate(time.Microsecond)
		wake = &at
	case n.def.Event != nil:
		kind = "event"
		data["event_type"] = n.def.Event.Type
		key, err := w.matchKey(n)
		if err != nil {
			return err
		}
		look := w.now.Add(w.rules.redeliver)
		w.plan.newWaits = append(w.plan.newWaits, &models.Wait{
			WorkspaceID: row.WorkspaceID, RunID: row.RunID, StepID: row.StepID, EventType: n.def.Event.Type, MatchKey: key,
			OpenedAt: w.now, AttendAt: &look,
		})
	case n.def.Approval != nil:
		kind = "approval"
		text, failure, err := w.promptText(n)
		switch {
		case err != nil:
			return err
		case failure != nil:
			return w.failStep(n, row, failure)
		}
		if prompt = text; prompt != "" {
			data["prompt"] = prompt
			row.Input = mustJSON(waitInput{prompt})
			w.plan.inputs[keyOf(row)] = true
		}
	default:
		return fmt.Errorf("engine: wait %q waits for nothing", n.id())
	}
	if n.waitTimeout > 0 {
		at := w.now.Add(n.waitTimeout)
		wake = &at
	}
	data["kind"] = kind
	if wake != nil {
		data["until"] = *wake
	}
	w.begun()
	w.run().WaitingSteps++
	row.Status, row.StartedAt, row.WakeAt = models.StepWaiting, &w.now, wake
	w.log(models.EventStepWaiting, row, data)
	if a := n.def.Approval; a != nil {
		asked := lifecycle{Prompt: prompt, Assignees: a.Assignees}
		if wake != nil {
			asked.Timeout = models.TimeText(*wake)
		}
		w.tell(models.FlowApprovalRequested, row, asked)
	}
	if n.until != nil && !wake.After(w.now) {
		w.endWait(n, row, waitedUntil(row), models.OnSuccess, "")
		return nil
	}
	w.schedule(row)
	return nil
}

// waitInput is kept as the input of an approval: what the person is asked, filled in
// when the wait opened.
type waitInput struct {
	Prompt string `json:"prompt"`
}

// maxPrompt bounds what is filled into a prompt: a person reads it, and events and
// lines of the log repeat it.
const maxPrompt = maxTold

// promptText fills in the prompt of an approval.
func (w *walk) promptText(n *node) (text string, failure *models.StepError, err error) {
	if n.prompt == nil {
		return "", nil, nil
	}
	vars, failure, err := w.inScope(n.prompt.Refs(), "prompt", nil)
	if failure != nil || err != nil {
		return "", failure, err
	}
	value, err := n.prompt.Render(context.Background(), vars)
	if err != nil {
		return "", &models.StepError{Code: codeExpression, Message: "prompt: " + expressionText(err)}, nil
	}
	switch v := value.(type) {
	case nil:
	case string:
		text = v
	default:
		text = string(mustJSON(v))
	}
	if len(text) > maxPrompt && !n.prompt.Static() {
		text = strings.ToValidUTF8(text[:maxPrompt], "") + "…"
	}
	return text, nil, nil
}

// promptOf gives what a wait for an approval asks.
func promptOf(row *models.Step) string {
	var in waitInput
	_ = json.Unmarshal(row.Input, &in) // no input is no prompt
	return in.Prompt
}

// schedule sees to it that a wait with an end is ended: by a delayed task, and by
// the sweep should that be lost.
func (w *walk) schedule(row *models.Step) {
	row.AttendAt = nil
	if row.WakeAt == nil || w.paused() {
		return
	}
	at := *row.WakeAt
	row.AttendAt = &at
	if !at.After(w.now.Add(w.rules.horizon)) {
		t := w.task(w.def.nodes[row.StepID], row)
		t.Queue = tasks.QueueSystem
		w.plan.deliveries = append(w.plan.deliveries, Delivery{Task: t, Wake: true, At: at})
	}
}

func waitedUntil(row *models.Step) json.RawMessage {
	return mustJSON(map[string]any{"until": models.TimeText(*row.WakeAt)})
}

// endWait ends a wait and walks on along the edges of what ended it.
func (w *walk) endWait(n *node, row *models.Step, output json.RawMessage, on models.EdgeOn, reason string) {
	w.closeWait(row)
	row.Reason = reason
	w.complete(n, row, output, on)
}

// closeWait takes a wait out of the books.
func (w *walk) closeWait(row *models.Step) {
	if row.Iteration == models.NoIteration {
		w.run().WaitingSteps--
	}
	row.AttendAt = nil
	if n := w.def.nodes[row.StepID]; n.def.Event != nil || awaits(row) {
		w.plan.closedWaits = append(w.plan.closedWaits, waitPlace(keyOf(row)))
	}
}

// waiting gives the row of an open wait to change, or refuses.
func (w *walk) waiting(k stepKey) (*node, *models.Step, error) {
	row, err := w.read(k)
	if err != nil {
		return nil, nil, err
	}
	if row == nil || row.Status != models.StepWaiting {
		return nil, nil, w.refuse(refusedNotWaiting)
	}
	return w.def.nodes[k.id], row, nil
}

// wake ends a wait whose time has come: a timer well, an event or approval by its
// timeout. A paused run holds it.
func (w *walk) wake(h waitDue) error {
	n, row, err := w.waiting(h.key)
	if err != nil || row == nil {
		return err
	}
	switch {
	case w.paused():
		return w.refuse("the run is paused")
	case row.WakeAt == nil || row.WakeAt.After(w.now):
		return w.refuse("the wait is not due yet")
	}
	row = w.change(row)
	if awaits(row) {
		w.abandon(row)
		return w.failAwait(n, row, &models.StepError{Code: codeTimeout, Message: "the run it waited for did not end in time"})
	}
	if n.def.Event == nil && n.def.Approval == nil {
		w.endWait(n, row, waitedUntil(row), models.OnSuccess, "")
		return nil
	}
	if n.def.Approval != nil {
		w.tellAnswered(row, decisionTimedOut, Decision{})
	}
	if n.hasEdge(models.OnTimeout) {
		w.endWait(n, row, mustJSON(map[string]any{"timed_out": true}), models.OnTimeout, wokenByTimeout)
		return nil
	}
	w.closeWait(row)
	return w.failStep(n, row, &models.StepError{Code: codeTimeout, Message: "nothing happened before the wait timed out"})
}

// decide ends a wait for an approval.
func (w *walk) decide(h decided) error {
	n, row, err := w.waiting(h.key)
	if err != nil || row == nil {
		return err
	}
	if h.decision.Attempt != nil && *h.decision.Attempt != asks(n, row) {
		return w.refuse("the step asks something else by now")
	}
	if n.def.Type.Executed() && !awaits(row) {
		return w.answerUnknown(n, w.change(row), h.decision)
	}
	if n.def.Approval == nil {
		return w.refuse("the step does not wait for an approval")
	}
	row = w.change(row)
	d := h.decision
	out := map[string]any{"approved": d.Approved, "comment": nil, "data": nil, "by": nil, "at": models.TimeText(w.now)}
	if d.Comment != "" {
		out["comment"] = d.Comment
	}
	if len(d.Data) > 0 {
		out["data"] = d.Data
	}
	if d.By != "" {
		out["by"] = d.By
	}
	decision := decisionRejected
	if d.Approved {
		decision = decisionApproved
	}
	w.tellAnswered(row, decision, d)
	switch {
	case d.Approved:
		w.endWait(n, row, mustJSON(out), models.OnSuccess, "")
	case n.hasEdge(models.OnRejected):
		w.endWait(n, row, mustJSON(out), models.OnRejected, wokenByRejection)
	default:
		w.closeWait(row)
		row.Output = mustJSON(out)
		message := "the approval was rejected"
		if d.Comment != "" {
			message += ": " + d.Comment
		}
		return w.failStep(n, row, &models.StepError{Code: codeRejected, Message: message})
	}
	return nil
}

// doAgain is what ask asks.
const doAgain = "Do it again? "

// ask lets a person decide whether an attempt is made again whose effect may have
// happened. It holds no worker meanwhile and has no end of its own.
func (w *walk) ask(row *models.Step, failure *models.StepError) {
	w.run().ActiveSteps--
	w.run().WaitingSteps++
	row.Status, row.Error, row.AttendAt, row.LeaseToken, row.WorkerID = models.StepWaiting, failure, nil, "", ""
	w.log(models.EventStepWaiting, row, map[string]any{"kind": "approval", "attempt": row.Attempt, "error": failure})
	w.tell(models.FlowApprovalRequested, row, lifecycle{Prompt: doAgain + failure.Message, Error: failure, Attempt: row.Attempt})
}

// asks numbers the questions of a step: a wait has one, and an attempt may ask whether
// it is to be made again.
func asks(n *node, row *models.Step) int {
	if n.def.Type.Executed() {
		return row.Attempt
	}
	return 0
}

// Asked tells what a step asks a person, if it waits for an answer to its question of
// that number.
func Asked(def *models.GraphStep, row *models.Step, attempt int) (prompt string, waits bool) {
	switch {
	case row.Status != models.StepWaiting:
		return "", false
	case def.Type.Executed():
		if row.Error == nil || awaits(row) || row.Attempt != attempt {
			return "", false
		}
		return doAgain + row.Error.Message, true
	case def.Approval == nil || attempt != 0:
		return "", false
	}
	return promptOf(row), true
}

// answerUnknown follows a person's answer to what ask has asked.
func (w *walk) answerUnknown(n *node, row *models.Step, d Decision) error {
	w.run().WaitingSteps--
	failure := *row.Error
	if d.Approved {
		w.tellAnswered(row, decisionApproved, d)
		w.run().ActiveSteps++
		w.retry(n, row, &failure, w.now)
		return nil
	}
	w.tellAnswered(row, decisionRejected, d)
	failure.Retryable = false
	failure.Message += "; it was decided not to do it again"
	if d.Comment != "" {
		failure.Message += ": " + d.Comment
	}
	return w.failStep(n, row, &failure)
}
