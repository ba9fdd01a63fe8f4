package expression

import (
	"strconv"
	"strings"
)

// ReplaceLiterals gives an expression with the text and number literals replaced for
// which with gives something else. What stands in comments stays. A sign is not part
// of a number, and {{ … }} around all of the expression is taken off.
func ReplaceLiterals(src string, with func(v any) (string, bool)) string {
	if t := strings.TrimSpace(src); strings.HasPrefix(t, "{{") && strings.HasSuffix(t, "}}") && strings.Count(t, "{{") == 1 {
		src = strings.TrimSpace(t[2 : len(t)-2])
	}
	var b strings.Builder
	for i := 0; i < len(src); {
		end, v, known := literalAt(src, i)
		if end == i {
			b.WriteByte(src[i])
			i++
			continue
		}
		out := src[i:end]
		if known {
			if other, ok := with(v); ok {
				out = other
			}
		}
		b.WriteString(out)
		i = end
	}
	return b.String()
}

// literalAt gives the end of what stands at i where that is a literal, a name or a
// comment, and the value of a literal.
func literalAt(src string, i int) (end int, v any, known bool) {
	if end = skipQuoted(src, i); end > i {
		v, known = textLiteral(src[i:end])
		return end, v, known
	}
	c := src[i]
	if !word(c) {
		return i, nil, false
	}
	digits := c >= '0' && c <= '9' && (i == 0 || src[i-1] != '.')
	for end = i; end < len(src) && (word(src[end]) || digits && partOfNumber(src, end)); end++ {
		continue
	}
	if !digits {
		return end, nil, false
	}
	d, err := Decode([]byte(strings.ReplaceAll(src[i:end], "_", "")))
	return end, d, err == nil
}

// partOfNumber tells whether a sign at i belongs to the number before it: its point,
// which two of are a range, or the sign of its exponent.
func partOfNumber(src string, i int) bool {
	if i == 0 || i+1 >= len(src) || src[i+1] < '0' || src[i+1] > '9' {
		return false
	}
	return src[i] == '.' || (src[i] == '-' || src[i] == '+') && (src[i-1] == 'e' || src[i-1] == 'E')
}

func word(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func textLiteral(quoted string) (v any, ok bool) {
	if len(quoted) < 2 || quoted[0] == '/' || quoted[0] != quoted[len(quoted)-1] {
		return nil, false
	}
	inner := quoted[1 : len(quoted)-1]
	switch {
	case quoted[0] == '`' || !strings.Contains(inner, `\`):
		return inner, true
	case quoted[0] == '\'':
		quoted = `"` + strings.ReplaceAll(strings.ReplaceAll(inner, `\'`, `'`), `"`, `\"`) + `"`
	}
	s, err := strconv.Unquote(quoted)
	return s, err == nil
}
