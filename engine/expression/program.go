package expression

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// Program is a compiled expression. It does not change and may be evaluated by
// many goroutines at once.
type Program struct {
	source string
	kind   Kind
	refs   Refs
	code   *vm.Program
	read   *path      // set instead of code when the whole expression is one read
	fixed  *time.Time // set instead of code when the source is itself a time
}

// Bare takes off the {{ … }} around all of an expression: it is what people write who
// come from templates, and means the same. What is left keeps its positions.
func Bare(src string) string {
	t := strings.TrimSpace(src)
	if !strings.HasPrefix(t, "{{") || !strings.HasSuffix(t, "}}") || strings.Count(t, "{{") != 1 || len(t) < 4 {
		return src
	}
	return strings.Replace(src[:strings.LastIndex(src, "}}")], "{{", "  ", 1)
}

// Compile checks src against the scope and prepares it. kind is what it must give:
// what can be known of that before there is data is checked here, the rest by Eval.
// An error is an *Error.
func Compile(src string, s Scope, kind Kind) (*Program, error) {
	p, err := compile(src, s, kind)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func compile(src string, s Scope, kind Kind) (*Program, *Error) {
	switch {
	case len(src) > MaxSource:
		return nil, errorAt(abridge(src, 80), 0, fmt.Sprintf("the expression is longer than %d bytes", MaxSource))
	case strings.TrimSpace(src) == "":
		return nil, errorAt(src, 0, "the expression is empty")
	case !utf8.ValidString(src):
		return nil, errorAt(strings.ToValidUTF8(src, "\uFFFD"), 0, "the expression is not valid UTF-8")
	}
	if kind == Time {
		if t, ok := parseTime(strings.TrimSpace(src)); ok {
			return &Program{source: src, kind: kind, fixed: &t}, nil
		}
	}
	if i := strings.IndexAny(src, string(dash)+"\x00"); i >= 0 {
		return nil, errorAt(src, utf8.RuneCountInString(src[:i]), "this character cannot stand in an expression")
	}
	// All of conf.Config but what is set here is at rest: no checker, no optimizer
	// and no environment take part.
	config := &conf.Config{MaxNodes: MaxNodes, ShortCircuit: true, Functions: noFunctions}
	tree, err := parser.ParseWithConfig(hideDashes(src), config)
	if err != nil {
		return nil, syntaxError(src, err)
	}
	r := &rewriter{source: src, scope: s, seen: map[ast.Node]bool{}}
	node, k := r.rewrite(tree.Node)
	if r.err != nil {
		return nil, r.err
	}
	if problem := kind.refuses(k); problem != "" {
		return nil, errorAt(src, start(tree.Node), problem)
	}
	p := &Program{source: src, kind: kind, refs: r.refs}
	if p.read = wholeRead(node); p.read != nil {
		return p, nil
	}
	config.Functions = machineFunctions
	p.code, err = compiler.Compile(&parser.Tree{Node: node, Source: tree.Source}, config)
	if err != nil {
		return nil, errorAt(src, 0, "the expression cannot be compiled")
	}
	return p, nil
}

// noFunctions is what the parser knows of our functions: nothing, so that it leaves
// all names to the rewriter.
var noFunctions = map[string]*builtin.Function{}

// wholeRead gives the path of a tree that is nothing but one read of data, which
// needs no virtual machine.
func wholeRead(n ast.Node) *path {
	c, ok := n.(*ast.CallNode)
	if !ok || len(c.Arguments) != 2 {
		return nil
	}
	place, ok := c.Arguments[1].(*ast.ConstantNode)
	if !ok {
		return nil
	}
	p, _ := place.Value.(*path)
	return p
}

// refuses says why no value of kinds k can be of the kind, or "".
func (kind Kind) refuses(k kinds) string {
	switch {
	case kind == Bool && k&isBool == 0:
		return "the expression must give true or false, not " + k.String()
	case kind == List && k&isList == 0:
		return "the expression must give a list, not " + k.String()
	case kind == Time && k&(isTime|isText) == 0:
		return "the expression must give a time, not " + k.String()
	}
	return ""
}

// Refs tells what the expression reads.
func (p *Program) Refs() Refs { return p.refs }

// Source gives the text the program was compiled from.
func (p *Program) Source() string { return p.source }

// Eval gives the value of the expression for v: a bool for Bool, a []any for List, a
// time.Time in UTC for Time and a JSON value for Any. Lists and maps may be parts of
// v and must not be changed. An error is an *Error, or the error of ctx if that is
// what stopped the evaluation.
func (p *Program) Eval(ctx context.Context, v Vars) (any, error) {
	out, _, err := p.eval(newFrame(ctx, v, maxFuel), MaxRendered)
	return out, err
}

// eval is Eval on a frame, for results of at most room bytes; it tells how many are left.
func (p *Program) eval(f *frame, room int) (any, int, error) {
	if err := f.ctx.Err(); err != nil {
		return nil, room, err
	}
	out, err := p.run(f)
	if err != nil {
		return nil, room, p.explain(f, err)
	}
	switch p.kind {
	case Bool:
		if _, ok := out.(bool); !ok {
			return nil, room, p.wrong("the expression must give true or false, not ", out)
		}
		return out, room, nil
	case Time:
		switch v := out.(type) {
		case time.Time:
			return v.UTC(), room, nil
		case string:
			if t, ok := parseTime(v); ok {
				return t, room, nil
			}
			return nil, room, errorAt(p.source, 0, "the expression must give a time, and "+quoteText(v)+" is not a time such as 2026-01-31T09:00:00Z")
		}
		return nil, room, p.wrong("the expression must give a time, not ", out)
	case List:
		list, ok := out.([]any)
		if !ok {
			return nil, room, p.wrong("the expression must give a list, not ", out)
		}
		if len(list) > MaxItems {
			return nil, room, errorAt(p.source, 0, fmt.Sprintf("the list has %d items; at most %d are allowed", len(list), MaxItems))
		}
	case Any:
	}
	limit := MaxResult
	if p.read != nil {
		limit = MaxRendered // it adds nothing to what is there already
	}
	limit = min(limit, room)
	m := meter{left: limit}
	out, err = m.plain(out, 0)
	if err != nil {
		return nil, room, errorAt(p.source, 0, err.Error())
	}
	return out, room - (limit - m.left), nil
}

func (p *Program) run(f *frame) (any, error) {
	switch {
	case p.fixed != nil:
		return *p.fixed, nil
	case p.read != nil:
		return p.read.read(f, f.vars[p.read.root], nil)
	}
	machine := vm.VM{MemoryBudget: maxElements}
	return machine.Run(p.code, f)
}

func (p *Program) wrong(text string, got any) *Error {
	text += kindOf(got).String()
	if got == nil && p.read != nil {
		text += "; " + p.read.text(len(p.read.keys)) + " is not there"
	}
	return errorAt(p.source, 0, text)
}

// explain makes the error of an evaluation from what the virtual machine gave.
func (p *Program) explain(f *frame, err error) error {
	if at, ok := errors.AsType[*fault](err); ok {
		return errorAt(p.source, at.offset, at.message)
	}
	if ended := f.ctx.Err(); ended != nil && errors.Is(err, ended) {
		return ended
	}
	offset := 0
	if located, ok := errors.AsType[*file.Error](err); ok {
		offset = located.From
		if located.Message == "memory budget exceeded" {
			err = errTooMuchMemory
		}
	}
	switch {
	case errors.Is(err, errTooMuchWork):
		return errorAt(p.source, offset, errTooMuchWork.Error())
	case errors.Is(err, errTooMuchMemory):
		return errorAt(p.source, offset, errTooMuchMemory.Error())
	}
	return errorAt(p.source, offset, "the expression cannot be evaluated here")
}

func quoteText(s string) string { return fmt.Sprintf("%q", abridge(s, 40)) }

// syntaxError puts a complaint of the parser into our words.
func syntaxError(src string, err error) *Error {
	var located *file.Error
	if !errors.As(err, &located) {
		return errorAt(src, 0, "this is not an expression")
	}
	return errorAt(src, located.From, syntaxMessage(showDashes(located.Message)))
}

var unexpected = regexp.MustCompile(`(?s)unexpected token (?:(\w+)\("(.*)"\)|(\w+))`)

func syntaxMessage(m string) string {
	has := func(s string) bool { return strings.Contains(m, s) }
	switch {
	case has("maximum allowed nodes"):
		return fmt.Sprintf("the expression has more than %d parts", MaxNodes)
	case has("unexpected token EOF"), has("unexpected end"):
		return "the expression ends too early"
	case has("literal not terminated"):
		return "the text is not closed with a quote"
	case has("unclosed comment"):
		return "the comment is not closed"
	case has("escape"), has("unescape"):
		return `the text holds an unknown \ sequence; a backslash is written \\`
	case has("coalesce"):
		return "put ?? into parentheses, as in (a ?? 0) > 1"
	case has("too large"), has("out of range"):
		return "the number is too large"
	case has("number syntax"), has("invalid hex"), has("invalid float"), has("invalid binary"), has("invalid octal"), has("invalid integer"):
		return "this is not a number"
	case has("wrap predicate"):
		return "put let inside a loop into braces: filter(list, {let x = …; …})"
	case has("a map key must be"):
		return "the name of a field must be a word, text in quotes, or (an expression) in parentheses"
	case has("expected name"):
		return "a name must follow the dot"
	case has("expected at least"):
		return "an argument is missing"
	case has("unrecognized character"):
		return "this character cannot stand in an expression"
	}
	if found := unexpected.FindStringSubmatch(m); found != nil {
		token := strings.ReplaceAll(found[2], `\"`, `"`)
		switch {
		case token == "=":
			return "= is only for let; use == to compare"
		case token == "&" || token == "|":
			return "use && and || to combine conditions"
		case token == ":":
			return "put an object inside a loop into parentheses: map(list, ({name: .name}))"
		case token == "#":
			return "# is known only inside filter, map and their like"
		case token != "":
			return abridge(token, 40) + " cannot stand here"
		}
	}
	return "this is not an expression"
}
