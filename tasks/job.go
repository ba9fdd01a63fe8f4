package tasks

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
)

// Types of jobs: what is to be done about a row that is not a step.
const (
	TypeMatch    = "match"    // bring an event to its triggers and waits
	TypeDeliver  = "deliver"  // attempt a delivery of a webhook
	TypeTick     = "tick"     // fire a tick of a schedule
	TypeLookback = "lookback" // show an event wait what came before it
)

// MatchTogether bounds the events of one task of type match: enough to share the cost
// of a transaction, few enough that the next workspace has its turn soon.
const MatchTogether = 32

// Job asks for something to be done about the row that its ids name. As with
// steps, losing one is safe, for the row says when to look at it again, and doing
// it twice is.
type Job struct {
	Version   int       `json:"v"`
	Type      string    `json:"-"`
	Workspace string    `json:"ws"`
	ID        string    `json:"id"`              // of the event, delivery, trigger or run
	Extra     string    `json:"extra,omitempty"` // the rest of the row's key, where the id alone does not name it
	More      []string  `json:"more,omitempty"`  // further ids, of events that are matched together
	Try       int       `json:"try"`             // how often it was asked for before: the same try is one task
	Queue     string    `json:"-"`               // QueueSystem where it is empty
	At        time.Time `json:"-"`               // not before; zero means now
}

// TaskID is the task's id: the same try at the same row is one task.
func (j Job) TaskID() string {
	id := j.Type + ":" + j.ID
	if j.Extra != "" {
		id += ":" + j.Extra
	}
	return id + ":" + strconv.Itoa(j.Try)
}

// NewJob makes the task of a job.
func NewJob(j Job) *asynq.Task {
	j.Version = version
	b, err := json.Marshal(j)
	if err != nil {
		panic("tasks: " + err.Error()) // strings and numbers always marshal
	}
	return asynq.NewTask(j.Type, b)
}

// DecodeJob reads the payload of a task of that type.
func DecodeJob(typ string, payload []byte) (Job, error) {
	var j Job
	if err := json.Unmarshal(payload, &j); err != nil {
		return Job{}, fmt.Errorf("%w: %w", ErrPayload, asynq.SkipRetry)
	}
	if j.Version != version || j.Workspace == "" || j.ID == "" {
		return Job{}, fmt.Errorf("%w: version %d: %w", ErrPayload, j.Version, asynq.SkipRetry)
	}
	j.Type = typ
	return j, nil
}

// IsJob tells whether tasks of that type are jobs, rather than steps or waits.
func IsJob(typ string) bool {
	switch typ {
	case TypeMatch, TypeDeliver, TypeTick, TypeLookback:
		return true
	}
	return false
}

// Lane is the queue the job is put into.
func (j Job) Lane() string { return cmp.Or(j.Queue, QueueSystem) }

func (j Job) options() []asynq.Option { return taskOptions(j.TaskID(), j.Lane(), j.At) }
