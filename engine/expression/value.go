package expression

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Decode reads a JSON value the way expressions need it: a number is an int when
// it is whole and fits 64 bits, else a float64. Nesting deeper than MaxDepth and
// numbers out of range are refused. Nothing at all is read as null.
func Decode(raw json.RawMessage) (any, error) {
	if len(raw) == 0 {
		return nil, nil //nolint:nilnil // null is a value
	}
	if tooDeep(raw) {
		return nil, errTooDeep
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, errNotJSON
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotJSON
	}
	return Normalize(v)
}

var (
	errTooDeep = fmt.Errorf("the value nests deeper than %d levels", MaxDepth)
	errNotJSON = errors.New("the text is not JSON")
)

// tooDeep tells whether JSON text nests deeper than MaxDepth, without reading it.
func tooDeep(raw []byte) bool {
	depth, inText := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// Normalize gives v as expressions need it, see Decode. It takes what
// encoding/json puts into an any, with or without UseNumber, raw JSON, and the
// plain Go numbers and maps and slices of those. Lists and maps that need no change
// are kept, not copied.
func Normalize(v any) (any, error) { return normalize(v, 0) }

func normalize(v any, depth int) (any, error) {
	if depth > MaxDepth {
		return nil, errTooDeep
	}
	switch v := v.(type) {
	case nil, bool, string, int:
		return v, nil
	case float64:
		return wholeOrFloat(v)
	case json.Number:
		return number(string(v))
	case []any:
		return normalizeList(v, depth)
	case map[string]any:
		return normalizeObject(v, depth)
	case json.RawMessage:
		d, err := Decode(v)
		if err != nil {
			return nil, err
		}
		return normalize(d, depth)
	case int64:
		return int(v), nil
	case int32:
		return int(v), nil
	case uint32:
		return int(v), nil
	case uint64:
		if v > math.MaxInt {
			return float64(v), nil
		}
		return int(v), nil
	case float32:
		return wholeOrFloat(float64(v))
	case time.Time:
		return timeText(v), nil
	case time.Duration:
		return FormatDuration(v), nil
	case []string:
		list := make([]any, len(v))
		for i, s := range v {
			list[i] = s
		}
		return list, nil
	case map[string]string:
		m := make(map[string]any, len(v))
		for k, s := range v {
			m[k] = s
		}
		return m, nil
	}
	return nil, errors.New("the value is not JSON")
}

func normalizeList(list []any, depth int) (any, error) {
	out, copied := list, false
	for i, e := range list {
		n, err := normalize(e, depth+1)
		if err != nil {
			return nil, err
		}
		if same(n, e) {
			continue
		}
		if !copied {
			out, copied = slices.Clone(list), true
		}
		out[i] = n
	}
	return out, nil
}

func normalizeObject(m map[string]any, depth int) (any, error) {
	out, copied := m, false
	for k, e := range m {
		n, err := normalize(e, depth+1)
		if err != nil {
			return nil, err
		}
		if same(n, e) {
			continue
		}
		if !copied {
			out, copied = maps.Clone(m), true
		}
		out[k] = n
	}
	return out, nil
}

// same tells whether normalising has given back the value it was given.
func same(a, b any) bool {
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		return ok && len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
	}
	switch b.(type) {
	case nil, bool, string, int, float64:
		return a == b
	}
	return false
}

// number reads the text of a JSON number.
func number(s string) (any, error) {
	if !strings.ContainsAny(s, ".eE") {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return int(i), nil
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, fmt.Errorf("the number %s is out of range", abridge(s, 40))
	}
	return wholeOrFloat(f)
}

// wholeOrFloat gives a whole number as int where float64 holds it exactly.
func wholeOrFloat(f float64) (any, error) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, errors.New("the number is not finite")
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return int(f), nil
	}
	return f, nil
}

// timeText writes a time as the product does everywhere: RFC 3339 in UTC with at
// least milliseconds.
func timeText(t time.Time) string {
	t = t.UTC()
	if t.Nanosecond()%int(time.Millisecond) == 0 {
		return t.Format("2006-01-02T15:04:05.000Z07:00")
	}
	return t.Format(time.RFC3339Nano)
}

// parseTime reads a date (midnight UTC) or an RFC 3339 time.
func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 0 {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// abridge cuts s to about n bytes for use in a message.
func abridge(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
