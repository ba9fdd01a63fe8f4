package acceptance_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/agents/llm/llmtest"
)

// tired is a server that asks once to be left alone.
type tired struct {
	*httptest.Server
	mu      sync.Mutex
	asked   time.Time   // when it said so
	arrived []time.Time // what came after that
}

const rest = 3 * time.Second

func newTired(t *testing.T) *tired {
	t.Helper()
	s := &tired{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *tired) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked.IsZero() {
		s.asked = time.Now()
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	s.arrived = append(s.arrived, time.Now())
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{}`))
}

func (s *tired) hasAsked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.asked.IsZero()
}

// A server that answers 429 to one worker is left alone by all of them, for as long as
// it asks, and no step counts that as a failure of its own.
func TestAllWorkersLeaveAServerAloneThatAsksForIt(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	f := newFleet(t, "plain")
	f.startAll(t, 2, 1)
	for _, connected := range []bool{true, false} {
		s := newTired(t)
		connection := ""
		if connected {
			host, err := url.Parse(s.URL)
			require.NoError(t, err)
			var made struct {
				ID string `json:"id"`
			}
			require.NoError(t, f.want(http.StatusCreated, "POST", "/connections", fmt.Appendf(nil,
				`{"connector":"http","name":"tired","config":{"auth":{"type":"bearer"},"hosts":[%q]},"secrets":{"token":"s3cret-of-a-test"}}`, host.Host), &made))
			connection = fmt.Sprintf(`"connection":%q,`, made.ID)
		}
		wf := f.workflow(t, fmt.Sprintf(`{"steps":[{"id":"call","type":"connector","connector":"http","action":"request",%s
			"retry":{"max_attempts":2,"initial":"10ms"},"input":{"method":"GET","url":"%s/"}}],"edges":[]}`, connection, s.URL))
		first, err := f.trigger(wf, fmt.Sprint("first", connected), nil)
		require.NoError(t, err)
		waitFor(t, endLimit, "the first call", s.hasAsked)
		waitFor(t, endLimit, "the first attempt on record", func() bool {
			return f.number(t, `SELECT count(*) FROM step_attempts WHERE run_id = $1`, first) == 1
		})
		const more = 40
		f.triggerMore(t, wf, more)
		waitFor(t, endLimit, "all others to be put back", func() bool {
			return f.number(t, `SELECT count(*) FROM steps AS s JOIN runs AS r ON r.id = s.run_id WHERE r.workflow_id = $1 AND s.reason <> ''`, wf) == more ||
				f.number(t, `SELECT count(*) FROM runs WHERE workflow_id = $1 AND finished_at IS NOT NULL`, wf) > 0
		})
		var listed items[run]
		require.NoError(t, f.want(http.StatusOK, "GET", "/runs?limit=1&workflow_id="+wf, nil, &listed))
		var why struct {
			Summary   string `json:"summary"`
			WaitingOn []struct {
				Kind   string `json:"kind"`
				Detail string `json:"detail"`
			} `json:"waiting_on"`
		}
		require.NoError(t, f.want(http.StatusOK, "GET", "/runs/"+listed.Items[0].ID+"/why", nil, &why))
		if f.number(t, `SELECT count(*) FROM steps AS s JOIN runs AS r ON r.id = s.run_id WHERE r.workflow_id = $1 AND s.status = 'queued' AND s.reason <> ''`, wf) == more {
			// Else the machine was so slow that the rest is over.
			require.Equal(t, "limit", why.WaitingOn[0].Kind, why.Summary)
			require.Contains(t, why.WaitingOn[0].Detail, "asked to be left alone")
		}
		f.settle(t, wf)
		require.Equal(t, map[string]int{"completed": more + 1}, f.count(t, wf))
		require.Equal(t, 1, f.number(t, `SELECT count(*) FROM step_attempts AS a JOIN runs AS r ON r.id = a.run_id WHERE r.workflow_id = $1`, wf))
		s.mu.Lock()
		require.Len(t, s.arrived, more+1)
		early := s.arrived[0].Sub(s.asked)
		last := s.arrived[more].Sub(s.asked)
		s.mu.Unlock()
		// A clock that is read on both sides of a process may differ by little.
		require.GreaterOrEqual(t, early, rest-100*time.Millisecond)
		t.Logf("connected %t: the next call came %s after the answer, the last of %d after %s", connected, early.Round(time.Millisecond), more+1, last.Round(time.Millisecond))
	}
	f.requireNothingLeft(t)
	f.requireNoErrors(t)
}

// Agents of two workers keep to what the connection of their model allows, are put back
// between turns, and pay for each turn once.
func TestAgentsOfAllWorkersKeepToTheLimitOfTheirModel(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	f := newFleet(t, "plain")
	f.startAll(t, 2, 1)
	var mu sync.Mutex
	var arrived []time.Time
	turns := map[string][]int{}
	vendor := llmtest.New(t, func(a llmtest.Asked) llmtest.Reply {
		mu.Lock()
		defer mu.Unlock()
		arrived, turns[a.Last] = append(arrived, time.Now()), append(turns[a.Last], a.Turn)
		if a.Turn == 1 {
			return llmtest.Reply{Calls: []llmtest.Call{{Name: "keep", Arguments: `{"value":1}`}}, Input: 10, Output: 1}
		}
		return llmtest.Reply{Text: "done", Input: 10, Output: 1}
	})
	var made struct{ ID string }
	require.NoError(t, f.want(http.StatusCreated, "POST", "/connections", json.RawMessage(fmt.Sprintf(
		`{"connector":"openai","name":"slow","config":{"base_url":"%s/v1","limits":{"count":2,"per":"2s"}},"secrets":{"token":%q}}`, vendor.URL, llmtest.Key)), &made))
	require.NoError(t, f.want(http.StatusCreated, "POST", "/agents", json.RawMessage(fmt.Sprintf(
		`{"slug":"clerk","kind":"llm","connection":%q,"config":{"model":"gpt-4o-mini","tools":[{"action":"core.set","name":"keep"}]}}`, made.ID)), nil))
	wf := f.workflow(t, `{"steps":[{"id":"ask","type":"agent","agent":"clerk","input":"{{ run.id }}"}]}`)
	const runs = 5
	f.triggerMore(t, wf, runs)
	waitFor(t, endLimit, "one to be put back after its first turn", func() bool {
		return f.number(t, `SELECT count(*) FROM steps AS s JOIN agent_turns AS a ON a.run_id = s.run_id WHERE s.status = 'queued' AND s.reason LIKE 'connection %'`) > 0
	})
	f.settle(t, wf)
	require.Equal(t, map[string]int{"completed": runs}, f.count(t, wf))
	require.Zero(t, f.number(t, `SELECT count(*) FROM step_attempts WHERE error->>'code' IS DISTINCT FROM 'worker_lost'`), "to be put back is no attempt")
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, turns, runs)
	for run, of := range turns {
		require.Equal(t, []int{1, 2}, of, run)
	}
	// Two at once, and then one a second; the first may have come late.
	require.GreaterOrEqual(t, arrived[2*runs-1].Sub(arrived[0]), (2*runs-2)*time.Second-2*time.Second)
	f.requireNothingLeft(t)
	f.requireNoErrors(t)
}

// One workspace has thousands of steps in line; the next step of any other begins
// about as soon as without them.
func TestABusyWorkspaceHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	defer alone(t)()
	f := newFleet(t, "plain")
	f.startAll(t, 2, 1)
	s := newSink(t)
	flood := sized(1_500, 10_000)
	busy := f.workflow(t, chain(s.toSink("call", "hold=1000")))
	type quiet struct {
		*client
		id, workflow string
	}
	others := make([]quiet, 9)
	for i := range others {
		id, c := f.tenant(t, f.url)
		others[i] = quiet{c, id, c.workflow(t, chain(s.toSink("call", "")))}
	}
	// round starts runs of the others, a few a second, and gives how long their steps
	// waited.
	round := func(name string, of int) spread {
		var since time.Time
		require.NoError(t, f.db.QueryRow(t.Context(), `SELECT now()`).Scan(&since))
		tick := time.NewTicker(time.Duration(sized(25, 50)) * time.Millisecond)
		defer tick.Stop()
		for i := range of {
			<-tick.C
			o := others[i%len(others)]
			_, err := o.trigger(o.workflow, fmt.Sprintf("%s-%d", name, i), nil)
			require.NoError(t, err)
		}
		for _, o := range others {
			o.settle(t, o.workflow)
		}
		return f.latencies(t, `SELECT extract(epoch FROM s.started_at - s.queued_at)::float8 FROM steps AS s
			WHERE s.workspace_id <> $1 AND s.queued_at >= $2`, f.workspace, since)
	}
	round("warm", 18)
	before := round("before", sized(90, 300))
	inParallel(t, 4, flood/500, func(int) error {
		payloads := make([]map[string]any, 500)
		for i := range payloads {
			payloads[i] = map[string]any{"payload": map[string]any{}}
		}
		return f.want(http.StatusAccepted, "POST", "/workflows/"+busy+"/trigger/batch", map[string]any{"items": payloads}, nil)
	})
	waitFor(t, endLimit, "the flood to stand in line", func() bool {
		n, err := f.redis.LLen(t.Context(), "asynq:{default}:pending").Result()
		require.NoError(t, err)
		return n >= int64(flood*3/4)
	})
	during := round("during", sized(90, 300))
	left := f.number(t, `SELECT count(*) FROM steps WHERE workspace_id = $1 AND status = 'queued'`, f.workspace)
	t.Logf("steps of nine workspaces begin after, before: %s", before)
	t.Logf("steps of nine workspaces begin after, during: %s; of %d steps of the tenth %d still wait", during, flood, left)
	require.Positive(t, left, "the flood must last for as long as is measured")
	floor := time.Duration(sized(500, 50)) * time.Millisecond // what is asked for on a machine that does nothing else
	require.LessOrEqual(t, during.at(50), max(2*before.at(50), floor))
	require.LessOrEqual(t, during.at(99), max(2*before.at(99), 4*floor))
	f.settle(t, busy)
	require.Equal(t, flood, f.number(t, `SELECT count(*) FROM runs WHERE workspace_id = $1 AND status = 'completed'`, f.workspace))
	f.requireNothingLeft(t)
	f.requireNoErrors(t)
}
