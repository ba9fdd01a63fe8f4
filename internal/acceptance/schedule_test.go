package acceptance_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Three schedulers stand at a hundred schedules, and the one that fires them is killed
// while it does.
func TestEveryTickStartsOneRunWhicheverSchedulerDies(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	done := alone(t)
	const crons = 100
	f := newFleet(t, "plain")
	wf := f.workflow(t, chain(set("a", `{"due":"{{ payload.due }}"}`)))
	inParallel(t, 8, crons, func(i int) error {
		var made madeTrigger
		return f.want(201, "POST", "/triggers", fmt.Appendf(nil, `{"type":"schedule","cron":"* * * * *","missed":"all","name":"%d",
			"workflow_id":%q,"payload":{"due":"{{ event.occurred_at }}"}}`, i, wf), &made)
	})
	w := f.start(t, "worker")
	w.ready(t)
	// Each has sessions of a name of its own.
	schedulers := map[string]*process{}
	for i := range 3 {
		name := fmt.Sprintf("%d_%s", i, f.name)[:40] // PostgreSQL cuts off long ones
		env := append(append([]string{}, f.env...), strings.Replace(f.env[0], "application_name="+f.name, "application_name="+name, 1))
		p := launch(t, f.path, name, env, "scheduler")
		f.procs = append(f.procs, p)
		schedulers[name] = p
	}
	for _, p := range schedulers {
		p.ready(t)
	}

	// Nothing can be written to runs: who fires stands still in the middle of it.
	tx, err := f.db.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(t.Context()) }()
	_, err = tx.Exec(t.Context(), `LOCK TABLE runs IN SHARE ROW EXCLUSIVE MODE`)
	require.NoError(t, err)
	// As if every scheduler had been away for a moment: two ticks are due.
	_, err = f.db.Exec(t.Context(), `UPDATE triggers SET next_fire_at = date_trunc('minute', now()) - interval '1 minute'`)
	require.NoError(t, err)
	holding := ""
	waitFor(t, endLimit, "a scheduler to fire", func() bool {
		return f.db.QueryRow(t.Context(), `SELECT application_name FROM pg_stat_activity
			WHERE application_name = ANY($1) AND wait_event_type = 'Lock' LIMIT 1`, slices.Collect(maps.Keys(schedulers))).Scan(&holding) == nil
	})
	pending := f.number(t, `SELECT count(*) FROM schedule_ticks WHERE outcome = 'pending'`)
	schedulers[holding].kill(t)
	delete(schedulers, holding)
	killed := time.Now()
	require.NoError(t, tx.Rollback(t.Context()))
	t.Logf("%s died with %d ticks in hand", holding, pending)
	require.Positive(t, pending)
	if *full {
		done() // what it held comes again when its lease is over
	} else { // which is at once
		_, err := f.db.Exec(t.Context(), `UPDATE schedule_ticks SET attend_at = now() WHERE outcome = 'pending'`)
		require.NoError(t, err)
	}
	waitFor(t, endLimit, "all ticks", func() bool {
		return f.number(t, `SELECT count(*) FROM schedule_ticks WHERE outcome = 'pending'`) == 0 &&
			f.number(t, `SELECT count(*) FROM schedule_ticks WHERE outcome = 'fired'`) >= 2*crons
	})
	t.Logf("all ticks had fired %s after that", time.Since(killed).Round(time.Millisecond))
	f.settle(t, wf)
	f.requireOneRunATick(t, wf)
	if *full {
		fired := f.number(t, `SELECT count(*) FROM schedule_ticks`)
		waitFor(t, endLimit, "the minute", func() bool {
			return f.number(t, `SELECT count(*) FROM schedule_ticks WHERE outcome = 'fired'`) >= fired+crons
		})
		f.settle(t, wf)
		f.requireOneRunATick(t, wf)
	}
	f.requireNothingLeft(t)
	f.requireNoErrors(t)
}

// requireOneRunATick checks that each tick there was started a run of its own, that
// there are no other runs, and that no schedule missed a minute.
func (f *fleet) requireOneRunATick(t *testing.T, workflow string) {
	t.Helper()
	ticks := f.number(t, `SELECT count(*) FROM schedule_ticks`)
	require.Equal(t, ticks, f.number(t, `SELECT count(*) FROM schedule_ticks AS k JOIN runs AS r ON r.workspace_id = k.workspace_id AND r.id = k.run_id
		WHERE r.workflow_id = $1 AND r.status = 'completed' AND r.trigger_type = 'schedule' AND r.trigger_id = k.trigger_id
		AND (r.payload->>'due')::timestamptz = k.due_at`, workflow))
	require.Equal(t, ticks, f.number(t, `SELECT count(*) FROM runs WHERE workflow_id = $1`, workflow))
	require.Zero(t, f.number(t, `SELECT count(*) FROM (SELECT due_at - lag(due_at) OVER (PARTITION BY trigger_id ORDER BY due_at) AS gap FROM schedule_ticks) AS g
		WHERE gap <> interval '1 minute'`))
	t.Logf("%d ticks, %d runs", ticks, ticks)
}
