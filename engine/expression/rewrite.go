package expression

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/file"
)

// Names of our functions inside the virtual machine. They start with a space, so
// that no source can name them.
const (
	vmLoad     = " load"
	vmPath     = " path"
	vmFunction = " function"
	vmList     = " list"
	vmTurn     = " turn"
	vmLoop     = " loop"
	vmTruth    = " truth"
	vmNegate   = " negate"
	vmSlice    = " slice"
	vmMatches  = " matches"
	vmName     = " name"
)

var machineFunctions = func() map[string]*builtin.Function {
	m := map[string]*builtin.Function{}
	register := func(name string, fn func(...any) (any, error)) {
		m[name] = &builtin.Function{Name: name, Func: fn}
	}
	register(vmLoad, callLoad)
	register(vmPath, callPath)
	register(vmFunction, callFunction)
	register(vmList, callList)
	register(vmTurn, callTurn)
	register(vmLoop, callLoop)
	register(vmTruth, callTruth)
	register(vmNegate, callNegate)
	register(vmSlice, callSlice)
	register(vmMatches, callMatches)
	register(vmName, callName)
	for symbol, o := range operations {
		register(" "+symbol, o.call)
	}
	return m
}()

// rewriter turns the tree of a source into the tree that is compiled. It makes new
// nodes and never changes those it is given. The first complaint is kept; after it
// the rest of the tree is walked for nothing.
type rewriter struct {
	source string
	scope  Scope
	refs   Refs
	lets   []local
	loops  int // depth of loops around the node at hand
	nodes  int // nodes rewritten so far, the price of a turn of a loop
	seen   map[ast.Node]bool
	err    *Error
}

type local struct {
	name  string
	kinds kinds
}

func (r *rewriter) fail(offset int, format string, args ...any) (ast.Node, kinds) {
	if r.err == nil {
		r.err = errorAt(r.source, offset, fmt.Sprintf(format, args...))
	}
	return &ast.NilNode{}, isAny
}

// call makes the node that calls one of our functions with the frame, what is known
// about the place, and the rest.
func call(name string, offset int, place any, rest ...ast.Node) ast.Node {
	args := append([]ast.Node{&ast.IdentifierNode{Value: "$env"}, &ast.ConstantNode{Value: place}}, rest...)
	return at(offset, &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: args})
}

func at[N ast.Node](offset int, n N) N {
	n.SetLocation(file.Location{From: offset, To: offset + 1})
	return n
}

// rewrite gives the node to compile for n and the kinds of value it can give.
func (r *rewriter) rewrite(n ast.Node) (ast.Node, kinds) {
	if n == nil {
		return r.fail(0, "the expression is not complete")
	}
	if r.err != nil {
		return &ast.NilNode{}, isAny
	}
	offset := n.Location().From
	// a < b < c puts one node into the tree twice. Nested, that makes of a small
	// source a tree of endless size.
	if r.seen[n] {
		return r.fail(offset, "comparisons cannot be chained; write a < b && b < c")
	}
	r.seen[n] = true
	r.nodes++

	switch n := n.(type) {
	case *ast.NilNode:
		return &ast.NilNode{}, isNull
	case *ast.BoolNode:
		return &ast.BoolNode{Value: n.Value}, isBool
	case *ast.IntegerNode:
		return &ast.IntegerNode{Value: n.Value}, isNumber
	case *ast.FloatNode:
		if whole, ok := wholeNumber(n.Value); ok {
			return &ast.IntegerNode{Value: whole}, isNumber
		}
		return &ast.FloatNode{Value: n.Value}, isNumber
	case *ast.StringNode:
		return &ast.StringNode{Value: n.Value}, isText
	case *ast.IdentifierNode, *ast.MemberNode, *ast.ChainNode:
		return r.path(n, false)
	case *ast.PointerNode:
		return r.pointer(n)
	case *ast.UnaryNode:
		return r.unary(n)
	case *ast.BinaryNode:
		return r.binary(n)
	case *ast.ConditionalNode:
		return r.conditional(n)
	case *ast.SliceNode:
		return r.slice(n)
	case *ast.CallNode:
		if name, ok := n.Callee.(*ast.IdentifierNode); ok {
			return r.function(name.Value, n.Arguments, offset)
		}
		return r.fail(offset, "values have no functions of their own; write f(x) instead of x.f()")
	case *ast.BuiltinNode:
		if l, ok := loopsByName[n.Name]; ok {
			return r.loop(l, n.Arguments, offset)
		}
		return r.function(n.Name, n.Arguments, offset)
	case *ast.VariableDeclaratorNode:
		return r.let(n)
	case *ast.ArrayNode:
		list := make([]ast.Node, len(n.Nodes))
		for i, e := range n.Nodes {
			list[i], _ = r.rewrite(e)
		}
		return at(offset, &ast.ArrayNode{Nodes: list}), isList
	case *ast.MapNode:
		return r.object(n)
	case *ast.SequenceNode:
		return r.fail(offset, "an expression is one value; ; is for let x = …; only")
	case *ast.BytesNode:
		return r.fail(offset, `write "…" instead of b"…"`)
	}
	return r.fail(offset, "this cannot stand in an expression")
}

func (r *rewriter) pointer(n *ast.PointerNode) (ast.Node, kinds) {
	offset := n.Location().From
	switch {
	case r.loops == 0:
		return r.fail(offset, "# is known only inside filter, map and their like")
	case n.Name == "":
		return at(offset, &ast.PointerNode{}), isAny
	case n.Name == "index":
		return at(offset, &ast.PointerNode{Name: n.Name}), isNumber
	}
	return r.fail(offset, "there is no #%s; # is the item and #index its position", n.Name)
}

func (r *rewriter) unary(n *ast.UnaryNode) (ast.Node, kinds) {
	offset := n.Location().From
	if n.Operator == "!" || n.Operator == "not" {
		return at(offset, &ast.UnaryNode{Operator: "!", Node: r.truth(n.Node, "the operand of "+n.Operator)}), isBool
	}
	operandNode, k := r.rewrite(n.Node)
	if k&(isNumber|isDuration) == 0 {
		return r.fail(offset, "%s needs a number, not %s", n.Operator, operand(label(n.Node), k))
	}
	if n.Operator == "-" {
		switch v := operandNode.(type) {
		case *ast.IntegerNode:
			return &ast.IntegerNode{Value: -v.Value}, isNumber
		case *ast.FloatNode:
			return &ast.FloatNode{Value: -v.Value}, isNumber
		}
	}
	place := &operator{symbol: n.Operator, offset: offset, left: label(n.Node)}
	return call(vmNegate, offset, place, operandNode), k & (isNumber | isDuration)
}

func (r *rewriter) binary(n *ast.BinaryNode) (ast.Node, kinds) {
	offset := n.Location().From
	symbol := n.Operator
	switch symbol {
	case "&&", "and", "||", "or":
		left := r.truth(n.Left, "the left of "+symbol)
		right := r.truth(n.Right, "the right of "+symbol)
		return at(offset, &ast.BinaryNode{Operator: symbol, Left: left, Right: right}), isBool
	case "??":
		left, l := r.soft(n.Left)
		right, k := r.rewrite(n.Right)
		return at(offset, &ast.BinaryNode{Operator: symbol, Left: left, Right: right}), l&^isNull | k
	case "matches":
		return r.matches(n)
	case "^":
		symbol = "**"
	}
	op, ok := operations[symbol]
	if !ok {
		return r.fail(offset, "there is no operator %s", n.Operator)
	}
	left, l := r.rewrite(n.Left)
	right, k := r.rewrite(n.Right)
	place := &operator{symbol: n.Operator, offset: offset, left: label(n.Left), right: label(n.Right)}
	result := op.result(l, k)
	if result == 0 {
		return r.fail(offset, "%s", place.mismatch(op, l, k))
	}
	return call(" "+symbol, offset, place, left, right), result
}

// soft rewrites the left of ??, where anything missing on a path gives null.
func (r *rewriter) soft(n ast.Node) (ast.Node, kinds) {
	switch n := n.(type) {
	case *ast.IdentifierNode, *ast.MemberNode, *ast.ChainNode:
		if !r.seen[n] {
			r.seen[n] = true
			r.nodes++
			return r.path(n, true)
		}
	case *ast.BinaryNode:
		if n.Operator == "??" && !r.seen[n] {
			r.seen[n] = true
			left, l := r.soft(n.Left)
			right, k := r.soft(n.Right)
			return at(n.Location().From, &ast.BinaryNode{Operator: "??", Left: left, Right: right}), l | k
		}
	}
	return r.rewrite(n)
}

// truth rewrites a node that stands where true or false must.
func (r *rewriter) truth(n ast.Node, where string) ast.Node {
	out, k := r.rewrite(n)
	if r.err != nil {
		return out
	}
	offset := start(n)
	if k&isBool == 0 {
		out, _ = r.fail(offset, "%s", notBool(where, label(n), k))
		return out
	}
	if k == isBool {
		return out
	}
	place := &truth{where: where, offset: offset, label: label(n)}
	return at(offset, &ast.CallNode{
		Callee:    &ast.IdentifierNode{Value: vmTruth},
		Arguments: []ast.Node{&ast.ConstantNode{Value: place}, out},
	})
}

func (r *rewriter) conditional(n *ast.ConditionalNode) (ast.Node, kinds) {
	if n.Cond == n.Exp1 { // as in a < b < c, one node twice
		return r.fail(n.Location().From, "write a ?? b, or a condition between ? and :")
	}
	cond := r.truth(n.Cond, "the condition")
	yes, y := r.rewrite(n.Exp1)
	no, k := r.rewrite(n.Exp2)
	return at(n.Location().From, &ast.ConditionalNode{Ternary: true, Cond: cond, Exp1: yes, Exp2: no}), y | k
}

func (r *rewriter) slice(n *ast.SliceNode) (ast.Node, kinds) {
	offset := n.Location().From
	base, k := r.rewrite(n.Node)
	if k&(isList|isText) == 0 {
		return r.fail(offset, "only lists and text can be cut with [from:to], not %s", operand(label(n.Node), k))
	}
	bound := func(b ast.Node) ast.Node {
		if b == nil {
			return &ast.NilNode{}
		}
		out, k := r.rewrite(b)
		if k&(isNumber|isNull) == 0 {
			r.fail(b.Location().From, "[from:to] takes numbers, not %s", k)
		}
		return out
	}
	from, to := bound(n.From), bound(n.To)
	place := &operator{symbol: "[:]", offset: offset, left: label(n.Node)}
	return call(vmSlice, offset, place, base, from, to), k & (isList | isText)
}

func (r *rewriter) let(n *ast.VariableDeclaratorNode) (ast.Node, kinds) {
	offset := n.Location().From
	if problem := r.reserved(n.Name); problem != "" {
		return r.fail(offset, "%s", problem)
	}
	value, k := r.rewrite(n.Value)
	r.lets = append(r.lets, local{n.Name, k})
	expr, out := r.rewrite(n.Expr)
	r.lets = r.lets[:len(r.lets)-1]
	return at(offset, &ast.VariableDeclaratorNode{Name: n.Name, Value: value, Expr: expr}), out
}

// reserved says why let cannot take a name.
func (r *rewriter) reserved(name string) string {
	_, isFunction := functionsByName[name]
	_, isLoop := loopsByName[name]
	_, isRoot := findRoot(name)
	switch {
	case isFunction, isLoop, isRoot, name == "null", strings.ContainsAny(name, "$"+string(dash)), refused[name] != "":
		return name + " cannot be the name of a let"
	case slices.ContainsFunc(r.lets, func(l local) bool { return l.name == name }):
		return name + " is already the name of a let"
	}
	return ""
}

func (r *rewriter) object(n *ast.MapNode) (ast.Node, kinds) {
	pairs := make([]ast.Node, 0, len(n.Pairs))
	for _, p := range n.Pairs {
		pair, ok := p.(*ast.PairNode)
		if !ok || pair.Key == nil {
			return r.fail(n.Location().From, "this is not a field of an object")
		}
		key, k := r.rewrite(pair.Key)
		offset := pair.Key.Location().From
		switch text, literal := key.(*ast.StringNode); {
		case literal:
			text.Value = showDashes(text.Value)
		case k&isText == 0:
			return r.fail(offset, "the name of a field must be text, not %s", operand(label(pair.Key), k))
		default:
			key = call(vmName, offset, &operator{offset: offset, left: label(pair.Key)}, key)
		}
		value, _ := r.rewrite(pair.Value)
		pairs = append(pairs, &ast.PairNode{Key: key, Value: value})
	}
	return at(n.Location().From, &ast.MapNode{Pairs: pairs}), isObject
}

func (r *rewriter) function(name string, arguments []ast.Node, offset int) (ast.Node, kinds) {
	fn, ok := functionsByName[name]
	if !ok {
		return r.fail(offset, "%s", unknownFunction(name))
	}
	if problem := fn.arity(len(arguments)); problem != "" {
		return r.fail(offset, "%s", problem)
	}
	u := &use{function: fn, offset: offset, labels: make([]string, len(arguments))}
	args := make([]ast.Node, len(arguments))
	for i, a := range arguments {
		var k kinds
		args[i], k = r.rewrite(a)
		u.labels[i] = label(a)
		if k&fn.param(i) == 0 {
			return r.fail(offset, "%s", u.mismatch(i, k))
		}
	}
	return call(vmFunction, offset, u, args...), fn.result
}

func unknownFunction(name string) string {
	if why, ok := refused[name]; ok {
		return why
	}
	if near := closest(name, slices.Concat(names(functionsByName), names(loopsByName))); near != "" {
		return fmt.Sprintf("there is no function %s; did you mean %s?", name, near)
	}
	return fmt.Sprintf("there is no function %s", name)
}

func names[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for name := range m {
		list = append(list, name)
	}
	slices.Sort(list) // so that of two names as close the same one is always proposed
	return list
}

func (r *rewriter) loop(l *loop, arguments []ast.Node, offset int) (ast.Node, kinds) {
	if len(arguments) < l.least || len(arguments) > l.most {
		return r.fail(offset, "%s is written %s", l.Name, l.Signature)
	}
	list, k := r.rewrite(arguments[0])
	place := &iterated{name: l.Name, offset: offset, label: label(arguments[0])}
	if k&isList == 0 {
		return r.fail(offset, "%s needs a list, not %s", l.Name, operand(place.label, k))
	}
	list = call(vmList, offset, place, list)
	if len(arguments) == 1 {
		return call(vmLoop, offset, place, list), l.result
	}

	predicate, ok := arguments[1].(*ast.PredicateNode)
	if !ok || predicate.Node == nil {
		return r.fail(offset, "%s is written %s", l.Name, l.Signature)
	}
	if r.loops++; r.loops > MaxNesting {
		return r.fail(offset, "%s stands inside more than one other loop; loops can be nested %d deep", l.Name, MaxNesting)
	}
	before := r.nodes
	body, k := r.rewrite(predicate.Node)
	r.loops--
	bodyOffset := start(predicate.Node)
	if l.condition && k&isBool == 0 {
		return r.fail(bodyOffset, "%s", notBool("the condition of "+l.Name, label(predicate.Node), k))
	}
	body = call(vmTurn, bodyOffset, &turn{
		name: l.Name, offset: bodyOffset, label: label(predicate.Node), cost: 2 + r.nodes - before, condition: l.condition,
	}, body)

	native := func(name string, body ast.Node) ast.Node {
		return at(offset, &ast.BuiltinNode{Name: name, Arguments: []ast.Node{list, &ast.PredicateNode{Node: body}}})
	}
	switch l.form {
	case loopValues:
		return call(vmLoop, offset, place, native("map", body)), l.result
	case loopPairs:
		args := []ast.Node{native("map", at(offset, &ast.ArrayNode{Nodes: []ast.Node{&ast.PointerNode{}, body}}))}
		if len(arguments) > 2 {
			order, _ := r.rewrite(arguments[2])
			args = append(args, order)
		}
		return call(vmLoop, offset, place, args...), l.result
	case loopNative:
	}
	return native(l.Name, body), l.result
}

// path rewrites a name of data with the fields and items read from it.
func (r *rewriter) path(n ast.Node, soft bool) (ast.Node, kinds) {
	p := &path{soft: soft, offset: n.Location().From}
	base, members := unchain(n)
	for _, m := range members {
		r.seen[m] = true
	}
	r.nodes += len(members)
	var arguments []ast.Node
	for _, m := range members {
		k := pathKey{optional: m.Optional, offset: m.Location().From}
		switch property := m.Property.(type) {
		case *ast.StringNode:
			k.name = showDashes(property.Value)
			k.offset = property.Location().From
		default:
			key, kind := r.rewrite(m.Property)
			switch literal := key.(type) {
			case *ast.IntegerNode:
				k.form, k.index = keyIndex, literal.Value
			default:
				if kind&(isNumber|isText) == 0 {
					return r.fail(k.offset, "[…] takes a number or text, not %s", kind)
				}
				k.form, k.argument = keyArgument, len(arguments)
				arguments = append(arguments, key)
			}
		}
		p.keys = append(p.keys, k)
	}
	if id, ok := base.(*ast.IdentifierNode); ok {
		p.label = showDashes(id.Value)
		if i := slices.IndexFunc(r.lets, func(l local) bool { return l.name == id.Value }); i >= 0 {
			variable := at(base.Location().From, &ast.IdentifierNode{Value: id.Value})
			if len(p.keys) == 0 {
				return variable, r.lets[i].kinds
			}
			return r.based(p, variable, r.lets[i].kinds, arguments)
		}
		return r.root(p, id, arguments)
	}
	if len(members) == 0 {
		return r.rewrite(base) // a chain around something else
	}
	node, k := r.rewrite(base)
	if p.label = label(base); p.label == "" {
		p.label = "the value"
	}
	return r.based(p, node, k, arguments)
}

// based makes the read of a path from the value of another node.
func (r *rewriter) based(p *path, base ast.Node, k kinds, arguments []ast.Node) (ast.Node, kinds) {
	if k&(isObject|isList|isText|isNull) == 0 {
		return r.fail(p.keys[0].offset, "%s is %s, which has no fields", p.label, k)
	}
	return call(vmPath, p.offset, p, append([]ast.Node{base}, arguments...)...), isAny
}

// root makes the read of a path from a name of data.
func (r *rewriter) root(p *path, id *ast.IdentifierNode, arguments []ast.Node) (ast.Node, kinds) {
	offset := id.Location().From
	name := showDashes(id.Value)
	if name == "null" {
		if len(p.keys) > 0 {
			return r.fail(offset, "null has no fields")
		}
		return &ast.NilNode{}, isNull
	}
	data, ok := findRoot(name)
	if !ok {
		return r.fail(offset, "%s", r.unknownName(name, offset))
	}
	if !data.inScope(r.scope) {
		return r.fail(offset, "%s", data.absent)
	}
	p.root = name
	if problem, where := data.unknownField(p); problem != "" {
		return r.fail(where, "%s", problem)
	}
	if name == "steps" {
		if problem, where := r.step(p, offset); problem != "" {
			return r.fail(where, "%s", problem)
		}
	} else {
		r.refs.addRoot(name)
		r.refs.TriggerEvent = r.refs.TriggerEvent || name == "trigger" && p.readsEvent()
	}
	k := kinds(isAny)
	if name == "index" && len(p.keys) == 0 {
		k = isNumber
	}
	return call(vmLoad, p.offset, p, arguments...), k
}

// step checks a path into steps and notes what it reads.
func (r *rewriter) step(p *path, offset int) (problem string, where int) {
	if len(p.keys) == 0 {
		return "name the step directly, as in steps.enrich.output", offset
	}
	first := p.keys[0]
	if first.form != keyName {
		return "name the step directly, as in steps.enrich.output", first.offset
	}
	if !r.scope.anyStep && !slices.Contains(r.scope.Steps, first.name) {
		problem = "there is no step " + strconv.Quote(abridge(first.name, 64))
		if near := closest(first.name, r.scope.Steps); near != "" {
			problem += "; did you mean " + near + "?"
		}
		return problem, first.offset
	}
	ref := StepRef{ID: first.name}
	if len(p.keys) == 1 {
		ref.Output, ref.Status, ref.Error = true, true, true
		r.refs.addStep(ref)
		return "", 0
	}
	second := p.keys[1]
	if second.form != keyName {
		return "write output, status or error after the step", second.offset
	}
	switch second.name {
	case "output":
		ref.Output = true
	case "status":
		ref.Status = true
	case "error":
		ref.Error = true
	default:
		return fmt.Sprintf("a step has output, status and error, but no %s; its result is %s.output", abridge(second.name, 64), p.text(1)), second.offset
	}
	r.refs.addStep(ref)
	return "", 0
}

func (r *rewriter) unknownName(name string, offset int) string {
	var known []string
	for _, data := range roots {
		if data.inScope(r.scope) {
			known = append(known, data.name)
		}
	}
	for _, l := range r.lets {
		known = append(known, l.name)
	}
	if why, ok := refused[name]; ok {
		return why
	}
	if text := []rune(r.source); offset >= 2 && offset <= len(text) && text[offset-1] == '-' && text[offset-2] != ' ' {
		return fmt.Sprintf("unknown name %s; a field with a dash is written in brackets, as in payload[\"first-name\"]", name)
	}
	if near := closest(name, known); near != "" {
		return fmt.Sprintf("unknown name %s; did you mean %s?", name, near)
	}
	if functionsByName[name] != nil || loopsByName[name] != nil {
		return fmt.Sprintf("%s is a function; write %s(…)", name, name)
	}
	return fmt.Sprintf("unknown name %s; known are %s; text is written in quotes", abridge(name, 40), strings.Join(known, ", "))
}

// unchain takes a path apart into its base and the reads from it, in order.
func unchain(n ast.Node) (base ast.Node, members []*ast.MemberNode) {
	for {
		switch node := n.(type) {
		case *ast.ChainNode:
			n = node.Node
			continue
		case *ast.MemberNode:
			members = append(members, node)
			n = node.Node
			continue
		}
		slices.Reverse(members)
		return n, members
	}
}

// start is where a node begins; the location of a path is its last name.
func start(n ast.Node) int {
	base, _ := unchain(n)
	return base.Location().From
}

// label gives a path, name or literal as the user wrote it, and "" for all else.
func label(n ast.Node) string {
	base, members := unchain(n)
	p := path{}
	switch b := base.(type) {
	case *ast.IdentifierNode:
		p.label = showDashes(b.Value)
	case *ast.PointerNode:
		p.label = "#" + b.Name
	default:
		return ""
	}
	for _, m := range members {
		k := pathKey{optional: m.Optional, form: keyArgument}
		switch property := m.Property.(type) {
		case *ast.StringNode:
			k.form, k.name = keyName, showDashes(property.Value)
		case *ast.IntegerNode:
			k.form, k.index = keyIndex, property.Value
		}
		p.keys = append(p.keys, k)
	}
	return abridge(p.text(len(p.keys)), 80)
}
