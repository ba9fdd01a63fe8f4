package expression

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// meter counts the size of a value while it is walked, so that a value that shares
// its parts, small in memory and endless as JSON, is stopped on the way.
type meter struct{ left int }

func (m *meter) take(n int) bool {
	m.left -= n
	return m.left >= 0
}

// plain gives v with nothing in it but JSON: times and durations become text.
// Lists and maps are copied only where something in them changes.
func (m *meter) plain(v any, depth int) (any, error) {
	if depth > MaxDepth {
		return nil, errTooDeep
	}
	switch v := v.(type) {
	case nil, bool, int:
		return v, m.fits(5)
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return nil, errNotFinite
		}
		return v, m.fits(8)
	case string:
		return v, m.fits(len(v) + 2)
	case time.Time:
		return timeText(v), m.fits(26)
	case time.Duration:
		return FormatDuration(v), m.fits(16)
	case []any:
		return m.plainList(v, depth)
	case map[string]any:
		return m.plainObject(v, depth)
	}
	return nil, errNotPlain
}

var (
	errTooLarge  = errors.New("the result is too large")
	errNotFinite = errors.New("the result is not a finite number")
	errNotPlain  = errors.New("the result is not a JSON value")
)

func (m *meter) fits(n int) error {
	if !m.take(n) {
		return errTooLarge
	}
	return nil
}

func (m *meter) plainList(list []any, depth int) (any, error) {
	if err := m.fits(2 + len(list)); err != nil {
		return nil, err
	}
	out, copied := list, false
	for i, e := range list {
		n, err := m.plain(e, depth+1)
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

func (m *meter) plainObject(object map[string]any, depth int) (any, error) {
	if err := m.fits(2); err != nil {
		return nil, err
	}
	out, copied := object, false
	for k, e := range object {
		if err := m.fits(len(k) + 4); err != nil {
			return nil, err
		}
		n, err := m.plain(e, depth+1)
		if err != nil {
			return nil, err
		}
		if same(n, e) {
			continue
		}
		if !copied {
			out, copied = maps.Clone(object), true
		}
		out[k] = n
	}
	return out, nil
}

// appendText adds a plain value as text: null is nothing, lists and objects are
// JSON, whole numbers have neither point nor exponent.
func appendText(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return b, nil
	case string:
		return append(b, v...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case float64:
		if v == math.Trunc(v) {
			return strconv.AppendFloat(b, v, 'f', -1, 64), nil
		}
	}
	raw, err := encode(v)
	if err != nil {
		return nil, err
	}
	return append(b, raw...), nil
}

// encode writes a plain value as JSON with keys in order and no HTML escapes.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, errNotPlain
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// textOf is the text of any value, as string(x) and join give it.
func (f *frame) textOf(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case nil:
		return "", nil
	}
	v, err := f.plainValue(v)
	if err != nil {
		return "", err
	}
	b, err := appendText(nil, v)
	if err != nil {
		return "", err
	}
	return string(b), f.grow(len(b))
}

// plainValue is meter.plain inside an evaluation, paid for.
func (f *frame) plainValue(v any) (any, error) {
	m := &meter{left: MaxRendered}
	out, err := m.plain(v, 0)
	if err != nil {
		return nil, err
	}
	return out, f.spend((MaxRendered - m.left) / 4)
}

// equal compares two values: numbers by amount, times by instant, lists and objects
// by content. Values of different kinds are not equal.
func (f *frame) equal(a, b any) (bool, error) {
	switch a := a.(type) {
	case nil:
		return b == nil, nil
	case bool:
		b, ok := b.(bool)
		return ok && a == b, nil
	case int:
		switch b := b.(type) {
		case int:
			return a == b, nil
		case float64:
			return compareIntFloat(a, b) == 0, nil
		}
	case float64:
		switch b := b.(type) {
		case int:
			return compareIntFloat(b, a) == 0, nil
		case float64:
			return a == b, nil
		}
	case string:
		b, ok := b.(string)
		if !ok || len(a) != len(b) {
			return false, nil
		}
		return a == b, f.spendText(len(a))
	case time.Time:
		b, ok := b.(time.Time)
		return ok && a.Equal(b), nil
	case time.Duration:
		b, ok := b.(time.Duration)
		return ok && a == b, nil
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false, nil
		}
		for i := range a {
			if err := f.spend(1); err != nil {
				return false, err
			}
			if eq, err := f.equal(a[i], b[i]); !eq || err != nil {
				return false, err
			}
		}
		return true, nil
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false, nil
		}
		for k, x := range a {
			if err := f.spend(2); err != nil {
				return false, err
			}
			y, ok := b[k]
			if !ok {
				return false, nil
			}
			if eq, err := f.equal(x, y); !eq || err != nil {
				return false, err
			}
		}
		return true, nil
	}
	return false, nil
}

// compareIntFloat orders a whole number and a float exactly, where converting
// either to the other's type would round.
func compareIntFloat(i int, f float64) int {
	switch {
	case f >= 1<<63:
		return -1
	case f < -(1 << 63):
		return 1
	}
	whole := math.Trunc(f)
	switch w := int(whole); {
	case i < w:
		return -1
	case i > w:
		return 1
	case f > whole:
		return -1
	case f < whole:
		return 1
	}
	return 0
}

// order compares two values of one ordered kind; ok is false for any others.
func (f *frame) order(a, b any) (order int, ok bool, err error) {
	switch a := a.(type) {
	case int:
		switch b := b.(type) {
		case int:
			return cmp.Compare(a, b), true, nil
		case float64:
			return compareIntFloat(a, b), true, nil
		}
	case float64:
		switch b := b.(type) {
		case int:
			return -compareIntFloat(b, a), true, nil
		case float64:
			return cmp.Compare(a, b), true, nil
		}
	case string:
		if b, ok := b.(string); ok {
			return strings.Compare(a, b), true, f.spendText(min(len(a), len(b)))
		}
	case time.Time:
		if b, ok := b.(time.Time); ok {
			return a.Compare(b), true, nil
		}
	case time.Duration:
		if b, ok := b.(time.Duration); ok {
			return cmp.Compare(a, b), true, nil
		}
	}
	return 0, false, nil
}
