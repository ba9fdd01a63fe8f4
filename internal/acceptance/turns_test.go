package acceptance_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	leads  = 8
	atOnce = 64
)

// startForLeads starts runs for leads at once, through two APIs in turn.
func startForLeads(t *testing.T, apis []*client, workflow, name string) (answers []answer) {
	t.Helper()
	answers = make([]answer, atOnce)
	errs := make([]error, atOnce)
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range atOnce {
		wg.Go(func() {
			<-begin
			answers[i], errs[i] = apis[i%len(apis)].ask("POST", "/workflows/"+workflow+"/trigger",
				fmt.Appendf(nil, `{"payload":{"lead_id":"lead_%d","n":%d}}`, i/2%leads, i), "Idempotency-Key", fmt.Sprintf("%s-%d", name, i))
		})
	}
	close(begin)
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	return answers
}

// A lead has one run at a time, whichever process starts it.
func TestALeadHasOneRunAtATime(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	alone(t)
	f := newFleet(t, "plain")
	second := newClient(t, f.start(t, "api", "--addr", "127.0.0.1:0").ready(t).URL, f.key)
	apis := []*client{f.client, second}
	f.startAll(t, 2, 1)
	s := newSink(t)
	perLead := func(graph, policy string) (id string) {
		var made run
		require.NoError(t, f.want(http.StatusCreated, "POST", "/workflows", fmt.Appendf(nil, `{"name":"one a lead","graph":%s,
			"settings":{"concurrency":{"key":"payload.lead_id","limit":1,"policy":%q}}}`, graph, policy), &made))
		return made.ID
	}

	t.Run("the others wait", func(t *testing.T) {
		wf := perLead(chain(s.toSink("call", "hold=30"), s.toSink("note", "")), "queue")
		begun := time.Now()
		for i, a := range startForLeads(t, apis, wf, "queue") {
			require.Equal(t, http.StatusAccepted, a.status, "%d: %s", i, a)
		}
		f.settle(t, wf)
		took := time.Since(begun)
		require.Equal(t, map[string]int{"completed": atOnce}, f.count(t, wf), "none is lost")
		require.Zero(t, f.number(t, `SELECT count(*) FROM runs AS a JOIN runs AS b ON a.workflow_id = b.workflow_id AND a.id <> b.id
			AND a.payload->>'lead_id' = b.payload->>'lead_id' AND a.started_at < b.finished_at AND b.started_at < a.finished_at
			WHERE a.workflow_id = $1`, wf), "two were never active at once")
		most := f.number(t, `SELECT max(n) FROM (SELECT count(*) OVER (PARTITION BY payload->>'lead_id') AS n FROM runs WHERE workflow_id = $1) AS x`, wf)
		require.Equal(t, atOnce/leads, most)
		t.Logf("%d runs for %d leads took %s; never two of a lead at once", atOnce, leads, took.Round(time.Millisecond))
	})

	t.Run("the others are refused", func(t *testing.T) {
		wf := perLead(`{"steps":[{"id":"ok","type":"wait","approval":{}}],"edges":[]}`, "skip")
		active := map[int]string{}
		answers := startForLeads(t, apis, wf, "skip")
		for i, a := range answers {
			if a.status == http.StatusAccepted {
				require.NotContains(t, active, i/2%leads)
				var made run
				require.NoError(t, a.read(&made))
				active[i/2%leads] = made.ID
			}
		}
		require.Len(t, active, leads)
		for i, a := range answers {
			if a.status == http.StatusAccepted {
				continue
			}
			var problem struct {
				Code string `json:"code"`
				Run  string `json:"run_id"`
			}
			require.NoError(t, a.read(&problem))
			require.Equal(t, http.StatusConflict, a.status, a)
			require.Equal(t, "concurrency_limit", problem.Code)
			require.Equal(t, active[i/2%leads], problem.Run, "it names the run in its way")
		}
		require.Equal(t, leads, f.number(t, `SELECT count(*) FROM runs WHERE workflow_id = $1`, wf))
		for _, id := range active {
			waitFor(t, endLimit, "the wait", func() bool { ok, err := f.isWaiting(id); require.NoError(t, err); return ok })
			require.NoError(t, f.want(http.StatusOK, "POST", "/runs/"+id+"/steps/ok/approve", nil, nil))
		}
		f.settle(t, wf)
		more := 0
		for _, a := range startForLeads(t, apis, wf, "again") {
			if a.status == http.StatusAccepted {
				more++
			}
		}
		require.Equal(t, leads, more, "each lead's turn is free again")
		t.Logf("%d starts: %d runs, %d refused", atOnce, leads, atOnce-leads)
	})
	require.Zero(t, f.number(t, `SELECT count(*) FROM runs WHERE hold <> ''`))
	f.requireNoErrors(t)
}

// isWaiting tells whether only waits of a run are open.
func (c *client) isWaiting(id string) (bool, error) {
	var got run
	err := c.want(http.StatusOK, "GET", "/runs/"+id, nil, &got)
	return got.Status == "waiting", err
}
