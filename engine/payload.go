package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/10ex/flows/internal/metered"
	"github.com/10ex/flows/internal/misfit"
	"github.com/10ex/flows/models"
)

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
	if c.def.schema, err = metered.Compile(doc, noLoader{}); err != nil {
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
	case errors.Is(err, metered.ErrNumber):
		c.add("schema", metered.ErrNumber.Error(), "input_schema")
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
	fill := filling{root: d.rawSchema, left: maxFilling, room: maxFilled, targets: map[string]map[string]any{}}
	value, changed := fill.defaults(value, d.rawSchema, 0)
	if fill.over() {
		return nil, &models.InvalidError{Fields: []models.FieldError{{Msg: "cannot be checked: the defaults of the schema have no end", Type: "schema"}}}
	}
	err = d.schema.Validate(value)
	var ve *jsonschema.ValidationError
	switch {
	case errors.As(err, &ve):
		return nil, &models.InvalidError{Fields: misfit.List(ve, value)}
	case errors.Is(err, metered.ErrTooLong):
		return nil, &models.InvalidError{Fields: []models.FieldError{{Msg: "cannot be checked: the schema takes too long for it", Type: "schema"}}}
	case errors.Is(err, metered.ErrNumber):
		return nil, &models.InvalidError{Fields: []models.FieldError{{Msg: metered.ErrNumber.Error(), Type: "number"}}}
	case err != nil:
		return nil, fmt.Errorf("payload: %w", err)
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

// What bounds how defaults are filled in: values that are looked at, and bytes that are
// added. A schema that refers to itself twice would double a payload at each level.
const (
	maxFilling = 2_000_000
	maxFilled  = 4 << 20
)

// filling is under way while defaults are filled in.
type filling struct {
	root    map[string]any
	left    int                       // values; below zero: it was broken off
	room    int                       // bytes; the same
	targets map[string]map[string]any // of references that were followed before
}

// target follows a reference.
func (f *filling) target(ref string) map[string]any {
	to, known := f.targets[ref]
	if !known {
		to = resolve(f.root, ref)
		f.targets[ref] = to
	}
	return to
}

// over tells whether it was broken off.
func (f *filling) over() bool { return f.left < 0 || f.room < 0 }

// defaults puts the defaults of properties that are missing into value, along
// properties, items and references within the schema. Keywords that choose
// between schemas are left alone: which one applies is not known before.
func (f *filling) defaults(value any, schema map[string]any, depth int) (any, bool) {
	if f.left--; f.over() || depth > 64 {
		return value, false // a schema may refer to itself
	}
	if ref, ok := schema["$ref"].(string); ok {
		if target := f.target(ref); target != nil {
			filled, changed := f.defaults(value, target, depth+1)
			rest, more := f.properties(filled, schema, depth)
			return rest, changed || more
		}
	}
	return f.properties(value, schema, depth)
}

func (f *filling) properties(value any, schema map[string]any, depth int) (any, bool) {
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
				f.room -= len(name)
				child, changed = f.clone(def), true
			}
			filled, more := f.defaults(child, prop, depth+1)
			v[name] = filled
			changed = changed || more
		}
	case []any:
		items, ok := schema["items"].(map[string]any)
		if !ok {
			break
		}
		for i := range v {
			filled, more := f.defaults(v[i], items, depth+1)
			v[i] = filled
			changed = changed || more
		}
	}
	return value, changed
}

// clone keeps payloads from sharing a default's maps.
func (f *filling) clone(v any) any {
	f.left--
	f.room -= 4
	if f.over() {
		return nil
	}
	switch v := v.(type) {
	case string:
		f.room -= len(v)
	case json.Number:
		f.room -= len(v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			f.room -= len(k)
			out[k] = f.clone(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = f.clone(x)
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
