package store

import (
	"encoding/json"
	"time"

	"github.com/10ex/flows/models"
)

// marshalled gives nil for what is nil, so that the column is NULL.
func marshalled[T any](p *T) json.RawMessage {
	if p == nil {
		return nil
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic("store: " + err.Error()) // strings and numbers always marshal
	}
	return b
}

func text[T ~string](p *T) *string {
	if p == nil {
		return nil
	}
	s := string(*p)
	return &s
}

var runFields = []field[models.Run]{
	fieldOf("workspace_id", "text", func(r *models.Run) string { return string(r.WorkspaceID) }),
	fieldOf("id", "text", func(r *models.Run) string { return string(r.ID) }),
	fieldOf("workflow_id", "text", func(r *models.Run) string { return string(r.WorkflowID) }),
	fieldOf("workflow_version", "int", func(r *models.Run) int32 { return int32(r.WorkflowVersion) }),
	fieldOf("workflow_name", "text", func(r *models.Run) string { return r.WorkflowName }),
	fieldOf("status", "text", func(r *models.Run) string { return string(r.Status) }),
	fieldOf("halted", "bool", func(r *models.Run) bool { return r.Halted }),
	fieldOf("active_steps", "int", func(r *models.Run) int32 { return int32(r.ActiveSteps) }),
	fieldOf("waiting_steps", "int", func(r *models.Run) int32 { return int32(r.WaitingSteps) }),
	fieldOf("last_seq", "bigint", func(r *models.Run) int64 { return r.LastSeq }),
	fieldOf("trigger_type", "text", func(r *models.Run) string { return string(r.TriggerType) }),
	fieldOf("trigger_id", "text", func(r *models.Run) *string { return text(r.TriggerID) }),
	fieldOf("event_id", "text", func(r *models.Run) *string { return text(r.EventID) }),
	jsonField("payload", "json", func(r *models.Run) json.RawMessage { return r.Payload }),
	jsonField("output", "json", func(r *models.Run) json.RawMessage { return r.Output }),
	jsonField("error", "json", func(r *models.Run) json.RawMessage { return marshalled(r.Error) }),
	fieldOf("rerun_of", "text", func(r *models.Run) *string { return text(r.RerunOf) }),
	jsonField("metadata", "jsonb", func(r *models.Run) json.RawMessage {
		if r.Metadata == nil {
			return nil
		}
		return marshalled(&r.Metadata)
	}),
	fieldOf("created_at", "timestamptz", func(r *models.Run) time.Time { return r.CreatedAt }),
	fieldOf("depth", "int", func(r *models.Run) int32 { return int32(r.Depth) }),
	fieldOf("started_at", "timestamptz", func(r *models.Run) *time.Time { return r.StartedAt }),
	fieldOf("finished_at", "timestamptz", func(r *models.Run) *time.Time { return r.FinishedAt }),
	fieldOf("hold", "text", func(r *models.Run) string { return string(r.Hold) }),
	fieldOf("slot_key", "text", func(r *models.Run) *string { return text(r.SlotKey) }),
	fieldOf("slot_seq", "bigint", func(r *models.Run) int64 { return r.SlotSeq }),
	fieldOf("debounce_key", "text", func(r *models.Run) *string { return text(r.DebounceKey) }),
	fieldOf("from_step", "text", func(r *models.Run) string { return r.FromStep }),
	fieldOf("begin_at", "timestamptz", func(r *models.Run) *time.Time { return r.BeginAt }),
	fieldOf("deadline_at", "timestamptz", func(r *models.Run) *time.Time { return r.DeadlineAt }),
	fieldOf("paused_at", "timestamptz", func(r *models.Run) *time.Time { return r.PausedAt }),
	fieldOf("attend_at", "timestamptz", func(r *models.Run) *time.Time { return r.AttendAt }),
}

var stepFields = []field[models.Step]{
	fieldOf("workspace_id", "text", func(s *models.Step) string { return string(s.WorkspaceID) }),
	fieldOf("run_id", "text", func(s *models.Step) string { return string(s.RunID) }),
	fieldOf("step_id", "text", func(s *models.Step) string { return s.StepID }),
	fieldOf("iteration", "int", func(s *models.Step) int32 { return int32(s.Iteration) }),
	fieldOf("type", "text", func(s *models.Step) string { return string(s.Type) }),
	fieldOf("status", "text", func(s *models.Step) string { return string(s.Status) }),
	fieldOf("attempt", "int", func(s *models.Step) int32 { return int32(s.Attempt) }),
	fieldOf("crashes", "int", func(s *models.Step) int32 { return int32(s.Crashes) }),
	fieldOf("deliveries", "int", func(s *models.Step) int32 { return int32(s.Deliveries) }),
	fieldOf("due_at", "timestamptz", func(s *models.Step) *time.Time { return s.DueAt }),
	fieldOf("attend_at", "timestamptz", func(s *models.Step) *time.Time { return s.AttendAt }),
	fieldOf("lease_token", "text", func(s *models.Step) string { return s.LeaseToken }),
	fieldOf("worker_id", "text", func(s *models.Step) string { return s.WorkerID }),
	fieldOf("effect_at", "timestamptz", func(s *models.Step) *time.Time { return s.EffectAt }),
	fieldOf("arrived", "int", func(s *models.Step) int32 { return int32(s.Arrived) }),
	fieldOf("settled", "int", func(s *models.Step) int32 { return int32(s.Settled) }),
	fieldOf("iter_total", "int", func(s *models.Step) int32 { return int32(s.IterTotal) }),
	fieldOf("iter_next", "int", func(s *models.Step) int32 { return int32(s.IterNext) }),
	fieldOf("iter_active", "int", func(s *models.Step) int32 { return int32(s.IterActive) }),
	fieldOf("iter_done", "int", func(s *models.Step) int32 { return int32(s.IterDone) }),
	jsonField("input", "json", func(s *models.Step) json.RawMessage { return s.Input }),
	jsonField("output", "json", func(s *models.Step) json.RawMessage { return s.Output }),
	jsonField("error", "json", func(s *models.Step) json.RawMessage { return marshalled(s.Error) }),
	jsonField("taken", "json", func(s *models.Step) json.RawMessage {
		if s.Taken == nil {
			return nil
		}
		return marshalled(&s.Taken)
	}),
	fieldOf("reason", "text", func(s *models.Step) string { return s.Reason }),
	jsonField("usage", "json", func(s *models.Step) json.RawMessage { return s.Usage }),
	fieldOf("queued_at", "timestamptz", func(s *models.Step) *time.Time { return s.QueuedAt }),
	fieldOf("started_at", "timestamptz", func(s *models.Step) *time.Time { return s.StartedAt }),
	fieldOf("finished_at", "timestamptz", func(s *models.Step) *time.Time { return s.FinishedAt }),
	fieldOf("wake_at", "timestamptz", func(s *models.Step) *time.Time { return s.WakeAt }),
}

var logFields = []field[models.RunLog]{
	fieldOf("workspace_id", "text", func(l *models.RunLog) string { return string(l.WorkspaceID) }),
	fieldOf("run_id", "text", func(l *models.RunLog) string { return string(l.RunID) }),
	fieldOf("seq", "bigint", func(l *models.RunLog) int64 { return l.Seq }),
	fieldOf("at", "timestamptz", func(l *models.RunLog) time.Time { return l.At }),
	jsonField("lines", "json", func(l *models.RunLog) json.RawMessage { return marshalled(&l.Lines) }),
}

var runKeyFields = []field[runKey]{
	fieldOf("workspace_id", "text", func(k *runKey) string { return string(k.WorkspaceID) }),
	fieldOf("id", "text", func(k *runKey) string { return string(k.ID) }),
}

var stepKeyFields = []field[stepKey]{
	fieldOf("workspace_id", "text", func(k *stepKey) string { return string(k.WorkspaceID) }),
	fieldOf("run_id", "text", func(k *stepKey) string { return string(k.RunID) }),
	fieldOf("step_id", "text", func(k *stepKey) string { return k.StepID }),
	fieldOf("iteration", "int", func(k *stepKey) int32 { return int32(k.Iteration) }),
	fieldOf("with_input", "bool", func(k *stepKey) bool { return k.WithInput }),
}

var (
	insertRuns = insertInto("runs", runFields, []string{
		"halted", "waiting_steps", "trigger_id", "event_id", "output", "error", "rerun_of", "metadata", "depth", "started_at", "finished_at",
		"hold", "slot_key", "slot_seq", "debounce_key", "from_step", "begin_at", "deadline_at", "paused_at", "attend_at",
	})
	updateRuns = updateOf("runs", only(runFields, append([]string{"workspace_id", "id"}, runMutable...)),
		[]string{"workspace_id", "id"}, "", []string{
			"halted", "waiting_steps", "error", "hold", "slot_key", "slot_seq", "begin_at", "deadline_at", "paused_at", "attend_at",
		})
	insertSteps = insertInto("steps", stepFields, []string{
		"crashes", "due_at", "effect_at", "iter_total", "iter_next", "iter_active", "iter_done",
		"output", "error", "taken", "reason", "usage", "finished_at", "wake_at",
	})
	updateSteps = updateOf("steps", only(stepFields, append([]string{"workspace_id", "run_id", "step_id", "iteration", "input"}, stepMutable...)),
		[]string{"workspace_id", "run_id", "step_id", "iteration"}, "input", []string{
			"crashes", "due_at", "effect_at", "iter_total", "iter_next", "iter_active", "iter_done",
			"input", "error", "taken", "reason", "usage", "wake_at",
		})
	insertLog = insertInto("run_log", logFields, nil)
)
