package expression

import (
	"strings"
	"time"
)

// Kind says what an expression must give.
type Kind int

// The kinds of result.
const (
	// Any takes every JSON value. Times and durations become text.
	Any Kind = iota
	// Bool takes true and false only; there is no truthiness.
	Bool
	// List takes lists of at most MaxItems.
	List
	// Time takes a time, or text with a date or an RFC 3339 time. A source that is
	// itself such text, unquoted, is taken as that time.
	Time
)

// kinds is a set of kinds a value may have, as far as can be told before it exists.
type kinds uint16

const (
	isNull kinds = 1 << iota
	isBool
	isNumber
	isText
	isList
	isObject
	isTime
	isDuration

	isAny = 1<<iota - 1
)

var kindWords = []struct {
	kind kinds
	word string
}{
	{isNull, "null"},
	{isBool, "true or false"},
	{isNumber, "a number"},
	{isText, "text"},
	{isList, "a list"},
	{isObject, "an object"},
	{isTime, "a time"},
	{isDuration, "a duration"},
}

// String names the kinds of the set in the words of error messages.
func (k kinds) String() string {
	if k == 0 {
		return "a value that is not JSON"
	}
	if k == isAny {
		return "any value"
	}
	var words []string
	for _, w := range kindWords {
		if k&w.kind != 0 {
			words = append(words, w.word)
		}
	}
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " or " + words[n-1]
	}
	return words[0]
}

// kindOf tells the kind of a value, or 0 if it is none the language knows.
func kindOf(v any) kinds {
	switch v.(type) {
	case nil:
		return isNull
	case bool:
		return isBool
	case int, float64:
		return isNumber
	case string:
		return isText
	case []any:
		return isList
	case map[string]any:
		return isObject
	case time.Time:
		return isTime
	case time.Duration:
		return isDuration
	}
	return 0
}
