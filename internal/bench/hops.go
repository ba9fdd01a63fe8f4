package main

import (
	"context"
	"net/http"
	"slices"
	"time"
)

// sampled is how many runs of a scenario are asked for their traces.
const sampled = 50

// hops tells, from the traces of the latest runs of a workflow, how long a first
// step waited in the queue, and how long it took from the beginning of one step to
// the beginning of the next: for steps that do nothing that is what a hop costs,
// commit included.
func (p *product) hops(ctx context.Context, wf string) (dispatch, hop []time.Duration, err error) {
	var runs struct{ Items []struct{ ID string } }
	if err := p.call(ctx, http.MethodGet, "/runs?limit=50&status=completed&workflow_id="+wf, nil, &runs, ""); err != nil {
		return nil, nil, err
	}
	for _, r := range runs.Items[:min(len(runs.Items), sampled)] {
		var trace struct {
			Items []struct {
				QueuedAt  time.Time `json:"queued_at"`
				StartedAt time.Time `json:"started_at"`
			}
		}
		if err := p.call(ctx, http.MethodGet, "/runs/"+r.ID+"/steps", nil, &trace, ""); err != nil {
			return nil, nil, err
		}
		for i, s := range trace.Items {
			if i == 0 {
				dispatch = append(dispatch, s.StartedAt.Sub(s.QueuedAt))
				continue
			}
			hop = append(hop, s.StartedAt.Sub(trace.Items[i-1].StartedAt))
		}
	}
	slices.Sort(dispatch)
	slices.Sort(hop)
	return dispatch, hop, nil
}
