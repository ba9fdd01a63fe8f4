package enginetest

import (
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/engine/expression"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// commands are the lines that tell what happens. STEP is a step's id, or id[n] for
// an iteration of it; parts in brackets may be left out.
//
//	start [PAYLOAD]                       a run begins; without payload it is {}
//	start on event [PAYLOAD]              it begins because of the event that came last
//	event TYPE [DATA]                     an event comes in over the bus
//	STEP begins                           a worker takes the step and is at it
//	STEP acts                             a worker takes the step and begins what must not be repeated blindly
//	STEP done [OUTPUT]                    a worker ends it well; without output it is its input
//	STEP fails CODE [retryable] [asks D]  an attempt fails; the other side may ask for a pause of D
//	STEP hears nothing                    what it sent may have arrived, and no answer has
//	STEP event EVENT                      the event a wait is for arrives
//	STEP approved [DATA]                  a person says yes
//	STEP rejected [COMMENT]               a person says no
//	after D                               time passes, and the sweep looks
//	queue lost                            everything in the queue is gone
//	pause, resume, cancel                 as a client asks
//	rerun [from STEP] [PAYLOAD]           the story goes on with the new run
var commands = []struct {
	form *regexp.Regexp
	do   func(w *world, m []string)
}{
	{form(`start(?: (\{.*))?`), (*world).start},
	{form(`start on event(?: (\{.*))?`), (*world).startOnEvent},
	{form(`event ([\w.]+)(?: (.+))?`), (*world).arrives},
	{form(`after (\S+)`), (*world).after},
	{form(`queue lost`), func(w *world, _ []string) { w.queue.take(func(engine.Delivery) bool { return true }) }},
	{form(`pause`), func(w *world, _ []string) { _, w.refused = w.engine.Pause(w.t.Context(), w.run) }},
	{form(`resume`), func(w *world, _ []string) { _, w.refused = w.engine.Resume(w.t.Context(), w.run) }},
	{form(`cancel`), func(w *world, _ []string) { _, w.refused = w.engine.Cancel(w.t.Context(), w.run) }},
	{form(`rerun(?: from ([\w-]+))?(?: (\{.*))?`), (*world).rerun},
	{form(`STEP begins`), func(w *world, m []string) { w.mustBegin(m[1]) }},
	{form(`STEP acts`), (*world).acts},
	{form(`STEP done(?: (.+))?`), (*world).done},
	{form(`STEP fails (\w+)( retryable)?(?: asks (\S+))?`), (*world).fails},
	{form(`STEP hears nothing`), func(w *world, m []string) {
		w.finish(m[1], engine.FinishRequest{Unknown: true, Error: &models.StepError{Code: "network", Message: "the line broke", Retryable: true}})
	}},
	{form(`STEP event (\{.*)`), (*world).event},
	{form(`STEP approved(?: (.+))?`), func(w *world, m []string) {
		w.decide(m[1], engine.Decision{Approved: true, Data: w.json(m[2])})
	}},
	{form(`STEP rejected(?: (.+))?`), func(w *world, m []string) { w.decide(m[1], engine.Decision{Comment: m[2]}) }},
}

func form(pattern string) *regexp.Regexp {
	return regexp.MustCompile(`^` + strings.Replace(pattern, "STEP", `([\w-]+(?:\[\d+\])?)`, 1) + `$`)
}

func (w *world) command(text string) {
	w.t.Helper()
	for _, c := range commands {
		if m := c.form.FindStringSubmatch(text); m != nil {
			c.do(w, m)
			w.doJobs()
			return
		}
	}
	require.Failf(w.t, "nothing that can happen", "%s: %s", w.place, text)
}

// noRefusal fails if a command was refused and no line expected that.
func (w *world) noRefusal() {
	w.t.Helper()
	require.NoError(w.t, w.refused, "%s: the line before was refused", w.place)
}

// json gives JSON of a scenario, nil for none.
func (w *world) json(text string) json.RawMessage {
	w.t.Helper()
	if text == "" {
		return nil
	}
	require.True(w.t, json.Valid([]byte(text)), "%s: this is not JSON: %s", w.place, text)
	return json.RawMessage(text)
}

func (w *world) start(m []string) {
	id := models.RunID(ids.New(models.RunPrefix))
	_, w.refused = w.engine.Start(w.t.Context(), engine.StartRequest{
		Workspace: w.ws, Workflow: w.wf, ID: id, Payload: w.json(m[1]), Trigger: models.TriggerManual,
	})
	if c, ok := errors.AsType[*models.ConflictError](w.refused); ok && c.Run != "" {
		id = c.Run // the story goes on with the run it gave way to, or became part of
	}
	w.run = store.RunRef{Workspace: w.ws, Run: id}
}

func (w *world) rerun(m []string) {
	id := models.RunID(ids.New(models.RunPrefix))
	if _, w.refused = w.engine.Rerun(w.t.Context(), w.run, engine.RerunRequest{ID: id, FromStep: m[1], Payload: w.json(m[2])}); w.refused == nil {
		w.run.Run = id
	}
}

// after lets time pass. What is due then is found as it would be if the queue had
// lost it: by the sweep.
func (w *world) after(m []string) {
	d, err := expression.ParseDuration(m[1])
	require.NoError(w.t, err, w.place)
	w.clock.Advance(d)
	w.queue.take(func(d engine.Delivery) bool { return d.Wake })
	for {
		res, err := w.engine.Sweep(w.t.Context(), 100)
		require.NoError(w.t, err, w.place)
		if !res.More {
			return
		}
	}
}

// splitStep takes id[n] apart.
func splitStep(name string) (id string, iteration int) {
	id, rest, ok := strings.Cut(name, "[")
	if !ok {
		return id, models.NoIteration
	}
	iteration, _ = strconv.Atoi(strings.TrimSuffix(rest, "]")) // the form allows digits only
	return id, iteration
}

// begin has a worker claim what the queue holds of a step. A task that is late is
// refused, as it would be in life.
func (w *world) begin(name string) *engine.Work {
	w.t.Helper()
	id, iteration := splitStep(name)
	ready := w.queue.take(func(d engine.Delivery) bool {
		return !d.Wake && d.Task.Run == string(w.run.Run) && d.Task.Step == id && d.Task.Iteration == iteration
	})
	for i, d := range ready {
		work, err := w.engine.Claim(w.t.Context(), engine.ClaimRequest{Task: d.Task, Worker: "worker"})
		require.NoError(w.t, err, w.place)
		if work == nil {
			continue
		}
		w.queue.Enqueue(w.t.Context(), ready[i+1:])
		w.holding[name] = work
		return work
	}
	w.queue.Enqueue(w.t.Context(), ready)
	return nil
}

func (w *world) mustBegin(name string) *engine.Work {
	w.t.Helper()
	work := w.begin(name)
	require.NotNil(w.t, work, "%s: step %s cannot begin", w.place, name)
	return work
}

func (w *world) finish(name string, req engine.FinishRequest) {
	w.t.Helper()
	work := w.holding[name]
	if work == nil {
		work = w.mustBegin(name)
	}
	delete(w.holding, name)
	if req.Lease = work.Lease; req.Output == nil && req.Error == nil {
		req.Output = work.Input
	}
	_, w.refused = w.engine.Finish(w.t.Context(), req)
}

func (w *world) acts(m []string) {
	w.refused = w.engine.BeginEffect(w.t.Context(), w.mustBegin(m[1]).Lease, false)
}

func (w *world) done(m []string) { w.finish(m[1], engine.FinishRequest{Output: w.json(m[2])}) }

func (w *world) fails(m []string) {
	req := engine.FinishRequest{Error: &models.StepError{Code: m[2], Message: "it says " + m[2], Retryable: m[3] != ""}}
	if status, err := strconv.Atoi(strings.TrimPrefix(m[2], "http_")); err == nil {
		req.Error.Status = status
	}
	if m[4] != "" {
		var err error
		req.RetryAfter, err = expression.ParseDuration(m[4])
		require.NoError(w.t, err, w.place)
	}
	w.finish(m[1], req)
}

func (w *world) event(m []string) {
	_, w.refused = w.engine.Signal(w.t.Context(), w.run, m[1], engine.Signal{
		EventID: models.EventID(ids.New(models.EventPrefix)), Event: w.json(m[2]),
	})
}

func (w *world) decide(step string, d engine.Decision) {
	d.By = "tester"
	_, w.refused = w.engine.Decide(w.t.Context(), w.run, step, d)
}
