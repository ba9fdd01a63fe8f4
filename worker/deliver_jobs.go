package worker

import (
	"context"

	"github.com/10ex/flows/tasks"
)

// EnqueueJobs delivers jobs as Enqueue does steps: to this process's worker at
// once, and into the queue. It returns at once.
func (d *Deliverer) EnqueueJobs(ctx context.Context, jobs []tasks.Job) {
	d.mu.Lock()
	local := d.local
	d.mu.Unlock()
	now := d.clock.Now()
	for _, j := range jobs {
		if !j.At.After(now) {
			taken := local != nil && local.OfferJob(ctx, j)
			if !taken && !d.broker.Embedded() {
				pushJobLane(d.broker, j)
			}
			// An event that waits its turn here needs no task, only be seen now and then.
			if taken && j.Type == tasks.TypeMatch && !d.echoes.AllowN(now, 1) {
				continue
			}
		}
		d.putJob(j)
	}
}

// putJob hands a job to the goroutine that feeds the queue.
func (d *Deliverer) putJob(j tasks.Job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || len(d.jobs) >= pendingLimit {
		d.dropped++
		return
	}
	d.jobs = append(d.jobs, j)
	select {
	case d.wake <- struct{}{}:
	default:
	}
}
