package expression

import (
	"cmp"
	"slices"
)

// Scope says which names an expression may use. payload, trigger, steps, run and
// workflow are always there.
type Scope struct {
	// Steps are the ids of the steps that steps.<id> may name. Naming another one
	// does not compile.
	Steps []string
	// Item puts item and index in scope.
	Item bool
	// Event puts event in scope.
	Event bool
	// Inputs puts inputs in scope.
	Inputs bool
	// Outside takes payload, steps, run and workflow out of scope: there is no run yet.
	Outside bool
	// anyStep lets steps.<id> name whatever it likes: of which graph the expression is
	// a part is not known yet.
	anyStep bool
}

// Vars are the values an expression reads, by name: payload, trigger, steps, run,
// workflow, item, index, event, inputs. They must be JSON values as Decode or
// Normalize give them, and are only read. steps is a map from id to a map with
// output, status and error.
type Vars map[string]any

// Refs tells what an expression reads, found without evaluating it.
type Refs struct { //nolint:recvcheck // it is made in place, and a value to everybody else
	// Steps are the steps it reads, ordered by id, each once.
	Steps []StepRef
	// The other names it reads. Item stands for item and index.
	Payload, Trigger, Run, Workflow, Event, Item, Inputs bool
	// TriggerEvent means that more of trigger.event than its id is read.
	TriggerEvent bool
}

// StepRef tells what an expression reads of one step. Naming the step alone reads
// all of it.
type StepRef struct {
	ID                    string
	Output, Status, Error bool
}

// StepIDs are the ids of the steps that are read, in order.
func (r Refs) StepIDs() []string {
	ids := make([]string, len(r.Steps))
	for i, s := range r.Steps {
		ids[i] = s.ID
	}
	return ids
}

// Merge gives what r and other read together.
func (r Refs) Merge(other Refs) Refs {
	r.Payload = r.Payload || other.Payload
	r.Trigger = r.Trigger || other.Trigger
	r.TriggerEvent = r.TriggerEvent || other.TriggerEvent
	r.Run = r.Run || other.Run
	r.Workflow = r.Workflow || other.Workflow
	r.Event = r.Event || other.Event
	r.Item = r.Item || other.Item
	r.Inputs = r.Inputs || other.Inputs
	r.Steps = slices.Clone(r.Steps)
	for _, s := range other.Steps {
		r.addStep(s)
	}
	return r
}

func (r *Refs) addStep(s StepRef) {
	i, found := slices.BinarySearchFunc(r.Steps, s.ID, func(e StepRef, id string) int { return cmp.Compare(e.ID, id) })
	if !found {
		r.Steps = slices.Insert(r.Steps, i, s)
		return
	}
	have := &r.Steps[i]
	have.Output = have.Output || s.Output
	have.Status = have.Status || s.Status
	have.Error = have.Error || s.Error
}

// addRoot notes the use of a name other than steps.
func (r *Refs) addRoot(name string) {
	switch name {
	case "payload":
		r.Payload = true
	case "trigger":
		r.Trigger = true
	case "run":
		r.Run = true
	case "workflow":
		r.Workflow = true
	case "event":
		r.Event = true
	case "item", "index":
		r.Item = true
	case "inputs":
		r.Inputs = true
	}
}

type root struct {
	name    string
	inScope func(Scope) bool
	absent  string
	fields  []string // all there are; nil where they are not ours to know
}

// eventFields are those of event, and of trigger.event.
var eventFields = []string{"id", "type", "source", "data", "occurred_at"}

// roots are all names of data, with the reason a name may be out of scope.
var roots = []root{
	{"payload", inside, "payload is known only inside a run; a trigger knows event and trigger", nil},
	{"trigger", always, "", []string{"type", "id", "event"}},
	{"steps", inside, "steps is known only inside a run; a trigger knows event and trigger", nil},
	{"run", inside, "run is known only inside a run; a trigger knows event and trigger", []string{"id", "created_at"}},
	{"workflow", inside, "workflow is known only inside a run; a trigger knows event and trigger", []string{"id", "name", "version"}},
	{"item", func(s Scope) bool { return s.Item }, "item is known only inside a step with foreach", nil},
	{"index", func(s Scope) bool { return s.Item }, "index is known only inside a step with foreach", nil},
	{"event", func(s Scope) bool { return s.Event }, "event is known only in triggers and in waits for an event", eventFields},
	{"inputs", func(s Scope) bool { return s.Inputs }, "inputs is known only inside a workflow template", nil},
}

func always(Scope) bool { return true }

func inside(s Scope) bool { return !s.Outside }

func findRoot(name string) (root, bool) {
	i := slices.IndexFunc(roots, func(r root) bool { return r.name == name })
	if i < 0 {
		return root{}, false
	}
	return roots[i], true
}

// closest gives the candidate that name is likely a misspelling of, or "".
func closest(name string, candidates []string) string {
	best, bestDistance := "", 1+min(2, len(name)/3)
	for _, c := range candidates {
		if d := distance(name, c, bestDistance); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance counts the letters to add, drop, change or swap with a neighbour to
// get from a to b; from limit on it may give up and return limit.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
