package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
)

// rawServers is how many asynq servers the raw line uses: one dequeues in a
// single goroutine, and several in a process are the most it gives.
const rawServers = 4

// raw is what asynq does with tasks that do nothing: enqueued by 32 clients and
// processed by four servers of one process at the same time.
func (b *bench) raw(ctx context.Context) error {
	opt, err := asynq.ParseRedisURI(b.redis)
	if err != nil {
		return err
	}
	n := b.times(20_000)
	var left atomic.Int64
	left.Store(int64(n))
	done := make(chan struct{})
	handler := asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		if left.Add(-1) == 0 {
			close(done)
		}
		return nil
	})
	var servers []*asynq.Server
	for range rawServers {
		s := asynq.NewServer(opt, asynq.Config{
			Concurrency: 12, Queues: map[string]int{"bench": 1}, LogLevel: asynq.FatalLevel, TaskCheckInterval: 10 * time.Millisecond,
		})
		if err := s.Start(handler); err != nil {
			return err
		}
		servers = append(servers, s)
	}
	defer func() {
		for _, s := range servers {
			s.Shutdown()
		}
	}()
	client := asynq.NewClient(opt)
	defer func() { _ = client.Close() }()
	began := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, clients)
	for range clients {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				if _, err := client.EnqueueContext(ctx, asynq.NewTask("noop", nil), asynq.Queue("bench"), asynq.MaxRetry(0)); err != nil {
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
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Minute):
		return fmt.Errorf("%d of %d tasks were not processed", left.Load(), n)
	}
	rate := float64(n) / time.Since(began).Seconds()
	b.rawRates = append(b.rawRates, rate)
	b.addf("raw asynq, 4 servers", "tasks/s", "%.0f", rate)
	return nil
}

// rawRate is the mean of the raw lines before and after, for a machine drifts.
func (b *bench) rawRate() float64 {
	sum := 0.0
	for _, r := range b.rawRates {
		sum += r
	}
	return sum / float64(max(1, len(b.rawRates)))
}
