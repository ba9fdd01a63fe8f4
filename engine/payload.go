package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/10ex/flows/internal/misfit"
	"github.com/10ex/flows/models"
)

// schemaURL is what a workflow's schema is called inside the compiler. It is not
// fetched, and nothing else can be.
const schemaURL = "schema:input"

var errRemoteRef = errors.New("a schema may refer to itself only")

type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, errRemoteRef }

// schema compiles a JSON Schema (draft 2020-12).
func (c *compiler) schema(raw json.RawMessage) {
	if len(raw) == 0 || string(raw) == "null" {
		return
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		c.add("schema", "the schema is not valid JSON", "input_schema")
		return
	}
	jc := jsonschema.NewCompiler()
	jc.DefaultDraft(jsonschema.Draft2020)
	jc.AssertFormat()
	jc.UseLoader(noLoader{})
	if err := jc.AddResource(schemaURL, doc); err != nil {
		c.add("schema", "the schema is not a valid JSON Schema", "input_schema")
		return
	}
	if c.def.schema, err = jc.Compile(schemaURL); err != nil {
		c.schemaError(doc, err)
		return
	}
	c.def.rawSchema, _ = doc.(map[string]any)
}

func (c *compiler) schemaError(doc any, err error) {
	var se *jsonschema.SchemaValidationError
	var ve *jsonschema.ValidationError
	switch {
	case errors.Is(err, errRemoteRef):
		c.add("schema", errRemoteRef.Error(), "input_schema")
	case errors.As(err, &se) && errors.As(se.Err, &ve):
		for _, f := range misfit.List(ve, doc) {
			c.add("schema", f.Msg, append([]any{"input_schema"}, f.Loc...)...)
		}
	default:
		c.add("schema", "the schema does not compile: check its $ref, pattern and format", "input_schema")
	}
}

// checkPayload fills defaults into a payload and checks it. Places are relative
// to the payload.
func (d *definition) checkPayload(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	if d.schema == nil {
		return raw, nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, &models.InvalidError{Fields: []models.FieldError{{Msg: "the payload is not valid JSON", Type: "json"}}}
	}
	value, changed := fillDefaults(value, d.rawSchema, d.rawSchema, 0)
	if err := d.schema.Validate(value); err != nil {
		var ve *jsonschema.ValidationError
		if !errors.As(err, &ve) {
			return nil, fmt.Errorf("payload: %w", err)
		}
		return nil, &models.InvalidError{Fields: misfit.List(ve, value)}
	}
	if !changed {
		return raw, nil
	}
	out, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("payload with defaults: %w", err)
	}
	return out, nil
}

// fillDefaults puts the defaults of properties that are missing into value, along
// properties, items and references within the schema. Keywords that choose
// between schemas are left alone: which one applies is not known before.
func fillDefaults(value any, schema, root map[string]any, depth int) (any, bool) {
	if depth > 64 {
		return value, false // a schema may refer to itself
	}
	if ref, ok := schema["$ref"].(string); ok {
		if target := resolve(root, ref); target != nil {
			filled, changed := fillDefaults(value, target, root, depth+1)
			rest, more := fillProperties(filled, schema, root, depth)
			return rest, changed || more
		}
	}
	return fillProperties(value, schema, root, depth)
}

func fillProperties(value any, schema, root map[string]any, depth int) (any, bool) {
	changed := false
	switch v := value.(type) {
	case map[string]any:
		props, _ := schema["properties"].(map[string]any)
		for name, p := range props {
			prop, ok := p.(map[string]any)
			if !ok {
				continue
			}
			child, have := v[name]
			if !have {
				def, ok := prop["default"]
				if !ok {
					continue
				}
				child, changed = clone(def), true
			}
			filled, more := fillDefaults(child, prop, root, depth+1)
			v[name] = filled
			changed = changed || more
		}
	case []any:
		items, ok := schema["items"].(map[string]any)
		if !ok {
			break
		}
		for i := range v {
			filled, more := fillDefaults(v[i], items, root, depth+1)
			v[i] = filled
			changed = changed || more
		}
	}
	return value, changed
}

// clone keeps payloads from sharing a default's maps.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = clone(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = clone(x)
		}
		return out
	}
	return v
}

// resolve follows a reference of the form #/a/b within a schema.
func resolve(root map[string]any, ref string) map[string]any {
	path, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil
	}
	var at any = root
	for _, part := range strings.Split(path, "/")[min(1, len(path)):] {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)]
	}
	m, _ := at.(map[string]any)
	return m
}
