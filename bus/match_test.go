package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/tasks"
)

// hall is a bus with a workflow, and jobs that wait until the test has them done.
type hall struct {
	*calendar
	bus  *bus.Bus
	jobs *jobList
}

func eachHall(t *testing.T, wrap func(bus.Engine) bus.Engine, test func(t *testing.T, h *hall)) {
	t.Helper()
	eachCalendar(t, func(t *testing.T, c *calendar) {
		h := &hall{calendar: c, jobs: &jobList{}}
		h.bus = h.open(wrap)
		test(t, h)
	})
}

// open is another process at the same store, with the same queue.
func (h *hall) open(wrap func(bus.Engine) bus.Engine) *bus.Bus {
	e, err := engine.New(engine.Deps{
		Store: h.store, Clock: h.clock, Enqueuer: noDeliveries{}, Jobs: h.jobs, Notifier: noDeliveries{}, Catalogue: noDeliveries{},
	}, engine.Config{})
	require.NoError(h.t, err)
	h.t.Cleanup(func() { require.NoError(h.t, e.Close(context.Background())) })
	var asked bus.Engine = e
	if wrap != nil {
		asked = wrap(e)
	}
	b, err := bus.New(bus.Deps{Store: h.store, Engine: asked, Clock: h.clock, Jobs: h.jobs}, bus.Config{})
	require.NoError(h.t, err)
	return b
}

// listen makes a trigger of type event; with may change it.
func (h *hall) listen(eventType string, with func(*models.Trigger)) *models.Trigger {
	h.t.Helper()
	trg := &models.Trigger{Type: models.TriggerOnEvent, WorkflowID: &h.wf, EventType: eventType, Enabled: true}
	if with != nil {
		with(trg)
	}
	made, err := h.bus.CreateTrigger(h.t.Context(), h.ws, trg)
	require.NoError(h.t, err)
	return made.Trigger
}

func (h *hall) publish(e *models.Event) models.EventID {
	h.t.Helper()
	got, err := h.bus.Publish(h.t.Context(), h.ws, []*models.Event{e})
	require.NoError(h.t, err)
	return got[0].ID
}

// match does the jobs there are.
func (h *hall) match() {
	h.t.Helper()
	for _, j := range h.jobs.take(tasks.TypeMatch) {
		require.NoError(h.t, h.bus.MatchJob(h.t.Context(), j))
	}
}

// asked counts the events that are to be matched.
func asked(jobs []tasks.Job) (n int) {
	for _, j := range jobs {
		n += 1 + len(j.More)
	}
	return n
}

// outcomes tells what became of an event, by trigger: fired, or why not.
func (h *hall) outcomes(id models.EventID) map[models.TriggerID]string {
	h.t.Helper()
	rows, err := h.store.For(h.ws).Matches(h.t.Context(), id, 1000)
	require.NoError(h.t, err)
	out := map[models.TriggerID]string{}
	for _, m := range rows {
		out[m.TriggerID] = m.Reason
		if m.Outcome == models.MatchFired {
			out[m.TriggerID] = "fired"
			require.NotNil(h.t, m.RunID)
		}
	}
	return out
}

func (h *hall) event(id models.EventID) *models.Event {
	h.t.Helper()
	e, err := h.store.For(h.ws).Event(h.t.Context(), id)
	require.NoError(h.t, err)
	return e
}

func lead(data string) *models.Event {
	return &models.Event{Type: "lead.created", Source: "crm", Data: json.RawMessage(data)}
}

func TestAnEventFiresWhatListensForItsTypeAndSource(t *testing.T) {
	t.Parallel()
	eachHall(t, nil, func(t *testing.T, h *hall) {
		from := func(source string) func(*models.Trigger) { return func(t *models.Trigger) { t.Source = source } }
		want := map[models.TriggerID]string{
			h.listen("lead.created", nil).ID:         "fired",
			h.listen("lead.*", from("crm")).ID:       "fired",
			h.listen("*", nil).ID:                    "fired",
			h.listen("lead.cre*", nil).ID:            "fired",
			h.listen("lead.created*", nil).ID:        "fired",
			h.listen("l*", from("crm")).ID:           "fired",
			h.listen("lead.created", from("crm")).ID: "fired",
		}
		for _, other := range []string{"lead.create", "lead", "lead.", "lead.created.*", "deal.*", "lead.createdx"} {
			h.listen(other, nil)
		}
		h.listen("lead.created", from("connector"))
		h.listen("lead.*", func(t *models.Trigger) { t.Enabled = false })

		id := h.publish(lead(`{"lead_id":"L1"}`))
		require.NotNil(t, h.event(id).AttendAt)
		h.match()
		require.Empty(t, cmp.Diff(want, h.outcomes(id)), "and nothing else left a trace")
		require.Nil(t, h.event(id).AttendAt)
		for trg := range want {
			runs := h.runs(&models.Trigger{ID: trg})
			require.Len(t, runs, 1)
			run, err := h.store.For(h.ws).Run(t.Context(), runs[0].ID)
			require.NoError(t, err)
			require.Equal(t, models.TriggerEvent, run.TriggerType)
			require.Equal(t, id, *run.EventID)
			require.JSONEq(t, `{"lead_id":"L1"}`, string(run.Payload))
			fired, err := h.store.For(h.ws).Trigger(t.Context(), trg)
			require.NoError(t, err)
			require.Equal(t, h.clock.Now(), *fired.LastFiredAt)
		}
	})
}

func TestFilterAndPayloadReadTheEvent(t *testing.T) {
	t.Parallel()
	eachHall(t, nil, func(t *testing.T, h *hall) {
		high := h.listen("lead.*", func(t *models.Trigger) {
			t.Filter = `{{ event.data.score > 80 && event.source == "crm" }}`
			t.Payload = json.RawMessage(`{"id":"{{ event.data.lead.id }}","text":"{{ event.type }} by {{ trigger.type }}","event":"{{ event.id }}","n":"{{ event.data.score }}"}`)
		})
		broken := h.listen("lead.*", func(t *models.Trigger) { t.Filter = `event.data.lead.score > 1` })
		hollow := h.listen("lead.*", func(t *models.Trigger) { t.Payload = json.RawMessage(`{"x":"{{ event.data.lead.no.where }}"}`) })

		id := h.publish(lead(`{"score":81,"lead":{"id":"L1"}}`))
		low := h.publish(lead(`{"score":80,"lead":{"id":"L2"}}`))
		odd := h.publish(lead(`[1,2]`))
		h.match()
		got := h.outcomes(id)
		require.Equal(t, "fired", got[high.ID])
		require.Contains(t, got[broken.ID], "the filter failed: ")
		require.Contains(t, got[hollow.ID], "the payload failed: ")
		require.Equal(t, "the filter is false", h.outcomes(low)[high.ID])
		require.Contains(t, h.outcomes(odd)[high.ID], "the filter failed: ")

		runs := h.runs(high)
		require.Len(t, runs, 1)
		run, err := h.store.For(h.ws).Run(t.Context(), runs[0].ID)
		require.NoError(t, err)
		require.JSONEq(t, `{"id":"L1","text":"lead.created by event","event":"`+string(id)+`","n":81}`, string(run.Payload))
		require.Empty(t, h.runs(broken))
	})
}

func TestTheSameEventAgainHasNoSecondEffect(t *testing.T) {
	t.Parallel()
	eachHall(t, nil, func(t *testing.T, h *hall) {
		trg := h.listen("lead.created", nil)
		const senders = 32
		var group sync.WaitGroup
		receipts := make([][]bus.Receipt, senders)
		errs := make([]error, senders)
		for i := range senders {
			group.Go(func() {
				events := make([]*models.Event, 10)
				for n := range events {
					events[n] = lead(`{}`)
					events[n].ExternalID = "e" + strconv.Itoa((n+i)%10) // in every order
				}
				receipts[i], errs[i] = h.bus.Publish(t.Context(), h.ws, events)
			})
		}
		group.Wait()
		first := map[string]models.EventID{}
		fresh := 0
		for i := range senders {
			require.NoError(t, errs[i])
			for n, r := range receipts[i] {
				name := "e" + strconv.Itoa((n+i)%10)
				if first[name] == "" {
					first[name] = r.ID
				}
				require.Equal(t, first[name], r.ID)
				if !r.Duplicate {
					fresh++
				}
			}
		}
		require.Equal(t, 10, fresh)
		require.Equal(t, 10, asked(h.jobs.jobs))
		h.match()
		require.Len(t, h.runs(trg), 10)

		twice := []*models.Event{lead(`{}`), lead(`{}`), lead(`{}`)}
		twice[0].ExternalID, twice[1].ExternalID, twice[2].ExternalID, twice[2].Source = "x", "x", "x", "connector"
		got, err := h.bus.Publish(t.Context(), h.ws, twice)
		require.NoError(t, err)
		require.Equal(t, []bool{false, true, false}, []bool{got[0].Duplicate, got[1].Duplicate, got[2].Duplicate}, "the source is part of the name")
		require.Equal(t, got[0].ID, got[1].ID)

		other := models.WorkspaceID(ids.New(models.WorkspacePrefix))
		again := lead(`{}`)
		again.ExternalID = "x"
		theirs, err := h.bus.Publish(t.Context(), other, []*models.Event{again})
		require.NoError(t, err)
		require.False(t, theirs[0].Duplicate, "and so is the workspace")
	})
}

func TestAnEventsIDIsOfTheTimeItWasReceived(t *testing.T) {
	t.Parallel()
	eachHall(t, nil, func(t *testing.T, h *hall) {
		before := ""
		for range 100 {
			id := string(h.publish(lead(`{}`)))
			at := h.event(models.EventID(id)).ReceivedAt
			require.GreaterOrEqual(t, id, ids.Lowest(models.EventPrefix, at))
			require.Less(t, id, ids.Lowest(models.EventPrefix, at.Add(time.Millisecond)))
			require.Greater(t, id, before)
			before = id
		}
	})
}

func TestMatchingTwiceIsMatchingOnce(t *testing.T) {
	t.Parallel()
	eachHall(t, nil, func(t *testing.T, h *hall) {
		trg := h.listen("lead.created", func(t *models.Trigger) { t.Dedupe = &models.Dedupe{Key: "event.data.id", Window: "1h"} })
		var events []models.EventID
		for i := range 20 {
			events = append(events, h.publish(lead(fmt.Sprintf(`{"id":%d}`, i))))
		}
		other := h.open(nil)
		var group sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			group.Go(func() {
				b := []*bus.Bus{h.bus, other}[i%2]
				errs[i] = b.Match(t.Context(), h.ws, events...)
			})
		}
		group.Wait()
		require.NoError(t, errors.Join(errs...))
		require.Len(t, h.runs(trg), 20)
		for _, id := range events {
			require.Equal(t, map[models.TriggerID]string{trg.ID: "fired"}, h.outcomes(id))
		}
	})
}

func TestOneOfManyWithTheSameKeyFires(t *testing.T) {
	t.Parallel()
	eachHall(t, nil, func(t *testing.T, h *hall) {
		trg := h.listen("lead.created", func(t *models.Trigger) { t.Dedupe = &models.Dedupe{Key: "event.data.lead_id", Window: "10m"} })
		other := h.open(nil)
		const senders = 32
		var group sync.WaitGroup
		sent := make([]models.EventID, senders)
		errs := make([]error, senders)
		for i := range senders {
			group.Go(func() {
				b := []*bus.Bus{h.bus, other}[i%2]
				got, err := b.Publish(t.Context(), h.ws, []*models.Event{lead(`{"lead_id":"L1"}`)})
				if err == nil {
					sent[i] = got[0].ID
					err = b.Match(t.Context(), h.ws, sent[i])
				}
				errs[i] = err
			})
		}
		group.Wait()
		require.NoError(t, errors.Join(errs...))
		runs := h.runs(trg)
		require.Len(t, runs, 1)
		fired := 0
		for _, id := range sent {
			if got := h.outcomes(id)[trg.ID]; got == "fired" {
				fired++
				require.Equal(t, id, *runs[0].EventID)
			} else {
				require.Equal(t, "event "+string(*runs[0].EventID)+" with the same key came before it", got)
			}
		}
		require.Equal(t, 1, fired)
	})
}

func TestAKeyHoldsForItsWindow(t *testing.T) {
	t.Parallel()
	eachHall(t, nil, func(t *testing.T, h *hall) {
		trg := h.listen("lead.created", func(t *models.Trigger) { t.Dedupe = &models.Dedupe{Key: "{{ event.data.key }}", Window: "10m"} })
		fires := func(data string) bool {
			t.Helper()
			id := h.publish(lead(data))
			h.match()
			return h.outcomes(id)[trg.ID] == "fired"
		}
		long := strings.Repeat("x", 500)
		for _, key := range []string{`"a"`, `1`, `{"b":1,"a":[true]}`, `"` + long + `"`, `false`} {
			require.True(t, fires(`{"key":`+key+`}`), key)
			require.False(t, fires(`{"key":`+key+`}`), key)
		}
		require.False(t, fires(`{"key":{"a":[true],"b":1}}`), "the order of fields is none")
		require.True(t, fires(`{"key":null}`), "no key")
		require.True(t, fires(`{"key":null}`), "is no key twice")
		h.clock.Advance(10*time.Minute - time.Microsecond)
		require.False(t, fires(`{"key":"a"}`))
		h.clock.Advance(time.Microsecond)
		require.True(t, fires(`{"key":"a"}`))
		require.False(t, fires(`{"key":"a"}`))

		// Also within one batch, of which some come after the window.
		var batch []models.EventID
		for range 6 {
			batch = append(batch, h.publish(lead(`{"key":"batch"}`)))
			h.clock.Advance(4 * time.Minute)
		}
		require.NoError(t, h.bus.Match(t.Context(), h.ws, batch...))
		var got []bool
		for _, id := range batch {
			got = append(got, h.outcomes(id)[trg.ID] == "fired")
		}
		require.Equal(t, []bool{true, false, false, true, false, false}, got)
	})
}

func TestAKeyThatStartedNothingIsFree(t *testing.T) {
	t.Parallel()
	eachHall(t, nil, func(t *testing.T, h *hall) {
		trg := h.listen("lead.created", func(t *models.Trigger) { t.Dedupe = &models.Dedupe{Key: "'one'", Window: "10m"} })
		status := func(s models.WorkflowStatus) {
			_, err := h.store.For(h.ws).UpdateWorkflow(t.Context(), h.wf, nil, h.clock.Now(), func(w *models.Workflow) error {
				w.Status = s
				return nil
			})
			require.NoError(t, err)
		}
		for s, word := range map[models.WorkflowStatus]string{models.WorkflowPaused: "is paused", models.WorkflowArchived: "is archived"} {
			status(s)
			id := h.publish(lead(`{}`))
			h.match()
			require.Contains(t, h.outcomes(id)[trg.ID], word)
		}
		require.Empty(t, h.runs(trg))
		status(models.WorkflowActive)
		id := h.publish(lead(`{}`))
		h.match()
		require.Equal(t, "fired", h.outcomes(id)[trg.ID])
	})
}

func TestAPayloadThatDoesNotFitIsAReason(t *testing.T) {
	t.Parallel()
	eachHall(t, nil, func(t *testing.T, h *hall) {
		v := &models.Version{
			Graph:       &models.Graph{Steps: []models.GraphStep{{ID: "a", Type: models.StepTypeConnector, Connector: "core", Action: "set"}}},
			InputSchema: json.RawMessage(`{"type":"object","required":["lead_id"],"properties":{"lead_id":{"type":"string"}}}`), Hash: "2",
		}
		_, _, err := h.store.For(h.ws).AddVersion(t.Context(), h.wf, nil, v, h.clock.Now())
		require.NoError(t, err)
		trg := h.listen("lead.created", nil)
		bad, good := h.publish(lead(`{"lead_id":7}`)), h.publish(lead(`{"lead_id":"7"}`))
		h.match()
		require.Contains(t, h.outcomes(bad)[trg.ID], "payload.lead_id: ")
		require.Equal(t, "fired", h.outcomes(good)[trg.ID])
		require.Len(t, h.runs(trg), 1)
	})
}

func TestAChainOfFlowsEnds(t *testing.T) {
	t.Parallel()
	eachHall(t, nil, func(t *testing.T, h *hall) {
		trg := h.listen("lead.created", nil)
		deep, last := lead(`{}`), lead(`{}`)
		deep.Depth, last.Depth = models.MaxDepth, models.MaxDepth-1
		id, other := h.publish(deep), h.publish(last)
		h.match()
		require.Contains(t, h.outcomes(id)[trg.ID], "the chain ends here")
		require.Equal(t, "fired", h.outcomes(other)[trg.ID])
		runs := h.runs(trg)
		require.Len(t, runs, 1)
		require.Equal(t, models.MaxDepth-1, runs[0].Depth)
	})
}

// What a run brings about would bring about as many again, and so on.
func TestAFlowDoesNotHearOfItsOwnRuns(t *testing.T) {
	t.Parallel()
	eachHall(t, nil, func(t *testing.T, h *hall) {
		trg, run := h.listen("*", nil), models.RunID("run_1")
		tells := func(typ, workflow string) models.EventID {
			e := lead(fmt.Sprintf(`{"run_id":"run_1","workflow_id":%q}`, workflow))
			e.Source, e.Type, e.RunID = "flows", typ, &run
			return h.publish(e)
		}
		own, other, said := tells("flow.run.completed", string(h.wf)), tells("flow.run.completed", "wf_other"), tells("lead.scored", string(h.wf))
		h.match()
		require.Contains(t, h.outcomes(own)[trg.ID], "its own runs")
		require.Equal(t, "fired", h.outcomes(other)[trg.ID])
		require.Equal(t, "fired", h.outcomes(said)[trg.ID], "what a run says by itself is no news of it")
	})
}

// A process may die after a run has started and before that is written down.
func TestARunIsStartedOnceByWhoeverComesAfter(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]bool{"before it started": false, "after it started": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dying := func(e bus.Engine) bus.Engine { return failing{e, after} }
			eachHall(t, dying, func(t *testing.T, h *hall) {
				trg := h.listen("lead.created", func(t *models.Trigger) { t.Dedupe = &models.Dedupe{Key: "event.data.id", Window: "10m"} })
				id := h.publish(lead(`{"id":1}`))
				require.ErrorIs(t, h.bus.Match(t.Context(), h.ws, id), models.ErrUnavailable)
				require.NotNil(t, h.event(id).AttendAt)
				require.Empty(t, h.outcomes(id))
				h.jobs.take(tasks.TypeMatch) // the queue is lost as well

				next := h.open(nil)
				res, err := next.Sweep(t.Context(), 10)
				require.NoError(t, err)
				require.Zero(t, res.Events, "it is not due")
				h.clock.Advance(10 * time.Second)
				res, err = next.Sweep(t.Context(), 10)
				require.NoError(t, err)
				require.Equal(t, bus.SweepResult{Events: 1}, res)
				jobs := h.jobs.take(tasks.TypeMatch)
				require.Len(t, jobs, 1)
				require.Equal(t, "match:"+string(id)+":1", jobs[0].TaskID())
				require.NoError(t, next.MatchJob(t.Context(), jobs[0]))
				require.Equal(t, map[models.TriggerID]string{trg.ID: "fired"}, h.outcomes(id))
				require.Len(t, h.runs(trg), 1)

				h.clock.Advance(time.Hour)
				res, err = next.Sweep(t.Context(), 10)
				require.NoError(t, err)
				require.Zero(t, res.Events, "it is done")
			})
		})
	}
}

// A process may also die without a word. What it had in hand is its own until that is
// over; then the sweep brings it to another.
func TestAnEventIsMatchedByOneAtATime(t *testing.T) {
	t.Parallel()
	eachHall(t, nil, func(t *testing.T, h *hall) {
		trg := h.listen("lead.created", nil)
		mine, lost := h.publish(lead(`{}`)), h.publish(lead(`{}`))
		h.jobs.take(tasks.TypeMatch)
		now := h.clock.Now()
		claim := func(events ...models.EventID) (got []models.EventID) {
			rows, err := h.store.For(h.ws).ClaimEvents(t.Context(), events, h.clock.Now(), h.clock.Now().Add(5*time.Second))
			require.NoError(t, err)
			for _, e := range rows {
				got = append(got, e.ID)
			}
			return got
		}
		require.Equal(t, []models.EventID{lost}, claim(lost))
		require.Empty(t, claim(lost))
		require.NoError(t, h.bus.Match(t.Context(), h.ws, mine, lost))
		require.Len(t, h.runs(trg), 1)
		require.NotNil(t, h.event(lost).AttendAt, "another has it in hand")
		require.Empty(t, claim(mine), "it is done")

		require.NoError(t, h.store.For(h.ws).FreeEvents(t.Context(), []models.EventID{lost}, now.Add(4*time.Second), now))
		require.Empty(t, claim(lost), "that was somebody else's claim")
		require.NoError(t, h.store.For(h.ws).FreeEvents(t.Context(), []models.EventID{lost}, now.Add(5*time.Second), now.Add(time.Minute)))
		h.clock.Advance(8 * time.Second)
		require.Equal(t, []models.EventID{lost}, claim(lost), "once more, shortly before it is due")

		sweep := func() int {
			res, err := h.bus.Sweep(t.Context(), 10)
			require.NoError(t, err)
			return res.Events
		}
		h.clock.Advance(4 * time.Second)
		require.Zero(t, sweep(), "due, and in hand")
		h.clock.Advance(time.Second)
		require.Equal(t, 1, sweep())
		h.match()
		require.Len(t, h.runs(trg), 2)
		require.Equal(t, map[models.TriggerID]string{trg.ID: "fired"}, h.outcomes(lost))
	})
}

// broken is an engine that fails for a reason nobody knows, for the triggers in who.
type broken struct {
	bus.Engine
	who *sync.Map
}

func (b broken) Start(ctx context.Context, req engine.StartRequest) (*models.Run, error) {
	if _, ok := b.who.Load(*req.TriggerID); ok {
		return nil, errors.New("out of order")
	}
	return b.Engine.Start(ctx, req)
}

func TestWhatFailsForEverIsGivenUp(t *testing.T) {
	t.Parallel()
	who := &sync.Map{} // of both stores, which are tested side by side
	eachHall(t, func(e bus.Engine) bus.Engine { return broken{e, who} }, func(t *testing.T, h *hall) {
		bad, good := h.listen("lead.created", nil), h.listen("lead.created", nil)
		who.Store(bad.ID, true)
		id := h.publish(lead(`{}`))
		tries := 0
		for h.event(id).AttendAt != nil {
			for _, j := range h.jobs.take(tasks.TypeMatch) {
				_ = h.bus.MatchJob(t.Context(), j)
				tries++
			}
			require.Len(t, h.runs(good), 1, "others do not suffer")
			h.clock.Advance(10 * time.Minute)
			_, err := h.bus.Sweep(t.Context(), 10)
			require.NoError(t, err)
		}
		require.Equal(t, 6, tries)
		require.Contains(t, h.outcomes(id)[bad.ID], "something went wrong on our side")
		require.Equal(t, "fired", h.outcomes(id)[good.ID])
		require.Len(t, h.runs(good), 1)
	})
}

func TestManySweepsTakeEachEventOnce(t *testing.T) {
	t.Parallel()
	eachHall(t, nil, func(t *testing.T, h *hall) {
		for range 100 {
			h.publish(lead(`{}`))
		}
		h.jobs.take(tasks.TypeMatch)
		h.clock.Advance(time.Minute)
		var group sync.WaitGroup
		var total atomic.Int64
		errs := make([]error, 4)
		for i := range errs {
			group.Go(func() {
				for {
					res, err := h.bus.Sweep(t.Context(), 7)
					total.Add(int64(res.Events))
					if errs[i] = err; err != nil || res.Events == 0 {
						return
					}
				}
			})
		}
		group.Wait()
		require.NoError(t, errors.Join(errs...))
		require.EqualValues(t, 100, total.Load())
		require.Equal(t, 100, asked(h.jobs.take(tasks.TypeMatch)))
		h.clock.Advance(19 * time.Second)
		res, err := h.bus.Sweep(t.Context(), 7)
		require.NoError(t, err)
		require.Zero(t, res.Events, "each try waits longer")
	})
}

func TestAStoreThatIsAwayIsSaidAndLosesNothing(t *testing.T) {
	t.Parallel()
	eachHall(t, nil, func(t *testing.T, h *hall) {
		id := h.publish(lead(`{}`))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, h.bus.Match(ctx, h.ws, id))
		require.NotNil(t, h.event(id).AttendAt)
		_, err := h.bus.Publish(ctx, h.ws, []*models.Event{lead(`{}`)})
		if err == nil { // who had gone as it was being stored
			h.match()
		}
	})
}

func TestOldEventsGoWithWhatBecameOfThem(t *testing.T) {
	t.Parallel()
	eachHall(t, nil, func(t *testing.T, h *hall) {
		h.listen("lead.created", func(t *models.Trigger) { t.Dedupe = &models.Dedupe{Key: "event.data.id", Window: "1h"} })
		var old []models.EventID
		for i := range 5 {
			old = append(old, h.publish(lead(fmt.Sprintf(`{"id":%d}`, i))))
		}
		h.match()
		pending := h.publish(lead(`{"id":9}`))
		h.clock.Advance(24 * time.Hour)
		young := h.publish(lead(`{"id":10}`))
		before := h.clock.Now().Add(-time.Hour)
		for _, want := range []int{3, 2, 0} {
			n, err := h.store.PruneEvents(t.Context(), before, 3)
			require.NoError(t, err)
			require.Equal(t, want, n)
		}
		for _, id := range old {
			_, err := h.store.For(h.ws).Event(t.Context(), id)
			require.ErrorIs(t, err, models.ErrNotFound)
			require.Empty(t, h.outcomes(id))
		}
		h.event(pending)
		h.event(young)
		n, err := h.store.PruneTriggerKeys(t.Context(), h.clock.Now(), 3)
		require.NoError(t, err)
		require.Equal(t, 3, n)
		n, err = h.store.PruneTriggerKeys(t.Context(), h.clock.Now(), 3)
		require.NoError(t, err)
		require.Equal(t, 2, n)
	})
}

func TestManyTriggersOfOneTypeAllFire(t *testing.T) {
	t.Parallel()
	eachHall(t, nil, func(t *testing.T, h *hall) {
		const many = 1201 // more than two pages
		for i := range many {
			h.listen([]string{"lead.created", "lead.*"}[i%2], func(t *models.Trigger) { t.Filter = strconv.FormatBool(i%100 == 0) })
		}
		id := h.publish(lead(`{}`))
		h.match()
		rows, err := h.store.For(h.ws).Matches(t.Context(), id, 2*many)
		require.NoError(t, err)
		require.Len(t, rows, many)
		runs, err := h.store.For(h.ws).Runs(t.Context(), store.RunFilter{}, store.Page{Limit: 100})
		require.NoError(t, err)
		require.Len(t, runs, 13)
	})
}
