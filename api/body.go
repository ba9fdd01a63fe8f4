package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/10ex/flows/models"
)

// bodySchemas checks the bodies of requests against the schemas that are published
// for them. Its places are exact, also where a field's name has dots in it, and it
// never repeats a value.
type bodySchemas struct {
	components map[string]any // what references point into, by name
	compiled   map[string]*bodySchema
}

type bodySchema struct {
	raw      any
	compiled *jsonschema.Schema
	required bool
}

// newBodySchemas compiles the schema of every operation that has a body, and
// those of extra by their names.
func newBodySchemas(doc *huma.OpenAPI, extra map[string]*huma.Schema) (*bodySchemas, error) {
	bodies := map[string]*huma.Schema{}
	maps.Copy(bodies, extra)
	required := map[string]bool{}
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op == nil || op.RequestBody == nil {
				continue
			}
			bodies[op.OperationID] = op.RequestBody.Content["application/json"].Schema
			required[op.OperationID] = op.RequestBody.Required
		}
	}
	components, err := asValues(doc.Components.Schemas)
	if err != nil {
		return nil, fmt.Errorf("schemas of bodies: %w", err)
	}
	raw, err := asValues(bodies)
	if err != nil {
		return nil, fmt.Errorf("schemas of bodies: %w", err)
	}
	const self = "urn:bodies"
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource(self, map[string]any{"components": map[string]any{"schemas": components}, "bodies": raw}); err != nil {
		return nil, fmt.Errorf("schemas of bodies: %w", err)
	}
	s := &bodySchemas{components: components, compiled: map[string]*bodySchema{}}
	for name := range bodies {
		compiled, err := c.Compile(self + "#/bodies/" + name)
		if err != nil {
			return nil, fmt.Errorf("schema of the body of %s: %w", name, err)
		}
		s.compiled[name] = &bodySchema{raw: raw[name], compiled: compiled, required: required[name]}
	}
	return s, nil
}

// asValues turns schemas into what the compiler reads.
func asValues(schemas any) (map[string]any, error) {
	text, err := json.Marshal(schemas)
	if err != nil {
		return nil, err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	byName, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("they have no names")
	}
	return byName, nil
}

// check tells what is wrong with the body of a request to an operation.
func (s *bodySchemas) check(operation, contentType, contentEncoding string, body []byte) *Problem {
	schema := s.compiled[operation]
	if schema == nil {
		return nil // the operation takes no body
	}
	if len(bytes.TrimSpace(body)) == 0 {
		if schema.required {
			return malformed("A body is needed: JSON, sent as application/json.")
		}
		if len(body) == 0 {
			return nil
		}
		return malformed("The body is not JSON.")
	}
	if !isJSON(contentType) || contentEncoding != "" && contentEncoding != "identity" {
		return ofStatus(http.StatusUnsupportedMediaType)
	}
	if p := scanBody(body); p != nil {
		return p
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return malformed("The body is not JSON.")
	}
	if found := s.faults(schema, value, "body"); len(found) > 0 {
		return invalid(found...)
	}
	return nil
}

// checkValue holds a part of a body against the schema of that name.
func (s *bodySchemas) checkValue(name string, raw json.RawMessage, at ...any) []models.FieldError {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return []models.FieldError{{Loc: at, Msg: "is not JSON", Type: "invalid"}}
	}
	return s.faults(s.compiled[name], value, at...)
}

// mostFaults is how many faults an answer lists.
const mostFaults = 50

func (s *bodySchemas) faults(schema *bodySchema, value any, at ...any) []models.FieldError {
	s.dropNulls(schema.raw, value)
	err, ok := errors.AsType[*jsonschema.ValidationError](schema.compiled.Validate(value))
	if !ok {
		return nil
	}
	found := flatten(err, value, at, nil)
	slices.SortStableFunc(found, func(a, b models.FieldError) int {
		return strings.Compare(fmt.Sprint(a.Loc), fmt.Sprint(b.Loc))
	})
	return found[:min(len(found), mostFaults)]
}

// isJSON tells whether a body of that type is read as JSON. Saying nothing is
// taken for JSON.
func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" {
		return false
	}
	charset := strings.ToLower(params["charset"])
	return charset == "" || charset == "utf-8"
}

// dropNulls removes null members that need not be there: many clients write null
// for what they leave out.
func (s *bodySchemas) dropNulls(schema, value any) {
	def, ok := s.resolve(schema).(map[string]any)
	if !ok {
		return
	}
	switch v := value.(type) {
	case map[string]any:
		properties, _ := def["properties"].(map[string]any)
		required, _ := def["required"].([]any)
		for name, member := range v {
			property, known := properties[name]
			switch {
			case known && member == nil && !slices.Contains(required, any(name)):
				delete(v, name)
			case known:
				s.dropNulls(property, member)
			default:
				s.dropNulls(def["additionalProperties"], member)
			}
		}
	case []any:
		for _, item := range v {
			s.dropNulls(def["items"], item)
		}
	}
}

func (s *bodySchemas) resolve(schema any) any {
	for {
		def, ok := schema.(map[string]any)
		if !ok {
			return schema
		}
		ref, ok := def["$ref"].(string)
		if !ok {
			return schema
		}
		schema = s.components[strings.TrimPrefix(ref, "#/components/schemas/")]
	}
}

// flatten gives the errors that say something of their own.
func flatten(e *jsonschema.ValidationError, root any, at []any, into []models.FieldError) []models.FieldError {
	here := func(name string) []any {
		loc := place(root, at, e.InstanceLocation)
		if name != "" {
			loc = append(loc, name)
		}
		return loc
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			into = append(into, models.FieldError{Loc: here(name), Msg: "is required", Type: "missing"})
		}
		return into
	case *kind.AdditionalProperties:
		slices.Sort(k.Properties)
		for _, name := range k.Properties {
			into = append(into, models.FieldError{Loc: here(name), Msg: "is not a known field", Type: "unknown_field"})
		}
		return into
	case *kind.AnyOf, *kind.OneOf:
		return append(into, models.FieldError{Loc: here(""), Msg: "does not have one of the allowed forms", Type: "invalid"})
	}
	if len(e.Causes) == 0 {
		msg, typ := explain(e.ErrorKind)
		return append(into, models.FieldError{Loc: here(""), Msg: msg, Type: typ})
	}
	for _, cause := range e.Causes {
		into = flatten(cause, root, at, into)
	}
	return into
}

// place turns a path into one whose steps into lists are numbers.
func place(root any, at []any, path []string) []any {
	loc := slices.Clone(at)
	for _, name := range path {
		switch v := root.(type) {
		case []any:
			i := 0
			_, _ = fmt.Sscan(name, &i)
			loc = append(loc, i)
			root = v[i]
		case map[string]any:
			loc = append(loc, name)
			root = v[name]
		default:
			loc = append(loc, name)
		}
	}
	return loc
}

func explain(k jsonschema.ErrorKind) (msg, typ string) {
	switch k := k.(type) {
	case *kind.Type:
		return "must be " + strings.Join(k.Want, " or "), "type"
	case *kind.Enum:
		return "must be one of " + words(k.Want), "enum"
	case *kind.Pattern:
		return "must match " + k.Want, "pattern"
	case *kind.Format:
		return "must be a valid " + k.Want, "format"
	case *kind.MinLength:
		return "must have at least " + count(k.Want, "character"), "limit"
	case *kind.MaxLength:
		return "must have at most " + count(k.Want, "character"), "limit"
	case *kind.MinItems:
		return "must have at least " + count(k.Want, "item"), "limit"
	case *kind.MaxItems:
		return "must have at most " + count(k.Want, "item"), "limit"
	case *kind.MinProperties:
		return "must have at least " + count(k.Want, "member"), "limit"
	case *kind.MaxProperties:
		return "must have at most " + count(k.Want, "member"), "limit"
	case *kind.Minimum:
		return "must be at least " + k.Want.RatString(), "limit"
	case *kind.Maximum:
		return "must be at most " + k.Want.RatString(), "limit"
	}
	return "is not allowed", "invalid"
}

// count says how many, as people do.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}

func words(list []any) string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = fmt.Sprint(w)
	}
	return strings.Join(out, ", ")
}
