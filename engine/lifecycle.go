package engine

import (
	"encoding/json"
	"time"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
)

// This file is what others hear of a run: events on the bus, written in the
// transaction of what they tell of.

// told is something the bus is told of when the plan is complete.
type told struct {
	typ  string
	step string
	lifecycle
}

// lifecycle is the data of the events about runs.
type lifecycle struct {
	RunID           models.RunID      `json:"run_id"`
	WorkflowID      models.WorkflowID `json:"workflow_id"`
	WorkflowName    string            `json:"workflow_name"`
	WorkflowVersion int               `json:"workflow_version"`
	Status          models.RunStatus  `json:"status"`
	Trigger         startedBy         `json:"trigger"`
	RerunOf         *models.RunID     `json:"rerun_of"`
	// Error is the run's, or that of the step the event is about.
	Error  any             `json:"error"`
	StepID string          `json:"step_id,omitempty"`
	Output json.RawMessage `json:"output,omitempty"`

	// Of approvals.
	Prompt    string          `json:"prompt,omitempty"`
	Assignees []string        `json:"assignees,omitempty"`
	Timeout   string          `json:"timeout,omitempty"` // when it is over unanswered
	Attempt   int             `json:"attempt,omitempty"` // that asks whether to do it again
	Decision  string          `json:"decision,omitempty"`
	Comment   string          `json:"comment,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`
	By        string          `json:"by,omitempty"`
}

type startedBy struct {
	Type    models.TriggerType `json:"type"`
	ID      *models.TriggerID  `json:"id"`
	EventID *models.EventID    `json:"event_id"`
}

// What became of an approval.
const (
	decisionApproved  = "approved"
	decisionRejected  = "rejected"
	decisionTimedOut  = "timed_out"
	decisionCancelled = "cancelled"
)

// maxTold bounds what an event repeats of outputs and of what people say: it is
// news, and whoever wants all of it asks for the run.
const maxTold = 4 << 10

func briefly(raw json.RawMessage) json.RawMessage {
	if len(raw) > maxTold {
		return nil
	}
	return raw
}

// tell notes that the bus is to hear of something.
func (w *walk) tell(typ string, row *models.Step, data lifecycle) {
	t := told{typ: typ, lifecycle: data}
	if row != nil {
		t.step = row.StepID
	}
	w.told = append(w.told, t)
}

// tellRun tells of the run as a whole.
func (w *walk) tellRun(typ string) { w.tell(typ, nil, lifecycle{}) }

// tellAnswered tells that an approval is open no more.
func (w *walk) tellAnswered(row *models.Step, decision string, d Decision) {
	data := lifecycle{Decision: decision, Data: briefly(d.Data), By: d.By}
	if len(d.Comment) <= maxTold {
		data.Comment = d.Comment
	}
	w.tell(models.FlowApprovalResolved, row, data)
}

// statusTold is the state of the run that an event is about. Others tell the one
// the run is in when all that happened with it has.
var statusTold = map[string]models.RunStatus{
	models.FlowRunStarted: models.RunRunning,
	models.FlowRunWaiting: models.RunWaiting,
	models.FlowRunPaused:  models.RunPaused,
}

// publish makes the events of the plan. They get their ids when they are saved. When
// they are to be matched is filled in as if somebody listened; whether anybody does
// is seen by the statement that writes them.
func (w *walk) publish() {
	if len(w.told) == 0 {
		return
	}
	r := w.readRun()
	w.plan.toldAfter = w.snap.run.LastSeq
	attend := w.now.Add(w.rules.redeliver)
	for _, t := range w.told {
		d := t.lifecycle
		d.RunID, d.WorkflowID, d.WorkflowName, d.WorkflowVersion, d.RerunOf = r.ID, r.WorkflowID, r.WorkflowName, r.WorkflowVersion, r.RerunOf
		d.Trigger = startedBy{r.TriggerType, r.TriggerID, r.EventID}
		d.Status, d.StepID = r.Status, t.step
		if s, ok := statusTold[t.typ]; ok {
			d.Status = s
		}
		switch {
		case t.typ == models.FlowRunCompleted:
			d.Output = briefly(r.Output)
		case t.typ == models.FlowRunFailed && r.Error != nil:
			d.Error = r.Error
		}
		w.plan.told = append(w.plan.told, &models.Event{
			WorkspaceID: r.WorkspaceID, Source: models.SourceFlows, Type: t.typ, Data: mustJSON(d),
			OccurredAt: w.now, ReceivedAt: w.now, RunID: &r.ID, Depth: r.Depth + 1, AttendAt: &attend,
		})
	}
}

// nameEvents gives the events of a plan their ids, which carry the time they were
// received. Those of a run sort as they came: a line of its log comes with two of them
// at most.
func nameEvents(p *plan, now time.Time) {
	for i, e := range p.told {
		e.ID = models.EventID(ids.At(models.EventPrefix, now, 2*p.toldAfter+int64(i)))
		e.ExternalID = string(e.ID)
	}
}
