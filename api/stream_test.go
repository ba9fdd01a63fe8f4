package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/deltas"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

// sseEvent is one event as a client reads it.
type sseEvent struct{ id, event, data string }

// sseClient reads a stream of events.
type sseClient struct {
	resp   *http.Response
	lines  *bufio.Scanner
	client *http.Client
}

func (b *bundle) connect(t testing.TB, address, method, path string, headers ...string) *sseClient {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(stop)
	req, err := http.NewRequestWithContext(ctx, method, address+base+path, nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+b.key)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: &http.Transport{}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	c := &sseClient{resp: resp, lines: bufio.NewScanner(resp.Body), client: client}
	t.Cleanup(c.close)
	return c
}

func (c *sseClient) close() {
	_ = c.resp.Body.Close()
	c.client.CloseIdleConnections()
}

// next gives the next event; ok is false at the end of the stream.
func (c *sseClient) next() (e sseEvent, ok bool) {
	for c.lines.Scan() {
		name, value, _ := strings.Cut(c.lines.Text(), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.event = value
		case "data":
			e.data = value
		case "":
			if e.event != "" {
				return e, true
			}
		}
	}
	return e, false
}

func (c *sseClient) rest() (events []sseEvent) {
	for {
		e, ok := c.next()
		if !ok {
			return events
		}
		events = append(events, e)
	}
}

// stored is the log of a run as the list has it, in the form of a stream.
func (b *bundle) stored(t testing.TB, run string) (events []sseEvent) {
	t.Helper()
	after := "0"
	for {
		got := b.call(t, "GET", "/runs/"+run+"/events?limit=200&after="+after, "")
		require.Equal(t, 200, got.status, got.body)
		var page struct {
			Items []json.RawMessage `json:"items"`
		}
		require.NoError(t, json.Unmarshal([]byte(got.body), &page))
		for _, raw := range page.Items {
			var head struct {
				Seq  int64  `json:"seq"`
				Type string `json:"type"`
			}
			require.NoError(t, json.Unmarshal(raw, &head))
			after = strconv.FormatInt(head.Seq, 10)
			events = append(events, sseEvent{after, head.Type, string(raw)})
		}
		if len(page.Items) < 200 {
			return events
		}
	}
}

func TestAStreamTellsWhatAModelSaysAndKeepsNoneOfIt(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		run := b.run(t, waiting)
		c := b.connect(t, b.listen(t), "GET", "/runs/"+run+"/stream")
		before := b.stored(t, run)
		for range before {
			e, ok := c.next()
			require.True(t, ok)
			require.NotEmpty(t, e.id)
		}
		say := deltas.Delta{Workspace: b.ws, Run: models.RunID(run), Step: "ask", Attempt: 1, Turn: 2, Text: "two\nlines"}
		elsewhere := say
		elsewhere.Workspace = "ws_other"
		b.deltas.Publish(elsewhere)
		b.deltas.Publish(say)
		e, ok := c.next()
		require.True(t, ok)
		require.Equal(t, sseEvent{"", "step.delta", `{"data":{"attempt":1,"turn":2,"text":"two\nlines"},"step_id":"ask","type":"step.delta"}`}, e)
		require.Equal(t, 200, b.call(t, "POST", "/runs/"+run+"/cancel", "").status)
		rest, stored := c.rest(), b.stored(t, run)
		require.Empty(t, cmp.Diff(stored[len(before):], rest, cmp.AllowUnexported(sseEvent{})))
	})
}

func TestAFinishedRunReplaysItsLogAndCloses(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		run := b.run(t, passing)
		address := b.listen(t)
		c := b.connect(t, address, "GET", "/runs/"+run+"/stream")
		require.Equal(t, 200, c.resp.StatusCode)
		require.Equal(t, "text/event-stream", c.resp.Header.Get("Content-Type"))
		got, want := c.rest(), b.stored(t, run)
		require.NotEmpty(t, want)
		require.Equal(t, "run.completed", want[len(want)-1].event)
		require.Empty(t, cmp.Diff(want, got, cmp.AllowUnexported(sseEvent{})))

		for i := range want {
			rest := b.connect(t, address, "GET", "/runs/"+run+"/stream", "Last-Event-ID", want[i].id)
			if i == len(want)-1 {
				require.Equal(t, 204, rest.resp.StatusCode, "a browser does not come back after it")
			}
			require.Len(t, rest.rest(), len(want)-1-i)
			rest = b.connect(t, address, "GET", "/runs/"+run+"/stream?after="+want[i].id)
			require.Len(t, rest.rest(), len(want)-1-i)
		}
	})
}

func TestAStreamGoesOnLiveAndEndsWithTheRun(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		run := b.run(t, waiting)
		address := b.listen(t)
		clients := make([]*sseClient, 50)
		for i := range clients {
			clients[i] = b.connect(t, address, "GET", "/runs/"+run+"/stream")
			for {
				e, ok := clients[i].next()
				require.True(t, ok)
				if e.event == "run.waiting" {
					break
				}
			}
		}
		b.api.feeds.mu.Lock()
		require.Len(t, b.api.feeds.open, 1, "many watchers, one reader")
		b.api.feeds.mu.Unlock()
		require.Equal(t, 200, b.call(t, "POST", "/runs/"+run+"/steps/ask/approve", "").status)
		want := b.stored(t, run)
		for _, c := range clients {
			got := c.rest()
			require.NotEmpty(t, got)
			require.Empty(t, cmp.Diff(want[len(want)-len(got):], got, cmp.AllowUnexported(sseEvent{})))
			require.Equal(t, "run.completed", got[len(got)-1].event)
		}
	})
}

// deaf is a hub that tells nobody anything.
type deaf struct{}

func (deaf) Watch(store.RunRef) (<-chan struct{}, func())    { return nil, func() {} }
func (deaf) WatchEnd(store.RunRef) (<-chan struct{}, func()) { return nil, func() {} }

func TestAStreamGoesOnWhereNobodyTellsOfEvents(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{deps: func(d *Deps) { d.Hub = deaf{} }})
	b.api.feeds.poll = 20 * time.Millisecond
	run := b.run(t, waiting)
	c := b.connect(t, b.listen(t), "GET", "/runs/"+run+"/stream")
	_, ok := c.next()
	require.True(t, ok)
	require.Equal(t, 200, b.call(t, "POST", "/runs/"+run+"/cancel", "").status)
	got := c.rest()
	require.Equal(t, "run.cancelled", got[len(got)-1].event)
}

// A run with a long log, clients that come, leave and come back: each must see
// every event once and in order.
func TestResumingNeitherSkipsNorRepeats(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		const total = 1200
		ref := b.longRun(t)
		address := b.listen(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			for from := 1; from <= total; from += 40 {
				b.append(t, ref, from, min(from+39, total), from+39 >= total)
			}
		})
		for n := range 4 {
			wg.Go(func() {
				seen := 0
				for seen < total {
					c := b.connect(t, address, "GET", "/runs/"+string(ref.Run)+"/stream", "Last-Event-ID", strconv.Itoa(seen))
					for range 50 + 100*n {
						e, ok := c.next()
						if !ok {
							break
						}
						seen++
						if e.id != strconv.Itoa(seen) {
							t.Errorf("event %s came where %d was due", e.id, seen)
							return
						}
					}
					c.close()
				}
			})
		}
		wg.Wait()
	})
}

// longRun makes a run whose log the test writes itself.
func (b *bundle) longRun(t testing.TB) store.RunRef {
	t.Helper()
	run := b.run(t, waiting)
	ref := store.RunRef{Workspace: b.ws, Run: models.RunID(run)}
	fresh := store.RunRef{Workspace: b.ws, Run: models.RunID(strings.Replace(run, "run_0", "run_1", 1))}
	require.NoError(t, b.store.WithRuns(t.Context(), []store.RunRef{ref}, func(tx *store.RunTx) (*store.Changes, error) {
		copied := *tx.Runs[ref]
		copied.ID, copied.LastSeq, copied.Payload = fresh.Run, 1200, json.RawMessage(`{}`)
		return &store.Changes{NewRuns: []*models.Run{&copied}}, nil
	}))
	return fresh
}

func (b *bundle) append(t testing.TB, ref store.RunRef, from, to int, end bool) {
	var events []*models.RunEvent
	for seq := from; seq <= to; seq++ {
		e := &models.RunEvent{
			WorkspaceID: ref.Workspace, RunID: ref.Run, Seq: int64(seq), Type: models.EventStepQueued, StepID: "s",
			At: time.Now().UTC(), Data: json.RawMessage(`{}`),
		}
		if end && seq == to {
			e.Type, e.StepID = models.EventRunCompleted, ""
		}
		events = append(events, e)
	}
	err := b.store.WithRuns(context.Background(), []store.RunRef{ref}, func(tx *store.RunTx) (*store.Changes, error) {
		return &store.Changes{Events: events}, nil
	})
	if err != nil {
		t.Errorf("append: %v", err)
	}
	b.hub.Publish([]engine.Notice{{Workspace: ref.Workspace, Run: ref.Run, Seq: int64(to)}})
}

func TestTriggeringCanStreamOrWait(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		quick, slow := b.workflow(t, passing), b.workflow(t, waiting)
		address := b.listen(t)

		c := b.connect(t, address, "POST", "/workflows/"+quick+"/trigger", "Accept", "text/event-stream", "Idempotency-Key", "k")
		require.Equal(t, 200, c.resp.StatusCode)
		require.Equal(t, "text/event-stream", c.resp.Header.Get("Content-Type"))
		run := strings.TrimPrefix(c.resp.Header.Get("Location"), base+"/runs/")
		require.Empty(t, cmp.Diff(b.stored(t, run), c.rest(), cmp.AllowUnexported(sseEvent{})))

		again := b.call(t, "POST", "/workflows/"+quick+"/trigger", "", "Idempotency-Key", "k")
		require.Equal(t, 202, again.status, "what is kept is the plain answer")
		require.Equal(t, run, again.str(t, "id"))
		require.Equal(t, "application/json", again.header.Get("Content-Type"))

		done := b.call(t, "POST", "/workflows/"+quick+"/trigger", "", "Prefer", "respond-async, wait=5")
		require.Equal(t, 200, done.status, done.body)
		require.Equal(t, "completed", done.str(t, "status"))
		require.Equal(t, "wait=5", done.header.Get("Preference-Applied"))
		require.Equal(t, b.call(t, "GET", "/runs/"+done.str(t, "id"), "").body, done.body)

		began := time.Now()
		open := b.call(t, "POST", "/workflows/"+slow+"/trigger", "", "Prefer", "wait=1")
		require.Equal(t, 202, open.status)
		require.GreaterOrEqual(t, time.Since(began), time.Second)
		require.Equal(t, "waiting", open.str(t, "status"), "as it is when the time is over")

		var wg sync.WaitGroup
		var released answer
		wg.Go(func() { released = b.call(t, "POST", "/workflows/"+slow+"/trigger", "", "Prefer", "wait=20") })
		require.Eventually(t, func() bool {
			for _, item := range b.call(t, "GET", "/runs?status=waiting", "").get(t, "items").([]any) {
				if id := item.(map[string]any)["id"].(string); id != open.str(t, "id") {
					return b.call(t, "POST", "/runs/"+id+"/cancel", "").status == 200
				}
			}
			return false
		}, 20*time.Second, 10*time.Millisecond)
		wg.Wait()
		require.Equal(t, 200, released.status)
		require.Equal(t, "cancelled", released.str(t, "status"))
	})
}

func TestPreferredWait(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]int{
		"": 0, "wait=10": 10, "Wait = 10": 10, `wait="7"`: 7, "respond-async, wait=3": 3, "wait=0": 0, "wait=-1": 0, "wait=61": 60, "wait=999999999999": 60, "wait=x": 0, "await=5": 0,
	} {
		require.Equal(t, time.Duration(want)*time.Second, preferredWait(header), header)
	}
}

func TestAClientThatDoesNotReadIsDropped(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	ref := b.longRun(t)
	b.api.feeds.flushPatience = 200 * time.Millisecond
	big := json.RawMessage(`{"x":"` + strings.Repeat("x", 64<<10) + `"}`)
	var events []*models.RunEvent
	for seq := int64(1); seq <= 400; seq++ {
		events = append(events, &models.RunEvent{
			WorkspaceID: ref.Workspace, RunID: ref.Run, Seq: seq, Type: models.EventStepQueued, StepID: "s", At: time.Now().UTC(), Data: big,
		})
	}
	require.NoError(t, b.store.WithRuns(t.Context(), []store.RunRef{ref}, func(tx *store.RunTx) (*store.Changes, error) {
		return &store.Changes{Events: events}, nil
	}))
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.listen(t), "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET %s/runs/%s/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", base, ref.Run, b.key)
	require.NoError(t, err)
	streams := func() int {
		b.api.feeds.mu.Lock()
		defer b.api.feeds.mu.Unlock()
		return len(b.api.feeds.open)
	}
	require.Eventually(t, func() bool { return streams() == 1 }, 5*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return streams() == 0 }, 10*time.Second, 10*time.Millisecond)
}

func TestAClientThatLeavesIsNoticed(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	b.api.feeds.heartbeat = 20 * time.Millisecond
	run := b.run(t, waiting)
	c := b.connect(t, b.listen(t), "GET", "/runs/"+run+"/stream")
	_, ok := c.next()
	require.True(t, ok)
	c.close()
	require.Eventually(t, func() bool {
		b.api.feeds.mu.Lock()
		defer b.api.feeds.mu.Unlock()
		return len(b.api.feeds.open) == 0
	}, 20*time.Second, 5*time.Millisecond)
	b.api.feeds.wg.Wait() // nobody reads the log any more
}

func TestAQuietStreamBeats(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	b.api.feeds.heartbeat = 10 * time.Millisecond
	run := b.run(t, waiting)
	c := b.connect(t, b.listen(t), "GET", "/runs/"+run+"/stream")
	var beats int
	for beats < 5 && c.lines.Scan() {
		if strings.HasPrefix(c.lines.Text(), ": alive") {
			beats++
		}
	}
	require.Equal(t, 5, beats)
	require.LessOrEqual(t, heartbeat, 15*time.Second)
}

func TestShutdownEndsStreams(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	run := b.run(t, waiting)
	c := b.connect(t, b.listen(t), "GET", "/runs/"+run+"/stream")
	_, ok := c.next()
	require.True(t, ok)
	ended := atomic.Bool{}
	var wg sync.WaitGroup
	wg.Go(func() { c.rest(); ended.Store(true) })
	require.NoError(t, b.api.Shutdown(t.Context()))
	wg.Wait()
	require.True(t, ended.Load())
}

func TestBadPlacesToResumeAt(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	run := b.run(t, passing)
	for _, id := range []string{"x", "-1", "1.5", "99999999999999999999"} {
		got := b.call(t, "GET", "/runs/"+run+"/stream", "", "Last-Event-ID", id)
		require.Equal(t, 422, got.status, id)
	}
	require.Equal(t, 422, b.call(t, "GET", "/runs/"+run+"/stream?after=x", "").status)
	require.Equal(t, 422, b.call(t, "GET", "/runs/"+run+"/events?after=-1", "").status)
}

func TestAKeyHasSoManyStreamsAndNoMore(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	b.api.places.most, b.api.feeds.heartbeat = 2, 10*time.Millisecond
	wf, done := b.workflow(t, waiting), b.run(t, passing)
	trigger := "/workflows/" + wf + "/trigger"
	// What does not become a stream keeps no place.
	last := b.call(t, "GET", "/runs/"+done+"/events?limit=200", "").get(t, "items")
	for range 3 {
		require.Equal(t, 404, b.call(t, "GET", "/runs/run_1/stream", "").status)
		require.Equal(t, 422, b.call(t, "GET", "/runs/"+done+"/stream?after=x", "").status)
		require.Equal(t, 204, b.call(t, "GET", "/runs/"+done+"/stream?after="+sprint(len(last.([]any))), "").status)
		require.Equal(t, 422, b.call(t, "POST", trigger, `{"x":1}`, "Accept", eventStream).status)
		require.Equal(t, 200, b.call(t, "GET", "/runs/"+done+"/stream", "").status, "this one has ended")
	}
	at := b.listen(t)
	open := []*sseClient{b.connect(t, at, "POST", trigger, "Accept", eventStream), b.connect(t, at, "POST", trigger, "Accept", eventStream)}
	for _, c := range open {
		require.Equal(t, 200, c.resp.StatusCode)
		_, ok := c.next()
		require.True(t, ok)
	}
	before := len(b.call(t, "GET", "/runs", "").get(t, "items").([]any))
	for _, got := range []answer{
		b.call(t, "GET", "/runs/"+done+"/stream", ""), b.call(t, "POST", trigger, "", "Accept", eventStream, "Idempotency-Key", "k"),
	} {
		require.Equal(t, 429, got.status, got.body)
		require.Equal(t, "rate_limited", got.str(t, "code"))
		require.NotEmpty(t, got.header.Get("Retry-After"))
	}
	require.Len(t, b.call(t, "GET", "/runs", "").get(t, "items"), before, "a run that cannot be followed is not started")
	require.Equal(t, 202, b.call(t, "POST", trigger, "").status, "other requests need no place")
	other := b.newKey(t, b.ws, models.ScopeAll)
	require.Equal(t, 200, b.as(t, other, "GET", "/runs/"+done+"/stream", "").status, "nor does another key")
	open[0].close()
	require.Eventually(t, func() bool {
		return b.call(t, "GET", "/runs/"+done+"/stream", "").status == 200
	}, 20*time.Second, 10*time.Millisecond, "a client that leaves makes room")
	open[1].close()
	require.Eventually(t, func() bool {
		b.api.places.mu.Lock()
		defer b.api.places.mu.Unlock()
		return len(b.api.places.taken) == 0
	}, 20*time.Second, 10*time.Millisecond)
}
