package acceptance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// persistently sends events, each of them twice, in requests of so many at a steady
// pace. What is not accepted is sent again, as the same events.
func (c *client) persistently(name string, distinct, batch int, pace time.Duration) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	var wg sync.WaitGroup
	errs := make(chan error, 2*distinct/batch+2)
	for range 2 {
		for from := 0; from < distinct; from += batch {
			<-tick.C
			var events []news
			for i := from; i < min(from+batch, distinct); i++ {
				events = append(events, news{ID: fmt.Sprintf("%s-%d", name, i), Type: "lead.created", Data: map[string]int{"n": i}})
			}
			body, err := json.Marshal(map[string]any{"items": events})
			if err != nil {
				return err
			}
			wg.Go(func() {
				again := time.NewTicker(100 * time.Millisecond)
				defer again.Stop()
				for begun := time.Now(); ; <-again.C {
					got, err := c.ask("POST", "/events/batch", body)
					switch {
					case err == nil && got.status == http.StatusAccepted:
						return
					case err == nil && got.status != http.StatusServiceUnavailable, time.Since(begun) > time.Minute:
						errs <- errors.Join(fmt.Errorf("events were not accepted: %s", got), err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// In the middle of many events a worker dies, Redis forgets everything, and the
// database ends all sessions.
func TestEachEventStartsItsRunOnceWhateverBreaks(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	alone(t)
	var (
		distinct = sized(600, 5000)
		pace     = 40 * time.Millisecond
	)
	f := newFleet(t, "plain")
	workers := f.startAll(t, 2, 2)
	wf := f.workflow(t, chain(set("a", `{"n":"{{ payload.n }}"}`)))
	f.subscribe(t, fmt.Sprintf(`{"type":"event","event_type":"lead.*","workflow_id":%q}`, wf))
	for _, fault := range []struct {
		name  string
		cause func()
	}{
		{"kill", func() {
			workers[0].kill(t)
			f.start(t, "worker").ready(t)
		}},
		{"flush", func() { require.NoError(t, f.redis.FlushDB(t.Context()).Err()) }},
		{"cut", func() {
			waitFor(t, endLimit, "connections to break", func() bool { // those that broke before may not be there again
				return f.number(t, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1`, f.name) > 0
			})
		}},
	} {
		runs := func() int {
			return f.number(t, `SELECT count(*) FROM runs AS r JOIN events AS e ON e.workspace_id = r.workspace_id AND e.id = r.event_id
				WHERE r.workflow_id = $1 AND e.external_id LIKE $2`, wf, fault.name+"-%")
		}
		sent := make(chan error, 1)
		go func() { sent <- f.persistently(fault.name, distinct, 20, pace) }()
		for _, share := range []int{5, 3, 2} { // of them have begun
			waitFor(t, endLimit, "runs", func() bool { return runs() >= distinct/share })
			if share == 3 || fault.name != "kill" {
				fault.cause()
			}
		}
		require.NoError(t, <-sent)
		broke := time.Now()
		waitFor(t, endLimit, "the end of all runs", func() bool {
			return f.number(t, `SELECT count(*) FROM events WHERE attend_at IS NOT NULL`) == 0 && f.number(t, `SELECT count(*) FROM runs WHERE finished_at IS NULL`) == 0
		})
		t.Logf("%s: all had ended %s after the last was sent", fault.name, time.Since(broke).Round(time.Millisecond))
		require.Equal(t, distinct, runs(), fault.name)
		require.Equal(t, distinct, f.number(t, `SELECT count(*) FROM runs AS r JOIN event_matches AS m ON m.workspace_id = r.workspace_id AND m.run_id = r.id
			JOIN events AS e ON e.workspace_id = m.workspace_id AND e.id = m.event_id
			WHERE r.status = 'completed' AND m.outcome = 'fired' AND e.external_id LIKE $1`, fault.name+"-%"), "each is told of")
	}
	require.Equal(t, f.number(t, `SELECT count(DISTINCT external_id) FROM events WHERE source = 'api'`), f.number(t, `SELECT count(*) FROM runs`))
	f.requireNothingLeft(t)
	f.requireNoErrors(t, `"msg":"asynq"`)
}
