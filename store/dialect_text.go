package store

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
)

// The two dialects of bun, with our way to write text. bun's own breaks the
// statement at the character NUL. In JSON it doubles the backslash of every \u0000
// it sees, and so makes the harmless text \\u0000 into one that holds the character.
type (
	pgDialect  struct{ *pgdialect.Dialect }
	sqlDialect struct{ *sqlitedialect.Dialect }
)

// AppendString writes a text as a literal.
func (pgDialect) AppendString(b []byte, s string) []byte { return appendText(b, keepable(s)) }

// AppendJSON writes a JSON text as a literal.
func (pgDialect) AppendJSON(b, text []byte) []byte { return appendText(b, keepableJSON(text)) }

// AppendString writes a text as a literal.
func (sqlDialect) AppendString(b []byte, s string) []byte { return appendText(b, keepable(s)) }

// AppendJSON writes a JSON text as a literal.
func (sqlDialect) AppendJSON(b, text []byte) []byte { return appendText(b, keepableJSON(text)) }

func appendText[T string | []byte](b []byte, text T) []byte {
	b = append(b, '\'')
	for i := range len(text) {
		if b = append(b, text[i]); text[i] == '\'' {
			b = append(b, '\'')
		}
	}
	return append(b, '\'')
}

// unkeepable is the sign for what cannot be shown.
const unkeepable = "\uFFFD"

// keepable puts a sign where text holds what PostgreSQL cannot keep: the character
// NUL, and bytes that are no UTF-8. Requests with them are refused, but answers
// from outside may hold them, and a step whose answer cannot be kept would be
// repeated for ever.
func keepable(text string) string {
	if strings.IndexByte(text, 0) < 0 && utf8.ValidString(text) {
		return text
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, unkeepable), "\x00", unkeepable)
}

// keepableJSON does the same for a JSON text, where NUL is written \u0000.
func keepableJSON(text []byte) []byte {
	if bytes.IndexByte(text, 0) >= 0 || !utf8.Valid(text) {
		text = []byte(keepable(string(text)))
	}
	for from := 0; ; {
		at := bytes.Index(text[from:], []byte(`\u0000`))
		if at < 0 {
			return text
		}
		at += from
		from = at + len(`\u0000`)
		if escapes(text, at) {
			// As long as what it replaces. The text belongs to the caller.
			text = append(append(bytes.Clone(text[:at]), `\ufffd`...), text[from:]...)
		}
	}
}

// escapes tells whether the backslash at a place of a JSON text begins an escape,
// or is what another one escapes.
func escapes(text []byte, at int) bool {
	before := at - len(bytes.TrimRight(text[:at], `\`))
	return before%2 == 0
}
