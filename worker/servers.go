package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/hibiken/asynq"

	"github.com/10ex/flows/tasks"
)

const (
	// delayedInterval is how late asynq may be with what is due.
	delayedInterval = 500 * time.Millisecond
	// never is an interval for what another server of this process does already.
	never = 24 * time.Hour
	// rankedInterval is how long an empty queue of another than normal priority is left
	// alone. Where there is a free slot its steps come by a shorter way.
	rankedInterval = 200 * time.Millisecond
	// retryDelay is when asynq brings a task again that found no database.
	retryDelay = 5 * time.Second
)

// serverGroups gives the settings of this process's asynq servers. Each queue has
// servers of its own, so that one whose tasks all wait for a slot cannot keep
// another one from being read.
func (w *Worker) serverGroups() []asynq.Config {
	var groups []asynq.Config
	for _, queue := range w.cfg.Queues {
		for _, name := range tasks.Ranks(queue) {
			loops := 1
			if name == tasks.QueueDefault {
				loops = w.cfg.Loops
			}
			for i := range loops {
				cfg := w.server(name, (w.cfg.Concurrency+loops-1)/loops, i == 0)
				if name != queue { // most have no such steps: do not look so often for the first
					cfg.TaskCheckInterval = max(cfg.TaskCheckInterval, rankedInterval)
				}
				groups = append(groups, cfg)
			}
		}
	}
	return groups
}

// server is one loop over one queue. The first of a queue also does the chores.
func (w *Worker) server(queue string, concurrency int, first bool) asynq.Config {
	cfg := asynq.Config{
		Queues:                   map[string]int{queue: 1},
		Concurrency:              concurrency,
		TaskCheckInterval:        w.cfg.TaskCheckInterval,
		DelayedTaskCheckInterval: never,
		JanitorInterval:          never, // nothing is ever kept
		ShutdownTimeout:          time.Second,
		HealthCheckInterval:      never,
		RetryDelayFunc:           delayOf,
		// Waiting for a database and being stopped are nobody's failures: they must
		// not use up retries. Nor must a worker that died, which asynq tells so.
		IsFailure: func(err error) bool {
			return !errors.Is(err, errDatabaseAway) && !errors.Is(err, errStopping) && !errors.Is(err, asynq.ErrLeaseExpired)
		},
		Logger:   asynqLog{w.log},
		LogLevel: asynq.WarnLevel,
	}
	if first {
		cfg.DelayedTaskCheckInterval = delayedInterval
	}
	return cfg
}

// delayOf is when asynq hands a task out again: at once where only this process is
// in the way.
func delayOf(_ int, err error, _ *asynq.Task) time.Duration {
	if errors.Is(err, errStopping) {
		return 0
	}
	return retryDelay
}

// asynqLog writes what asynq says into our log.
type asynqLog struct{ log *slog.Logger }

var _ asynq.Logger = asynqLog{}

func (l asynqLog) Debug(args ...any) { l.log.Debug("asynq", said(args)) }
func (l asynqLog) Info(args ...any)  { l.log.Info("asynq", said(args)) }
func (l asynqLog) Warn(args ...any)  { l.log.Warn("asynq", said(args)) }
func (l asynqLog) Error(args ...any) { l.log.Error("asynq", said(args)) }

// Fatal does not end the process: that is for whoever started it to decide.
func (l asynqLog) Fatal(args ...any) { l.log.Error("asynq", said(args)) }

func said(args []any) slog.Attr { return slog.String("said", fmt.Sprint(args...)) }

// Queues lists the queues this worker takes from.
func (w *Worker) Queues() []string { return slices.Clone(w.cfg.Queues) }
