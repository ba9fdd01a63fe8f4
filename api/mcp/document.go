package mcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// document is what is read of the OpenAPI document.
type document struct {
	operations map[string]*operation
	schemas    map[string]any
}

// operation is one of the document's, taken apart.
type operation struct {
	name   string
	scope  string
	fields map[place]field
	// output is the schema of what it answers on success; nil where that is nothing.
	output map[string]any
}

// place is where in a request a value goes: in path, query, header or body, and
// under which name there.
type place struct{ in, name string }

func (p place) String() string { return p.in + "." + p.name }

// field is a value that an operation takes.
type field struct {
	schema   map[string]any
	does     string
	required bool
}

func readDocument(raw []byte) (*document, error) {
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Scope       string `json:"x-scope"`
			Parameters  []struct {
				In          string         `json:"in"`
				Name        string         `json:"name"`
				Description string         `json:"description"`
				Required    bool           `json:"required"`
				Schema      map[string]any `json:"schema"`
			} `json:"parameters"`
			RequestBody struct {
				Required bool             `json:"required"`
				Content  map[string]media `json:"content"`
			} `json:"requestBody"`
			Responses map[string]struct {
				Content map[string]media `json:"content"`
			} `json:"responses"`
		} `json:"paths"`
		Components struct {
			Schemas map[string]any `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	d := &document{operations: map[string]*operation{}, schemas: doc.Components.Schemas}
	for _, methods := range doc.Paths {
		for _, op := range methods {
			o := &operation{name: op.OperationID, scope: op.Scope, fields: map[place]field{}}
			for _, p := range op.Parameters {
				o.fields[place{p.In, p.Name}] = field{p.Schema, p.Description, p.Required}
			}
			if err := d.takeBody(o, op.RequestBody.Content["application/json"].Schema); err != nil {
				return nil, fmt.Errorf("body of %s: %w", o.name, err)
			}
			for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
				if schema := op.Responses[status].Content["application/json"].Schema; status < "300" && schema != nil {
					o.output = schema
					break
				}
			}
			d.operations[o.name] = o
		}
	}
	return d, nil
}

type media struct {
	Schema map[string]any `json:"schema"`
}

var errNoObject = errors.New("is no object")

// takeBody takes the members of a body for fields.
func (d *document) takeBody(o *operation, schema map[string]any) error {
	if schema == nil {
		return nil
	}
	schema, ok := d.resolve(schema)
	if !ok {
		return errNoObject
	}
	properties, ok := schema["properties"].(map[string]any)
	if !ok {
		return errNoObject
	}
	required, _ := schema["required"].([]any)
	for name, member := range properties {
		m, ok := member.(map[string]any)
		if !ok {
			m = map[string]any{}
		}
		does, _ := m["description"].(string)
		o.fields[place{"body", name}] = field{m, does, slices.Contains(required, any(name))}
	}
	return nil
}

const components = "#/components/schemas/"

func (d *document) resolve(schema map[string]any) (map[string]any, bool) {
	for {
		ref, ok := schema["$ref"].(string)
		if !ok {
			return schema, true
		}
		if schema, ok = d.schemas[strings.TrimPrefix(ref, components)].(map[string]any); !ok {
			return nil, false
		}
	}
}

// standAlone gives a copy of a schema that refers to nothing outside of itself: what
// it refers to is put into definitions. What helps nobody to write a value stays
// behind: how programs hold numbers, and how long a text may be at most.
func (d *document) standAlone(v any, definitions map[string]any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			if ref, ok := value.(string); ok && key == "$ref" {
				name := strings.TrimPrefix(ref, components)
				if _, have := definitions[name]; !have {
					definitions[name] = nil // it may refer to itself
					definitions[name] = d.standAlone(d.schemas[name], definitions)
				}
				out[key] = "#/$defs/" + name
				continue
			}
			if key == "maxLength" || key == "minLength" || key == "format" && (value == "int64" || value == "double") {
				continue
			}
			out[key] = d.standAlone(value, definitions)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = d.standAlone(item, definitions)
		}
		return out
	}
	return v
}
