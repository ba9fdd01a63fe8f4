package enginetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/engine/expression"
	"github.com/10ex/flows/models"
)

// expectations are the lines that tell what is true.
//
//	run STATUS [at STEP] [CODE]           where the run stands, and what it failed of
//	output VALUE                          the run's output
//	payload VALUE                         the run's payload, defaults filled in
//	why TEXT                              a part of the summary of what it waits for
//	refused TEXT                          what came before was refused, in words like these
//	log TYPE STEP …                       the end of the run's log: types, with the step where there is one
//	bus TYPE …                            the end of what the bus was told of the run
//	bus TYPE OBJECT                       fields of the last such event about the run
//	STEP not reached                      nothing is known of the step
//	STEP cannot begin                     no worker gets it now
//	STEP input VALUE                      what it was given
//	STEP error CODE                       why it, or its last attempt, failed
//	STEP STATUS [VALUE] [attempt N] [in D] [took A B] [N of M] [because TEXT]
//
// VALUE behind a status is the step's output; "in" tells when a queued step is due
// or a wait over; "took" which way a branch went; "N of M" how many iterations are
// done.
var expectations = []struct {
	form *regexp.Regexp
	hold func(w *world, m []string)
}{
	{form(`run (\w+)(?: at ([\w-]+))?(?: (\w+))?`), (*world).runIs},
	{form(`output (.+)`), func(w *world, m []string) { w.same(m[1], w.theRun().Output) }},
	{form(`payload (.+)`), func(w *world, m []string) { w.same(m[1], w.theRun().Payload) }},
	{form(`why (.+)`), (*world).whyIs},
	{form(`refused (.+)`), (*world).refusedIs},
	{form(`log (.+)`), (*world).logEnds},
	{form(`bus ([\w.]+) (\{.+)`), (*world).busSaid},
	{form(`bus ([\w. ]+)`), (*world).busEnds},
	{form(`STEP not reached`), (*world).notReached},
	{form(`STEP cannot begin`), (*world).cannotBegin},
	{form(`STEP input (.+)`), func(w *world, m []string) { w.same(m[2], w.row(m[1]).Input) }},
	{form(`STEP error (\w+)`), (*world).errorIs},
	{form(`STEP (pending|queued|running|waiting|completed|failed|skipped|cancelled)(?: (.+))?`), (*world).stepIs},
}

func (w *world) expect(text string) {
	w.t.Helper()
	for _, e := range expectations {
		if m := e.form.FindStringSubmatch(text); m != nil {
			e.hold(w, m)
			return
		}
	}
	require.Failf(w.t, "nothing that can be true", "%s: %s", w.place, text)
}

func (w *world) theRun() *models.Run {
	w.t.Helper()
	run, err := w.store.For(w.ws).Run(w.t.Context(), w.run.Run)
	require.NoError(w.t, err, w.place)
	return run
}

// same compares JSON by what it says.
func (w *world) same(want string, got json.RawMessage) {
	w.t.Helper()
	if got == nil {
		got = json.RawMessage("null")
	}
	var a, b any
	require.NoError(w.t, json.Unmarshal([]byte(want), &a), "%s: this is not JSON: %s", w.place, want)
	require.NoError(w.t, json.Unmarshal(got, &b), w.place)
	require.Empty(w.t, cmp.Diff(a, b), w.place)
}

func (w *world) runIs(m []string) {
	w.t.Helper()
	run := w.theRun()
	require.Equal(w.t, m[1], string(run.Status), "%s: %v", w.place, run.Error)
	if m[2] != "" {
		require.NotNil(w.t, run.Error, w.place)
		require.Equal(w.t, m[2], run.Error.StepID, w.place)
	}
	if m[3] != "" {
		require.NotNil(w.t, run.Error, w.place)
		require.Equal(w.t, m[3], run.Error.Code, w.place)
	}
}

func (w *world) whyIs(m []string) {
	w.t.Helper()
	why, err := w.engine.Why(w.t.Context(), w.run)
	require.NoError(w.t, err, w.place)
	require.Contains(w.t, why.Summary, m[1], w.place)
}

func (w *world) refusedIs(m []string) {
	w.t.Helper()
	require.Error(w.t, w.refused, w.place)
	said := []string{w.refused.Error()}
	if invalid, ok := errors.AsType[*models.InvalidError](w.refused); ok {
		for _, f := range invalid.Fields {
			said = append(said, fmt.Sprintf("%v: %s", f.Loc, f.Msg))
		}
	}
	require.Contains(w.t, strings.Join(said, "; "), m[1], w.place)
	w.refused = nil
}

func (w *world) logEnds(m []string) {
	w.t.Helper()
	events, err := w.store.For(w.ws).RunEvents(w.t.Context(), w.run.Run, 0, 1000)
	require.NoError(w.t, err, w.place)
	var said []string
	for i, e := range events {
		require.EqualValues(w.t, i+1, e.Seq, w.place)
		said = append(said, string(e.Type))
		if e.StepID != "" {
			said = append(said, e.StepID)
		}
	}
	got := strings.Join(said, " ")
	require.True(w.t, strings.HasSuffix(got, m[1]), "%s: the log is %s", w.place, got)
}

// trace gives what the engine tells of a step.
func (w *world) trace(name string) (engine.StepTrace, bool) {
	w.t.Helper()
	steps, err := w.engine.Trace(w.t.Context(), w.run)
	require.NoError(w.t, err, w.place)
	for _, s := range steps {
		if s.ID == name {
			return s, true
		}
	}
	return engine.StepTrace{}, false
}

func (w *world) notReached(m []string) {
	w.t.Helper()
	s, ok := w.trace(m[1])
	require.False(w.t, ok, "%s: step %s is %s", w.place, m[1], s.Status)
}

func (w *world) cannotBegin(m []string) {
	w.t.Helper()
	require.Nil(w.t, w.begin(m[1]), "%s: step %s has begun", w.place, m[1])
}

// row gives a step as it is stored.
func (w *world) row(name string) *models.Step {
	w.t.Helper()
	rows, err := w.store.For(w.ws).Steps(w.t.Context(), w.run.Run)
	require.NoError(w.t, err, w.place)
	for _, row := range rows {
		if row.StepID == name {
			return row
		}
	}
	require.Failf(w.t, "there is no such step", "%s: %s", w.place, name)
	return nil
}

func (w *world) errorIs(m []string) {
	w.t.Helper()
	row := w.row(m[1])
	require.NotNil(w.t, row.Error, w.place)
	require.Equal(w.t, m[2], row.Error.Code, w.place)
}

// details are what may stand behind a status. Each takes its part off the front.
var details = []struct {
	form *regexp.Regexp
	hold func(w *world, s engine.StepTrace, m []string)
}{
	{detail(`attempt (\d+)`), func(w *world, s engine.StepTrace, m []string) {
		require.Equal(w.t, m[1], fmt.Sprint(s.Attempt), w.place)
		require.Equal(w.t, m[1], fmt.Sprint(len(s.Attempts)), w.place)
	}},
	{detail(`in (\w+)`), (*world).dueIn},
	{detail(`took ([\w -]+)`), func(w *world, s engine.StepTrace, m []string) {
		require.NotNil(w.t, s.Branch, w.place)
		want := strings.Fields(strings.Replace(m[1], "nothing", "", 1))
		require.Empty(w.t, cmp.Diff(want, s.Branch.Taken, cmpopts.EquateEmpty()), w.place)
	}},
	{detail(`(\d+) of (\d+)`), func(w *world, s engine.StepTrace, m []string) {
		require.NotNil(w.t, s.Iterations, w.place)
		require.Equal(w.t, m[1]+" of "+m[2], fmt.Sprintf("%d of %d", s.Iterations.Completed, s.Iterations.Total), w.place)
	}},
	{detail(`because (.+)`), func(w *world, s engine.StepTrace, m []string) {
		require.Contains(w.t, s.Reason, m[1], w.place)
	}},
	{detail(`([\[{"\d-].*|true|false|null)`), func(w *world, s engine.StepTrace, m []string) { w.same(m[1], s.Output) }},
}

func detail(pattern string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + pattern + `)(?: |$)`) }

func (w *world) stepIs(m []string) {
	w.t.Helper()
	s, ok := w.trace(m[1])
	require.True(w.t, ok, "%s: step %s is not reached", w.place, m[1])
	require.Equal(w.t, m[2], string(s.Status), "%s: %s %v", w.place, s.Reason, s.Error)
	for rest := strings.TrimSpace(m[3]); rest != ""; {
		before := rest
		for _, d := range details {
			if found := d.form.FindStringSubmatch(rest); found != nil {
				d.hold(w, s, found)
				rest = strings.TrimSpace(rest[len(found[0]):])
				break
			}
		}
		require.NotEqual(w.t, before, rest, "%s: not understood: %s", w.place, rest)
	}
}

// dueIn tells when a wait is over, or a queued step may begin.
func (w *world) dueIn(s engine.StepTrace, m []string) {
	w.t.Helper()
	want, err := expression.ParseDuration(m[1])
	require.NoError(w.t, err, w.place)
	at := s.WakeAt
	if s.Status == models.StepQueued {
		at = w.row(s.ID).DueAt
	}
	require.NotNil(w.t, at, "%s: it has no end", w.place)
	require.Equal(w.t, want.String(), at.Sub(w.clock.Now()).String(), w.place)
}
