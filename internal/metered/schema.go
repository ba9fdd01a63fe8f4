package metered

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Bounds of one check. A look takes longer the deeper it lies, so there is a limit of
// time as well.
const (
	fuel    = 1_000_000
	maxTime = 4 * time.Second
)

// ErrTooLong says that a check was stopped, and nothing about the value.
var ErrTooLong = errors.New("the schema takes too long to check")

// ErrNumber says that a value or a schema holds a number that cannot be compared in
// reasonable time. They are compared exactly, and 1e999999 has a million digits.
var ErrNumber = errors.New("holds a number with too many digits or too large an exponent")

// What of numbers is compared.
const (
	maxDigits   = 1000
	maxExponent = 1000
)

// Schema is a compiled schema. It may be used concurrently; there is one check at a
// time, because the validator tells a schema nothing about who asks.
type Schema struct {
	compiled *jsonschema.Schema

	mu    sync.Mutex
	left  int
	until time.Time
}

const address = "urn:schema"

// Compile compiles a schema, given as jsonschema.UnmarshalJSON gives it. A reference to
// another document is the loader's to follow or to refuse. The error is that of the
// validator, or ErrNumber.
func Compile(doc any, loader jsonschema.URLLoader) (*Schema, error) {
	if !countable(doc) {
		return nil, ErrNumber
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(loader)
	if err := c.AddResource(address, doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(address)
	if err != nil {
		return nil, err
	}
	s := &Schema{}
	g := gauge{burn: s.burn, known: map[*jsonschema.Schema]*jsonschema.Schema{}}
	s.compiled = g.before(compiled)
	// Who is referred to dynamically is found by name while a value is checked, and so
	// is not met on the way from the root.
	for _, pointer := range anchors(doc, "", nil) {
		if more, err := c.Compile(address + "#" + pointer); err == nil {
			g.before(more)
		}
	}
	return s, nil
}

// Validate checks a value, as jsonschema.UnmarshalJSON gives one. The error is a
// *jsonschema.ValidationError, ErrTooLong or ErrNumber.
func (s *Schema) Validate(v any) (err error) {
	if !countable(v) {
		return ErrNumber
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.until = fuel, time.Now().Add(maxTime)
	defer func() {
		if p := recover(); p != nil {
			if p != any(ErrTooLong) {
				panic(p)
			}
			err = ErrTooLong
		}
	}()
	return s.compiled.Validate(v)
}

// burn is called before each look of a schema at a value.
func (s *Schema) burn(any) error {
	if s.left--; s.left < 0 || time.Now().After(s.until) {
		panic(ErrTooLong) // the only way out of the validator
	}
	return nil
}

// countable tells whether all numbers in a value are short enough to be compared.
func countable(v any) bool {
	switch v := v.(type) {
	case json.Number:
		return short(string(v))
	case []any:
		for _, one := range v {
			if !countable(one) {
				return false
			}
		}
	case map[string]any:
		for _, one := range v {
			if !countable(one) {
				return false
			}
		}
	}
	return true
}

func short(number string) bool {
	if len(number) > maxDigits {
		return false
	}
	i := strings.IndexAny(number, "eE")
	if i < 0 {
		return true
	}
	n, err := strconv.Atoi(strings.TrimPrefix(number[i+1:], "+"))
	return err == nil && n <= maxExponent && n >= -maxExponent
}

// anchors gives the places of schemas that can be referred to dynamically.
func anchors(doc any, at string, into []string) []string {
	switch v := doc.(type) {
	case map[string]any:
		_, dynamic := v["$dynamicAnchor"]
		_, recursive := v["$recursiveAnchor"]
		if dynamic || recursive {
			into = append(into, at)
		}
		for name, one := range v {
			into = anchors(one, at+"/"+escapePointer(name), into)
		}
	case []any:
		for i, one := range v {
			into = anchors(one, at+"/"+strconv.Itoa(i), into)
		}
	}
	return into
}
