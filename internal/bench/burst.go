package main

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// burst triggers runs from so many clients that do not wait for their ends, and
// tells how long it took until all were accepted and until the last had ended.
func (p *product) burst(ctx context.Context, wf string, runs, clients int) (took, accepted time.Duration, err error) {
	began := time.Now()
	if err := p.each(runs, clients, func() error {
		return p.call(ctx, http.MethodPost, "/workflows/"+wf+"/trigger", map[string]any{"payload": map[string]int{"n": 1}}, nil, "")
	}); err != nil {
		return 0, 0, err
	}
	accepted = time.Since(began)
	look := time.NewTicker(100 * time.Millisecond) // asking costs the product, too
	defer look.Stop()
	for {
		var left struct{ Items []struct{ ID string } }
		if err := p.call(ctx, http.MethodGet, "/runs?limit=1&status=queued,running,waiting&workflow_id="+wf, nil, &left, ""); err != nil {
			return 0, 0, err
		}
		if len(left.Items) == 0 {
			ended, err := lastEnd(ctx, p.database, wf)
			return ended.Sub(began), accepted, err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
	}
}

// each calls fn so many times from so many clients at once, and gives the first
// error.
func (p *product) each(times, clients int, fn func() error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, clients)
	for range clients {
		wg.Go(func() {
			for next.Add(1) <= int64(times) {
				if err := fn(); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}
