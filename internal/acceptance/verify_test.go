package acceptance_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireSound checks what must hold of every run that has ended, whatever has
// happened to it meanwhile: its log has no gap and no repeat, every step of the
// graph is in its trace with one end and one line in the log for it, every attempt
// began once, and nothing happened after the end.
func (s story) requireSound(t *testing.T, steps ...string) {
	t.Helper()
	require.NoError(t, s.sound(steps...), "run %s\n%s", s.run.ID, s)
}

func (s story) sound(steps ...string) error {
	if s.run.FinishedAt == nil || len(s.events) == 0 {
		return fmt.Errorf("it is %s", s.run.Status)
	}
	count := map[string]int{}
	for i, e := range s.events {
		if e.Seq != int64(i+1) {
			return fmt.Errorf("event %d has seq %d", i+1, e.Seq)
		}
		name := e.Type
		if e.StepID != nil {
			name += " " + *e.StepID
			if e.Type == "step.started" {
				name = fmt.Sprintf("%s %d", name, e.Data.Attempt)
			}
		}
		count[name]++
	}
	if first, last := s.events[0].Type, s.events[len(s.events)-1].Type; first != "run.queued" || last != "run."+s.run.Status {
		return fmt.Errorf("its log is from %s to %s", first, last)
	}
	if n := count["run."+s.run.Status]; n != 1 {
		return fmt.Errorf("it is %s %d times", s.run.Status, n)
	}
	if len(s.steps) != len(steps) {
		return fmt.Errorf("its trace has %d steps, not %d", len(s.steps), len(steps))
	}
	for _, id := range steps {
		one, ok := s.steps[id]
		if !ok {
			return fmt.Errorf("step %s is not in its trace", id)
		}
		if err := one.sound(count); err != nil {
			return fmt.Errorf("step %s: %w", id, err)
		}
	}
	return nil
}

// sound checks one step, given how often which event is in the log.
func (s step) sound(count map[string]int) error {
	ends := 0
	for _, end := range []string{"completed", "failed", "skipped", "cancelled"} {
		ends += count["step."+end+" "+s.ID]
	}
	if !slices.Contains([]string{"completed", "failed", "skipped", "cancelled"}, s.Status) {
		return fmt.Errorf("it is %s", s.Status)
	}
	// A step the run never came to has no line in the log.
	if n := count["step."+s.Status+" "+s.ID]; ends > 1 || n != ends || ends == 0 && s.Status != "cancelled" {
		return fmt.Errorf("it is %s, and has ended %d times, so %d times", s.Status, ends, n)
	}
	for i, a := range s.Attempts {
		if a.Number != i+1 {
			return fmt.Errorf("attempt %d has number %d", i+1, a.Number)
		}
		if a.Status == "completed" && i != len(s.Attempts)-1 {
			return fmt.Errorf("attempt %d completed and was not the last", i+1)
		}
	}
	return nil
}

func (s story) String() string {
	var b strings.Builder
	for _, e := range s.events {
		id := ""
		if e.StepID != nil {
			id = *e.StepID
		}
		fmt.Fprintf(&b, "%4d %s %-15s %s %d\n", e.Seq, e.At.Format("15:04:05.000"), e.Type, id, e.Data.Attempt)
	}
	return b.String()
}

// tenIDs are the steps of the ten-step flow.
var tenIDs = []string{"intake", "left", "right", "merge", "flaky", "route", "even", "odd", "close", "note"}

// tally is what a number of runs add up to.
type tally struct {
	lost    int // attempts whose worker was lost
	repeats int // requests that the outside saw again
}

// requireTenSteps checks runs of the ten-step flow, in the order of payload.n for
// all it matters: all are complete, and the outside saw each effect under a key of
// its own, once, but for what the flow provokes and for attempts that were lost
// with their worker.
func (f *fleet) requireTenSteps(t *testing.T, s *sink, runs []string) (sum tally) {
	t.Helper()
	stories := make([]story, len(runs))
	inParallel(t, 8, len(runs), func(i int) (err error) {
		stories[i], err = f.tell(runs[i])
		return err
	})
	owner := map[string]effect{} // by key
	for _, one := range stories {
		one.requireSound(t, tenIDs...)
		require.Equal(t, "completed", one.run.Status, one)
		require.ElementsMatch(t, []string{"completed", "skipped"}, []string{one.steps["even"].Status, one.steps["odd"].Status})
		for _, id := range tenIDs {
			st := one.steps[id]
			lost := 0
			for _, a := range st.Attempts {
				if a.Error != nil && a.Error.Code == "worker_lost" {
					lost++
				}
			}
			sum.lost += lost
			seen := s.of(one.run.ID, id)
			switch id {
			case "left", "right", "flaky", "odd", "note":
			default:
				require.Empty(t, seen.keys)
				continue
			}
			if st.Status == "skipped" {
				require.Empty(t, seen.keys)
				continue
			}
			require.NotEmpty(t, seen.keys, "run %s: %s is completed and was never done", one.run.ID, id)
			for _, key := range seen.keys {
				require.Equal(t, seen.keys[0], key, "attempts have one key")
			}
			require.NotContains(t, owner, seen.keys[0], "keys tell effects apart")
			owner[seen.keys[0]] = effect{one.run.ID, id}
			planned := 1
			if id == "flaky" {
				planned = 2
				require.Equal(t, 1, seen.refused)
				// A worker that is lost may have been refused, and taken the news with it.
				require.LessOrEqual(t, len(st.Attempts), planned+lost)
				require.GreaterOrEqual(t, len(st.Attempts), planned+lost-min(lost, 1))
			}
			require.LessOrEqual(t, len(seen.keys), planned+lost, "run %s: %s", one.run.ID, id)
			sum.repeats += len(seen.keys) - planned
		}
	}
	return sum
}
