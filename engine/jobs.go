package engine

import (
	"context"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/tasks"
)

// enqueueJobs hands over what a commit leaves to others: events that somebody
// listens for, and waits that have not seen what came before them.
func (e *Engine) enqueueJobs(ctx context.Context, g *group) {
	if e.deps.Jobs == nil {
		return
	}
	var jobs []tasks.Job
	told := map[models.WorkspaceID]int{} // the job that has room for a workspace's events
	for _, rw := range g.runs {
		for _, p := range rw.plans {
			for _, ev := range p.told {
				if ev.AttendAt == nil {
					continue
				}
				if at, ok := told[ev.WorkspaceID]; ok && len(jobs[at].More) < tasks.MatchTogether-1 {
					jobs[at].More = append(jobs[at].More, string(ev.ID))
					continue
				}
				told[ev.WorkspaceID] = len(jobs)
				jobs = append(jobs, tasks.Job{Type: tasks.TypeMatch, Workspace: string(ev.WorkspaceID), ID: string(ev.ID)})
			}
			for _, w := range p.newWaits {
				jobs = append(jobs, lookBackJob(w, 0))
			}
			for _, step := range p.abandoned {
				w := &models.Wait{WorkspaceID: rw.ref.Workspace, RunID: rw.ref.Run, StepID: step}
				jobs = append(jobs, lookBackJob(w, abandonedTry))
			}
		}
	}
	if len(jobs) > 0 {
		e.deps.Jobs.EnqueueJobs(ctx, jobs)
	}
}

// abandonedTry keeps the job about a wait that was abandoned from being taken for the
// one about its beginning.
const abandonedTry = 1 << 20

func lookBackJob(w *models.Wait, try int) tasks.Job {
	return tasks.Job{Type: tasks.TypeLookback, Workspace: string(w.WorkspaceID), ID: string(w.RunID), Extra: w.StepID, Try: try}
}
