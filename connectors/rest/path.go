package rest

import (
	"net/url"
	"strings"
)

// Path fills values into the places of a pattern, such as /leads/{}/notes, in their
// order. Each value is one segment of the path, whatever is in it: one that would
// lead elsewhere is refused. The pattern is the program's own.
func Path(pattern string, values ...string) (string, error) {
	var out strings.Builder
	for _, value := range values {
		before, after, ok := strings.Cut(pattern, "{}")
		if !ok {
			panic("rest: more values than places in a path")
		}
		if value == "" || strings.Trim(value, ".") == "" && len(value) < 3 {
			return "", Invalid("%q cannot be part of an address", value)
		}
		out.WriteString(before)
		out.WriteString(url.PathEscape(value))
		pattern = after
	}
	if strings.Contains(pattern, "{}") {
		panic("rest: fewer values than places in a path")
	}
	out.WriteString(pattern)
	return out.String(), nil
}
