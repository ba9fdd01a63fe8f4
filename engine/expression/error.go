package expression

import (
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
	// Line and Column are where in Source it went wrong, both counted from 1, the
	// column in characters.
	Line, Column int
	// Offset is the same place as a count of characters from the start of Source.
	Offset int
	// Start is where Source begins inside the template's string, in characters.
	Start int
	// Source is the text of the expression.
	Source string
	// Message is one short sentence without a final period.
	Message string
}

// Error gives the message with its position.
func (e *Error) Error() string {
	var b strings.Builder
	if len(e.Path) > 0 {
		b.WriteString(pathText(e.Path))
		b.WriteString(": ")
	}
	fmt.Fprintf(&b, "%s (line %d, column %d)", e.Message, e.Line, e.Column)
	return b.String()
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
