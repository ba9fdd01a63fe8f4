package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/10ex/flows/engine/expression"
	"github.com/10ex/flows/models"
)

// compiler turns a version into a definition and gathers everything wrong with
// it. Places begin with graph, input_schema, output or settings.
type compiler struct {
	def     *definition
	stepIDs []string
	errs    []models.FieldError
}

// compile makes the definition of a version. With errors there is none.
func compile(v *models.Version) (*definition, []models.FieldError) {
	c := &compiler{def: &definition{
		workspace: v.WorkspaceID, workflow: v.WorkflowID, version: v.Number, nodes: map[string]*node{},
	}}
	if v.Graph == nil {
		v.Graph = &models.Graph{}
	}
	c.errs = append(c.errs, models.Under(v.Graph.Validate(), "graph")...)
	if len(c.errs) == 0 {
		c.graph(v.Graph)
		c.def.link()
	}
	c.schema(v.InputSchema)
	c.settings(v.Settings)
	if len(v.Output) > 0 && string(v.Output) != "null" {
		c.def.output = c.template(v.Output, expression.Scope{Steps: c.stepIDs}, "output")
	}
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	return c.def, nil
}

func (c *compiler) add(typ, msg string, loc ...any) {
	c.errs = append(c.errs, models.FieldError{Loc: loc, Msg: msg, Type: typ})
}

func (c *compiler) graph(g *models.Graph) {
	for i := range g.Steps {
		n := &node{def: &g.Steps[i], place: i}
		c.def.nodes[n.id()] = n
		c.def.order = append(c.def.order, n)
		c.stepIDs = append(c.stepIDs, n.id())
	}
	for i, n := range c.def.order {
		c.step(n, "graph", "steps", i)
	}
	for i, e := range g.Edges {
		ed := &edge{from: c.def.nodes[e.From], to: c.def.nodes[e.To], isDefault: e.Default}
		if ed.from.def.Type == models.StepTypeBranch {
			if e.When != "" {
				ed.when = c.program(e.When, expression.Bool, c.scope(), "graph", "edges", i, "when")
				if ed.when != nil {
					ed.from.starting = ed.from.starting.Merge(ed.when.Refs())
				}
			}
		} else {
			ed.on = e.Outcome()
		}
		ed.from.out = append(ed.from.out, ed)
		ed.to.in = append(ed.to.in, ed)
	}
}

func (c *compiler) scope() expression.Scope { return expression.Scope{Steps: c.stepIDs} }

func (c *compiler) step(n *node, at ...any) {
	s := n.def
	loc := func(rest ...any) []any { return append(append([]any{}, at...), rest...) }
	if s.If != "" {
		n.condition = c.program(s.If, expression.Bool, c.scope(), loc("if")...)
		c.reads(n, n.condition)
	}
	switch s.Type {
	case models.StepTypeAgent, models.StepTypeConnector:
		scope := c.scope()
		if s.Foreach != "" {
			n.foreach = c.program(s.Foreach, expression.List, scope, loc("foreach")...)
			c.reads(n, n.foreach)
			n.parallel = 10
			if s.MaxParallel != nil {
				n.parallel = *s.MaxParallel
			}
			scope.Item = true
		}
		if len(s.Input) > 0 {
			if n.input = c.template(s.Input, scope, loc("input")...); n.input != nil {
				n.starting = n.starting.Merge(n.input.Refs())
			}
		}
		n.timeout = c.duration(s.Timeout, defaultTimeout, maxTimeout, loc("timeout")...)
		n.retry = c.retry(s.Retry, loc)
	case models.StepTypeWait:
		c.wait(n, loc)
	case models.StepTypeBranch: // its conditions are on its edges
	}
}

// maxTimeout bounds an attempt: a step that needs longer should wait, not run.
const maxTimeout = 24 * time.Hour

func (c *compiler) wait(n *node, loc func(...any) []any) {
	s := n.def
	switch {
	case s.For != "":
		n.waitFor = c.duration(s.For, 0, 0, loc("for")...)
	case s.Until != "":
		n.until = c.program(s.Until, expression.Time, c.scope(), loc("until")...)
		c.reads(n, n.until)
	case s.Event != nil:
		n.waitTimeout = c.duration(s.Event.Timeout, 0, 0, loc("event", "timeout")...)
		if s.Event.Match != "" {
			m, err := expression.CompileMatch(expression.Bare(s.Event.Match), c.scope())
			if err != nil {
				c.expressionError(err, loc("event", "match"))
			} else if n.match = m; len(m.Equalities) > 0 {
				n.opening = m.Equalities[0].Value.Refs()
			}
		}
	case s.Approval != nil:
		n.waitTimeout = c.duration(s.Approval.Timeout, 0, 0, loc("approval", "timeout")...)
		if s.Approval.Prompt != "" {
			if n.prompt = c.template(mustJSON(s.Approval.Prompt), c.scope(), loc("approval", "prompt")...); n.prompt != nil {
				n.starting = n.starting.Merge(n.prompt.Refs())
			}
		}
	}
}

func (c *compiler) reads(n *node, p *expression.Program) {
	if p != nil {
		n.starting = n.starting.Merge(p.Refs())
	}
}

func (c *compiler) retry(r *models.Retry, loc func(...any) []any) retryPolicy {
	if r == nil {
		return retryPolicy{maxAttempts: 1}
	}
	p := retryPolicy{maxAttempts: defaultMaxAttempts, multiplier: defaultMultiplier, jitter: true}
	if r.MaxAttempts != nil {
		p.maxAttempts = *r.MaxAttempts
	}
	if r.Multiplier != nil {
		p.multiplier = *r.Multiplier
	}
	if r.Jitter != nil {
		p.jitter = *r.Jitter
	}
	p.initial = c.duration(r.Initial, defaultInitial, 0, loc("retry", "initial")...)
	p.max = c.duration(r.Max, max(defaultMax, p.initial), 0, loc("retry", "max")...)
	return p
}

func (c *compiler) duration(s string, def, limit time.Duration, loc ...any) time.Duration {
	if s == "" {
		return def
	}
	d, err := expression.ParseDuration(s)
	if err != nil {
		c.add("duration", err.Error(), loc...)
		return def
	}
	if limit > 0 && d > limit {
		c.add("limit", fmt.Sprintf("at most %s are allowed", expression.FormatDuration(limit)), loc...)
	}
	return d
}

// program compiles an expression.
func (c *compiler) program(src string, kind expression.Kind, scope expression.Scope, loc ...any) *expression.Program {
	p, err := expression.Compile(expression.Bare(src), scope, kind)
	if err != nil {
		c.expressionError(err, loc)
		return nil
	}
	return p
}

func (c *compiler) template(raw json.RawMessage, scope expression.Scope, loc ...any) *expression.Template {
	t, err := expression.CompileTemplate(raw, scope)
	if err != nil {
		c.expressionError(err, loc)
		return nil
	}
	return t
}

func (c *compiler) expressionError(err error, loc []any) {
	problems := expression.All(err)
	if len(problems) == 0 {
		c.add("expression", "the expression could not be read", loc...)
	}
	for _, e := range problems {
		c.add("expression", e.Words(), slices.Concat(loc, e.Path)...)
	}
}

// look warns of what is allowed but cannot be meant: reading a step that does not
// come before.
func (d *definition) look() []models.FieldError {
	before := d.before()
	var warnings []models.FieldError
	for i, n := range d.order {
		for _, ref := range n.starting.Steps {
			if from := d.nodes[ref.ID]; !before[i].has(from.place) {
				warnings = append(warnings, models.FieldError{
					Loc: []any{"graph", "steps", i}, Type: "order",
					Msg: fmt.Sprintf("step %q reads step %q, which does not come before it", n.id(), ref.ID),
				})
			}
		}
	}
	return warnings
}

// bits is a set of places of steps.
type bits []uint64

func (b bits) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bits) add(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bits) join(o bits) {
	for i := range b {
		b[i] |= o[i]
	}
}

// before gives, for every step, the steps from which it can be reached.
func (d *definition) before() []bits {
	sets := make([]bits, len(d.order))
	for i := range sets {
		sets[i] = make(bits, (len(d.order)+63)/64)
	}
	for _, n := range d.sorted {
		for _, e := range n.out {
			sets[e.to.place].join(sets[n.place])
			sets[e.to.place].add(n.place)
		}
	}
	return sets
}
