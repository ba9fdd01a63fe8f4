package engine_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/models"
)

func TestWhyTellsWhatHoldsItemsBack(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		ref := b.start(b.workflow(`{"steps":[{"id":"f","type":"connector","connector":"core","action":"set","foreach":"payload.leads","max_parallel":3,
			"retry":{"max_attempts":2,"backoff":"fixed","initial":"10m"}}],"edges":[]}`), `{"leads":[1,2,3,4]}`)
		var work []*engine.Work
		for _, d := range b.queue.take() {
			w, err := b.eng.Claim(b.ctx, engine.ClaimRequest{Task: d.Task, Worker: "w1"})
			require.NoError(t, err)
			work = append(work, w)
		}
		require.Len(t, work, 3)
		waiting := func() (engine.WaitingOn, string) {
			why, err := b.eng.Why(b.ctx, ref)
			require.NoError(t, err)
			require.Len(t, why.WaitingOn, 1)
			return why.WaitingOn[0], why.Summary
		}
		on, _ := waiting()
		require.Equal(t, "worker", on.Kind)
		require.Equal(t, "0 of 4 iterations are done, 3 are under way", on.Detail)

		const limit = "its connection allows 2 in 1m0s"
		require.NoError(t, b.eng.PutBack(b.ctx, work[0].Lease, 30*time.Second, limit))
		require.NoError(t, b.eng.PutBack(b.ctx, work[1].Lease, 40*time.Second, limit))
		on, _ = waiting()
		require.Equal(t, "worker", on.Kind, "one is at work")
		require.Equal(t, "0 of 4 iterations are done, 3 are under way; 2 have to wait until 2026-05-01T08:00:30Z for their turn: "+limit, on.Detail)

		_, err := b.eng.Finish(b.ctx, engine.FinishRequest{Lease: work[2].Lease, Error: &models.StepError{Code: "http_500", Message: "no", Retryable: true}})
		require.NoError(t, err)
		on, summary := waiting()
		require.Equal(t, "limit", on.Kind)
		require.True(t, b.clock.Now().Add(30*time.Second).Equal(*on.Until))
		require.Regexp(t, `^Step "f" waits until 2026-05-01T08:00:30Z: 0 of 4 iterations are done, 3 are under way; `+
			"2 have to wait until 2026-05-01T08:00:30Z for their turn: "+limit+"; "+
			`1 has to wait until 2026-05-01T08:\d\d:\d\dZ for the next attempt, after one that failed\.$`, summary)
		b.clock.Advance(35 * time.Second)
		on, _ = waiting()
		require.Equal(t, "worker", on.Kind, "one may begin by now")
		require.Contains(t, on.Detail, "1 has to wait until 2026-05-01T08:00:40Z for its turn: "+limit)
	})
}
