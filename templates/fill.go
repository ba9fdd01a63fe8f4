package templates

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/10ex/flows/engine/expression"
	"github.com/10ex/flows/models"
)

// Content is what a template becomes: the first version of a workflow, and its
// triggers, none of which has been checked.
type Content struct {
	Version  *models.Version
	Triggers []*models.Trigger
}

// Fill fills inputs, which fit the schema of the document, into it. What is wrong is a
// *models.InvalidError; its places begin with inputs where an input is to blame.
func Fill(doc *models.TemplateDocument, inputs json.RawMessage) (*Content, error) {
	values := map[string]any{}
	decoded, err := expression.Decode(inputs)
	if err != nil {
		return nil, invalid(models.FieldError{Loc: []any{"inputs"}, Msg: err.Error(), Type: "invalid"})
	}
	if decoded != nil {
		object, ok := decoded.(map[string]any)
		if !ok {
			return nil, invalid(models.FieldError{Loc: []any{"inputs"}, Msg: "must be an object", Type: "type"})
		}
		values = object
	}
	var wrong []models.FieldError
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if expression.HoldsBraces(values[name]) {
			wrong = append(wrong, models.FieldError{Loc: []any{"inputs", name}, Msg: "must not hold {{: it would be read as an expression", Type: "invalid"})
		}
	}
	if len(wrong) > 0 {
		return nil, invalid(wrong...)
	}
	whole, err := tree(doc)
	if err != nil {
		return nil, err
	}
	filled, err := expression.Fill(whole, values, func(path []any) bool { return roleOf(path) == condition })
	if err != nil {
		return nil, invalid(Blame(doc, []models.FieldError{failure(err)})...)
	}
	return content(doc, whole, filled)
}

// tree is a document as one value.
func tree(doc *models.TemplateDocument) (map[string]any, error) {
	raw, err := json.Marshal(parts{doc.Graph, doc.InputSchema, doc.Output, doc.Settings, doc.Triggers})
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	decoded, err := expression.Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	whole, ok := decoded.(map[string]any)
	if !ok {
		return nil, errors.New("template: no object") // it was written as one
	}
	return whole, nil
}

// parts are what of a document is filled in.
type parts struct {
	Graph       json.RawMessage   `json:"graph"`
	InputSchema json.RawMessage   `json:"input_schema,omitempty"`
	Output      json.RawMessage   `json:"output,omitempty"`
	Settings    json.RawMessage   `json:"settings,omitempty"`
	Triggers    []json.RawMessage `json:"triggers,omitempty"`
}

// content reads what was filled in.
func content(doc *models.TemplateDocument, whole, filled any) (*Content, error) {
	raw, err := json.Marshal(filled)
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	var p parts
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	c := &Content{Version: &models.Version{Graph: &models.Graph{}, InputSchema: p.InputSchema, Output: p.Output, Settings: p.Settings}}
	var wrong []models.FieldError
	if err := strict(p.Graph, c.Version.Graph); err != nil {
		wrong = append(wrong, misfit(err, whole, "graph"))
	}
	if c.Version.Graph.Edges == nil {
		c.Version.Graph.Edges = []models.Edge{} // none is a list, too
	}
	for i, raw := range p.Triggers {
		var b triggerBody
		if err := strict(raw, &b); err != nil {
			wrong = append(wrong, misfit(err, whole, "triggers", i))
			continue
		}
		c.Triggers = append(c.Triggers, b.model())
	}
	if len(wrong) > 0 {
		return nil, invalid(Blame(doc, wrong)...)
	}
	return c, nil
}

func strict(raw json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// misfit tells that a value below a place is of another type than its field takes.
func misfit(err error, whole any, at ...any) models.FieldError {
	f := models.FieldError{Loc: at, Msg: "cannot be read", Type: "type"}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		what, _, _ := strings.Cut(wrong.Value, " ")
		f.Msg = wrong.Field + " cannot be " + kinds[what]
		if found := findField(follow(whole, at), strings.Split(wrong.Field, ".")); found != nil {
			f.Loc = slices.Concat(at, found)
		}
	}
	return f
}

// kinds are the words of encoding/json for people.
var kinds = map[string]string{"number": "a number", "array": "a list", "object": "an object", "bool": "true or false", "string": "text"}

// findField finds the first string that reads inputs where fields of these names lead,
// through lists as if they were not there.
func findField(v any, names []string) []any {
	switch x := v.(type) {
	case map[string]any:
		if len(names) == 0 {
			return nil
		}
		if found := findField(x[names[0]], names[1:]); found != nil {
			return append([]any{names[0]}, found...)
		}
	case []any:
		for i, e := range x {
			if found := findField(e, names); found != nil {
				return append([]any{i}, found...)
			}
		}
	case string:
		if len(names) == 0 && len(expression.Inputs(x)) > 0 {
			return []any{}
		}
	}
	return nil
}

func failure(err error) models.FieldError {
	e, ok := errors.AsType[*expression.Error](err)
	if !ok {
		return models.FieldError{Msg: err.Error(), Type: "expression"}
	}
	return models.FieldError{Loc: e.Path, Msg: e.Words(), Type: "expression"}
}

func invalid(fields ...models.FieldError) error { return &models.InvalidError{Fields: fields} }

// Blame brings what is wrong with a filled document back to the inputs. Places begin
// with graph, input_schema, output, settings or triggers before. After that they
// are that of the input, or empty where none is to blame; then the message says where.
func Blame(doc *models.TemplateDocument, errs []models.FieldError) []models.FieldError {
	whole, err := tree(doc)
	if err != nil {
		whole = nil // then no input is to blame
	}
	var out []models.FieldError
	for _, e := range errs {
		if names := inputsAt(whole, e.Loc); len(names) > 0 {
			e.Loc = []any{"inputs", names[0]}
		} else {
			e.Msg, e.Loc = place(e.Loc)+e.Msg, nil
		}
		if !slices.ContainsFunc(out, func(o models.FieldError) bool { return slices.Equal(o.Loc, e.Loc) && o.Msg == e.Msg }) {
			out = append(out, e)
		}
	}
	return out
}

// inputsAt names the inputs that the string at a place reads, or the last string on
// the way to it.
func inputsAt(v any, loc []any) []string {
	s, _ := follow(v, loc).(string)
	return expression.Inputs(s)
}

// follow goes to a place, as far as lists and objects lead.
func follow(v any, loc []any) any {
	for _, at := range loc {
		switch x := v.(type) {
		case map[string]any:
			name, _ := at.(string)
			v = x[name]
		case []any:
			i, ok := at.(int)
			if !ok || i < 0 || i >= len(x) {
				return nil
			}
			v = x[i]
		}
	}
	return v
}

func place(loc []any) string {
	if len(loc) == 0 {
		return ""
	}
	words := make([]string, len(loc))
	for i, l := range loc {
		words[i] = fmt.Sprint(l)
	}
	return strings.Join(words, ".") + ": "
}

// defaultsOf gives the defaults of the properties of a schema.
func defaultsOf(schema json.RawMessage) map[string]any {
	out := map[string]any{}
	decoded, err := expression.Decode(schema)
	if err != nil {
		return out
	}
	object, _ := decoded.(map[string]any)
	props, _ := object["properties"].(map[string]any)
	for name, p := range props {
		prop, _ := p.(map[string]any)
		if v, ok := prop["default"]; ok {
			out[name] = v
		}
	}
	return out
}

// withDefaults fills defaults into a string, or gives nothing where they do not do.
func withDefaults(s string, defaults map[string]any) any {
	v, err := expression.Fill(s, defaults, nil)
	if err != nil {
		return nil
	}
	return v
}
