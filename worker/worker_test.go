package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/tasks"
	"github.com/10ex/flows/worker"
)

// quiet keeps the queue from being read for a while, so that what is done was brought
// by other ways. asynq sleeps it out before it stops, so it is not long.
const quiet = 2 * time.Second

func TestTasksAreTakenFromEveryQueue(t *testing.T) {
	t.Parallel()
	urls := map[string]string{"miniredis": "redis://" + testkit.Miniredis(t).Addr(), "embedded": ""}
	if testkit.HaveRedis() {
		urls["redis"] = testkit.RedisURL(t)
	}
	for name, url := range urls {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, url, worker.Config{TaskCheckInterval: time.Millisecond})
			require.NoError(t, b.worker.Start())
			b.engine.add("quick", "echo", `{"n":1}`)
			b.engine.add("slow", "echo", `{"n":2}`).Queue = tasks.QueueAgents
			slow := task("slow")
			slow.Queue = tasks.QueueAgents
			b.client.Enqueue(t.Context(), []tasks.Entry{{Step: task("quick")}, {Step: slow}, {Step: task("pause"), Wake: true}})

			got := map[string]string{}
			for range 2 {
				req := receive(t, b.engine.finished)
				require.Nil(t, req.Error)
				require.JSONEq(t, `{"input_tokens":0,"output_tokens":0,"cost":0,"turns":1}`, string(req.Usage))
				got[req.Lease.Ref.Step] = string(req.Output)
			}
			require.Empty(t, cmp.Diff(map[string]string{"quick": `{"n":1}`, "slow": `{"n":2}`}, got))
			require.Equal(t, "pause", receive(t, b.engine.woken))
		})
	}
}

func TestAnEffectSaysWhetherItMayBeRepeated(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{})
	for _, action := range []string{"effect", "keyed"} {
		b.engine.add(action, action, `1`)
		require.True(t, b.worker.Offer(t.Context(), task(action)))
		require.Nil(t, receive(t, b.engine.finished).Error)
	}
	b.engine.add("asks", "keyed", `1`).Step.OnUnknown = "ask"
	require.True(t, b.worker.Offer(t.Context(), task("asks")))
	require.Nil(t, receive(t, b.engine.finished).Error)
	require.Equal(t, map[string]bool{"effect": false, "keyed": true, "asks": false}, b.engine.effects)
}

func TestARefusedHintLeavesTheLeaseOfTheStepAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{Concurrency: 2})
	b.engine.add("a", "echo", `1`)
	lease := b.engine.add("b", "block", `2`).Lease
	b.engine.next["a"] = "b"
	b.engine.refusal = make(chan struct{})
	// What follows is offered after the commit, which is before the one who finished
	// learns that it is its own.
	b.engine.offered = func() {
		b.worker.Offer(t.Context(), task("b"))
		for range 2 { // first a was claimed
			<-b.engine.claims
		}
	}
	require.True(t, b.worker.Offer(t.Context(), task("a")))
	receive(t, b.connector.started)
	close(b.engine.refusal)
	require.Eventually(t, func() bool { return b.worker.Offer(t.Context(), task("c")) }, limit, time.Millisecond, "the slot is given back")

	require.NoError(t, b.worker.Beat(t.Context()))
	require.Equal(t, []engine.Lease{lease}, receive(t, b.engine.beats))
	close(b.connector.release)
}

func TestTheSecondHintCostsNoQuestion(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{})
	b.engine.add("a", "block", `1`)
	require.True(t, b.worker.Offer(t.Context(), task("a")))
	receive(t, b.connector.started)
	require.Equal(t, "a", receive(t, b.engine.claims))

	again := task("a")
	again.Delivery = 1
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(again)), "while it is done")
	require.False(t, b.worker.Offer(t.Context(), again))
	close(b.connector.release)
	receive(t, b.engine.finished)
	require.Eventually(t, func() bool { return b.worker.ProcessTask(t.Context(), tasks.NewStep(again)) == nil }, limit, time.Millisecond)
	require.Empty(t, b.engine.claims)

	retry := task("a")
	retry.Attempt = 2
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(retry)))
	require.Equal(t, "a", receive(t, b.engine.claims), "another attempt is another matter")
}

func TestARefusedClaimIsTheEndOfTheTask(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{})
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task("a"))))
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task("a"))))
	require.Len(t, b.engine.claims, 2, "what was refused may be allowed later")
	require.Empty(t, b.engine.finished)
}

func TestATaskIsGivenBackOnlyWhenTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{})
	b.engine.claimErr, b.engine.lease = models.ErrUnavailable, 100*time.Millisecond
	require.ErrorIs(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task("a"))), models.ErrUnavailable)
	b.engine.claimErr = errors.New("a bug")
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task("a"))), "the sweep takes it up again")
	require.ErrorIs(t, b.worker.ProcessTask(t.Context(), asynq.NewTask(tasks.TypeStep, []byte("{"))), asynq.SkipRetry)
	require.ErrorIs(t, b.worker.ProcessTask(t.Context(), asynq.NewTask("other", tasks.NewStep(task("a")).Payload())), asynq.SkipRetry)
}

func TestAClaimWhoseAnswerIsLostIsMadeAgainUnderItsToken(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{})
	b.engine.answers = []error{models.ErrUnavailable, models.ErrUnavailable}
	b.engine.add("a", "echo", `1`)
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task("a"))))
	require.JSONEq(t, `1`, string(receive(t, b.engine.finished).Output))
	require.Len(t, b.engine.claims, 3)
	require.Len(t, b.engine.asked, 1)
	require.NotContains(t, b.engine.asked, "")
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		work func(*engine.Work)
		want models.StepError
		wait time.Duration
	}{
		"a failure of the action": {
			work: func(w *engine.Work) { w.Step.Action = "fail" },
			want: models.StepError{Code: "http_503", Message: "the server answered 503", Status: 503, Retryable: true},
			wait: 7 * time.Second,
		},
		"a panic": {
			work: func(w *engine.Work) { w.Step.Action = "panic" },
			want: models.StepError{Code: "internal", Message: "the step failed unexpectedly", Retryable: true},
		},
		"too little time": {
			work: func(w *engine.Work) { w.Step.Action, w.Timeout = "block", time.Millisecond },
			want: models.StepError{Code: "timeout", Message: "the step did not finish within 1ms", Retryable: true},
		},
		"too large an output": {
			work: func(w *engine.Work) { w.Input = json.RawMessage(`"` + strings.Repeat("x", 2000) + `"`) },
			want: models.StepError{Code: "output_too_large", Message: "the output is 2002 bytes, more than the 1000 allowed"},
		},
		"an action that is gone": {
			work: func(w *engine.Work) { w.Step.Action = "gone" },
			want: models.StepError{Code: "unknown_action", Message: `connector "test" has no action "gone"`},
		},
		"an agent that is gone": {
			work: func(w *engine.Work) {
				w.Step = &models.GraphStep{ID: "a", Type: models.StepTypeAgent, Agent: "gone"}
			},
			want: models.StepError{Code: "unknown_agent", Message: `there is no agent "gone" any more`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "", worker.Config{MaxOutput: 1000})
			tc.work(b.engine.add("a", "echo", `1`))
			require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task("a"))))
			req := receive(t, b.engine.finished)
			require.NotNil(t, req.Error)
			require.Empty(t, cmp.Diff(tc.want, *req.Error))
			require.Equal(t, tc.wait, req.RetryAfter)
			require.Empty(t, req.Output)
		})
	}
}

func TestAnAgentIsLookedUpAndItsAnswerMadeStorable(t *testing.T) {
	t.Parallel()
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"key": "` + r.Header.Get("Idempotency-Key") + `", "nul": "\u0000"}`))
	}))
	defer peer.Close()
	b := newBench(t, "", worker.Config{})
	b.agents["prospector"] = &models.Agent{
		Slug: "prospector", Kind: "http", Config: json.RawMessage(`{"url":"` + peer.URL + `"}`),
	}
	b.engine.add("a", "", `{}`).Step = &models.GraphStep{ID: "a", Type: models.StepTypeAgent, Agent: "prospector"}
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task("a"))))
	req := receive(t, b.engine.finished)
	require.Nil(t, req.Error)
	require.JSONEq(t, `{"key":"run_1:a","nul":"\ufffd"}`, string(req.Output))
}

func TestALostLeaseStopsTheStepAndNothingIsRecorded(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{})
	lost := b.engine.add("lost", "block", `1`)
	b.engine.add("kept", "block", `2`)
	require.True(t, b.worker.Offer(t.Context(), task("lost")))
	require.True(t, b.worker.Offer(t.Context(), task("kept")))
	ctxs := []context.Context{receive(t, b.connector.started), receive(t, b.connector.started)}

	require.NoError(t, b.worker.Beat(t.Context()))
	require.Len(t, receive(t, b.engine.beats), 2, "one sign of life for all")
	b.engine.mu.Lock()
	b.engine.lost[lost.Token] = true
	b.engine.mu.Unlock()
	require.NoError(t, b.worker.Beat(t.Context()))
	require.Len(t, receive(t, b.engine.beats), 2)
	require.Eventually(t, func() bool {
		return (ctxs[0].Err() == nil) != (ctxs[1].Err() == nil)
	}, limit, time.Millisecond)

	require.Eventually(t, func() bool {
		require.NoError(t, b.worker.Beat(t.Context()))
		return len(receive(t, b.engine.beats)) == 1
	}, limit, time.Millisecond)
	close(b.connector.release)
	require.Equal(t, "kept", receive(t, b.engine.finished).Lease.Ref.Step)
	require.Empty(t, b.engine.finished)
}

func TestStepsStopWhenNoSignOfLifeGetsThrough(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{})
	b.engine.lease = 50 * time.Millisecond
	b.engine.away = true
	b.engine.add("a", "block", `1`)
	require.True(t, b.worker.Offer(t.Context(), task("a")))
	ctx := receive(t, b.connector.started)
	require.Eventually(t, func() bool {
		require.ErrorIs(t, b.worker.Beat(t.Context()), models.ErrUnavailable)
		return ctx.Err() != nil
	}, limit, time.Millisecond)
	require.Eventually(t, func() bool { return b.worker.Beat(t.Context()) == nil }, limit, time.Millisecond, "nothing is held any more")
	require.Empty(t, b.engine.finished)
}

func TestAResultIsKeptWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{})
	b.engine.finishErrs = []error{models.ErrUnavailable, models.ErrUnavailable, models.ErrUnavailable}
	b.engine.add("a", "echo", `1`)
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task("a"))))
	require.JSONEq(t, `1`, string(receive(t, b.engine.finished).Output))
}

func TestAResultThatCannotBeRecordedIsAFailedAttempt(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{})
	b.engine.finishErrs = []error{errors.New("a bug")}
	b.engine.add("a", "echo", `1`)
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task("a"))))
	req := receive(t, b.engine.finished)
	require.Equal(t, "internal", req.Error.Code)
	require.Empty(t, req.Output)

	b.engine.finishErrs = []error{errors.New("a bug"), errors.New("a bug")}
	b.engine.add("b", "echo", `1`)
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task("b"))), "it does not go on for ever")
	require.Empty(t, b.engine.finished)
}

func TestAStaleResultIsDropped(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{})
	b.engine.finishErrs = []error{engine.ErrLeaseLost}
	b.engine.add("a", "echo", `1`)
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task("a"))))
	require.Empty(t, b.engine.finished)
}

func TestNoEffectWithoutLeave(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{})
	b.engine.beginErrs = []error{models.ErrUnavailable, models.ErrUnavailable}
	b.engine.add("a", "effect", `1`)
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task("a"))))
	require.Nil(t, receive(t, b.engine.finished).Error, "leave is waited for")

	b.engine.beginErrs = []error{engine.ErrLeaseLost}
	b.engine.finishErrs = []error{engine.ErrLeaseLost}
	b.engine.add("b", "effect", `1`)
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task("b"))))
	require.Empty(t, b.engine.finished)
}

func TestAnAnswerThatDoesNotArriveLeavesTheOutcomeUnknown(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{})
	for name, c := range map[string]struct {
		err     error
		unknown bool
	}{
		"the line broke":        {&connectors.Error{Code: connectors.CodeNetwork, Message: "m", Retryable: true}, true},
		"no answer in time":     {&connectors.Error{Code: connectors.CodeTimeout, Message: "m", Retryable: true}, true},
		"nothing was sent":      {&connectors.Error{Code: connectors.CodeNetwork, Message: "m", Retryable: true, Unsent: true}, false},
		"there was an answer":   {&connectors.Error{Code: "http_503", Message: "m", Status: 503, Retryable: true}, false},
		"nothing is wrong":      {nil, false},
		"it was never accepted": {connectors.Permanent(connectors.CodeInputInvalid, "m"), false},
	} {
		b.connector.fails(c.err)
		b.engine.add(name, "effect", `1`)
		require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task(name))))
		require.Equal(t, c.unknown, receive(t, b.engine.finished).Unknown, name)
	}
}

func TestWhatFollowsIsDoneInTheSameSlot(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{Concurrency: 1})
	for i, name := range []string{"a", "b", "c"} {
		w := b.engine.add(name, "echo", `1`)
		if i == 1 {
			w.Queue = tasks.QueueAgents
		}
	}
	b.engine.next = map[string]string{"a": "b", "b": "c"}
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task("a"))))
	for _, want := range []string{"a", "b", "c"} {
		require.Equal(t, want, receive(t, b.engine.finished).Lease.Ref.Step)
	}
	require.Len(t, b.engine.claims, 1)
	require.True(t, b.worker.Offer(t.Context(), task("none")), "the slot is free again")
	slow := task("none")
	slow.Queue, slow.Attempt = tasks.QueueAgents, 2
	require.Eventually(t, func() bool { return b.worker.Offer(t.Context(), slow) }, limit, time.Millisecond, "for agents, too")
}

func TestAgentsDoNotFollowWhereTheyHaveTheirShare(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{Concurrency: 2})
	b.engine.add("slow", "block", `1`).Queue = tasks.QueueAgents
	slow := task("slow")
	slow.Queue = tasks.QueueAgents
	require.True(t, b.worker.Offer(t.Context(), slow))
	receive(t, b.connector.started)

	b.engine.add("a", "echo", `1`)
	b.engine.add("b", "echo", `1`).Queue = tasks.QueueAgents
	b.engine.next = map[string]string{"a": "b"}
	require.NoError(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task("a"))))
	req := receive(t, b.engine.finished)
	require.ElementsMatch(t, []string{tasks.QueueDefault, tasks.QueueSystem}, req.Next.Queues)
	require.Empty(t, b.engine.finished)
	close(b.connector.release)
	receive(t, b.engine.finished)
}

func TestStopLetsStepsFinishAndTakesNoMore(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{})
	require.NoError(t, b.worker.Start())
	b.engine.add("a", "block", `1`)
	b.engine.add("b", "echo", `1`)
	b.engine.next = map[string]string{"a": "b"}
	require.True(t, b.worker.Offer(t.Context(), task("a")))
	receive(t, b.connector.started)
	stopped := make(chan struct{})
	go func() {
		b.worker.Stop(context.Background())
		close(stopped)
	}()
	require.Eventually(t, func() bool { return !b.worker.OfferWake(t.Context(), task("pause")) }, limit, time.Millisecond)
	require.False(t, b.worker.Offer(t.Context(), task("b")))
	require.Error(t, b.worker.ProcessTask(t.Context(), tasks.NewStep(task("b"))), "it stays in the queue")
	close(b.connector.release)
	req := receive(t, b.engine.finished)
	require.Equal(t, "a", req.Lease.Ref.Step)
	require.Nil(t, req.Next)
	receive(t, stopped)
	require.Empty(t, b.engine.released)
	require.Empty(t, b.engine.finished)
}

func TestStopHandsBackWhatDoesNotFinish(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{DrainTimeout: time.Millisecond})
	require.NoError(t, b.worker.Start())
	w := b.engine.add("a", "block", `1`)
	require.True(t, b.worker.Offer(t.Context(), task("a")))
	ctx := receive(t, b.connector.started)
	b.worker.Stop(context.Background())
	require.Error(t, ctx.Err())
	require.Empty(t, cmp.Diff([]engine.Lease{w.Lease}, b.engine.released))
	require.Empty(t, b.engine.finished)
	b.worker.Stop(context.Background()) // a second time does nothing
}

func TestNewNamesWhatItRefuses(t *testing.T) {
	t.Parallel()
	_, err := worker.New(worker.Deps{}, worker.Config{})
	require.Error(t, err)
}
