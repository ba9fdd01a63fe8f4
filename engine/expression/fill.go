package expression

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
)

var (
	errMixed   = errors.New("inputs cannot stand in one {{ … }} with what only a run knows")
	errBraces  = errors.New("the value holds {{, which would be read as an expression")
	errLiteral = errors.New("the value does not fit into an expression")
)

// Fill gives a document with every {{ … }} replaced that reads inputs. Everything
// else stays as it is, for whoever reads the document next. literal tells which
// strings, by their path, are expressions themselves: there the value is written
// as a literal, so that no text in it can become a part of the expression. It must
// not keep the path.
//
// An error is an *Error with the Path to the string.
func Fill(doc any, inputs map[string]any, literal func(path []any) bool) (any, error) {
	doc, err := Normalize(doc)
	if err != nil {
		return nil, &Error{Line: 1, Column: 1, Message: err.Error()}
	}
	values, err := Normalize(inputs)
	if err != nil {
		return nil, &Error{Line: 1, Column: 1, Message: err.Error()}
	}
	f := filling{vars: Vars{"inputs": values}, literal: literal}
	return f.value(doc, nil)
}

// inputName finds what an expression reads of inputs.
var inputName = regexp.MustCompile(`\binputs(?:\?)?(?:\.([A-Za-z_]\w*)|\[["']([^"']+)["']\])`)

// Inputs names the inputs that the {{ … }} of a string read, in the order of their
// places. It is for words to people: what stands in a text literal may be taken for
// one as well.
func Inputs(s string) []string {
	pieces, bad := scan(s)
	if bad != nil {
		return nil
	}
	var names []string
	for _, p := range pieces {
		if !p.expression {
			continue
		}
		for _, m := range inputName.FindAllStringSubmatch(p.text, -1) {
			names = append(names, m[1]+m[2])
		}
	}
	return names
}

type filling struct {
	vars    Vars
	literal func(path []any) bool
}

func (f *filling) value(v any, path []any) (any, error) {
	switch v := v.(type) {
	case string:
		return f.text(v, path)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			filled, err := f.value(e, append(path, i))
			if err != nil {
				return nil, err
			}
			out[i] = filled
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, e := range v {
			filled, err := f.value(e, append(path, name))
			if err != nil {
				return nil, err
			}
			out[name] = filled
		}
		return out, nil
	}
	return v, nil
}

func (f *filling) text(s string, path []any) (any, error) {
	if !strings.Contains(s, "inputs") { // whatever is wrong with it is not our matter
		return s, nil
	}
	pieces, bad := scan(s)
	if bad != nil {
		bad.Path = append([]any(nil), path...)
		return nil, bad
	}
	asLiteral := f.literal != nil && f.literal(path)
	var b []byte
	filled := 0
	for _, p := range pieces {
		if !p.expression {
			b = append(b, Escape(p.text)...)
			continue
		}
		v, ours, err := f.eval(p.text)
		if err == nil && ours && HoldsBraces(v) {
			err = errBraces
		}
		if err != nil {
			return nil, failed(p, path, err)
		}
		switch {
		case !ours:
			b = append(b, "{{"+p.text+"}}"...)
			continue
		case len(pieces) == 1 && !asLiteral:
			return v, nil
		}
		filled++
		text, err := inText(v, asLiteral)
		if err != nil {
			return nil, failed(p, path, err)
		}
		b = append(b, text...)
	}
	if after, bad := scan(string(b)); bad != nil || expressions(after) != expressions(pieces)-filled {
		return nil, failed(pieces[0], path, errBraces)
	}
	return string(b), nil
}

// expressions counts them.
func expressions(pieces []piece) (n int) {
	for _, p := range pieces {
		if p.expression {
			n++
		}
	}
	return n
}

// inText writes a value into a string: as a literal of the language, or as it reads.
func inText(v any, literal bool) ([]byte, error) {
	if !literal {
		return appendText(nil, v)
	}
	raw, err := encode(v)
	if err != nil {
		return nil, errLiteral
	}
	return raw, nil
}

func failed(p piece, path []any, err error) error {
	e := errorAt(p.text, 0, err.Error())
	if own, ok := errors.AsType[*Error](err); ok {
		e = own
	}
	return e.in(append([]any(nil), path...), p.start)
}

// eval gives the value of an expression that reads inputs; ours is false for one
// that does not.
func (f *filling) eval(src string) (v any, ours bool, err error) {
	program, bad := compile(src, Scope{Inputs: true, Event: true, Item: true, anyStep: true}, Any)
	if bad != nil {
		return nil, false, bad
	}
	refs := program.refs
	if !refs.Inputs {
		return nil, false, nil
	}
	refs.Inputs = false
	if !refs.none() {
		return nil, true, errMixed
	}
	v, err = program.Eval(context.Background(), f.vars)
	return v, true, err
}

// HoldsBraces tells whether a text anywhere in a value would begin a {{ … }} of a
// template it is put into.
func HoldsBraces(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, "{{")
	case []any:
		return slices.ContainsFunc(v, HoldsBraces)
	case map[string]any:
		for name, e := range v {
			if strings.Contains(name, "{{") || HoldsBraces(e) {
				return true
			}
		}
	}
	return false
}
