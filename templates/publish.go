package templates

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"

	"github.com/10ex/flows/engine/expression"
	"github.com/10ex/flows/models"
)

// Make makes a template of a version of a workflow and those of its triggers that
// are Publishable. inputs is a JSON Schema whose properties have defaults: wherever
// the workflow holds exactly that value, the input takes its place. It has been
// compiled as a schema. What is wrong is a *models.InvalidError; its places begin with
// inputs where that is to blame.
//
// Filled with its defaults the template gives the workflow back.
func Make(inputs json.RawMessage, v *models.Version, triggers []*models.Trigger) (*models.TemplateDocument, error) {
	doc, err := document(v, triggers)
	if err != nil {
		return nil, err
	}
	schema, defaults, err := closed(inputs)
	if err != nil {
		return nil, err
	}
	doc.Inputs = schema
	before, err := tree(doc)
	if err != nil {
		return nil, err
	}
	r := replacing{defaults: defaults, used: map[string]bool{}}
	after := r.value(before, nil)
	if wrong := r.unused(); len(wrong) > 0 {
		return nil, invalid(wrong...)
	}
	if err := setTree(doc, after); err != nil {
		return nil, err
	}
	filled, err := expression.Fill(after, defaults, func(path []any) bool { return roleOf(path) == condition })
	if err == nil && !same(before, filled) {
		err = errNotItself
	}
	if err != nil {
		return nil, invalid(models.FieldError{Loc: []any{}, Type: "expression", Msg: "the workflow cannot be made a template of: " + failure(err).Msg})
	}
	doc.Requires = requirements(doc)
	return doc, nil
}

var errNotItself = &expression.Error{Line: 1, Column: 1, Message: "something in it reads as {{ inputs… }} already"}

// inputPattern is what an input may be called.
var inputPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// Types are the types of the triggers of a template, in alphabetical order.
func Types(doc *models.TemplateDocument) []string { return triggerTypes(doc) }

func document(v *models.Version, triggers []*models.Trigger) (*models.TemplateDocument, error) {
	graph, err := json.Marshal(v.Graph)
	if err != nil {
		return nil, fmt.Errorf("graph: %w", err)
	}
	doc := &models.TemplateDocument{Graph: graph, InputSchema: v.InputSchema, Output: v.Output, Settings: v.Settings}
	for _, t := range triggers {
		if !Publishable(t) {
			continue
		}
		raw, err := json.Marshal(bodyOf(t))
		if err != nil {
			return nil, fmt.Errorf("trigger %s: %w", t.ID, err)
		}
		doc.Triggers = append(doc.Triggers, raw)
	}
	return doc, nil
}

func setTree(doc *models.TemplateDocument, whole any) error {
	raw, err := json.Marshal(whole)
	if err != nil {
		return fmt.Errorf("template: %w", err)
	}
	var p parts
	if err := json.Unmarshal(raw, &p); err != nil {
		return fmt.Errorf("template: %w", err)
	}
	doc.Graph, doc.InputSchema, doc.Output, doc.Settings, doc.Triggers = p.Graph, p.InputSchema, p.Output, p.Settings, p.Triggers
	return nil
}

// closed gives the schema of the inputs with what it leaves out, and the default of
// every input.
func closed(raw json.RawMessage) (json.RawMessage, map[string]any, error) {
	if len(raw) == 0 {
		raw = json.RawMessage(`{}`)
	}
	decoded, err := expression.Decode(raw)
	if err != nil {
		return nil, nil, invalid(models.FieldError{Loc: []any{"inputs"}, Msg: err.Error(), Type: "schema"})
	}
	schema, ok := decoded.(map[string]any)
	if typ, given := schema["type"]; !ok || given && typ != "object" {
		return nil, nil, invalid(models.FieldError{Loc: []any{"inputs"}, Msg: "must be the JSON Schema of an object", Type: "schema"})
	}
	schema["type"] = "object"
	if _, given := schema["additionalProperties"]; !given {
		schema["additionalProperties"] = false
	}
	if _, given := schema["properties"]; !given {
		schema["properties"] = map[string]any{}
	}
	props, _ := schema["properties"].(map[string]any)
	defaults, wrong := map[string]any{}, []models.FieldError{}
	for _, name := range slices.Sorted(maps.Keys(props)) {
		refuse := func(msg string) {
			wrong = append(wrong, models.FieldError{Loc: []any{"inputs", "properties", name}, Msg: msg, Type: "invalid"})
		}
		prop, _ := props[name].(map[string]any)
		v, given := prop["default"]
		switch v.(type) {
		case nil:
			if !given {
				refuse("needs a default: the value in the workflow that it stands for")
				continue
			}
			refuse("its default must be text or a number")
		case string, int, float64:
		default:
			refuse("its default must be text or a number")
		}
		if !inputPattern.MatchString(name) {
			refuse("its name must be a word: a letter, then up to 63 letters, digits and _")
		}
		if expression.HoldsBraces(v) {
			refuse("its default must not hold {{")
		}
		for _, other := range slices.Sorted(maps.Keys(defaults)) {
			if defaults[other] == v {
				refuse(fmt.Sprintf("%s has the same default, so it cannot be told which of them stands where", other))
			}
		}
		defaults[name] = v
		if _, given := prop["type"]; !given {
			prop["type"] = typeOf(v)
		}
	}
	if len(wrong) > 0 {
		return nil, nil, invalid(wrong...)
	}
	out, err := json.Marshal(schema)
	if err != nil {
		return nil, nil, fmt.Errorf("schema of inputs: %w", err)
	}
	return out, defaults, nil
}

func typeOf(v any) string {
	if _, ok := v.(string); ok {
		return "string"
	}
	return "number"
}

// replacing puts inputs in the place of their defaults.
type replacing struct {
	defaults map[string]any
	used     map[string]bool
}

func (r *replacing) unused() (wrong []models.FieldError) {
	for _, name := range slices.Sorted(maps.Keys(r.defaults)) {
		if !r.used[name] {
			wrong = append(wrong, models.FieldError{
				Loc: []any{"inputs", "properties", name, "default"}, Type: "unused", Msg: "stands nowhere in the workflow, so the input would change nothing",
			})
		}
	}
	return wrong
}

// input gives what stands for a value.
func (r *replacing) input(v any) (string, bool) {
	for name, def := range r.defaults {
		if v == def {
			r.used[name] = true
			return "{{ inputs." + name + " }}", true
		}
	}
	return "", false
}

func (r *replacing) value(v any, path []any) any {
	switch x := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for name, e := range x {
			out[name] = r.value(e, append(path, name))
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = r.value(e, append(path, i))
		}
		return out
	case string, int, float64:
		switch roleOf(path) {
		case value:
			if s, ok := r.input(v); ok {
				return s
			}
		case condition:
			if s, ok := v.(string); ok {
				return r.inCondition(s)
			}
		case fixed:
		}
	}
	return v
}

// inCondition replaces literals; a condition without any stays as it is written.
func (r *replacing) inCondition(src string) string {
	found := false
	out := expression.ReplaceLiterals(src, func(v any) (string, bool) {
		s, ok := r.input(v)
		found = found || ok
		return s, ok
	})
	if !found {
		return src
	}
	return out
}

// same compares two documents, conditions by what they say.
func same(a, b any) bool { return reflect.DeepEqual(plain(a, nil), plain(b, nil)) }

// plain writes every literal of conditions in one way.
func plain(v any, path []any) any {
	switch x := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for name, e := range x {
			out[name] = plain(e, append(path, name))
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = plain(e, append(path, i))
		}
		return out
	case string:
		if roleOf(path) == condition {
			return expression.ReplaceLiterals(x, func(v any) (string, bool) {
				raw, err := json.Marshal(v)
				return string(raw), err == nil
			})
		}
	}
	return v
}
