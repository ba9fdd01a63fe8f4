package store

import (
	"bytes"

	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
)

// The two dialects of bun, with a way to write JSON that keeps it as it is. bun's
// own doubles the backslash of every \u0000 it sees, so it makes the harmless text
// \\u0000 into one that holds the character.
type (
	pgDialect  struct{ *pgdialect.Dialect }
	sqlDialect struct{ *sqlitedialect.Dialect }
)

// AppendJSON writes a JSON text as a literal.
func (pgDialect) AppendJSON(b, text []byte) []byte { return appendJSON(b, text) }

// AppendJSON writes a JSON text as a literal.
func (sqlDialect) AppendJSON(b, text []byte) []byte { return appendJSON(b, text) }

// appendJSON keeps everything but the character NUL, which becomes the sign for
// what cannot be shown: requests with it are refused, but answers from outside may
// hold it, and PostgreSQL cannot read a JSON text that does.
func appendJSON(b, text []byte) []byte {
	b = append(b, '\'')
	for len(text) > 0 {
		at := bytes.IndexAny(text, "'\\\x00")
		if at < 0 {
			b = append(b, text...)
			break
		}
		b = append(b, text[:at]...)
		text = text[at:]
		n := 1 // of the bytes that belong together
		switch {
		case text[0] == '\'':
			b = append(b, "''"...)
		case text[0] == 0: // not JSON at all; the database shall say so, and not of half a statement
		case bytes.HasPrefix(text, []byte(`\u0000`)):
			b = append(b, `\ufffd`...)
			n = len(`\u0000`)
		case len(text) > 1 && text[1] == '\\':
			b = append(b, `\\`...)
			n = 2
		default:
			b = append(b, '\\')
		}
		text = text[n:]
	}
	return append(b, '\'')
}
