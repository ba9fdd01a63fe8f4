package expression

import (
	"math"
	"strconv"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/parser"
)

// Match is a condition on an event.
type Match struct {
	*Program
	// Equalities are comparisons that must hold for the condition to: the likelier one
	// tells events apart, the earlier it comes. There may be none.
	Equalities []Equality
}

// Equality is the comparison of a field of event with a value that has nothing to do
// with the event.
type Equality struct {
	Field []string // the names of the path after event
	Value *Program
}

// CompileMatch compiles a condition on an event, and looks at what every event it
// holds for must have in common: it takes the comparisons event.… == … apart that
// are joined by && at the top. Only reads by name count: an index may also be one into
// a text, and what is read with ?? may be anything.
func CompileMatch(src string, s Scope) (*Match, error) {
	s.Event = true
	p, err := Compile(src, s, Bool)
	if err != nil {
		return nil, err
	}
	m := &Match{Program: p}
	tree, err := parser.ParseWithConfig(hideDashes(src), &conf.Config{MaxNodes: MaxNodes, ShortCircuit: true, Functions: noFunctions})
	if err != nil {
		return m, nil //nolint:nilerr // it has been parsed before, so this cannot be; without equalities it is right as well
	}
	var ranked [3][]Equality
	for _, n := range conjuncts(tree.Node, nil) {
		if eq, ok := equality(src, s, n); ok {
			rank := 0
			switch {
			case eq.Field[0] != "data":
				rank = 2 // the type, most likely, which says little
			case eq.Value.refs.none():
				rank = 1 // the same for every run
			}
			ranked[rank] = append(ranked[rank], eq)
		}
	}
	for _, r := range ranked {
		m.Equalities = append(m.Equalities, r...)
	}
	return m, nil
}

func (r Refs) none() bool {
	return len(r.Steps) == 0 && !r.Payload && !r.Trigger && !r.Run && !r.Workflow && !r.Event && !r.Item && !r.Inputs
}

// conjuncts takes a && b && c apart.
func conjuncts(n ast.Node, out []ast.Node) []ast.Node {
	if b, ok := n.(*ast.BinaryNode); ok && (b.Operator == "&&" || b.Operator == "and") {
		return conjuncts(b.Right, conjuncts(b.Left, out))
	}
	return append(out, n)
}

func equality(src string, s Scope, n ast.Node) (Equality, bool) {
	b, ok := n.(*ast.BinaryNode)
	if !ok || b.Operator != "==" {
		return Equality{}, false
	}
	for _, side := range [2][2]ast.Node{{b.Left, b.Right}, {b.Right, b.Left}} {
		field, ok := eventField(side[0])
		if !ok {
			continue
		}
		if value := sub(src, s, side[1]); value != nil && !value.refs.Event {
			return Equality{Field: field, Value: value}, true
		}
	}
	return Equality{}, false
}

// eventField gives the names of a path such as event.data.lead_id.
func eventField(n ast.Node) ([]string, bool) {
	base, members := unchain(n)
	if id, ok := base.(*ast.IdentifierNode); !ok || id.Value != "event" || len(members) == 0 {
		return nil, false
	}
	names := make([]string, len(members))
	for i, m := range members {
		name, ok := m.Property.(*ast.StringNode)
		if !ok {
			return nil, false
		}
		names[i] = showDashes(name.Value)
	}
	return names, true
}

// sub compiles a part of a source that has been compiled as a whole. It gives nil
// where that part alone is none.
func sub(src string, s Scope, n ast.Node) *Program {
	r := &rewriter{source: src, scope: s, seen: map[ast.Node]bool{}}
	node, _ := r.rewrite(n)
	if r.err != nil {
		return nil
	}
	p := &Program{source: src, kind: Any, refs: r.refs}
	if p.read = wholeRead(node); p.read != nil {
		return p
	}
	var err error
	config := &conf.Config{MaxNodes: MaxNodes, ShortCircuit: true, Functions: machineFunctions}
	if p.code, err = compiler.Compile(&parser.Tree{Node: node}, config); err != nil {
		return nil
	}
	return p
}

// FieldKey names a field and its value by a few characters: those of two are equal
// if the fields are the same and the language calls the values equal, and else,
// but for an accident, not. ok is false for values that have no key: null, lists and
// objects.
func FieldKey(field []string, value any) (key string, ok bool) {
	h := newFieldHash()
	for _, name := range field {
		h = h.name(name)
	}
	return h.key(value)
}

// FieldKeys gives the keys of all fields of an object that have one, those of inner
// objects included. all is false where there are more than limit, and not all of them
// are given.
func FieldKeys(object map[string]any, limit int) (keys []string, all bool) {
	all = true
	var walk func(h fieldHash, v map[string]any)
	walk = func(h fieldHash, v map[string]any) {
		for name, value := range v {
			inner := h.name(name)
			if m, ok := value.(map[string]any); ok {
				walk(inner, m)
			} else if key, ok := inner.key(value); ok {
				if len(keys) >= limit {
					all = false
					return
				}
				keys = append(keys, key)
			}
			if !all {
				return
			}
		}
	}
	walk(newFieldHash(), object)
	return keys, all
}

// fieldHash is FNV-1a: keys are kept in the database and made by other processes, so
// it has to stay what it is.
type fieldHash uint64

func newFieldHash() fieldHash { return 14695981039346656037 }

func (h fieldHash) text(s string) fieldHash {
	for i := range len(s) {
		h = (h ^ fieldHash(s[i])) * 1099511628211
	}
	return h
}

// name goes into a field. What stands behind it occurs in no name.
func (h fieldHash) name(s string) fieldHash { return h.text(s).text("\xff") }

func (h fieldHash) key(value any) (string, bool) {
	text, ok := canonical(value)
	if !ok {
		return "", false
	}
	const digits = "0123456789abcdef"
	n := uint64(h.text(text))
	var out [16]byte
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = digits[n&15]
		n >>= 4
	}
	return string(out[:]), true
}

// canonical writes a value so that two are written alike just if they are equal,
// see frame.equal.
func canonical(value any) (string, bool) {
	switch v := value.(type) {
	case bool:
		return "b" + strconv.FormatBool(v), true
	case string:
		return "s" + v, true
	case int:
		return "n" + strconv.Itoa(v), true
	case float64:
		if v == math.Trunc(v) && v >= -(1<<63) && v < 1<<63 {
			return "n" + strconv.Itoa(int(v)), true // whole numbers are equal whatever they are kept as
		}
		return "n" + strconv.FormatFloat(v, 'g', -1, 64), true
	}
	return "", false
}
