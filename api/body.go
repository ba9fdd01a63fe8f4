package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/10ex/flows/internal/misfit"
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

// noBody is the schema of operations that change something and take no body. They
// take an empty object as well, which some clients always send; a field in it would
// be a wish that is not heard.
var noBody = &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false}

// newBodySchemas compiles the schema of every operation that may be sent a body, and
// those of extra by their names.
func newBodySchemas(doc *huma.OpenAPI, extra map[string]*huma.Schema) (*bodySchemas, error) {
	bodies := map[string]*huma.Schema{}
	maps.Copy(bodies, extra)
	required := map[string]bool{}
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Post, item.Put, item.Patch, item.Delete} {
			switch {
			case op == nil:
				continue
			case op.RequestBody == nil:
				bodies[op.OperationID] = noBody
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
	c.UseRegexpEngine(readPattern)
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

// notBlank reads the pattern that all names have. JSON Schema means by \s every blank
// there is in Unicode, and Go those of ASCII only.
type notBlank struct{}

func (notBlank) String() string            { return misfit.NotBlank }
func (notBlank) MatchString(s string) bool { return s == "" || strings.TrimSpace(s) != "" }

func readPattern(s string) (jsonschema.Regexp, error) {
	if s == misfit.NotBlank {
		return notBlank{}, nil
	}
	return regexp.Compile(s)
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
		return nil // a body of a request that only reads means nothing
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
	found := misfit.List(err, value, at...)
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
