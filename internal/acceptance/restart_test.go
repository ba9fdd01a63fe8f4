package acceptance_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
)

// The embedded installation is killed while it works: some waits are open, some
// steps run, some are still to come.
func TestTheEmbeddedInstallationGoesOnWhereItWasKilled(t *testing.T) {
	t.Parallel()
	done := alone(t)
	const (
		runs = 100
		wait = 3 * time.Second
		hold = time.Second
	)
	dir := t.TempDir()
	start := func() (*process, *client) {
		p := launch(t, binary(t, "plain"), "dev", []string{"FLOWS_RATE_LIMIT=1000000"}, "dev", "--addr", "127.0.0.1:0", "--data-dir", dir)
		said := p.ready(t)
		return p, newClient(t, said.URL, said.Key)
	}
	s := newSink(t)
	p, c := start()
	wf := c.workflow(t, chain(
		s.toSink("before", ""),
		fmt.Sprintf(`{"id":"cool","type":"wait","for":%q}`, wait),
		s.toSink("during", fmt.Sprintf("hold=%d", hold.Milliseconds())),
		s.toSink("after", ""),
	))
	started := c.triggerAll(t, wf, 16, runs)
	waitFor(t, endLimit, "steps that run beside waits that are open", func() bool {
		waiting, err := c.has(wf, "waiting")
		require.NoError(t, err)
		running := 0
		for _, id := range started[:20] {
			if seen := s.of(id, "during"); len(seen.keys) > 0 {
				running++
			}
		}
		return waiting && running > 0
	})
	p.kill(t)
	p.requireNoErrors(t)

	p, again := start()
	back := time.Now()
	require.Equal(t, c.key, again.key, "the key survives")
	c = again
	done()
	c.settle(t, wf)
	t.Logf("all runs had ended %s after the restart", time.Since(back))
	require.Equal(t, map[string]int{"completed": runs}, c.count(t, wf))
	repeats := 0
	for _, id := range started {
		one, err := c.tell(id)
		require.NoError(t, err)
		one.requireSound(t, "before", "cool", "during", "after")
		cool := one.steps["cool"]
		require.GreaterOrEqual(t, cool.FinishedAt.Sub(*cool.StartedAt), wait, "a wait is never early")
		require.False(t, cool.FinishedAt.Before(*cool.WakeAt))
		require.False(t, one.steps["during"].StartedAt.Before(*cool.FinishedAt))
		for _, name := range []string{"before", "during", "after"} {
			seen := s.of(id, name)
			require.NotEmpty(t, seen.keys)
			for _, key := range seen.keys {
				require.Equal(t, seen.keys[0], key, "repeats come under the same key")
			}
			repeats += len(seen.keys) - 1
		}
	}
	require.LessOrEqual(t, repeats, 20, "only what ran when it was killed is done again")
	p.requireNoErrors(t)
	p.terminate(t)
	<-p.done
	require.Zero(t, p.code)

	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "flows.db"))
	require.NoError(t, err)
	defer db.Close()
	var verdict string
	require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict))
	require.Equal(t, "ok", verdict)
}

// A worker is told to stop while it has more to do than it can finish in time.
func TestAWorkerThatIsToldToStopLosesNothing(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	done := alone(t)
	const runs = 200
	f := newFleet(t, "plain")
	leaving := f.startAll(t, 1, 2)[0]
	s := newSink(t)
	require.NoError(t, f.want(http.StatusCreated, "POST", "/agents", []byte(s.agentOf()), nil))

	// A step that takes longer than a worker may take to stop.
	long := f.workflow(t, chain(s.toSink("long", "hold=40000"), set("end", `{}`)))
	slow := f.triggerAll(t, long, 1, 1)
	waitFor(t, endLimit, "the long step", func() bool { return len(s.of(slow[0], "long").keys) == 1 })
	staying := f.start(t, "worker")
	staying.ready(t)

	wf := f.workflow(t, s.tenSteps())
	started := f.triggerAll(t, wf, 16, runs)
	told := time.Now()
	leaving.terminate(t)
	f.settle(t, wf)
	require.Equal(t, map[string]int{"completed": runs}, f.count(t, wf))
	require.Zero(t, f.requireTenSteps(t, s, started), "what was short was finished first")
	done() // the rest is waiting

	select {
	case <-leaving.done:
	case <-time.After(time.Minute):
		require.FailNow(t, "the worker does not stop")
	}
	t.Logf("the worker stopped after %s", time.Since(told))
	require.Zero(t, leaving.code)
	require.LessOrEqual(t, time.Since(told), 30*time.Second)
	stopped := time.Now()
	waitFor(t, endLimit, "the long step to run elsewhere", func() bool { return len(s.of(slow[0], "long").keys) == 2 })
	seen := s.of(slow[0], "long")
	require.Len(t, seen.gone, 1, "the one that stops gives it up")
	require.True(t, seen.gone[0].Before(seen.at[1]), "… before another takes it up")
	require.Equal(t, seen.keys[0], seen.keys[1])
	require.LessOrEqual(t, seen.at[1].Sub(stopped), 3*time.Second, "it is handed back, not left to be found")

	f.settle(t, long)
	one, err := f.tell(slow[0])
	require.NoError(t, err)
	one.requireSound(t, "long", "end")
	require.Equal(t, "completed", one.run.Status)
	require.Len(t, one.steps["long"].Attempts, 1, "being handed back is no attempt")
	f.requireNothingLeft(t)
	f.requireNoErrors(t)
}
