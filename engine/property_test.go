package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/10ex/flows/models"
)

// drawGraph makes an acyclic graph of every kind of step. Without wild it has no
// step whose end depends on which of two things comes first.
func drawGraph(t *rapid.T, wild bool) *models.Graph {
	n := rapid.IntRange(1, 14).Draw(t, "steps")
	g := &models.Graph{}
	for i := range n {
		s := models.GraphStep{ID: fmt.Sprintf("s%d", i)}
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0, 1:
			s.Type = models.StepTypeBranch
			s.Mode = rapid.SampledFrom([]string{"", "first", "all"}).Draw(t, "mode")
		case 2:
			s.Type, s.For = models.StepTypeWait, "30s"
		case 3:
			s.Type, s.Event = models.StepTypeWait, &models.EventWait{Type: "x", Timeout: "1m"}
		case 4:
			s.Type, s.Approval = models.StepTypeWait, &models.ApprovalWait{}
		case 5:
			s.Type, s.Agent = models.StepTypeAgent, "a"
			s.Foreach = rapid.SampledFrom([]string{"[]", "[1]", "1..5"}).Draw(t, "list")
			k := rapid.IntRange(1, 3).Draw(t, "parallel")
			s.MaxParallel = &k
		default:
			s.Type, s.Connector, s.Action = models.StepTypeConnector, "core", "set"
			attempts := rapid.IntRange(1, 3).Draw(t, "attempts")
			s.Retry = &models.Retry{MaxAttempts: &attempts}
			s.OnUnknown = rapid.SampledFrom([]string{models.UnknownRetry, models.UnknownAsk}).Draw(t, "unknown")
		}
		if rapid.IntRange(0, 9).Draw(t, "if") == 0 {
			conditions := []string{"payload.n > 0", "payload.n > 1"}
			if wild {
				conditions = append(conditions, "payload.missing.deep > 1") // fails
			}
			s.If = rapid.SampledFrom(conditions).Draw(t, "condition")
		}
		g.Steps = append(g.Steps, s)
	}
	in := map[string]int{}
	for to := 1; to < n; to++ {
		for from := range to {
			if rapid.IntRange(0, 3).Draw(t, "edge") > 0 {
				continue
			}
			e := models.Edge{From: g.Steps[from].ID, To: g.Steps[to].ID}
			if s := &g.Steps[from]; s.Type == models.StepTypeBranch {
				e.When = rapid.SampledFrom([]string{"true", "false", "payload.n == 1"}).Draw(t, "when")
			} else {
				e.On = rapid.SampledFrom(outcomes(s)).Draw(t, "on")
			}
			g.Edges = append(g.Edges, e)
			in[e.To]++
		}
	}
	for i := range g.Steps {
		if k := in[g.Steps[i].ID]; wild && k > 1 {
			g.Steps[i].Join = rapid.SampledFrom([]*models.Join{nil, {Any: true}, {Count: rapid.IntRange(1, k).Draw(t, "count")}}).Draw(t, "join")
		}
	}
	return g
}

func outcomes(s *models.GraphStep) []models.EdgeOn {
	switch {
	case s.Event != nil:
		return []models.EdgeOn{"", models.OnError, models.OnTimeout}
	case s.Approval != nil:
		return []models.EdgeOn{"", models.OnError, models.OnRejected}
	}
	return []models.EdgeOn{"", "", models.OnError}
}

// fates decides how each thing ends, whatever the order: the same step, iteration
// and attempt always ends the same way.
type fates struct{ seed uint64 }

func (f fates) roll(k stepKey, attempt, n int) int {
	h := f.seed
	for _, c := range fmt.Sprintf("%s/%d/%d", k.id, k.iteration, attempt) {
		h = h*1099511628211 ^ uint64(c)
	}
	return int(h>>20) % n
}

// ended is a run that a step waited for; it is nil where it is gone.
func (f fates) ended(k stepKey, failing bool) *models.Run {
	run := &models.Run{ID: models.RunID("run_of_" + waitPlace(k)), Status: models.RunCompleted, Output: json.RawMessage(`{"v":1}`)}
	switch roll := f.roll(k, 99, 8); {
	case !failing || roll > 2:
	case roll == 0:
		return nil
	case roll == 1:
		run.Status = models.RunCancelled
	default:
		run.Status, run.Error = models.RunFailed, &models.RunError{StepID: "x", Code: "boom", Message: "it broke"}
	}
	return run
}

// moves lists what may happen next.
func (s *sim) moves(f fates, failing bool) []func() {
	var out []func()
	for _, k := range s.rows(models.StepQueued) {
		out = append(out, func() { s.claim(k) })
	}
	for _, k := range s.rows(models.StepRunning) {
		row := s.snap.steps[k]
		out = append(out, func() {
			h := stepFinished{key: k, token: row.LeaseToken, output: json.RawMessage(`{"v":1}`)}
			if row.Attempt%2 == 1 && f.roll(k, row.Attempt, 5) == 1 {
				h.await = models.RunID("run_of_" + waitPlace(k))
			}
			if failing && f.roll(k, row.Attempt, 4) == 0 {
				h.failure = &models.StepError{Code: "boom", Message: "it broke", Retryable: f.roll(k, row.Attempt, 3) > 0}
			}
			require.Empty(s.t, s.do(h).refused)
		})
	}
	for _, k := range s.rows(models.StepWaiting) {
		n, row := s.def.nodes[k.id], s.snap.steps[k]
		out = append(out, func() {
			switch {
			case awaits(row):
				s.do(runAwaited{key: k, run: f.ended(k, failing)})
			case n.def.Type.Executed():
				s.do(decided{key: k, decision: Decision{Approved: true}})
			case n.def.Approval != nil:
				s.do(decided{key: k, decision: Decision{Approved: f.roll(k, 0, 3) > 0}})
			case n.def.Event != nil && f.roll(k, 0, 3) > 0:
				s.do(s.event(k.id, `{}`))
			default:
				if row.WakeAt.After(s.now) {
					s.now = *row.WakeAt
				}
				s.do(waitDue{k})
			}
		})
	}
	return out
}

// play lets things happen in an order drawn from rnd until the run has ended.
func (s *sim) play(rnd *rand.Rand, f fates, failing bool, interrupt func()) {
	for steps := 0; !s.snap.run.Status.Ended(); steps++ {
		require.Less(s.t, steps, 2000, "the run does not end")
		s.now = s.now.Add(time.Second)
		moves := s.moves(f, failing)
		require.NotEmpty(s.t, moves, "nothing can happen, and the run is %s", s.snap.run.Status)
		moves[rnd.IntN(len(moves))]()
		if interrupt != nil {
			interrupt()
		}
	}
}

func TestEveryRunEndsAndNoStepStartsBeforeItsInputs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newSim(t, drawGraph(t, true))
		f := fates{rapid.Uint64().Draw(t, "fates")}
		rnd := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "order")))
		s.start()
		s.play(rnd, f, true, func() { s.checkInputs() })
		s.checkInputs()
		if s.snap.run.Status == models.RunCompleted {
			for _, n := range s.def.order {
				require.NotNil(t, s.row(n.id()), "a completed run has settled every step; %s has no row", n.id())
			}
		}
	})
}

// checkInputs holds every step that has begun against the edges before it.
func (s *sim) checkInputs() {
	for _, n := range s.def.order {
		row := s.row(n.id())
		if row == nil || row.Status == models.StepPending || len(n.in) == 0 {
			continue
		}
		settled, live := 0, 0
		for _, e := range n.in {
			from := s.snap.steps[theStep(e.from.id())]
			if from == nil || !from.Status.Ended() {
				continue
			}
			settled++
			if liveEdges(e.from, from)(e) {
				live++
			}
		}
		began := row.Attempt > 0 || row.StartedAt != nil || row.IterTotal > 0
		switch j := n.def.Join; {
		case row.Status == models.StepCancelled:
		case !began && row.Status == models.StepSkipped:
		case j == nil || (!j.Any && j.Count == 0):
			require.Equal(s.t, len(n.in), settled, "%s began before its inputs were settled", n.id())
			require.Positive(s.t, live, "%s began though nothing led to it", n.id())
		case j.Any:
			require.Positive(s.t, live)
		default:
			require.GreaterOrEqual(s.t, live, j.Count)
		}
	}
}

func TestTheOrderOfEventsDoesNotChangeTheEnd(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := drawGraph(t, false)
		f := fates{rapid.Uint64().Draw(t, "fates")}
		end := func(order uint64) (map[string]string, []string, models.RunStatus) {
			s := newSim(t, g).start()
			s.play(rand.New(rand.NewPCG(2, order)), f, false, nil)
			var output map[string]json.RawMessage // the values hold times, which do depend on the order
			if s.snap.run.Output != nil {
				require.NoError(t, json.Unmarshal(s.snap.run.Output, &output))
			}
			return s.statuses(), slices.Sorted(maps.Keys(output)), s.snap.run.Status
		}
		rows, output, status := end(1)
		if status == models.RunFailed {
			return // which of several failures halts the run depends on which comes first
		}
		for order := uint64(2); order < 6; order++ {
			r, o, st := end(order)
			if st == models.RunFailed {
				t.Fatalf("run ended %s in one order and %s in another", status, st)
			}
			require.Empty(t, cmp.Diff(rows, r))
			require.Equal(t, status, st)
			require.Equal(t, output, o)
		}
	})
}

func TestInterruptionsLoseNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := drawGraph(t, false)
		f := fates{rapid.Uint64().Draw(t, "fates")}
		plain := newSim(t, g).start()
		plain.play(rand.New(rand.NewPCG(3, 1)), f, false, nil)
		if plain.snap.run.Status == models.RunFailed {
			return
		}
		s := newSim(t, g).start()
		rnd := rand.New(rand.NewPCG(3, rapid.Uint64().Draw(t, "order")))
		s.play(rnd, f, false, func() { s.disturb(rnd) })
		require.Empty(t, cmp.Diff(plain.statuses(), s.statuses()))
	})
}

// disturb does what must not matter: pauses and resumes, hands leases back, loses
// them, delivers again.
func (s *sim) disturb(rnd *rand.Rand) {
	if s.snap.run.Status.Ended() {
		return
	}
	running := s.rows(models.StepRunning)
	queued := s.rows(models.StepQueued)
	switch rnd.IntN(6) {
	case 0:
		s.do(runPaused{})
		for _, k := range queued {
			require.NotEmpty(s.t, s.do(stepClaimed{key: k, attempt: s.snap.steps[k].Attempt, token: "no"}).refused)
		}
		s.do(runResumed{})
	case 1:
		if len(running) > 0 {
			k := running[rnd.IntN(len(running))]
			back := leaseReturned{key: k, token: s.snap.steps[k].LeaseToken, why: "its worker is stopping"}
			if rnd.IntN(2) == 0 {
				back.after, back.why = time.Minute, "the limit of its connection"
			}
			s.do(back)
		}
	case 2:
		if len(running) > 0 {
			k := running[rnd.IntN(len(running))]
			if row := s.snap.steps[k]; row.Crashes < testRules.maxCrashes-1 {
				if row.AttendAt.After(s.now) {
					s.now = *row.AttendAt
				}
				s.do(leaseOver{k})
			}
		}
	case 3:
		if len(queued) > 0 {
			k := queued[rnd.IntN(len(queued))]
			if at := s.snap.steps[k].AttendAt; at.After(s.now) {
				s.now = *at
			}
			p := s.do(deliveryLost{k})
			require.Len(s.t, p.deliveries, 1)
		}
	case 4:
		require.NotEmpty(s.t, s.do(nothingOpen{}).refused, "the run is under way")
	case 5:
		if len(running) > 0 {
			k := running[rnd.IntN(len(running))]
			row := s.snap.steps[k]
			if s.def.nodes[k.id].def.OnUnknown == "" || row.Crashes >= testRules.maxCrashes-1 {
				return
			}
			s.do(effectBegins{key: k, token: row.LeaseToken})
			s.do(leaseReturned{key: k, token: row.LeaseToken})
			require.Contains(s.t, []models.StepStatus{models.StepQueued, models.StepWaiting}, s.snap.steps[k].Status)
		}
	}
}

func TestCancelWorksAtAnyMoment(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newSim(t, drawGraph(t, true))
		f := fates{rapid.Uint64().Draw(t, "fates")}
		at := rapid.IntRange(0, 40).Draw(t, "moment")
		s.start()
		i := 0
		s.play(rand.New(rand.NewPCG(4, 1)), f, true, func() {
			if i++; i > at && !s.snap.run.Status.Ended() {
				s.do(runCancelled{})
			}
		})
	})
}

func TestTheSameHistoryGivesTheSamePlans(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := drawGraph(t, true)
		f := fates{rapid.Uint64().Draw(t, "fates")}
		history := func() []*models.RunEvent {
			s := newSim(t, g).start()
			s.play(rand.New(rand.NewPCG(5, 1)), f, true, nil)
			return s.events
		}
		require.Empty(t, cmp.Diff(history(), history()))
	})
}

func TestALazySnapshotGivesTheSamePlans(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newSim(t, drawGraph(t, true))
		f := fates{rapid.Uint64().Draw(t, "fates")}
		rnd := rand.New(rand.NewPCG(6, rapid.Uint64().Draw(t, "order")))
		s.start()
		for steps := 0; !s.snap.run.Status.Ended(); steps++ {
			require.Less(t, steps, 2000)
			h := s.somethingHappens(rnd, f)
			want, _, err := advance(s.def, s.snap, h, s.now, testRules)
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(want.events, lazily(t, s, h)))
			s.do(h)
		}
	})
}

func (s *sim) somethingHappens(rnd *rand.Rand, f fates) happening {
	s.now = s.now.Add(time.Second)
	for _, row := range s.snap.steps {
		for _, at := range []*time.Time{row.DueAt, row.WakeAt} {
			if at != nil && at.After(s.now) && !row.Status.Ended() {
				s.now = *at
			}
		}
	}
	var out []happening
	for _, k := range s.rows(models.StepQueued) {
		out = append(out, stepClaimed{key: k, attempt: s.snap.steps[k].Attempt, worker: "w", token: "t" + k.id})
	}
	for _, k := range s.rows(models.StepRunning) {
		h := stepFinished{key: k, token: s.snap.steps[k].LeaseToken, output: json.RawMessage(`1`)}
		if f.roll(k, s.snap.steps[k].Attempt, 4) == 0 {
			h.failure = &models.StepError{Code: "boom", Message: "it broke"}
		}
		if f.roll(k, 0, 5) == 1 {
			h.await = models.RunID("run_of_" + waitPlace(k))
		}
		out = append(out, h)
	}
	for _, k := range s.rows(models.StepWaiting) {
		switch n := s.def.nodes[k.id]; {
		case awaits(s.snap.steps[k]):
			out = append(out, runAwaited{key: k, run: f.ended(k, true)})
		case n.def.Approval != nil:
			out = append(out, decided{key: k, decision: Decision{Approved: f.roll(k, 0, 2) > 0}})
		default:
			out = append(out, waitDue{k})
		}
	}
	return out[rnd.IntN(len(out))]
}

// lazily makes a plan from a snapshot that starts empty, giving only what is
// asked for.
func lazily(t *rapid.T, s *sim, h happening) []*models.RunEvent {
	run := *s.snap.run
	payload := run.Payload
	run.Payload = nil
	lazy := newSnapshot(&run)
	for round := 0; ; round++ {
		require.Less(t, round, 100, "asks for ever")
		p, need, err := advance(s.def, lazy, h, s.now, testRules)
		require.NoError(t, err)
		if need == nil {
			return p.events
		}
		require.False(t, need.empty())
		if need.payload {
			run.Payload, lazy.havePayload = payload, true
		}
		for k := range need.steps {
			lazy.steps[k] = s.snap.steps[k] // nil where there is none
		}
		if need.open {
			lazy.openKnown = true
		}
		for k, row := range s.snap.steps {
			if need.iterations[k.id] && k.iteration >= 0 || need.open && !row.Status.Ended() {
				lazy.steps[k] = row
			}
		}
		for id := range maps.Keys(need.iterations) {
			lazy.iterations[id] = true
		}
	}
}
