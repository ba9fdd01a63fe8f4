package connectors

import (
	"bytes"
	"encoding/json"
	"mime"
	"strings"
	"unicode/utf16"
)

// MaxDepth is how deeply nested a JSON value from outside may be.
const MaxDepth = 64

const replacement = `\ufffd`

// CleanJSON checks that raw is one JSON value and makes it storable in every
// database: compact, valid UTF-8, no NUL and no half surrogate pair (each becomes
// U+FFFD), not nested deeper than MaxDepth. Numbers and the order of fields stay
// as they were sent. The error is a permanent *Error.
func CleanJSON(raw []byte) (json.RawMessage, error) {
	// Depth first: the parser below recurses no further than what passed here.
	if depth(raw) > MaxDepth {
		return nil, Permanent(CodeBadResponse, "the answer is nested deeper than %d levels", MaxDepth)
	}
	var out bytes.Buffer
	if err := json.Compact(&out, bytes.ToValidUTF8(raw, []byte("\uFFFD"))); err != nil {
		return nil, Permanent(CodeBadResponse, "the answer is not valid JSON")
	}
	return cleanEscapes(out.Bytes()), nil
}

// IsJSON tells whether a Content-Type announces JSON.
func IsJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json"))
}

// depth counts the deepest nesting of brackets outside strings.
func depth(raw []byte) int {
	var open, deepest int
	inString := false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			inString = !inString
		case inString && c == '\\':
			i++
		case inString:
		case c == '{' || c == '[':
			open++
			deepest = max(deepest, open)
		case c == '}' || c == ']':
			open--
		}
	}
	return deepest
}

// cleanEscapes replaces \u0000 and unpaired surrogates in valid JSON, where a
// backslash occurs in strings only. Most values have none and come back as they are.
func cleanEscapes(v []byte) []byte {
	if !bytes.Contains(v, []byte(`\u`)) {
		return v
	}
	out := make([]byte, 0, len(v))
	for i := 0; i < len(v); {
		if v[i] != '\\' {
			out = append(out, v[i])
			i++
			continue
		}
		if v[i+1] != 'u' {
			out = append(out, v[i:i+2]...)
			i += 2
			continue
		}
		r := hex4(v[i+2 : i+6])
		switch {
		case utf16.IsSurrogate(r) && paired(r, v[i+6:]):
			out = append(out, v[i:i+12]...)
			i += 12
			continue
		case r == 0 || utf16.IsSurrogate(r):
			out = append(out, replacement...)
		default:
			out = append(out, v[i:i+6]...)
		}
		i += 6
	}
	return out
}

func paired(high rune, rest []byte) bool {
	return len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' &&
		utf16.DecodeRune(high, hex4(rest[2:6])) != '\uFFFD'
}

// hex4 reads four hexadecimal digits that the JSON parser has accepted.
func hex4(digits []byte) rune {
	var r rune
	for _, c := range digits {
		switch {
		case c <= '9':
			c -= '0'
		case c >= 'a':
			c -= 'a' - 10
		default:
			c -= 'A' - 10
		}
		r = r<<4 | rune(c)
	}
	return r
}
