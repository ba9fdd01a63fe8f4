package acceptance_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Runs wait for events of their own lead. A third of the events come before the wait
// opens, a third just then, a third after it, all of them from two senders at once, and
// Redis forgets everything meanwhile.
func TestAnEventWakesItsRunOnceWheneverItComes(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	alone(t)
	runs := sized(99, 200)
	const cool = time.Second
	f := newFleet(t, "plain")
	f.startAll(t, 2, 2)
	s := newSink(t)
	wf := f.workflow(t, fmt.Sprintf(`{"steps":[
		{"id":"cool","type":"wait","for":%q},
		{"id":"reply","type":"wait","event":{"type":"lead.replied","match":"event.data.lead_id == payload.lead_id","timeout":"10m"}},%s],
		"edges":[{"from":"cool","to":"reply"},{"from":"reply","to":"after"}]}`, cool, s.toSink("after", "")))

	reply := func(i int, kind string) error {
		_, err := f.publish(news{
			ID: fmt.Sprintf("%s-%d", kind, i), Type: "lead.replied",
			Data: map[string]any{"lead_id": fmt.Sprintf("lead_%d", i), "kind": kind},
		})
		return err
	}
	// twice is the same event from two senders at the same time.
	twice := func(i int, kind string) error {
		other := make(chan error, 1)
		go func() { other <- reply(i, kind) }()
		err := reply(i, kind)
		if failure := <-other; failure != nil {
			return failure
		}
		return err
	}
	kinds := []string{"before", "at", "after"}
	started := make([]string, runs)
	inParallel(t, runs/2, runs, func(i int) error {
		if err := reply(i, "too early"); err != nil { // before there is a run
			return err
		}
		var err error
		if started[i], err = f.trigger(wf, fmt.Sprintf("run-%d", i), map[string]string{"lead_id": fmt.Sprintf("lead_%d", i)}); err != nil {
			return err
		}
		begun := time.Now()
		if i == runs/2 {
			if err := f.redis.FlushDB(t.Context()).Err(); err != nil {
				return err
			}
		}
		switch kinds[i%3] {
		case "at":
			timer := time.NewTimer(time.Until(begun.Add(cool)))
			defer timer.Stop()
			<-timer.C
		case "after":
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for open := 0; open == 0; {
				<-tick.C
				if err := f.db.QueryRow(t.Context(), `SELECT count(*) FROM waits WHERE run_id = $1`, started[i]).Scan(&open); err != nil {
					return err
				}
				if time.Since(begun) > endLimit {
					return fmt.Errorf("run %s never waits", started[i])
				}
			}
		}
		return twice(i, kinds[i%3])
	})
	require.NoError(t, f.redis.FlushDB(t.Context()).Err())
	sent := time.Now()
	f.settle(t, wf)
	t.Logf("%d runs had ended %s after the last event", runs, time.Since(sent).Round(time.Millisecond))
	require.Equal(t, map[string]int{"completed": runs}, f.count(t, wf))
	inParallel(t, 8, runs, func(i int) error {
		one, err := f.tell(started[i])
		if err != nil {
			return err
		}
		if err := one.sound("cool", "reply", "after"); err != nil {
			return fmt.Errorf("run %s: %w\n%s", started[i], err, one)
		}
		var woken struct {
			Data struct {
				Lead string `json:"lead_id"`
				Kind string `json:"kind"`
			} `json:"data"`
		}
		if err := json.Unmarshal(one.steps["reply"].Output, &woken); err != nil {
			return err
		}
		if woken.Data.Lead != fmt.Sprintf("lead_%d", i) || woken.Data.Kind != kinds[i%3] {
			return fmt.Errorf("run %s for lead_%d was woken by %s", started[i], i, one.steps["reply"].Output)
		}
		if n := len(s.of(started[i], "after").keys); n != 1 {
			return fmt.Errorf("run %s went on %d times", started[i], n)
		}
		return nil
	})
	f.requireNothingLeft(t)
	f.requireNoErrors(t)
}
