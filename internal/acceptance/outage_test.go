package acceptance_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Redis goes away for ten seconds, and comes back with nothing in it.
func TestWithoutRedisRunsAreTakenAndStepsGoOn(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	done := alone(t)
	const (
		outage = 10 * time.Second
		hold   = 8 * time.Second
		pace   = 50 * time.Millisecond
	)
	f := newFleet(t, "plain")
	f.startAll(t, 2, 2)
	s := newSink(t)
	quick := f.workflow(t, chain(s.toSink("a", ""), s.toSink("b", "")))
	long := f.workflow(t, chain(s.toSink("long", fmt.Sprintf("hold=%d", hold.Milliseconds())), s.toSink("then", "")))

	// at a steady pace, for a time, whether the answers come or not.
	var started []string
	steadily := func(name string, last time.Duration) (took []time.Duration) {
		var (
			mu sync.Mutex
			wg sync.WaitGroup
		)
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for i := range int(last / pace) {
			<-tick.C
			wg.Go(func() {
				got, err := f.ask("POST", "/workflows/"+quick+"/trigger", []byte(`{}`), "Idempotency-Key", fmt.Sprintf("%s-%d", name, i))
				var made run
				if err == nil && got.status == http.StatusAccepted {
					err = got.read(&made)
				} else {
					err = errors.Join(err, errors.New(got.String()))
				}
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Errorf("trigger while Redis is away: %v", err)
					return
				}
				started, took = append(started, made.ID), append(took, got.took)
			})
		}
		wg.Wait()
		slices.Sort(took)
		require.False(t, t.Failed())
		return took
	}
	before := steadily("before", 2*time.Second)
	slow := f.triggerAll(t, long, 10, 10)
	waitFor(t, endLimit, "the long steps", func() bool {
		return !slices.ContainsFunc(slow, func(id string) bool { return len(s.of(id, "long").keys) == 0 })
	})

	f.cable.cut()
	require.NoError(t, f.redis.FlushDB(t.Context()).Err())
	during := steadily("during", outage)
	f.cable.mend()
	mended := time.Now()
	p99 := func(of []time.Duration) time.Duration { return of[len(of)*99/100] }
	t.Logf("p99 of triggers: %s with Redis, %s without", p99(before), p99(during))
	require.LessOrEqual(t, p99(during), max(1500*time.Millisecond, 5*p99(before)))

	f.settle(t, quick)
	f.settle(t, long)
	t.Logf("all had ended %s after Redis came back", time.Since(mended))
	done()
	require.LessOrEqual(t, time.Since(mended), time.Minute)
	require.Equal(t, map[string]int{"completed": len(started)}, f.count(t, quick))
	require.Equal(t, map[string]int{"completed": len(slow)}, f.count(t, long))
	for _, id := range started {
		one, err := f.tell(id)
		require.NoError(t, err)
		one.requireSound(t, "a", "b")
		require.Len(t, s.of(id, "a").keys, 1)
		require.Len(t, s.of(id, "b").keys, 1)
	}
	for _, id := range slow {
		one, err := f.tell(id)
		require.NoError(t, err)
		one.requireSound(t, "long", "then")
		require.Empty(t, s.of(id, "long").gone, "a step in flight does not notice")
		require.Len(t, one.steps["long"].Attempts, 1)
		require.WithinRange(t, *one.steps["long"].FinishedAt, mended.Add(-outage), mended, "its result is recorded meanwhile")
	}
	waitFor(t, endLimit, "queues that can be seen", func() bool {
		return f.redis.SCard(t.Context(), "asynq:queues").Val() == 7
	})
	f.requireNothingLeft(t)
	f.requireNoErrors(t, `"msg":"asynq"`)
}

// The database ends the sessions of all processes again and again.
func TestWhatWasAcceptedOutlivesBrokenConnections(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	done := alone(t)
	const (
		runs  = 300
		cuts  = 12
		pause = 400 * time.Millisecond
		// patience is longer than the key of a request stays locked whose end could
		// not be recorded.
		patience = time.Minute
	)
	f := newFleet(t, "plain")
	f.startAll(t, 2, 2)
	s := newSink(t)
	require.NoError(t, f.want(http.StatusCreated, "POST", "/agents", []byte(s.agentOf()), nil))
	wf := f.workflow(t, s.tenSteps())

	ctx, stop := context.WithCancel(t.Context())
	cutting := make(chan int, 1)
	go func() {
		n := 0
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for range cuts {
			select {
			case <-ctx.Done():
			case <-tick.C:
				var ended int
				_ = f.db.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1`, f.name).Scan(&ended)
				n += ended
			}
		}
		cutting <- n
	}()

	// A client that is told to come again does so, as the same request, until it is
	// told that its run was accepted.
	started := make([]string, runs)
	var (
		mu      sync.Mutex
		refused int
	)
	inParallel(t, 16, runs, func(i int) error {
		body, name := fmt.Appendf(nil, `{"payload":{"n":%d}}`, i), fmt.Sprintf("run-%d", i)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for begun := time.Now(); ; {
			got, err := f.ask("POST", "/workflows/"+wf+"/trigger", body, "Idempotency-Key", name)
			switch {
			case err != nil:
				return err
			case got.status == http.StatusAccepted:
				var made run
				err := got.read(&made)
				started[i] = made.ID
				return err
			case time.Since(begun) > patience,
				got.status != http.StatusServiceUnavailable && got.status != http.StatusConflict,
				got.header.Get("Retry-After") == "":
				return fmt.Errorf("trigger: %s %v", got, got.header)
			}
			mu.Lock()
			refused++
			mu.Unlock()
			<-tick.C
		}
	})
	ended := <-cutting
	stop()
	t.Logf("%d sessions were ended, %d requests were refused", ended, refused)
	require.Positive(t, ended)
	f.patient = true
	done() // what is left waits for leases to end
	f.settle(t, wf)
	require.Equal(t, map[string]int{"completed": runs}, f.count(t, wf), "each request made one run")
	sum := f.requireTenSteps(t, s, started)
	t.Logf("%d attempts were lost, %d effects repeated", sum.lost, sum.repeats)
	f.requireNothingLeft(t)
	f.requireNoErrors(t)
}
