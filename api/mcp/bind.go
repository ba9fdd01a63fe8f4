package mcp

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// tool is a row of the table: an operation as it is offered to a model.
type tool struct {
	name      string
	operation string // as the OpenAPI document names it
	title     string
	does      string // for a model that has never seen the product
	effect    effect
	arguments []argument
}

// effect is what a call may do, which clients ask people about.
type effect uint8

const (
	// reads changes nothing.
	reads effect = iota
	// adds makes something new, and another one when it is repeated.
	adds
	// starts adds something that goes on to act in the world outside.
	starts
	// sets changes what can be changed back; repeated, it changes nothing more.
	sets
	// moves sets, and what goes on then acts in the world outside.
	moves
	// ends is final.
	ends
)

func (e effect) annotations() *mcp.ToolAnnotations {
	return &mcp.ToolAnnotations{
		ReadOnlyHint: e == reads, IdempotentHint: e != adds && e != starts,
		DestructiveHint: new(e == ends), OpenWorldHint: new(e == starts || e == moves),
	}
}

// argument is an argument of a tool and the place in the request it goes to.
type argument struct {
	name string
	to   place
	does string // for a model; the operation's own words if empty
	// object is set where the operation's schema allows anything: a model that is not
	// told to write an object writes one as text.
	object bool
	// instead takes the place of the operation's schema, for what a header says in a
	// way of its own.
	instead map[string]any
}

// path, query and body say where an argument goes.
func path(name, to, does string) argument {
	return argument{name: name, to: place{"path", to}, does: does}
}
func query(name, to, does string) argument {
	return argument{name: name, to: place{"query", to}, does: does}
}
func body(name, does string) argument {
	return argument{name: name, to: place{"body", name}, does: does}
}

// object makes an argument that may be anything an object.
func object(a argument) argument {
	a.object = true
	return a
}

// boundTool is a tool with what the OpenAPI document says of its operation.
type boundTool struct {
	tool
	shown *mcp.Tool
	takes map[string]argument
}

// What is said of a tool to people who look it up, beside what a model needs.
const (
	metaOperation = "10ex.ai/operation" // in the OpenAPI document
	metaScope     = "10ex.ai/scope"     // that a key needs; empty: any key will do
)

var (
	errNoOperation = errors.New("its operation does not exist")
	errNoField     = errors.New("is nothing that its operation takes")
	errLeftOut     = errors.New("is needed by its operation")
)

// bind holds a tool against its operation and makes what clients are shown.
func bind(t tool, doc *document) (*boundTool, error) {
	op, ok := doc.operations[t.operation]
	if !ok {
		return nil, errNoOperation
	}
	b := &boundTool{tool: t, takes: map[string]argument{}}
	properties, definitions, required := map[string]any{}, map[string]any{}, []string{}
	for _, a := range t.arguments {
		f, ok := op.fields[a.to]
		if !ok {
			return nil, fmt.Errorf("%s: %s %w", a.name, a.to, errNoField)
		}
		schema := maps.Clone(a.instead)
		if schema == nil {
			schema, _ = doc.standAlone(f.schema, definitions).(map[string]any)
		}
		if a.object && anything(schema) {
			schema["type"] = "object"
		}
		if does := orElse(a.does, f.does); does != "" {
			schema["description"] = does
		}
		withoutNull(schema)
		properties[a.name] = schema
		if f.required {
			required = append(required, a.name)
		}
		b.takes[a.name] = a
	}
	for to, f := range op.fields {
		if f.required && !slices.ContainsFunc(t.arguments, func(a argument) bool { return a.to == to }) {
			return nil, fmt.Errorf("%s %w", to, errLeftOut)
		}
	}
	input := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		input["required"] = required
	}
	if len(definitions) > 0 {
		input["$defs"] = definitions
	}
	b.shown = &mcp.Tool{
		Meta: mcp.Meta{metaOperation: op.name, metaScope: op.scope},
		Name: t.name, Title: t.title, Description: t.does, Annotations: t.effect.annotations(),
		InputSchema: input,
	}
	return b, nil
}

// anything tells whether a schema allows whatever there is.
func anything(schema map[string]any) bool {
	for key := range schema {
		if key != "description" {
			return false
		}
	}
	return true
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// withoutNull says that what may be left out is left out, not null.
func withoutNull(schema map[string]any) {
	if types, ok := schema["type"].([]any); ok && len(types) == 2 && types[1] == "null" {
		schema["type"] = types[0]
	}
}
