package acceptance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Somebody holds the row of a run for long: an operator's session, or a process
// that froze in the middle of a transaction.
func TestARunThatIsHeldHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	alone(t)
	const runs = 100
	f := newFleet(t, "plain")
	s := newSink(t)
	wf := f.workflow(t, chain(s.toSink("a", ""), s.toSink("b", "")))
	held := f.triggerAll(t, wf, 1, 1)[0] // before anybody is there to do it
	tx, err := f.db.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(t.Context()) }()
	_, err = tx.Exec(t.Context(), `SELECT 1 FROM runs WHERE id = $1 FOR UPDATE`, held)
	require.NoError(t, err)
	f.startAll(t, 2, 2)

	others := f.workflow(t, chain(s.toSink("a", ""), s.toSink("b", "")))
	start := time.Now()
	f.triggerAll(t, others, 16, runs)
	f.settle(t, others)
	took := time.Since(start)
	t.Logf("%d other runs ended in %s", runs, took)
	require.Equal(t, map[string]int{"completed": runs}, f.count(t, others))
	require.LessOrEqual(t, took, 10*time.Second)
	require.Empty(t, s.of(held, "a").keys)

	require.NoError(t, tx.Rollback(t.Context()))
	freed := time.Now()
	f.settle(t, wf)
	t.Logf("the held run ended %s after it was let go", time.Since(freed))
	require.Equal(t, map[string]int{"completed": 1}, f.count(t, wf))
	f.requireNothingLeft(t)
	f.requireNoErrors(t)
}
