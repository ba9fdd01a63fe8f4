package engine

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
)

func step(id string) string {
	return `{"id":"` + id + `","type":"connector","connector":"core","action":"set"}`
}

func TestLinearRunPassesOutputsOn(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[`+step("a")+`,
		{"id":"b","type":"connector","connector":"core","action":"set","input":{"got":"{{ steps.a.output.x }}","n":"{{ payload.n }}"}}],
		"edges":[{"from":"a","to":"b"}]}`)).start()
	require.Equal(t, models.RunQueued, s.snap.run.Status)
	s.finish("a", `{"x":[1,2]}`)
	require.Equal(t, models.RunRunning, s.snap.run.Status)
	require.JSONEq(t, `{"got":[1,2],"n":1}`, string(s.row("b").Input))
	s.finish("b", `{"done":true}`)
	require.Equal(t, models.RunCompleted, s.snap.run.Status)
	require.JSONEq(t, `{"b":{"done":true}}`, string(s.snap.run.Output))
}

func TestBranchTakesTheFirstTrueEdgeAndSkipsTheRest(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[`+step("a")+`,{"id":"br","type":"branch"},`+step("hot")+`,`+step("warm")+`,`+step("cold")+`,`+step("after")+`],
		"edges":[{"from":"a","to":"br"},{"from":"br","to":"hot","when":"steps.a.output.score > 80"},
		{"from":"br","to":"warm","when":"steps.a.output.score > 10"},{"from":"br","to":"cold","default":true},
		{"from":"warm","to":"after"},{"from":"cold","to":"after"}]}`)).start().finish("a", `{"score":90}`)
	require.Equal(t, map[string]string{"a": "completed", "br": "completed", "hot": "queued", "warm": "skipped", "cold": "skipped", "after": "skipped"}, s.statuses())
	require.Equal(t, []string{"hot"}, s.row("br").Taken)
	require.Equal(t, `branch "br" took another path`, s.row("warm").Reason)
	s.finish("hot", `1`)
	require.Equal(t, models.RunCompleted, s.snap.run.Status)
}

func TestJoinCountsPathsNotTakenAsSettled(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[{"id":"br","type":"branch"},`+step("x")+`,`+step("y")+`,`+step("j")+`],
		"edges":[{"from":"br","to":"x","when":"payload.n == 1"},{"from":"br","to":"y","default":true},{"from":"x","to":"j"},{"from":"y","to":"j"}]}`)).start()
	require.Equal(t, "pending", s.statuses()["j"])
	s.finish("x", `1`)
	require.Equal(t, "queued", s.statuses()["j"])
	s.finish("j", `1`)
	require.Equal(t, models.RunCompleted, s.snap.run.Status)
}

func TestAFailureWithoutAnErrorEdgeHaltsTheRun(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[`+step("a")+`,`+step("b")+`,`+step("c")+`,{"id":"w","type":"wait","event":{"type":"x"}},`+step("after_b")+`],
		"edges":[{"from":"b","to":"after_b"}]}`)).start()
	token := s.claim(theStep("b")) // in flight while a fails
	s.fail("a", false)
	require.Equal(t, models.RunRunning, s.snap.run.Status, "b is still running")
	require.Equal(t, map[string]string{"a": "failed", "b": "running", "c": "cancelled", "w": "cancelled"}, s.statuses())
	s.do(stepFinished{key: theStep("b"), token: token, output: json.RawMessage(`2`)})
	require.Equal(t, models.RunFailed, s.snap.run.Status)
	require.Equal(t, "completed", s.statuses()["b"], "what ran is kept")
	require.Equal(t, &models.RunError{StepID: "a", Code: "boom", Message: "it broke"}, s.snap.run.Error)
}

func TestARunThatFailsAsItStartsStartsNothingMore(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[{"id":"bad","type":"connector","connector":"core","action":"set","if":"payload.missing.deep > 1"},
		`+step("a")+`,{"id":"w","type":"wait","for":"1h"}],"edges":[]}`)).start()
	require.Equal(t, map[string]string{"bad": "failed"}, s.statuses())
	require.Equal(t, models.RunFailed, s.snap.run.Status)
}

// again starts a rerun of s from a step, with the same graph or another.
func (s *sim) again(from, graph string) *sim {
	def := s.def
	if graph != "" {
		var errs []models.FieldError
		def, errs = compile(&models.Version{Graph: parseGraph(s.t.(*testing.T), graph), Number: 2})
		require.Empty(s.t, errs)
	}
	var rows []*models.Step
	for k, row := range s.snap.steps {
		if k.iteration == models.NoIteration {
			rows = append(rows, row)
		}
	}
	next := simOf(s.t, def, string(s.snap.run.Payload))
	next.snap.run.ID = "run_2"
	next.do(runStarts{run: next.snap.run, earlier: rows, from: from})
	return next
}

func TestARerunFromAStepRunsWhatLeadsToItAndDidNotEnd(t *testing.T) {
	t.Parallel()
	chain := `{"steps":[` + step("a") + `,` + step("b") + `,` + step("c") + `],"edges":[{"from":"a","to":"b"},{"from":"b","to":"c"}]}`
	s := newSim(t, parseGraph(t, chain)).start().fail("a", false).again("b", "")
	require.Equal(t, map[string]string{"a": "queued"}, s.statuses(), "b starts when a has ended")
	s.finish("a", `1`).finish("b", `1`).finish("c", `1`)
	require.Equal(t, models.RunCompleted, s.snap.run.Status)

	// A version with one step more before the one to start from, and what follows it.
	s = newSim(t, parseGraph(t, chain)).start().finish("a", `1`).finish("b", `1`).finish("c", `1`)
	s = s.again("c", `{"steps":[`+step("a")+`,`+step("new")+`,`+step("b")+`,`+step("c")+`],
		"edges":[{"from":"a","to":"new"},{"from":"new","to":"b"},{"from":"b","to":"c"}]}`)
	require.Equal(t, map[string]string{"a": "completed", "new": "queued"}, s.statuses())
	s.finish("new", `1`).finish("b", `1`).finish("c", `1`)
	require.Equal(t, models.RunCompleted, s.snap.run.Status)
}

func TestARerunFromAJoinThatOpenedEarlyOpensItAgain(t *testing.T) {
	t.Parallel()
	g := `{"steps":[` + step("a") + `,` + step("b") + `,{"id":"j","type":"connector","connector":"core","action":"set","join":"any"}],
		"edges":[{"from":"a","to":"j"},{"from":"b","to":"j"}]}`
	s := newSim(t, parseGraph(t, g)).start().finish("a", `1`).fail("j", false)
	require.Equal(t, map[string]string{"a": "completed", "b": "cancelled", "j": "failed"}, s.statuses())
	s = s.again("j", "")
	require.Equal(t, map[string]string{"a": "completed", "b": "queued", "j": "queued"}, s.statuses())
	s.finish("j", `1`).finish("b", `1`)
	require.Equal(t, models.RunCompleted, s.snap.run.Status)
}

func TestARerunStartsAStepThatTheEarlierRunDidNotComeTo(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[{"id":"br","type":"branch"},`+step("x")+`,`+step("y")+`],
		"edges":[{"from":"br","to":"x","when":"payload.n == 1"},{"from":"br","to":"y","default":true}]}`)).start().finish("x", `1`)
	s = s.again("y", "")
	require.Equal(t, map[string]string{"br": "completed", "x": "completed", "y": "queued"}, s.statuses())
}

func TestARerunKnowsWhatEndedAWait(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[{"id":"w","type":"wait","event":{"type":"reply","timeout":"1h"}},`+step("f")+`,
		{"id":"got","type":"connector","connector":"core","action":"set"},{"id":"late","type":"connector","connector":"core","action":"set"}],
		"edges":[{"from":"w","to":"got"},{"from":"f","to":"got"},{"from":"w","to":"late","on":"timeout"},{"from":"f","to":"late"}]}`)).start()
	s.now = s.now.Add(time.Hour)
	s.do(waitDue{theStep("w")})
	s.fail("f", false)
	for range 2 { // also of a rerun
		s = s.again("f", "")
		require.Equal(t, map[string]string{"w": "completed", "f": "queued", "got": "pending", "late": "pending"}, s.statuses())
		require.Equal(t, wokenByTimeout, s.row("w").Reason)
		require.Zero(t, s.row("got").Arrived)
		require.Equal(t, 1, s.row("late").Arrived)
		s.fail("f", false)
	}
}

func TestAnErrorEdgeTakesTheFailureOn(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[`+step("a")+`,`+step("ok")+`,
		{"id":"alert","type":"connector","connector":"core","action":"set","input":{"text":"{{ steps.a.error.message }}"}}],
		"edges":[{"from":"a","to":"ok"},{"from":"a","to":"alert","on":"error"}]}`)).start().fail("a", false)
	require.Equal(t, map[string]string{"a": "failed", "ok": "skipped", "alert": "queued"}, s.statuses())
	require.JSONEq(t, `{"text":"it broke"}`, string(s.row("alert").Input))
	s.finish("alert", `1`)
	require.Equal(t, models.RunCompleted, s.snap.run.Status)
}

func TestRetriesKeepEveryAttemptAndWaitBetweenThem(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[{"id":"a","type":"connector","connector":"core","action":"set",
		"retry":{"max_attempts":3,"initial":"2s","multiplier":3,"jitter":false}}],"edges":[]}`)).start().fail("a", true)
	require.Equal(t, "queued", s.statuses()["a"])
	require.Equal(t, 2, s.row("a").Attempt)
	require.Equal(t, s.now.Add(2*time.Second), *s.row("a").DueAt)
	p := s.do(stepClaimed{key: theStep("a"), attempt: 2, token: "x"})
	require.Equal(t, "the step is not due yet", p.refused)
	p = s.do(stepClaimed{key: theStep("a"), attempt: 1, token: "x"})
	require.Equal(t, "attempt 1 is over", p.refused)
	s.fail("a", true)
	require.Equal(t, s.now.Add(6*time.Second), *s.row("a").DueAt)
	s.fail("a", true)
	require.Equal(t, models.RunFailed, s.snap.run.Status)
	require.Equal(t, 3, s.row("a").Attempt)
}

func TestAPermanentFailureIsNotRetried(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[{"id":"a","type":"connector","connector":"core","action":"set","retry":{}}],"edges":[]}`)).start().fail("a", false)
	require.Equal(t, models.RunFailed, s.snap.run.Status)
}

func TestAWorkerThatIsLostThriceFailsTheStep(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[`+step("a")+`],"edges":[]}`)).start()
	for crash := 1; crash <= 3; crash++ {
		token := s.claim(theStep("a"))
		require.NotEmpty(t, s.do(leaseOver{theStep("a")}).refused, "the lease holds")
		s.now = s.now.Add(testRules.lease)
		require.Empty(t, s.do(leaseOver{theStep("a")}).refused)
		p := s.do(stepFinished{key: theStep("a"), token: token, output: json.RawMessage(`1`)})
		require.Equal(t, "the lease was lost", p.refused, "what a lost worker says does not count")
	}
	require.Equal(t, models.RunFailed, s.snap.run.Status)
	require.Equal(t, codeWorkerLost, s.snap.run.Error.Code)
}

func TestAnEffectOfUnknownOutcomeIsRepeatedOnlyWhereTheStepSaysSo(t *testing.T) {
	t.Parallel()
	once, twice := step("a"), `{"id":"a","type":"connector","connector":"core","action":"set","retry":{"max_attempts":2}}`
	for _, c := range []struct {
		step       string
		repeatable bool
		status     models.StepStatus
		code       string
	}{
		{once, false, models.StepFailed, codeOutcomeUnknown},
		{twice, false, models.StepQueued, codeOutcomeUnknown},
		{once, true, models.StepQueued, codeWorkerLost},
	} {
		s := newSim(t, parseGraph(t, `{"steps":[`+c.step+`],"edges":[]}`)).start()
		require.Empty(t, s.do(effectBegins{key: theStep("a"), token: s.claim(theStep("a")), repeatable: c.repeatable}).refused)
		s.now = s.now.Add(testRules.lease)
		require.Empty(t, s.do(leaseOver{theStep("a")}).refused)
		require.Equal(t, c.status, s.row("a").Status)
		require.Equal(t, c.code, s.row("a").Error.Code)
	}
	// A worker that stops in the middle of it knows no better.
	s := newSim(t, parseGraph(t, `{"steps":[`+once+`],"edges":[]}`)).start()
	token := s.claim(theStep("a"))
	s.do(effectBegins{key: theStep("a"), token: token})
	s.do(leaseReturned{key: theStep("a"), token: token})
	require.Equal(t, codeOutcomeUnknown, s.snap.run.Error.Code)
}

func TestAnAnswerThatIsLostIsAnEffectOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	of := func(more string) string {
		return `{"id":"a","type":"connector","connector":"core","action":"set"` + more + `}`
	}
	for _, c := range []struct {
		step       string
		repeatable bool
		status     models.StepStatus
		code       string
		attempts   int // of the policy that are left to count
	}{
		{of(``), false, models.StepFailed, codeOutcomeUnknown, 0},
		{of(``), true, models.StepFailed, "network", 0},
		{of(`,"retry":{"max_attempts":2}`), false, models.StepQueued, codeOutcomeUnknown, 1},
		{of(`,"retry":{"max_attempts":2}`), true, models.StepQueued, "network", 1},
		{of(`,"retry":{"max_attempts":2},"on_unknown":"fail"`), false, models.StepFailed, codeOutcomeUnknown, 0},
		{of(`,"retry":{"max_attempts":2},"on_unknown":"fail"`), true, models.StepQueued, "network", 1},
		{of(`,"on_unknown":"retry"`), false, models.StepQueued, codeOutcomeUnknown, 0},
		{of(`,"on_unknown":"ask"`), false, models.StepWaiting, codeOutcomeUnknown, 0},
	} {
		s := newSim(t, parseGraph(t, `{"steps":[`+c.step+`],"edges":[]}`)).start()
		token := s.claim(theStep("a"))
		s.do(effectBegins{key: theStep("a"), token: token, repeatable: c.repeatable})
		lost := &models.StepError{Code: "network", Message: "the line broke", Retryable: true}
		s.do(stepFinished{key: theStep("a"), token: token, failure: lost, unknown: true})
		row := s.row("a")
		require.Equal(t, c.status, row.Status, c.step)
		require.Equal(t, c.code, row.Error.Code, c.step)
		require.Contains(t, row.Error.Message, "the line broke")
		if c.status == models.StepQueued {
			require.Equal(t, 2, row.Attempt)
			require.Equal(t, c.attempts, row.Attempt-row.Crashes-1, c.step)
			require.True(t, row.DueAt.After(s.now), "not at once: %s", c.step)
		}
	}
	// Of a run that has failed already nobody is asked.
	s := newSim(t, parseGraph(t, `{"steps":[`+of(`,"on_unknown":"ask"`)+`,`+step("b")+`],"edges":[]}`)).start()
	token := s.claim(theStep("a"))
	s.do(effectBegins{key: theStep("a"), token: token})
	s.do(stepFinished{key: theStep("b"), token: s.claim(theStep("b")), failure: &models.StepError{Code: "x", Message: "no"}})
	s.do(stepFinished{key: theStep("a"), token: token, failure: &models.StepError{Code: "network", Message: "the line broke", Retryable: true}, unknown: true})
	require.Equal(t, models.RunFailed, s.snap.run.Status)
}

func TestAReturnedLeaseIsTheSameAttempt(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[`+step("a")+`],"edges":[]}`)).start()
	token := s.claim(theStep("a"))
	p := s.do(leaseReturned{key: theStep("a"), token: token})
	require.Len(t, p.deliveries, 1)
	require.Equal(t, 1, p.deliveries[0].Task.Delivery)
	require.Equal(t, 1, s.row("a").Attempt)
	s.finish("a", `1`)
	require.Equal(t, models.RunCompleted, s.snap.run.Status)
}

func TestAStepThatIsPutBackKeepsItsAttemptAndItsTurn(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[`+step("a")+`],"edges":[]}`)).start()
	token := s.claim(theStep("a"))
	p := s.do(leaseReturned{key: theStep("a"), token: token, after: time.Minute, why: "its connection allows 1 in 1m0s"})
	require.Len(t, p.deliveries, 1)
	require.Equal(t, s.now.Add(time.Minute), p.deliveries[0].At)
	row := s.row("a")
	require.Equal(t, models.StepQueued, row.Status)
	require.Equal(t, "its connection allows 1 in 1m0s", row.Reason)
	on := waitingOn(s.def.nodes["a"], row)
	require.Equal(t, "limit", on.Kind)
	require.Equal(t, s.now.Add(time.Minute), *on.Until)
	require.NotEmpty(t, s.do(stepClaimed{key: theStep("a"), attempt: 1, token: "early"}).refused, "not before its time")
	s.now = s.now.Add(time.Minute)
	token = s.claim(theStep("a"))
	require.Equal(t, 1, s.row("a").Attempt)
	require.NotEmpty(t, s.row("a").Reason, "whoever claims it sees that it was given a turn")
	s.do(stepFinished{key: theStep("a"), token: token, output: json.RawMessage(`1`)})
	require.Equal(t, models.RunCompleted, s.snap.run.Status)
	require.Empty(t, s.row("a").Reason)
}

func TestAStepIsPutBackAmidEffectsThatCanBeRepeated(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(s *sim, token string){
		"its worker dies": func(s *sim, _ string) {
			s.now = s.now.Add(testRules.lease)
			s.do(leaseOver{theStep("a")})
		},
		"its worker stops": func(s *sim, token string) {
			s.do(leaseReturned{key: theStep("a"), token: token, why: "its worker is stopping"})
		},
	} {
		s := newSim(t, parseGraph(t, `{"steps":[`+step("a")+`],"edges":[]}`)).start()
		token := s.claim(theStep("a"))
		s.do(effectBegins{key: theStep("a"), token: token, repeatable: true})
		s.do(leaseReturned{key: theStep("a"), token: token, after: time.Minute, why: "connection c allows 1 in 1m0s"})
		require.Equal(t, models.StepQueued, s.row("a").Status)
		require.Equal(t, 1, s.row("a").Attempt)
		s.now = s.now.Add(time.Minute)
		lose(s, s.claim(theStep("a")))
		require.Equal(t, models.StepQueued, s.row("a").Status)
		require.Empty(t, s.row("a").Reason, "%s: the turn it had may be used up", name)
	}
}

func TestTimersFireWhenDueAndNotBefore(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[{"id":"w","type":"wait","for":"90s"},`+step("b")+`],"edges":[{"from":"w","to":"b"}]}`)).start()
	require.Equal(t, models.RunWaiting, s.snap.run.Status)
	require.NotEmpty(t, s.do(waitDue{theStep("w")}).refused)
	s.now = s.now.Add(90 * time.Second)
	require.Empty(t, s.do(waitDue{theStep("w")}).refused)
	require.NotEmpty(t, s.do(waitDue{theStep("w")}).refused, "a second delivery finds nothing to do")
	require.Equal(t, models.RunRunning, s.snap.run.Status)
	s.finish("b", `1`)
}

func TestAWaitUntilThePastIsOver(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[{"id":"w","type":"wait","until":"2020-01-01T00:00:00Z"}],"edges":[]}`)).start()
	require.Equal(t, models.RunCompleted, s.snap.run.Status)
}

func TestTimesAreWrittenAsTheAPIDoes(t *testing.T) {
	t.Parallel()
	const written = "2020-01-01T00:00:00.000000Z"
	at := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	w := &walk{plan: &plan{run: &models.Run{}}}
	w.log(models.EventStepWaiting, nil, map[string]any{"until": at, "begin_at": &at, "kind": "timer"})
	require.JSONEq(t, `{"until":"`+written+`","begin_at":"`+written+`","kind":"timer"}`, string(w.plan.events[0].Data))
	require.JSONEq(t, `{"until":"`+written+`"}`, string(waitedUntil(&models.Step{WakeAt: &at})))
	ev := &models.Event{OccurredAt: at}
	require.Equal(t, written, eventVars(ev)["occurred_at"])
	require.Contains(t, string(newCandidate(ev).output), `"occurred_at":"`+written+`"`)
}

func TestEventWaitsTimeOutAlongTheirEdgeOrFail(t *testing.T) {
	t.Parallel()
	with := `{"steps":[{"id":"w","type":"wait","event":{"type":"reply","timeout":"1h"}},` + step("got") + `,` + step("late") + `],
		"edges":[{"from":"w","to":"got"},{"from":"w","to":"late","on":"timeout"}]}`
	s := newSim(t, parseGraph(t, with)).start()
	s.do(s.event("w", `{"id":"evt"}`))
	require.Equal(t, map[string]string{"w": "completed", "got": "queued", "late": "skipped"}, s.statuses())

	s = newSim(t, parseGraph(t, with)).start()
	s.now = s.now.Add(time.Hour)
	s.do(waitDue{theStep("w")})
	require.Equal(t, map[string]string{"w": "completed", "got": "skipped", "late": "queued"}, s.statuses())

	s = newSim(t, parseGraph(t, `{"steps":[{"id":"w","type":"wait","event":{"type":"reply","timeout":"1h"}}],"edges":[]}`)).start()
	s.now = s.now.Add(time.Hour)
	s.do(waitDue{theStep("w")})
	require.Equal(t, models.RunFailed, s.snap.run.Status)
	require.Equal(t, "timeout", s.snap.run.Error.Code)
}

func TestApprovals(t *testing.T) {
	t.Parallel()
	g := `{"steps":[{"id":"w","type":"wait","approval":{"prompt":"Send it?"}},` + step("yes") + `,` + step("no") + `],
		"edges":[{"from":"w","to":"yes"},{"from":"w","to":"no","on":"rejected"}]}`
	s := newSim(t, parseGraph(t, g)).start()
	s.do(decided{key: theStep("w"), decision: Decision{Approved: true, Comment: "go", By: "abc"}})
	require.Equal(t, map[string]string{"w": "completed", "yes": "queued", "no": "skipped"}, s.statuses())
	require.Contains(t, string(s.row("w").Output), `"approved":true`)
	require.NotEmpty(t, s.do(decided{key: theStep("w"), decision: Decision{}}).refused, "decided is decided")

	s = newSim(t, parseGraph(t, g)).start()
	s.do(decided{key: theStep("w"), decision: Decision{}})
	require.Equal(t, map[string]string{"w": "completed", "yes": "skipped", "no": "queued"}, s.statuses())

	s = newSim(t, parseGraph(t, `{"steps":[{"id":"w","type":"wait","approval":{}},`+step("yes")+`],"edges":[{"from":"w","to":"yes"}]}`)).start()
	s.do(decided{key: theStep("w"), decision: Decision{Comment: "not now"}})
	require.Equal(t, models.RunFailed, s.snap.run.Status)
	require.Equal(t, "the approval was rejected: not now", s.snap.run.Error.Message)
}

func TestPauseHoldsTimersAndNewStepsAndResumeGoesOn(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[`+step("a")+`,`+step("b")+`,{"id":"w","type":"wait","for":"10s"},`+step("z")+`],
		"edges":[{"from":"a","to":"b"},{"from":"w","to":"z"}]}`)).start()
	token := s.claim(theStep("a"))
	s.do(runPaused{})
	require.NotEmpty(t, s.do(runPaused{}).refused, "pausing twice changes nothing")
	p := s.do(stepFinished{key: theStep("a"), token: token, output: json.RawMessage(`1`)})
	require.Empty(t, p.deliveries, "b is queued but must not start")
	require.Equal(t, "queued", s.statuses()["b"])
	require.NotEmpty(t, s.do(stepClaimed{key: theStep("b"), attempt: 1, token: "x"}).refused)
	s.now = s.now.Add(time.Minute)
	require.Equal(t, "the run is paused", s.do(waitDue{theStep("w")}).refused)
	p = s.do(runResumed{})
	require.Len(t, p.deliveries, 2)
	require.Equal(t, models.RunRunning, s.snap.run.Status)
	s.do(waitDue{theStep("w")})
	s.finish("b", `1`).finish("z", `1`)
	require.Equal(t, models.RunCompleted, s.snap.run.Status)
}

func TestCancelEndsEverythingOpen(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[`+step("a")+`,`+step("b")+`,{"id":"w","type":"wait","event":{"type":"x"}},
		{"id":"f","type":"connector","connector":"core","action":"set","foreach":"[1,2,3]","max_parallel":2}],"edges":[]}`)).start()
	token := s.claim(theStep("a"))
	s.claim(stepKey{"f", 0})
	s.do(runCancelled{})
	require.Equal(t, models.RunCancelled, s.snap.run.Status)
	require.NotEmpty(t, s.do(stepFinished{key: theStep("a"), token: token}).refused)
	require.NotEmpty(t, s.do(runCancelled{}).refused, "again: unchanged")
	_, _, err := advance(s.def, s.snap, runPaused{}, s.now, testRules)
	require.ErrorIs(t, err, models.ErrConflict)
}

func TestForeachKeepsTheOrderAndTheParallelism(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[{"id":"f","type":"connector","connector":"core","action":"set","foreach":"[\"x\",\"y\",\"z\"]","max_parallel":2,
		"input":{"v":"{{ item }}","i":"{{ index }}"}},`+step("b")+`],"edges":[{"from":"f","to":"b"}]}`)).start()
	require.Equal(t, []stepKey{{"f", 0}, {"f", 1}}, s.rows(models.StepQueued))
	require.JSONEq(t, `{"v":"z","i":2}`, string(s.snap.steps[stepKey{"f", 2}].Input))
	s.finishKey(stepKey{"f", 1}, `"one"`)
	require.Equal(t, []stepKey{{"f", 0}, {"f", 2}}, s.rows(models.StepQueued))
	s.finishKey(stepKey{"f", 2}, `"two"`).finishKey(stepKey{"f", 0}, `"zero"`)
	require.JSONEq(t, `["zero","one","two"]`, string(s.row("f").Output))
	s.finish("b", `1`)
	require.Equal(t, models.RunCompleted, s.snap.run.Status)
}

func TestAListBeginsBeforeItsFirstItem(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[{"id":"f","type":"connector","connector":"core","action":"set","foreach":"[1]"}],"edges":[]}`)).start()
	p := s.do(stepClaimed{key: stepKey{"f", 0}, attempt: 1, token: "t", worker: "w"})
	var began []string
	for _, e := range p.events {
		if e.Type == models.EventStepStarted {
			began = append(began, string(e.Data))
		}
	}
	require.Equal(t, []string{`{}`, `{"attempt":1,"iteration":0}`}, began)
}

func TestForeachFailsWithItsFirstFailure(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[{"id":"f","type":"connector","connector":"core","action":"set","foreach":"1..5","max_parallel":2},`+step("alert")+`],
		"edges":[{"from":"f","to":"alert","on":"error"}]}`)).start()
	slow := s.claim(stepKey{"f", 0})
	s.do(stepFinished{key: stepKey{"f", 1}, token: s.claim(stepKey{"f", 1}), failure: &models.StepError{Code: "boom", Message: "it broke"}})
	require.Equal(t, models.StepRunning, s.row("f").Status, "an iteration is in flight")
	s.do(stepFinished{key: stepKey{"f", 0}, token: slow, output: json.RawMessage(`1`)})
	require.Equal(t, map[string]string{"f": "failed", "alert": "queued"}, s.statuses())
	require.Equal(t, 1, *s.row("f").Error.Iteration)
}

func TestForeachOverNothingIsOverAtOnce(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[{"id":"f","type":"connector","connector":"core","action":"set","foreach":"[]"}],"edges":[]}`)).start()
	require.Equal(t, models.RunCompleted, s.snap.run.Status)
	require.JSONEq(t, `{"f":[]}`, string(s.snap.run.Output))
}

func TestAnExpressionThatFailsFailsItsStep(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[{"id":"a","type":"connector","connector":"core","action":"set","input":{"x":"{{ payload.n + payload.missing.deep }}"}}],"edges":[]}`)).start()
	require.Equal(t, models.RunFailed, s.snap.run.Status)
	require.Equal(t, "expression", s.snap.run.Error.Code)
	require.Equal(t, "a", s.snap.run.Error.StepID)
}

func TestAFalseConditionSkipsTheStepAndWhatFollows(t *testing.T) {
	t.Parallel()
	s := newSim(t, parseGraph(t, `{"steps":[{"id":"a","type":"connector","connector":"core","action":"set","if":"payload.n > 1"},`+step("b")+`],"edges":[{"from":"a","to":"b"}]}`)).start()
	require.Equal(t, map[string]string{"a": "skipped", "b": "skipped"}, s.statuses())
	require.Equal(t, models.RunCompleted, s.snap.run.Status)
}

func TestJoinVerdicts(t *testing.T) {
	t.Parallel()
	first, two := &models.Join{Any: true}, &models.Join{Count: 2}
	for _, c := range []struct {
		join                    *models.Join
		arrived, settled, total int
		want                    joinVerdict
	}{
		{nil, 1, 1, 2, joinWaits}, {nil, 1, 2, 2, joinOpens}, {nil, 0, 2, 2, joinDead}, {nil, 2, 2, 2, joinOpens},
		{first, 0, 1, 2, joinWaits}, {first, 1, 1, 2, joinOpens}, {first, 0, 2, 2, joinDead},
		{two, 1, 1, 3, joinWaits}, {two, 1, 2, 3, joinWaits}, {two, 2, 2, 3, joinOpens}, {two, 1, 3, 3, joinDead}, {two, 0, 2, 3, joinDead},
	} {
		got, _ := join(c.join, c.arrived, c.settled, c.total)
		require.Equal(t, c.want, got, "%+v", c)
	}
}
