package expression

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// path is a read such as payload.items[0]?.name. It is compiled whole rather than
// step by step, so that ?. and ?? can end it early and errors can name it.
type path struct {
	root   string // a name of data, or "" when the base is an argument
	label  string // the base as the user wrote it
	offset int
	keys   []pathKey
	soft   bool // left of ??: whatever is missing on the way gives null
}

// pathKey is one step of a path. Exactly one of name, index and argument holds.
type pathKey struct {
	form     keyForm
	name     string
	index    int
	argument int // which argument of the call holds the key
	optional bool
	offset   int
}

type keyForm int

const (
	keyName keyForm = iota
	keyIndex
	keyArgument
)

// readsEvent tells whether a path into trigger may read more of its event than the id.
func (p *path) readsEvent() bool {
	switch {
	case len(p.keys) == 0, p.keys[0].form != keyName:
		return true
	case p.keys[0].name != "event":
		return false
	}
	return len(p.keys) == 1 || p.keys[1].form != keyName || p.keys[1].name != "id"
}

// unknownField tells of a field that nothing of the name ever has: it would always be
// null, and whoever misspelt it would not know.
func (data root) unknownField(p *path) (problem string, where int) {
	known := data.fields
	for i, k := range p.keys[:min(2, len(p.keys))] {
		if known == nil || k.form != keyName {
			return "", 0
		}
		if !slices.Contains(known, k.name) {
			problem = fmt.Sprintf("%s has no %s", p.text(i), abridge(k.name, 64))
			if near := closest(k.name, known); near != "" {
				return problem + "; did you mean " + near + "?", k.offset
			}
			return problem + "; it has " + strings.Join(known, ", "), k.offset
		}
		known = nil
		if data.name == "trigger" && k.name == "event" {
			known = eventFields
		}
	}
	return "", 0
}

// read follows the path from base.
func (p *path) read(f *frame, base any, arguments []any) (any, error) {
	v := base
	for i := range p.keys {
		k := &p.keys[i]
		if v == nil {
			if p.soft || k.optional {
				return nil, nil //nolint:nilnil // null is a value
			}
			return nil, p.nullFault(i)
		}
		next, problem, err := k.of(f, v, arguments)
		if err != nil {
			return nil, err
		}
		if problem != "" {
			if p.soft || k.optional {
				return nil, nil //nolint:nilnil // null is a value
			}
			return nil, faultf(k.offset, "%s is %s%s", p.text(i), kindOf(v), problem)
		}
		v = next
	}
	return v, nil
}

// of takes one step from v, which is not null. A problem is the rest of a sentence
// that begins with what v is; a field or item that is not there is no problem.
func (k *pathKey) of(f *frame, v any, arguments []any) (next any, problem string, err error) {
	var key any
	switch k.form {
	case keyName:
		if m, ok := v.(map[string]any); ok {
			return m[k.name], "", nil
		}
		key = k.name
	case keyIndex:
		key = k.index
	case keyArgument:
		key = arguments[k.argument]
	}
	switch v := v.(type) {
	case map[string]any:
		name, ok := key.(string)
		if !ok {
			return nil, ", whose fields have names, not " + kindOf(key).String(), nil
		}
		return v[name], "", nil
	case []any:
		i, ok := wholeNumber(key)
		if !ok {
			return nil, ", whose items have numbers from 0; take one of them, as in [0], or use map", nil
		}
		if i < 0 {
			i += len(v)
		}
		if i < 0 || i >= len(v) {
			return nil, "", nil
		}
		return v[i], "", nil
	case string:
		i, ok := wholeNumber(key)
		if !ok {
			return nil, ", which has no fields", nil
		}
		return character(v, i), "", f.spendText(4 * len(v))
	}
	return nil, ", which has no fields", nil
}

// character gives the character of s at i, from the end if i is negative, or null.
func character(s string, i int) any {
	for ; i < -1 && s != ""; i++ {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	if i == -1 && s != "" {
		r, _ := utf8.DecodeLastRuneInString(s)
		return string(r)
	}
	for _, r := range s {
		if i == 0 {
			return string(r)
		}
		i--
	}
	return nil
}

// wholeNumber gives v as int if it is a number without fraction.
func wholeNumber(v any) (int, bool) {
	switch v := v.(type) {
	case int:
		return v, true
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int(v), true
		}
	}
	return 0, false
}

func (p *path) nullFault(i int) error {
	k := p.keys[i]
	what := "." + k.name
	if k.form != keyName || !isName(k.name) {
		what = k.text()
	}
	return faultf(k.offset, "%s is null, so %s cannot be read; write %s", p.text(i), what, p.text(i)+k.optionalText())
}

// text gives the first n keys of the path as the user would write them.
func (p *path) text(n int) string {
	var b strings.Builder
	b.WriteString(p.label)
	for i := range n {
		k := p.keys[i]
		if k.optional {
			b.WriteString(k.optionalText())
		} else {
			b.WriteString(k.text())
		}
	}
	return b.String()
}

func (k *pathKey) text() string {
	switch k.form {
	case keyIndex:
		return "[" + strconv.Itoa(k.index) + "]"
	case keyArgument:
		return "[…]"
	case keyName:
	}
	if isName(k.name) {
		return "." + k.name
	}
	return "[" + strconv.Quote(abridge(k.name, 40)) + "]"
}

func (k *pathKey) optionalText() string {
	if t := k.text(); t[0] == '[' {
		return "?." + t
	}
	return "?" + k.text()
}

// isName tells whether s can be written after a dot.
func isName(s string) bool {
	for i := range len(s) {
		letter := s[i] == '_' || s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z'
		digit := s[i] >= '0' && s[i] <= '9'
		if !letter && (!digit || i == 0) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}
