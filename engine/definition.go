package engine

import (
	"slices"
	"time"

	"github.com/10ex/flows/engine/expression"
	"github.com/10ex/flows/internal/metered"
	"github.com/10ex/flows/models"
)

// definition is a version of a workflow, compiled: what a plan is made from. It
// is immutable and may be used concurrently.
type definition struct {
	workspace models.WorkspaceID
	workflow  models.WorkflowID
	version   int

	nodes  map[string]*node
	order  []*node // as the author wrote them
	sorted []*node // every step after all that lead to it, else as the author wrote them
	roots  []*node
	sinks  []*node
	output *expression.Template // nil: the outputs of the sinks
	// control is how runs are started; nil where the author says nothing of it.
	control *control
	schema  *metered.Schema // nil: any payload
	// defaults are what the schema fills into a payload.
	rawSchema map[string]any
}

// node is a step of a definition.
type node struct {
	def   *models.GraphStep
	place int // in the order of the author
	rank  int // in definition.sorted
	in    []*edge
	out   []*edge

	condition *expression.Program // if
	input     *expression.Template
	foreach   *expression.Program
	parallel  int
	retry     retryPolicy
	timeout   time.Duration

	waitFor     time.Duration
	until       *expression.Program
	match       *expression.Match
	waitsBefore []string             // of a wait for an event: those that come before it
	prompt      *expression.Template // of an approval
	waitTimeout time.Duration        // of an event or approval wait; 0: none

	// starting is what is read when the step starts.
	starting expression.Refs
	// opening is what is read of the match of a wait when it opens, and of its steps
	// not in earnest: they may end later.
	opening expression.Refs
	// following is what is read when the step ends and its direct successors
	// start: what a plan asks for is asked for in one go.
	following expression.Refs
	// joins are direct successors with several incoming edges.
	joins []string
}

type edge struct {
	from, to  *node
	on        models.EdgeOn
	when      *expression.Program
	isDefault bool
}

func (n *node) id() string { return n.def.ID }

// hasEdge tells whether an outcome of the step leads anywhere.
func (n *node) hasEdge(on models.EdgeOn) bool {
	for _, e := range n.out {
		if e.on == on {
			return true
		}
	}
	return false
}

// below gives every step that can be reached from n, n included.
func (n *node) below() map[string]bool {
	seen := map[string]bool{n.id(): true}
	todo := []*node{n}
	for len(todo) > 0 {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, e := range next.out {
			if !seen[e.to.id()] {
				seen[e.to.id()] = true
				todo = append(todo, e.to)
			}
		}
	}
	return seen
}

// link works out what depends on the edges.
func (d *definition) link() {
	for _, n := range d.order {
		if len(n.in) == 0 {
			d.roots = append(d.roots, n)
		}
		if len(n.out) == 0 {
			d.sinks = append(d.sinks, n)
		}
		for _, e := range n.out {
			n.following = n.following.Merge(e.to.starting).Merge(e.to.opening)
			if len(e.to.in) > 1 {
				n.joins = append(n.joins, e.to.id())
			}
		}
	}
	d.sort()
	d.linkWaits()
}

// linkWaits tells each wait for an event which ones come before it.
func (d *definition) linkWaits() {
	waits := slices.DeleteFunc(slices.Clone(d.order), func(n *node) bool { return n.def.Event == nil })
	if len(waits) < 2 {
		return
	}
	before := d.before()
	for _, n := range waits {
		for _, w := range waits {
			if before[n.place].has(w.place) {
				n.waitsBefore = append(n.waitsBefore, w.id())
			}
		}
	}
}

// sort fills in sorted and the ranks.
func (d *definition) sort() {
	open := make([]int, len(d.order)) // edges from steps not yet sorted in, by place
	for i, n := range d.order {
		open[i] = len(n.in)
	}
	d.sorted = append(d.sorted, d.roots...)
	for i := 0; i < len(d.sorted); i++ {
		d.sorted[i].rank = i
		for _, e := range d.sorted[i].out {
			if open[e.to.place]--; open[e.to.place] == 0 {
				d.sorted = append(d.sorted, e.to)
			}
		}
	}
}
