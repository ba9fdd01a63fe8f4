package templates

import "slices"

// role is what a string of a document is for.
type role uint8

const (
	// fixed holds the document together: no input may take its place.
	fixed role = iota
	// value is a value, or a template of one.
	value
	// condition is an expression itself.
	condition
)

// fixedFields and conditionFields are named by where they stand; * is any index.
var (
	conditionFields = [][]any{
		{"graph", "steps", "*", "if"},
		{"graph", "steps", "*", "foreach"},
		{"graph", "steps", "*", "until"},
		{"graph", "steps", "*", "event", "match"},
		{"graph", "edges", "*", "when"},
		{"settings", "concurrency", "key"},
		{"settings", "debounce", "key"},
		{"triggers", "*", "filter"},
		{"triggers", "*", "dedupe", "key"},
	}
	fixedFields = [][]any{
		{"graph", "steps", "*", "id"},
		{"graph", "steps", "*", "type"},
		{"graph", "steps", "*", "join"},
		{"graph", "steps", "*", "mode"},
		{"graph", "steps", "*", "connector"},
		{"graph", "steps", "*", "action"},
		{"graph", "steps", "*", "on_unknown"},
		{"graph", "edges", "*"}, // but for when
		{"settings", "priority"},
		{"settings", "concurrency", "policy"},
		{"triggers", "*", "type"},
		{"triggers", "*", "missed"},
		{"triggers", "*", "enabled"},
		{"input_schema"},
	}
)

// roleOf tells what stands at a place of a document.
func roleOf(path []any) role {
	switch {
	case slices.ContainsFunc(conditionFields, func(f []any) bool { return len(f) == len(path) && within(path, f) }):
		return condition
	case slices.ContainsFunc(fixedFields, func(f []any) bool { return within(path, f) }):
		return fixed
	}
	return value
}

// within tells whether path leads to the field or into it.
func within(path, field []any) bool {
	if len(path) < len(field) {
		return false
	}
	for i, want := range field {
		if want != "*" && path[i] != want {
			return false
		}
	}
	return true
}
