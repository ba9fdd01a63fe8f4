package api

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/10ex/flows/models"
)

const (
	// maxDepth is how deeply a body may be nested. Everything that reads it later
	// may recurse.
	maxDepth = 64
	// maxNumber bounds the characters of a number, and with it the work of those
	// who count exactly.
	maxNumber = 400
)

// scanBody refuses, in one pass and without parsing, bodies that would be costly
// or impossible for what comes after: not UTF-8, nested too deeply, with \u0000 or
// half a surrogate pair (no database keeps them), or with numbers no double holds.
// Whether it is JSON at all is for the parser to say.
func scanBody(b []byte) *Problem {
	if !utf8.Valid(b) {
		return malformed("The body is not valid UTF-8.")
	}
	depth := 0
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '"':
			end, p := scanString(b, i+1)
			if p != nil {
				return p
			}
			i = end
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return invalidBody("depth", "the body is nested deeper than "+strconv.Itoa(maxDepth)+" levels")
			}
			i++
		case c == '}' || c == ']':
			depth--
			i++
		case c == '-' || c >= '0' && c <= '9':
			end := i + 1
			for end < len(b) && isNumberByte(b[end]) {
				end++
			}
			if !holdable(b[i:end]) {
				return invalidBody("number", "the body has a number that is too large, too small or too long")
			}
			i = end
		default:
			i++
		}
	}
	return nil
}

// scanString checks the string that begins at b[i] and tells where it ends.
func scanString(b []byte, i int) (end int, p *Problem) {
	for i < len(b) {
		skip := bytes.IndexAny(b[i:], `"\`)
		if skip < 0 {
			return len(b), nil
		}
		i += skip
		if b[i] == '"' {
			return i + 1, nil
		}
		if i+1 >= len(b) || b[i+1] != 'u' {
			i += 2
			continue
		}
		r, ok := hex4(b, i+2)
		if !ok {
			return 0, malformed("The body is not JSON.")
		}
		i += 6
		switch {
		case r == 0:
			return 0, invalidBody("nul", `the body has the character \u0000, which cannot be stored`)
		case utf16.IsSurrogate(r):
			low, ok := rune(0), i+1 < len(b) && b[i] == '\\' && b[i+1] == 'u'
			if ok {
				low, ok = hex4(b, i+2)
			}
			if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
				return 0, invalidBody("surrogate", "the body has half a surrogate pair, which is no character")
			}
			i += 6
		}
	}
	return len(b), nil
}

func hex4(b []byte, i int) (rune, bool) {
	if i+4 > len(b) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[i:i+4]), 16, 16)
	return rune(n), err == nil
}

func isNumberByte(c byte) bool {
	return c >= '0' && c <= '9' || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E'
}

// holdable tells whether a number fits a double. What is no number is let through.
func holdable(n []byte) bool {
	if len(n) > maxNumber {
		return false
	}
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil {
		return !math.IsInf(f, 0)
	}
	e := bytes.IndexAny(n, "eE")
	if f != 0 || e < 0 {
		return true
	}
	// Nothing is left of a tiny number but its exponent, which an exact reader
	// would still write out.
	exp, err := strconv.Atoi(string(n[e+1:]))
	return err == nil && exp > -maxNumber && exp < maxNumber
}

func invalidBody(typ, msg string) *Problem {
	return invalid(models.FieldError{Loc: []any{"body"}, Msg: msg, Type: typ})
}
