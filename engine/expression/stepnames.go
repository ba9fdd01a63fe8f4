package expression

import "strings"

// dash stands for the - of a step id while a source is parsed. Step ids may hold
// dashes, which the grammar would take for subtraction. Nobody subtracts from a
// step, so steps.my-step always means the step: its dashes are replaced by one
// letter each, which keeps every position, and put back when the id is read.
const dash = '\uA7F7'

func hideDashes(src string) string {
	if !strings.Contains(src, "steps") || !strings.Contains(src, "-") {
		return src
	}
	var b strings.Builder
	kept := 0 // what lies before is in b
	for i := 0; i < len(src); {
		if n := skipQuoted(src, i); n > i {
			i = n
			continue
		}
		if !isWordByte(src[i]) {
			i++
			continue
		}
		end := wordEnd(src, i)
		if src[i:end] != "steps" || afterDot(src, i) {
			i = end
			continue
		}
		from := skipSpace(src, end)
		switch {
		case strings.HasPrefix(src[from:], "?."):
			from += 2
		case strings.HasPrefix(src[from:], ".") && !strings.HasPrefix(src[from:], ".."):
			from++
		default:
			i = end
			continue
		}
		from = skipSpace(src, from)
		to := from
		for to < len(src) && (isWordByte(src[to]) || to > from && src[to] == '-') {
			to++
		}
		b.WriteString(src[kept:from])
		b.WriteString(strings.ReplaceAll(src[from:to], "-", string(dash)))
		kept, i = to, max(to, end)
	}
	if kept == 0 {
		return src
	}
	b.WriteString(src[kept:])
	return b.String()
}

func showDashes(s string) string { return strings.ReplaceAll(s, string(dash), "-") }

// skipQuoted gives the end of the text literal or comment that starts at i, or i
// if none starts there. An unfinished one ends with the source.
func skipQuoted(src string, i int) int {
	switch c := src[i]; {
	case c == '"' || c == '\'':
		for j := i + 1; j < len(src); j++ {
			switch src[j] {
			case '\\':
				j++
			case c:
				return j + 1
			}
		}
		return len(src)
	case c == '`':
		if n := strings.IndexByte(src[i+1:], '`'); n >= 0 {
			return i + 1 + n + 1
		}
		return len(src)
	case strings.HasPrefix(src[i:], "/*"):
		if n := strings.Index(src[i+2:], "*/"); n >= 0 {
			return i + 2 + n + 2
		}
		return len(src)
	case strings.HasPrefix(src[i:], "//"):
		if n := strings.IndexByte(src[i:], '\n'); n >= 0 {
			return i + n + 1
		}
		return len(src)
	}
	return i
}

func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func wordEnd(src string, i int) int {
	for i < len(src) && isWordByte(src[i]) {
		i++
	}
	return i
}

func skipSpace(src string, i int) int {
	for i < len(src) && (src[i] == ' ' || src[i] == '\t' || src[i] == '\n' || src[i] == '\r') {
		i++
	}
	return i
}

// afterDot tells whether the word at i is the name of a field.
func afterDot(src string, i int) bool {
	before := strings.TrimRight(src[:i], " \t\r\n")
	return strings.HasSuffix(before, ".") && !strings.HasSuffix(before, "..")
}
