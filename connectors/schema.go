package connectors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/10ex/flows/internal/metered"
)

// Schema is a compiled JSON Schema. It is safe for concurrent use.
type Schema struct {
	compiled validator
}

// validator is a schema of the program, or one of somebody else's under a meter.
type validator interface{ Validate(value any) error }

// Violation says where and how a value breaks a Schema. It never repeats the
// value, which may be a secret.
type Violation struct {
	Path    []string // from the root; empty for the whole value
	Message string
}

func (v Violation) String() string {
	if len(v.Path) == 0 {
		return v.Message
	}
	return strings.Join(v.Path, ".") + ": " + v.Message
}

// CompileSchema compiles a JSON Schema (2020-12) that is part of the program.
// References to other documents are refused: a schema must not make us fetch anything.
func CompileSchema(raw json.RawMessage) (*Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, errors.New("schema is not JSON")
	}
	return compileSchema(doc)
}

// CompileForeignSchema is CompileSchema for a schema that somebody else wrote: a check of
// it is stopped when it takes too long.
func CompileForeignSchema(raw json.RawMessage) (*Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, errors.New("schema is not JSON")
	}
	compiled, err := metered.Compile(doc, noLoader{})
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return &Schema{compiled: compiled}, nil
}

func compileSchema(doc any) (*Schema, error) {
	const self = "urn:schema"
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(noLoader{})
	if err := c.AddResource(self, doc); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	compiled, err := c.Compile(self)
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return &Schema{compiled: compiled}, nil
}

// CheckSchema tells whether CompileSchema would take a schema, given as values of
// encoding/json.
func CheckSchema(doc any) error {
	_, err := compileSchema(doc)
	return err
}

// MustCompileSchema is CompileSchema for schemas written in the program; it panics
// when one is wrong.
func MustCompileSchema(raw string) *Schema {
	s, err := CompileSchema(json.RawMessage(raw))
	if err != nil {
		panic(err)
	}
	return s
}

// Check returns how value breaks the schema, in order of place; none if it fits.
func (s *Schema) Check(value json.RawMessage) []Violation {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return []Violation{{Message: "is not JSON"}}
	}
	var invalid *jsonschema.ValidationError
	switch err := s.compiled.Validate(v); {
	case err == nil:
		return nil
	case errors.Is(err, metered.ErrTooLong):
		return []Violation{{Message: "cannot be checked: the schema takes too long for it"}}
	case errors.Is(err, metered.ErrNumber):
		return []Violation{{Message: metered.ErrNumber.Error()}}
	case !errors.As(err, &invalid):
		return []Violation{{Message: "does not fit the schema"}}
	}
	found := leaves(invalid, nil)
	slices.SortStableFunc(found, func(a, b Violation) int { return slices.Compare(a.Path, b.Path) })
	return found
}

// leaves flattens the tree of errors to those that say something of their own.
func leaves(e *jsonschema.ValidationError, into []Violation) []Violation {
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			into = append(into, Violation{Path: append(slices.Clone(e.InstanceLocation), name), Message: "is required"})
		}
		return into
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			into = append(into, Violation{Path: append(slices.Clone(e.InstanceLocation), name), Message: "is not a known field"})
		}
		return into
	case *kind.AnyOf, *kind.OneOf:
		// The branches contradict each other; listing them all helps nobody.
		return append(into, Violation{Path: e.InstanceLocation, Message: "does not have one of the allowed forms"})
	}
	if len(e.Causes) == 0 {
		return append(into, Violation{Path: e.InstanceLocation, Message: explain(e.ErrorKind)})
	}
	for _, cause := range e.Causes {
		into = leaves(cause, into)
	}
	return into
}

func explain(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "must be " + strings.Join(k.Want, " or ")
	case *kind.Enum:
		want, err := json.Marshal(k.Want)
		if err != nil {
			return "is not one of the allowed values"
		}
		return "must be one of " + string(want)
	case *kind.Const:
		return "must have its fixed value"
	case *kind.Pattern:
		return "must match " + k.Want
	case *kind.Format:
		return "must be a valid " + k.Want
	case *kind.MinLength:
		return fmt.Sprintf("must have at least %d characters", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d characters", k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("must have at least %d items", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d items", k.Want)
	case *kind.Minimum:
		return "must be at least " + k.Want.RatString()
	case *kind.Maximum:
		return "must be at most " + k.Want.RatString()
	case *kind.FalseSchema:
		return "is not allowed"
	}
	if path := k.KeywordPath(); len(path) > 0 {
		return "breaks the rule " + path[0]
	}
	return "does not fit the schema"
}

// violated makes one error of all violations.
func violated(code, what string, found []Violation) error {
	const most = 10 // enough to mend the input, short enough to read
	lines := make([]string, 0, most)
	for i, v := range found {
		if i == most {
			lines = append(lines, fmt.Sprintf("and %d more", len(found)-most))
			break
		}
		lines = append(lines, v.String())
	}
	return Permanent(code, "%s is not valid: %s", what, strings.Join(lines, "; "))
}

// CheckInput returns a permanent error naming the fields in which input breaks s.
func (s *Schema) CheckInput(input json.RawMessage) error {
	if found := s.Check(orNull(input)); len(found) > 0 {
		return violated(CodeInputInvalid, "the input", found)
	}
	return nil
}

// CheckOutput returns a permanent error naming the fields in which output breaks s.
func (s *Schema) CheckOutput(output json.RawMessage) error {
	if found := s.Check(orNull(output)); len(found) > 0 {
		return violated(CodeOutputInvalid, "the output", found)
	}
	return nil
}

func orNull(v json.RawMessage) json.RawMessage {
	if len(v) == 0 {
		return json.RawMessage("null")
	}
	return v
}

type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("references to other documents are not allowed")
}
