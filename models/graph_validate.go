package models

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// stepIDPattern is what authors may call a step.
var stepIDPattern = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_-]{0,63}$`)

// ValidStepID tells whether id may name a step.
func ValidStepID(id string) bool { return stepIDPattern.MatchString(id) }

// Validate checks the shape of a graph: names, limits, which field belongs to
// which kind of step, edges to known steps, at most one default a branch, and no
// cycle. Expressions, durations and the existence of agents and actions are
// checked where they are compiled. Places are relative to the graph.
func (g *Graph) Validate() []FieldError {
	v := &graphCheck{g: g, index: make(map[string]int, len(g.Steps))}
	v.limits()
	if len(v.errs) > 0 {
		return v.errs // a graph over its limits is not worth walking
	}
	for i := range g.Steps {
		v.step(i)
	}
	v.edges()
	if len(v.errs) == 0 {
		v.joins()
		v.cycle()
	}
	return v.errs
}

type graphCheck struct {
	g     *Graph
	index map[string]int // step id to its place
	errs  []FieldError
}

func (v *graphCheck) add(typ, msg string, loc ...any) {
	v.errs = append(v.errs, FieldError{Loc: loc, Msg: msg, Type: typ})
}

func (v *graphCheck) limits() {
	switch n := len(v.g.Steps); {
	case n == 0:
		v.add("limit", "a graph needs at least one step", "steps")
	case n > MaxSteps:
		v.add("limit", fmt.Sprintf("a graph may have at most %d steps, this one has %d", MaxSteps, n), "steps")
	}
	if n := len(v.g.Edges); n > MaxEdges {
		v.add("limit", fmt.Sprintf("a graph may have at most %d edges, this one has %d", MaxEdges, n), "edges")
	}
}

func (v *graphCheck) step(i int) {
	s := &v.g.Steps[i]
	if !ValidStepID(s.ID) {
		v.add("invalid", "a step id starts with a letter and has up to 64 letters, digits, _ and -", "steps", i, "id")
	} else if _, twice := v.index[s.ID]; twice {
		v.add("duplicate", fmt.Sprintf("step id %q is used twice", s.ID), "steps", i, "id")
	} else {
		v.index[s.ID] = i
	}
	if len(s.Name) > 200 {
		v.add("limit", "a name has at most 200 characters", "steps", i, "name")
	}
	switch s.Type {
	case StepTypeAgent:
		v.require(i, "agent", s.Agent)
	case StepTypeConnector:
		v.require(i, "connector", s.Connector)
		v.require(i, "action", s.Action)
	case StepTypeBranch:
		if s.Mode != "" && s.Mode != BranchFirst && s.Mode != BranchAll {
			v.add("invalid", fmt.Sprintf("mode is %q; allowed are first and all", s.Mode), "steps", i, "mode")
		}
	case StepTypeWait:
		v.wait(i)
	default:
		v.add("invalid", fmt.Sprintf("type is %q; allowed are agent, connector, branch and wait", s.Type), "steps", i, "type")
		return
	}
	v.foreignFields(i)
	v.retry(i)
	v.onUnknown(i)
	if s.MaxParallel != nil {
		if s.Foreach == "" {
			v.add("invalid", "max_parallel needs foreach", "steps", i, "max_parallel")
		} else if *s.MaxParallel < 1 || *s.MaxParallel > 100 {
			v.add("limit", "max_parallel must be between 1 and 100", "steps", i, "max_parallel")
		}
	}
}

func (v *graphCheck) require(i int, field, value string) {
	if value == "" {
		v.add("missing", fmt.Sprintf("a step of type %s needs %s", v.g.Steps[i].Type, field), "steps", i, field)
	}
}

func (v *graphCheck) wait(i int) {
	s := &v.g.Steps[i]
	n := 0
	for _, set := range []bool{s.For != "", s.Until != "", s.Event != nil, s.Approval != nil} {
		if set {
			n++
		}
	}
	if n != 1 {
		v.add("invalid", "a wait needs exactly one of for, until, event and approval", "steps", i)
	}
	if s.Event == nil {
		return
	}
	switch typ := s.Event.Type; {
	case typ == "":
		v.add("missing", "an event wait needs the type of the event", "steps", i, "event", "type")
	case len(typ) > MaxEventType:
		v.add("limit", fmt.Sprintf("an event type has at most %d characters", MaxEventType), "steps", i, "event", "type")
	case !ValidEventPattern(typ):
		v.add("pattern", "must be a word such as lead.created, or a beginning with * after it, such as lead.*", "steps", i, "event", "type")
	}
}

// foreignFields refuses fields that belong to another kind of step: they would
// be ignored, and the author would not know.
func (v *graphCheck) foreignFields(i int) {
	s := &v.g.Steps[i]
	executed := s.Type.Executed()
	for _, f := range []struct {
		name    string
		set, ok bool
	}{
		{"agent", s.Agent != "", s.Type == StepTypeAgent},
		{"connector", s.Connector != "", s.Type == StepTypeConnector},
		{"action", s.Action != "", s.Type == StepTypeConnector},
		{"connection", s.Connection != "", s.Type == StepTypeConnector},
		{"input", s.Input != nil, executed},
		{"retry", s.Retry != nil, executed},
		{"on_unknown", s.OnUnknown != "", s.Type == StepTypeConnector}, // an agent is called under its key, so never in doubt
		{"timeout", s.Timeout != "", executed},
		{"foreach", s.Foreach != "", executed},
		{"mode", s.Mode != "", s.Type == StepTypeBranch},
		{"for", s.For != "", s.Type == StepTypeWait},
		{"until", s.Until != "", s.Type == StepTypeWait},
		{"event", s.Event != nil, s.Type == StepTypeWait},
		{"approval", s.Approval != nil, s.Type == StepTypeWait},
	} {
		if f.set && !f.ok {
			v.add("invalid", fmt.Sprintf("a step of type %s has no %s", s.Type, f.name), "steps", i, f.name)
		}
	}
}

func (v *graphCheck) retry(i int) {
	r := v.g.Steps[i].Retry
	if r == nil {
		return
	}
	if r.MaxAttempts != nil && (*r.MaxAttempts < 1 || *r.MaxAttempts > 100) {
		v.add("limit", "max_attempts must be between 1 and 100", "steps", i, "retry", "max_attempts")
	}
	if r.Multiplier != nil && !(*r.Multiplier >= 1 && *r.Multiplier <= 100) {
		v.add("limit", "multiplier must be between 1 and 100", "steps", i, "retry", "multiplier")
	}
}

func (v *graphCheck) onUnknown(i int) {
	switch s := &v.g.Steps[i]; s.OnUnknown {
	case "", UnknownRetry, UnknownFail:
	case UnknownAsk:
		if s.Foreach != "" { // answers name a step, not an item
			v.add("invalid", "a step with foreach cannot ask; allowed are retry and fail", "steps", i, "on_unknown")
		}
	default:
		v.add("invalid", fmt.Sprintf("on_unknown is %q; allowed are retry, fail and ask", s.OnUnknown), "steps", i, "on_unknown")
	}
}

func (v *graphCheck) edges() {
	defaults := map[string]bool{}
	seen := map[Edge]bool{}
	for i, e := range v.g.Edges {
		from, okFrom := v.index[e.From]
		if !okFrom {
			v.add("unknown", fmt.Sprintf("there is no step %q", e.From), "edges", i, "from")
		}
		if _, ok := v.index[e.To]; !ok {
			v.add("unknown", fmt.Sprintf("there is no step %q", e.To), "edges", i, "to")
		}
		if seen[e] {
			v.add("duplicate", fmt.Sprintf("the same edge from %q to %q stands twice", e.From, e.To), "edges", i)
		}
		seen[e] = true
		if okFrom {
			v.edge(i, e, &v.g.Steps[from], defaults)
		}
	}
}

func (v *graphCheck) edge(i int, e Edge, from *GraphStep, defaults map[string]bool) {
	if from.Type == StepTypeBranch {
		switch {
		case e.On != "":
			v.add("invalid", "an edge from a branch has when or default, not on", "edges", i, "on")
		case e.Default && e.When != "":
			v.add("invalid", "an edge has either when or default", "edges", i, "when")
		case !e.Default && e.When == "":
			v.add("missing", "an edge from a branch needs when or default", "edges", i, "when")
		case e.Default && defaults[e.From]:
			v.add("duplicate", fmt.Sprintf("branch %q has more than one default edge", e.From), "edges", i, "default")
		}
		if e.Default {
			defaults[e.From] = true
		}
		return
	}
	if e.When != "" {
		v.add("invalid", "only edges from a branch have when", "edges", i, "when")
	}
	if e.Default {
		v.add("invalid", "only edges from a branch have default", "edges", i, "default")
	}
	if allowed := outcomesOf(from); !slices.Contains(allowed, e.Outcome()) {
		words := make([]string, len(allowed))
		for k, o := range allowed {
			words[k] = string(o)
		}
		v.add("invalid", fmt.Sprintf("on is %q; an edge from %q may have %s", e.On, e.From, strings.Join(words, ", ")), "edges", i, "on")
	}
}

// outcomesOf lists the outcomes that edges from a step can follow.
func outcomesOf(s *GraphStep) []EdgeOn {
	switch {
	case s.Type == StepTypeWait && s.Approval != nil:
		return []EdgeOn{OnSuccess, OnError, OnTimeout, OnRejected}
	case s.Type == StepTypeWait && s.Event != nil:
		return []EdgeOn{OnSuccess, OnError, OnTimeout}
	default:
		return []EdgeOn{OnSuccess, OnError}
	}
}

func (v *graphCheck) joins() {
	in := map[string]int{}
	for _, e := range v.g.Edges {
		in[e.To]++
	}
	for i := range v.g.Steps {
		s := &v.g.Steps[i]
		if s.Join != nil && s.Join.Count > in[s.ID] {
			v.add("invalid", fmt.Sprintf("join waits for %d edges, but %q has %d", s.Join.Count, s.ID, in[s.ID]), "steps", i, "join")
		}
	}
}

// cycle finds one cycle, if there is any, and names its steps in order.
func (v *graphCheck) cycle() {
	next := make([][]int, len(v.g.Steps))
	for _, e := range v.g.Edges {
		from := v.index[e.From]
		next[from] = append(next[from], v.index[e.To])
	}
	const (
		unseen = iota
		onPath
		done
	)
	state := make([]int, len(v.g.Steps))
	var path []int
	// Depth is at most MaxSteps, so recursion is safe.
	var visit func(n int) []int
	visit = func(n int) []int {
		state[n] = onPath
		path = append(path, n)
		for _, m := range next[n] {
			switch state[m] {
			case onPath:
				return append(slices.Clone(path[slices.Index(path, m):]), m)
			case unseen:
				if c := visit(m); c != nil {
					return c
				}
			}
		}
		state[n] = done
		path = path[:len(path)-1]
		return nil
	}
	for n := range v.g.Steps {
		if state[n] != unseen {
			continue
		}
		if c := visit(n); c != nil {
			names := make([]string, len(c))
			for i, k := range c {
				names[i] = v.g.Steps[k].ID
			}
			v.add("cycle", "the graph has a cycle: "+strings.Join(names, " → "), "edges")
			return
		}
	}
}
