package expression

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Template is a compiled JSON value with {{ … }} in its strings. It does not change
// and may be rendered by many goroutines at once.
type Template struct {
	root part
	refs Refs
}

// part is one value of a template.
type part interface {
	// render gives the value, taking its size from the rendering's room.
	render(*rendering) (any, error)
}

type (
	// fixedPart is a value without expressions.
	fixedPart struct {
		value any
		size  int
	}
	// valuePart is a string that is exactly one expression.
	valuePart struct{ segment }
	// textPart is a string with expressions between other text.
	textPart struct{ segments []segment }
	listPart struct{ items []part }
	// objectPart has its fields in the order of their names.
	objectPart struct {
		names  []string
		fields []part
	}
)

// segment is a piece of a string: text, or an expression when program is set.
type segment struct {
	text    string
	program *Program
	path    []any
	start   position
}

// CompileTemplate prepares a template. v is a decoded JSON value or a
// json.RawMessage. Expressions stand in the values of strings, never in the names of
// fields. An error is an *Error with the Path to the string, or Errors where more
// than one expression is wrong.
//
// A string that is exactly one {{ … }} keeps the type of its value. In any other
// string the value is put in as text. \{{ stands for {{ as text.
func CompileTemplate(v any, s Scope) (*Template, error) {
	v, err := Normalize(v)
	if err != nil {
		return nil, &Error{Line: 1, Column: 1, Message: err.Error()}
	}
	c := templateCompiler{scope: s, programs: map[string]*Program{}}
	root := c.value(v, nil)
	switch len(c.problems) {
	case 0:
		return &Template{root: root, refs: c.refs}, nil
	case 1:
		return nil, c.problems[0]
	}
	return nil, c.problems
}

type templateCompiler struct {
	scope    Scope
	refs     Refs
	programs map[string]*Program
	count    int
	problems Errors // at most maxProblems; then the rest is left alone
}

func (c *templateCompiler) full() bool { return len(c.problems) >= maxProblems }

// value compiles one value. A value without expressions becomes a fixedPart whole.
func (c *templateCompiler) value(v any, path []any) part {
	switch v := v.(type) {
	case string:
		return c.text(v, path)
	case []any:
		list := &listPart{items: make([]part, len(v))}
		for i, e := range v {
			list.items[i] = c.value(e, append(path, i))
		}
		return list.fix()
	case map[string]any:
		object := &objectPart{names: slices.Sorted(maps.Keys(v)), fields: make([]part, len(v))}
		for i, name := range object.names {
			object.fields[i] = c.value(v[name], append(path, name))
		}
		return object.fix()
	}
	return &fixedPart{v, 8}
}

// fix gives the list as a fixedPart if everything in it is fixed.
func (p *listPart) fix() part {
	out, size := make([]any, len(p.items)), 2
	for i, item := range p.items {
		f, ok := item.(*fixedPart)
		if !ok {
			return p
		}
		out[i], size = f.value, size+f.size+1
	}
	return &fixedPart{out, size}
}

// fix gives the object as a fixedPart if everything in it is fixed.
func (p *objectPart) fix() part {
	out, size := make(map[string]any, len(p.names)), 2
	for i, name := range p.names {
		f, ok := p.fields[i].(*fixedPart)
		if !ok {
			return p
		}
		out[name], size = f.value, size+f.size+len(name)+4
	}
	return &fixedPart{out, size}
}

func (c *templateCompiler) text(s string, path []any) part {
	if c.full() {
		return &fixedPart{}
	}
	pieces, bad := scan(s)
	path = slices.Clone(path)
	segments := make([]segment, len(pieces))
	for i, p := range pieces {
		segments[i] = segment{text: p.text, path: path, start: p.start}
		if p.expression && !c.full() {
			segments[i].program = c.program(p, path)
		}
	}
	if bad != nil && !c.full() {
		bad.Path = path
		c.problems = append(c.problems, bad)
	}
	switch {
	case len(segments) == 0:
		return &fixedPart{"", 2}
	case len(segments) > 1:
		return &textPart{segments}
	case segments[0].program != nil:
		return &valuePart{segments[0]}
	}
	return &fixedPart{segments[0].text, len(segments[0].text) + 2}
}

// program compiles one expression of a string, or notes what is wrong with it.
func (c *templateCompiler) program(p piece, path []any) *Program {
	if c.count++; c.count > MaxTemplateExpressions {
		if c.count == MaxTemplateExpressions+1 {
			c.problems = append(c.problems, errorAt(p.text, 0, fmt.Sprintf("the template has more than %d expressions", MaxTemplateExpressions)).in(path, p.start))
		}
		return nil
	}
	program := c.programs[p.text]
	if program != nil {
		return program
	}
	program, err := compile(p.text, c.scope, Any)
	if err != nil {
		c.problems = append(c.problems, err.in(path, p.start))
		return nil
	}
	c.programs[p.text] = program
	c.refs = c.refs.Merge(program.refs)
	return program
}

// Refs tells what the expressions of the template read.
func (t *Template) Refs() Refs { return t.refs }

// Static tells whether the template has no expressions, so that it always renders
// to the same value.
func (t *Template) Static() bool {
	_, ok := t.root.(*fixedPart)
	return ok
}

// Render gives the template with its expressions replaced by their values for v. The
// result may share lists and maps with the template and with v; it must not be
// changed. An error is an *Error, or the error of ctx.
func (t *Template) Render(ctx context.Context, v Vars) (any, error) {
	if fixed, ok := t.root.(*fixedPart); ok {
		return fixed.value, nil
	}
	return t.root.render(&rendering{ctx: ctx, vars: v, room: MaxRendered, fuel: maxTemplateFuel})
}

// RenderJSON is Render as JSON, with fields in the order of their names.
func (t *Template) RenderJSON(ctx context.Context, v Vars) (json.RawMessage, error) {
	out, err := t.Render(ctx, v)
	if err != nil {
		return nil, err
	}
	raw, err := encode(out)
	switch {
	case err != nil:
		return nil, &Error{Line: 1, Column: 1, Message: err.Error()}
	case len(raw) > MaxRendered:
		return nil, &Error{Line: 1, Column: 1, Message: errTooLarge.Error()}
	}
	return raw, nil
}

// rendering is the state of one Render.
type rendering struct {
	ctx  context.Context //nolint:containedctx // for the length of one Render only
	vars Vars
	room int
	fuel int
}

func (r *rendering) take(n int, path []any) error {
	if r.room -= n; r.room < 0 {
		return &Error{Path: path, Line: 1, Column: 1, Message: errTooLarge.Error()}
	}
	return nil
}

func (s *segment) fail(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	return e.in(s.path, s.start)
}

// eval gives the value of an expression segment.
func (s *segment) eval(r *rendering) (any, error) {
	fuel := min(maxFuel, r.fuel)
	f := newFrame(r.ctx, r.vars, fuel)
	v, room, err := s.program.eval(f, r.room)
	if err != nil {
		return nil, s.fail(err)
	}
	r.fuel -= fuel - f.fuel
	r.room = room
	return v, nil
}

func (p *fixedPart) render(r *rendering) (any, error) {
	return p.value, r.take(p.size, nil)
}

func (p *valuePart) render(r *rendering) (any, error) { return p.eval(r) }

func (p *textPart) render(r *rendering) (any, error) {
	var b []byte
	for i := range p.segments {
		s := &p.segments[i]
		if s.program == nil {
			b = append(b, s.text...)
			if err := r.take(len(s.text), s.path); err != nil {
				return nil, err
			}
			continue
		}
		v, err := s.eval(r)
		if err != nil {
			return nil, err
		}
		before := len(b)
		if b, err = appendText(b, v); err != nil {
			return nil, s.fail(errorAt(s.program.source, 0, err.Error()))
		}
		// The value has been paid for; JSON escapes may have made its text longer.
		if len(b)-before > MaxRendered {
			return nil, s.fail(errorAt(s.program.source, 0, errTooLarge.Error()))
		}
	}
	return string(b), nil
}

func (p *listPart) render(r *rendering) (any, error) {
	list := make([]any, len(p.items))
	for i, item := range p.items {
		v, err := item.render(r)
		if err != nil {
			return nil, err
		}
		list[i] = v
	}
	return list, nil
}

func (p *objectPart) render(r *rendering) (any, error) {
	m := make(map[string]any, len(p.names))
	for i, name := range p.names {
		v, err := p.fields[i].render(r)
		if err != nil {
			return nil, err
		}
		m[name] = v
	}
	return m, nil
}

// piece is a stretch of a template's string.
type piece struct {
	text       string
	expression bool
	start      position // where an expression begins
}

// scan cuts a string into text and expressions. What stands before a {{ that is not
// closed is given as well.
func scan(s string) ([]piece, *Error) {
	var pieces []piece
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			pieces = append(pieces, piece{text: text.String()})
			text.Reset()
		}
	}
	place := position{line: 1, column: 1} // of rest
	for rest := 0; ; {
		open := strings.Index(s[rest:], "{{")
		if open < 0 {
			text.WriteString(s[rest:])
			flush()
			return pieces, nil
		}
		open += rest
		if open > rest && s[open-1] == '\\' {
			text.WriteString(s[rest:open-1] + "{{")
			place = place.after(s[rest : open+2])
			rest = open + 2
			continue
		}
		text.WriteString(s[rest:open])
		flush()
		start := open + 2
		end := expressionEnd(s, start)
		place = place.after(s[rest:start])
		if end < 0 {
			return pieces, errorAt(s, place.offset-2, `{{ is not closed with }}; to have it as text write \{{`)
		}
		pieces = append(pieces, piece{text: s[start:end], expression: true, start: place})
		place = place.after(s[start : end+2])
		rest = end + 2
	}
}

// expressionEnd gives where the }} stands that closes an expression which begins at
// start, or -1. Braces of objects and whatever stands in quotes or comments belong to
// the expression.
func expressionEnd(s string, start int) int {
	depth := 0
	for i := start; i < len(s); {
		if strings.HasPrefix(s[i:], "//") {
			// A comment ends with its line, and with the expression too.
			n := strings.IndexAny(s[i:], "\n}")
			if n < 0 {
				return -1
			}
			i += n
			continue
		}
		if end := skipQuoted(s, i); end > i {
			i = end
			continue
		}
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth == 0 {
				if strings.HasPrefix(s[i:], "}}") {
					return i
				}
				return -1
			}
			depth--
		}
		i++
	}
	return -1
}

// Escape gives the template that renders to the text s itself, whatever is in it.
func Escape(s string) string { return strings.ReplaceAll(s, "{{", `\{{`) }
