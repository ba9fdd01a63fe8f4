package engine

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
)

var testRules = rules{lease: 20 * time.Second, redeliver: 5 * time.Second, horizon: 10 * time.Minute, maxCrashes: 3}

// sim runs plans in memory: a run whose rows are all in the snapshot, and whoever
// executes steps is the test.
type sim struct {
	t      require.TestingT
	def    *definition
	snap   *snapshot
	now    time.Time
	events []*models.RunEvent
	waits  map[string]bool // by place
	asked  map[string]bool // open approvals that the bus heard of
	starts map[string]int  // how often a step was queued for its first attempt, or opened
	tokens int
}

var simStart = time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)

func newSim(t require.TestingT, g *models.Graph) *sim {
	def, errs := compile(&models.Version{Graph: g, Number: 1})
	require.Empty(t, errs)
	return simOf(t, def, `{"n":1}`)
}

func simOf(t require.TestingT, def *definition, payload string) *sim {
	s := &sim{t: t, def: def, now: simStart, waits: map[string]bool{}, asked: map[string]bool{}, starts: map[string]int{}}
	run := &models.Run{WorkspaceID: "ws_1", ID: "run_1", Status: models.RunQueued, Payload: json.RawMessage(payload), CreatedAt: s.now}
	s.snap = newSnapshot(run)
	s.snap.complete, s.snap.openKnown, s.snap.havePayload = true, true, true
	return s
}

func parseGraph(t testing.TB, raw string) *models.Graph {
	var g models.Graph
	require.NoError(t, json.Unmarshal([]byte(raw), &g))
	return &g
}

// do applies what happened and checks everything that must always hold.
func (s *sim) do(h happening) *plan {
	for _, n := range s.def.order { // rows are all in memory, iterations too
		s.snap.iterations[n.id()] = true
	}
	before := map[stepKey]models.StepStatus{}
	for k, row := range s.snap.steps {
		before[k] = row.Status
	}
	wasRun := s.snap.run.Status
	_, first := h.(runStarts)
	p, need, err := advance(s.def, s.snap, h, s.now, testRules)
	require.NoError(s.t, err)
	require.Nil(s.t, need, "everything is in memory")
	if p.refused != "" {
		require.Empty(s.t, p.events)
		require.Empty(s.t, p.told)
		return p
	}
	s.snap.apply(p)
	s.events = append(s.events, p.events...)
	s.checkMoves(before, p, wasRun, first)
	s.checkTold(p)
	s.checkRun()
	return p
}

func (s *sim) checkMoves(before map[stepKey]models.StepStatus, p *plan, wasRun models.RunStatus, first bool) {
	for k, row := range p.steps {
		from, existed := before[k]
		require.Equal(s.t, !existed, p.created[k], "row %v", k)
		if !existed {
			from = models.StepPending
		}
		if from != row.Status {
			require.True(s.t, from.CanMove(row.Status), "step %v from %s to %s", k, from, row.Status)
		}
		if row.Status.Ended() {
			require.Nil(s.t, row.AttendAt, "%v has ended", k)
			require.NotNil(s.t, row.FinishedAt)
		}
	}
	if !first && wasRun != s.snap.run.Status {
		require.True(s.t, wasRun.CanMove(s.snap.run.Status), "run from %s to %s", wasRun, s.snap.run.Status)
	}
	for _, w := range p.newWaits {
		require.False(s.t, s.waits[w.StepID])
		// A step that has ended does not wait: whoever looks after the run has it cancelled.
		s.waits[w.StepID] = awaitedBy(w) == "" || s.snap.steps[placeOf(w)].Status == models.StepWaiting
	}
	for _, id := range p.abandoned {
		require.True(s.t, s.waits[id])
		s.waits[id] = false
	}
	for _, id := range p.closedWaits {
		require.True(s.t, s.waits[id])
		delete(s.waits, id)
	}
	for _, e := range p.events {
		var d struct {
			Attempt   int  `json:"attempt"`
			Iteration *int `json:"iteration"`
		}
		require.NoError(s.t, json.Unmarshal(e.Data, &d))
		if (e.Type == models.EventStepQueued || e.Type == models.EventStepWaiting) && d.Iteration == nil && d.Attempt == 0 {
			s.starts[e.StepID]++
			require.Equal(s.t, 1, s.starts[e.StepID], "step %s began twice", e.StepID)
		}
	}
}

var toldOf = map[models.RunEventType]string{
	models.EventRunStarted: models.FlowRunStarted, models.EventRunWaiting: models.FlowRunWaiting, models.EventRunPaused: models.FlowRunPaused,
	models.EventRunResumed: models.FlowRunResumed, models.EventRunCompleted: models.FlowRunCompleted, models.EventRunFailed: models.FlowRunFailed,
	models.EventRunCancelled: models.FlowRunCancelled, models.EventStepFailed: models.FlowStepFailed,
}

// checkTold holds what the bus hears to the log and to the approvals that are open.
func (s *sim) checkTold(p *plan) {
	require.LessOrEqual(s.t, len(p.told), 2*len(p.events), "else their ids would not sort")
	var want, got []string
	for _, e := range p.events {
		var d struct {
			Iteration *int `json:"iteration"`
		}
		require.NoError(s.t, json.Unmarshal(e.Data, &d))
		if typ := toldOf[e.Type]; typ != "" && d.Iteration == nil {
			want = append(want, typ)
		}
	}
	for _, e := range p.told {
		var d lifecycle
		require.NoError(s.t, json.Unmarshal(e.Data, &d))
		require.Equal(s.t, s.snap.run.ID, d.RunID)
		require.Equal(s.t, s.snap.run.ID, *e.RunID)
		require.Equal(s.t, s.snap.run.Depth+1, e.Depth)
		require.Equal(s.t, s.now, e.ReceivedAt)
		switch e.Type {
		case models.FlowApprovalRequested:
			require.False(s.t, s.asked[d.StepID])
			s.asked[d.StepID] = true
		case models.FlowApprovalResolved:
			require.True(s.t, s.asked[d.StepID])
			require.NotEmpty(s.t, d.Decision)
			delete(s.asked, d.StepID)
		default:
			got = append(got, e.Type)
		}
	}
	require.Equal(s.t, want, got)
	for id := range s.asked {
		require.Equal(s.t, models.StepWaiting, s.row(id).Status)
	}
	for _, k := range s.rows(models.StepWaiting) {
		if s.def.nodes[k.id].def.Approval != nil {
			require.True(s.t, s.asked[k.id])
		}
	}
}

// checkRun recounts what the run counts.
func (s *sim) checkRun() {
	run := s.snap.run
	active, waiting := 0, 0
	inFlight, inWait := map[string]int{}, map[string]int{}
	for k, row := range s.snap.steps {
		switch {
		case k.iteration >= 0:
			if row.Status == models.StepQueued || row.Status == models.StepRunning {
				inFlight[k.id]++
			}
			if row.Status == models.StepWaiting {
				inWait[k.id]++
			}
		case row.Status == models.StepQueued || row.Status == models.StepRunning:
			active++
		case row.Status == models.StepWaiting:
			waiting++
		}
	}
	require.Equal(s.t, active, run.ActiveSteps, "active steps")
	require.Equal(s.t, waiting, run.WaitingSteps, "waiting steps")
	for k, row := range s.snap.steps {
		if k.iteration == models.NoIteration && row.IterTotal > 0 && !row.Status.Ended() {
			require.Equal(s.t, inFlight[k.id], row.IterActive, "iterations of %s", k.id)
			if !run.Halted {
				require.Equal(s.t, inWait[k.id], waitingItems(row), "iterations of %s that wait", k.id)
			}
			require.Equal(s.t, row.IterActive == 0, row.Status == models.StepWaiting, "%s waits when nothing of it is under way", k.id)
			require.LessOrEqual(s.t, row.IterActive+inWait[k.id], s.def.nodes[k.id].parallel)
		}
	}
	for i, e := range s.events {
		require.EqualValues(s.t, i+1, e.Seq, "the log has no gaps")
	}
	require.EqualValues(s.t, len(s.events), run.LastSeq)
	if run.Status.Ended() {
		require.Zero(s.t, active+waiting)
		require.True(s.t, s.events[len(s.events)-1].Type.Terminal())
		require.NotNil(s.t, run.FinishedAt)
		require.NotContains(s.t, slices.Collect(maps.Values(s.waits)), true, "%v", s.waits)
		for k, row := range s.snap.steps {
			require.True(s.t, row.Status.Ended(), "%v is %s", k, row.Status)
		}
		return
	}
	require.Nil(s.t, run.FinishedAt)
	if run.Status != models.RunPaused {
		require.Positive(s.t, active+waiting, "a run with nothing open must have ended")
	}
}

func (s *sim) start() *sim {
	s.do(runStarts{run: s.snap.run})
	return s
}

// rows lists keys of rows in a state, in a fixed order.
func (s *sim) rows(status models.StepStatus) []stepKey {
	var out []stepKey
	for k, row := range s.snap.steps {
		if row.Status == status && row.IterTotal == 0 {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b stepKey) int { return cmp.Or(cmp.Compare(a.id, b.id), a.iteration-b.iteration) })
	return out
}

func (s *sim) row(id string) *models.Step { return s.snap.steps[theStep(id)] }

func (s *sim) claim(k stepKey) string {
	s.tokens++
	token := fmt.Sprintf("t%d", s.tokens)
	row := s.snap.steps[k]
	if row.DueAt.After(s.now) {
		s.now = *row.DueAt
	}
	p := s.do(stepClaimed{key: k, attempt: row.Attempt, worker: "w", token: token})
	require.Empty(s.t, p.refused)
	require.NotNil(s.t, p.claimed)
	return token
}

// finish claims a queued step and ends it well.
func (s *sim) finish(id string, output string) *sim {
	return s.finishKey(theStep(id), output)
}

func (s *sim) finishKey(k stepKey, output string) *sim {
	p := s.do(stepFinished{key: k, token: s.claim(k), output: json.RawMessage(output)})
	require.Empty(s.t, p.refused)
	return s
}

// fail claims a queued step and ends the attempt badly.
func (s *sim) fail(id string, retryable bool) *sim {
	k := theStep(id)
	p := s.do(stepFinished{key: k, token: s.claim(k), failure: &models.StepError{Code: "boom", Message: "it broke", Retryable: retryable}})
	require.Empty(s.t, p.refused)
	return s
}

// statuses gives the state of every step that has a row.
func (s *sim) statuses() map[string]string {
	out := map[string]string{}
	for k, row := range s.snap.steps {
		if k.iteration == models.NoIteration {
			out[k.id] = string(row.Status)
		}
	}
	return out
}

// event is an event that a wait is for, another one each time.
func (s *sim) event(wait, output string) eventArrived {
	s.tokens++
	return eventArrived{key: theStep(wait), events: []*candidate{{
		event: &models.Event{ID: models.EventID(fmt.Sprintf("evt_%d", s.tokens))}, output: json.RawMessage(output), sure: true,
	}}}
}
