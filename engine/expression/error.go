package expression

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error says what is wrong with an expression, when it is compiled or when it is
// evaluated, in words for the one who wrote it.
type Error struct {
	// Path leads to the string inside a template that holds the expression: keys
	// (string) and indexes (int). It is empty for a lone expression.
	Path []any
	// Line and Column are where it went wrong, both counted from 1, the column in
	// characters: in Source, or in the whole string of a template that Source is a
	// part of.
	Line, Column int
	// Offset is the place as a count of characters from the start of Source.
	Offset int
	// Start is where Source begins inside the template's string, in characters.
	Start int
	// Source is the text of the expression.
	Source string
	// Message is one short sentence without a final period.
	Message string
}

// Error gives the message with its path and position.
func (e *Error) Error() string {
	if len(e.Path) > 0 {
		return pathText(e.Path) + ": " + e.Words()
	}
	return e.Words()
}

// Words gives the message with its position.
func (e *Error) Words() string {
	return fmt.Sprintf("%s (line %d, column %d)", e.Message, e.Line, e.Column)
}

func pathText(path []any) string {
	var b strings.Builder
	for i, p := range path {
		switch p := p.(type) {
		case int:
			b.WriteString("[" + strconv.Itoa(p) + "]")
		default:
			if i > 0 {
				b.WriteByte('.')
			}
			fmt.Fprint(&b, p)
		}
	}
	return b.String()
}

// Errors are all that is wrong with a template, in the order of its parts. errors.As
// finds the first.
type Errors []*Error

func (e Errors) Error() string { return e[0].Error() }

// Unwrap gives each of them.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// All lists what is wrong when err is, or wraps, an *Error or Errors.
func All(err error) []*Error {
	if several, ok := errors.AsType[Errors](err); ok {
		return several
	}
	if one, ok := errors.AsType[*Error](err); ok {
		return []*Error{one}
	}
	return nil
}

// position is a place in a string: line and column as in Error, and the count of
// characters before it.
type position struct{ line, column, offset int }

// after gives the place behind text that stands at p.
func (p position) after(text string) position {
	for _, r := range text {
		p.offset++
		p.column++
		if r == '\n' {
			p.line, p.column = p.line+1, 1
		}
	}
	return p
}

// in moves an error of an expression to its place in a template: the string at path,
// in which the expression begins at start.
func (e *Error) in(path []any, start position) *Error {
	if e.Line == 1 {
		e.Column += start.column - 1
	}
	e.Line += start.line - 1
	e.Path, e.Start = path, start.offset
	return e
}

// errorAt makes an Error for a place given in characters from the start of source.
func errorAt(source string, offset int, message string) *Error {
	offset = max(0, min(offset, utf8.RuneCountInString(source)))
	e := &Error{Source: source, Offset: offset, Line: 1, Column: 1, Message: message}
	for _, r := range source {
		if offset == 0 {
			break
		}
		offset--
		if r == '\n' {
			e.Line++
			e.Column = 1
		} else {
			e.Column++
		}
	}
	return e
}

// fault is an error of evaluation on its way through the virtual machine, which
// keeps it as the cause of its own.
type fault struct {
	offset  int
	message string
}

func (f *fault) Error() string { return f.message }

func faultf(offset int, format string, args ...any) error {
	return &fault{offset: offset, message: fmt.Sprintf(format, args...)}
}
