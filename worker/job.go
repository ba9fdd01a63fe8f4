package worker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/hibiken/asynq"

	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/tasks"
)

// JobFunc does a job. It may be called twice for the same one. An error tells that
// a part of the service could not be reached: the job comes again.
type JobFunc func(ctx context.Context, j tasks.Job) error

// job does a job that a task brought.
func (w *Worker) job(ctx context.Context, t *asynq.Task) error {
	j, err := tasks.DecodeJob(t.Type(), t.Payload())
	if err != nil {
		w.log.ErrorContext(ctx, "task was thrown away", slog.String("type", t.Type()), obs.Err(err))
		return err
	}
	if j.Type == tasks.TypeMatch && w.matches != nil {
		// It is not waited for: the queue brings the next one, and the sweep is there for
		// what comes to nothing.
		w.offerMatch(j)
		return nil
	}
	if w.deps.Jobs[j.Type] == nil {
		w.log.ErrorContext(ctx, "task was thrown away", slog.String("type", j.Type))
		return fmt.Errorf("task of type %q: %w", j.Type, asynq.SkipRetry)
	}
	if !w.begin() {
		return errStopping
	}
	defer w.jobs.Done()
	return w.doJob(context.WithoutCancel(ctx), j)
}

func (w *Worker) doJob(ctx context.Context, j tasks.Job) error {
	ctx = obs.With(ctx, obs.Workspace(models.WorkspaceID(j.Workspace)), slog.String("job", j.TaskID()))
	return w.judge(ctx, w.deps.Jobs[j.Type](ctx, j))
}

// mostOffered bounds the jobs under way that were offered within the process. The
// queue brings the rest.
const mostOffered = 256

// OfferJob hands a job over within the process. It returns at once, and false when
// too many are under way; the task in the queue then does it. The end of ctx is
// not obeyed.
func (w *Worker) OfferJob(ctx context.Context, j tasks.Job) bool {
	if !slices.Contains(w.cfg.Queues, j.Lane()) {
		return false
	}
	if j.Type == tasks.TypeMatch && w.matches != nil {
		return w.offerMatch(j)
	}
	if w.deps.Jobs[j.Type] == nil {
		return false
	}
	if w.offered.Add(1) > mostOffered || !w.begin() {
		w.offered.Add(-1)
		return false
	}
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer w.jobs.Done()
		defer w.offered.Add(-1)
		if err := w.doJob(ctx, j); err != nil {
			w.log.DebugContext(ctx, "offered job was left to the queue", obs.Err(err))
		}
	}()
	return true
}
