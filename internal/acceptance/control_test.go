package acceptance_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Runs are cancelled, paused and resumed at any moment while they run.
func TestRunsObeyWhileTheFleetIsBusy(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	alone(t)
	const (
		runs    = 300
		cancels = 60 // of each of the clients that cancel
		pauses  = 100
	)
	f := newFleet(t, "plain")
	f.startAll(t, 2, 2)
	s := newSink(t)
	ids := []string{"a", "cool", "b", "c", "d"}
	wf := f.workflow(t, chain(
		s.toSink("a", "hold=100"), `{"id":"cool","type":"wait","for":"500ms"}`,
		s.toSink("b", "hold=100"), set("c", `{}`), s.toSink("d", ""),
	))
	// One step is so long that only being told can end it.
	long := f.workflow(t, chain(s.toSink("long", "hold=60000"), s.toSink("never", "")))
	held := f.triggerAll(t, long, 1, 1)[0]
	waitFor(t, endLimit, "the long step", func() bool { return len(s.of(held, "long").keys) == 1 })
	begun := time.Now()
	require.NoError(t, f.want(http.StatusOK, "POST", "/runs/"+held+"/cancel", nil, nil))
	require.NoError(t, f.want(http.StatusOK, "POST", "/runs/"+held+"/cancel", nil, nil), "again is no error")

	started := f.triggerAll(t, wf, 16, runs)
	act := func(seed uint64, times int, actions ...string) error {
		pick := rand.New(rand.NewPCG(seed, 1))
		for range times {
			id := started[pick.IntN(len(started))]
			for _, action := range actions {
				got, err := f.ask("POST", "/runs/"+id+"/"+action, nil)
				switch {
				case err != nil:
					return err
				// It may have ended, or the other client has resumed it.
				case got.status != http.StatusOK && got.status != http.StatusConflict:
					return fmt.Errorf("%s: %s", action, got)
				}
			}
		}
		return nil
	}
	errs := make([]error, 5)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() { errs[i] = act(uint64(i), cancels, "cancel") })
	}
	wg.Go(func() { errs[3] = act(3, pauses, "pause", "resume") })
	wg.Go(func() { errs[4] = act(4, pauses/2, "pause") })
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	waitFor(t, endLimit, "all but the paused runs to end", func() bool {
		left, err := f.has(wf, "queued,running,waiting")
		require.NoError(t, err)
		return !left
	})
	paused := f.count(t, wf)["paused"]
	inParallel(t, 8, runs, func(i int) error {
		_, err := f.ask("POST", "/runs/"+started[i]+"/resume", nil)
		return err
	})
	f.settle(t, wf)
	count := f.count(t, wf)
	t.Logf("%v, of which %d were paused to the end", count, paused)
	require.Equal(t, runs, count["completed"]+count["cancelled"], "nothing else can come of it: %v", count)
	require.Positive(t, count["cancelled"])
	require.Positive(t, count["completed"])

	for _, id := range started {
		one, err := f.tell(id)
		require.NoError(t, err)
		one.requireSound(t, ids...)
		f.requireObeyed(t, s, one)
	}

	seen := s.of(held, "long")
	require.Len(t, seen.gone, 1, "the long step was told")
	t.Logf("a running step was told to stop after %s", seen.gone[0].Sub(begun))
	require.LessOrEqual(t, seen.gone[0].Sub(begun), 6*time.Second)
	require.Empty(t, s.of(held, "never").keys)
	f.settle(t, long)
	f.requireNothingLeft(t)
	f.requireNoErrors(t)
}

// requireObeyed checks that a run did nothing after it was cancelled, and nothing
// between a pause and its end.
func (f *fleet) requireObeyed(t *testing.T, s *sink, one story) {
	t.Helper()
	paused := false
	for _, e := range one.events {
		switch e.Type {
		case "run.paused":
			paused = true
		case "run.resumed", "run.cancelled":
			paused = false
		case "step.started":
			require.False(t, paused, "run %s: a step began in a pause\n%s", one.run.ID, one)
		}
	}
	for _, st := range one.steps {
		for _, a := range st.Attempts {
			// Two processes told the times: their clocks agree to some milliseconds.
			require.False(t, a.StartedAt != nil && a.StartedAt.After(one.run.FinishedAt.Add(100*time.Millisecond)),
				"run %s: %s was claimed after the end\n%s", one.run.ID, st.ID, one)
		}
		seen := s.of(one.run.ID, st.ID)
		require.LessOrEqual(t, len(slices.Compact(seen.keys)), 1)
		if one.run.Status == "completed" && len(seen.keys) > 0 {
			require.Len(t, seen.keys, 1, "run %s: pausing repeats nothing", one.run.ID)
		}
		for _, at := range seen.at {
			require.Less(t, at.Sub(*one.run.FinishedAt), time.Second, "run %s: %s was sent long after the end", one.run.ID, st.ID)
		}
	}
}
