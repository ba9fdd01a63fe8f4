package dialect

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Library is a set of definitions that many schemas share. It is safe for concurrent
// use, and can be stored as JSON.
type Library map[string]Definition

// Definition is one schema and the names of those it refers to itself.
type Definition struct {
	Schema json.RawMessage `json:"schema"`
	Refs   []string        `json:"refs,omitempty"`
}

// NewLibrary makes one of what a Converter has defined.
func NewLibrary(defs map[string]any) (Library, error) {
	l := make(Library, len(defs))
	for name, schema := range defs {
		d, err := Define(schema)
		if err != nil {
			return nil, err
		}
		l[name] = d
	}
	return l, nil
}

// Define makes a Definition of a converted schema.
func Define(schema any) (Definition, error) {
	raw, err := json.Marshal(schema)
	if err != nil {
		return Definition{}, err
	}
	refs := map[string]bool{}
	each(schema, func(s map[string]any) {
		if ref, ok := s["$ref"].(string); ok {
			refs[strings.TrimPrefix(ref, "#/$defs/")] = true
		}
	})
	return Definition{Schema: raw, Refs: slices.Sorted(maps.Keys(refs))}, nil
}

// Bundle makes a schema stand by itself: it gets the definitions it refers to, the
// nearest first, as long as they fit into most bytes. Those that do not fit allow
// everything.
func (l Library) Bundle(d Definition, most int) json.RawMessage {
	if len(d.Refs) == 0 {
		return d.Schema
	}
	parts := map[string]json.RawMessage{}
	size := len(d.Schema)
	for queue := slices.Clone(d.Refs); len(queue) > 0; queue = queue[1:] {
		name := queue[0]
		if _, done := parts[name]; done {
			continue
		}
		def := l[name]
		if size += len(def.Schema) + len(name) + 8; size > most || def.Schema == nil {
			size -= len(def.Schema)
			parts[name] = json.RawMessage(`{}`)
			continue
		}
		parts[name] = def.Schema
		queue = append(queue, def.Refs...)
	}
	defs, err := json.Marshal(parts)
	if err != nil || len(d.Schema) < 2 || d.Schema[0] != '{' {
		return json.RawMessage(`{}`) // a boolean refers to nothing, so this does not happen
	}
	out := append([]byte(`{"$defs":`), defs...)
	if len(d.Schema) > 2 {
		out = append(out, ',')
	}
	return append(out, d.Schema[1:]...)
}

// each calls visit with every schema in a schema that is an object, the outer before
// the inner. visit may change it.
func each(schema any, visit func(map[string]any)) {
	s, ok := schema.(map[string]any)
	if !ok {
		return
	}
	visit(s)
	for key, v := range s {
		switch {
		case schemas[key]:
			each(v, visit)
		case listsOfSchemas[key]:
			list, _ := v.([]any)
			for _, one := range list {
				each(one, visit)
			}
		case mapsOfSchemas[key] || key == "$defs":
			byName, _ := v.(map[string]any)
			for _, one := range byName {
				each(one, visit)
			}
		}
	}
}
