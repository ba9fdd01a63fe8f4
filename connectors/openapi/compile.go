package openapi

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/dialect"
)

// source is where a document came from and what the registration adds to it.
type source struct {
	address string // of the document; servers may be given relative to it
	server  string // in place of those of the document
}

// title is what a document says of itself.
type title struct{ name, description string }

// compiler reads one document.
type compiler struct {
	root    map[string]any
	version string // 3.0 or 3.1
	src     source
	schemas *dialect.Converter
	names   connectors.ActionNames
	shown   []any           // inputs and outputs of operations
	secrets map[string]bool // parameters that carry credentials, as "in name"
}

// maxChain is how many references may follow each other.
const maxChain = 20

var methods = []string{"get", "head", "post", "put", "patch", "delete", "options"}

func compile(raw []byte, src source) (*compiled, title, error) {
	root, err := read(raw)
	if err != nil {
		return nil, title{}, err
	}
	c := &compiler{root: root, src: src, secrets: map[string]bool{}}
	version := text(root["openapi"])
	switch {
	case strings.HasPrefix(version, "3.0"):
		c.version = "3.0"
	case strings.HasPrefix(version, "3.1"), strings.HasPrefix(version, "3.2"):
		c.version = "3.1"
	case root["swagger"] != nil:
		return nil, title{}, refuse("is Swagger 2.0; only OpenAPI 3.0 and 3.1 are read")
	default:
		return nil, title{}, refuse("says no version of OpenAPI that is read here: openapi must be 3.0.x or 3.1.x")
	}
	c.schemas = dialect.NewConverter(dialect.Rules{
		Resolve: func(pointer string) (any, string, error) {
			v, err := dialect.At(root, pointer)
			return v, dialect.Last(pointer), err
		},
		OpenAPI30: c.version == "3.0", TwoWay: true,
	})
	info, _ := root["info"].(map[string]any)
	about := title{clip(text(info["title"]), 200), clip(text(info["description"]), 1000)}
	out := &compiled{}
	servers := root["servers"]
	if servers == nil { // it is served by where it came from
		servers = []any{map[string]any{"url": "/"}}
	}
	out.Servers = c.servers(servers)
	if out.Auth, err = c.auth(); err != nil {
		return nil, about, err
	}
	if err := c.operations(out); err != nil {
		return nil, about, err
	}
	if out.Defs, err = dialect.NewLibrary(c.schemas.Defs()); err != nil {
		return nil, about, refuse("has schemas that cannot be kept")
	}
	return out, about, c.check()
}

// place is where an operation stands.
type place struct {
	path, method string
	item, op     map[string]any
}

func (c *compiler) operations(out *compiled) error {
	paths, _ := c.root["paths"].(map[string]any)
	var found []place
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if !strings.HasPrefix(path, "/") {
			continue // an extension
		}
		item, err := c.object(paths[path])
		if err != nil {
			return at(err, path)
		}
		for _, method := range methods {
			if op, ok := item[method].(map[string]any); ok {
				found = append(found, place{path, method, item, op})
			}
		}
		if len(found) > connectors.MaxActions {
			return refuse("has %d operations or more, and %d are allowed; register a part of it", len(found), connectors.MaxActions)
		}
	}
	if len(found) == 0 {
		return refuse("has no operations")
	}
	// Names go to those that have one first, so that none made of a path takes it.
	slices.SortStableFunc(found, func(a, b place) int {
		return cmp.Or(cmp.Compare(unnamed(a), unnamed(b)), cmp.Compare(text(a.op["operationId"]), text(b.op["operationId"])))
	})
	for _, p := range found {
		op, err := c.operation(p)
		if err != nil {
			return at(err, strings.ToUpper(p.method)+" "+p.path)
		}
		if op.Server == "" && len(out.Servers) == 0 {
			return connectors.Refuse("server", "the document names no server at an http or https address: give one as server")
		}
		out.Operations = append(out.Operations, op)
	}
	slices.SortFunc(out.Operations, func(a, b operation) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

func unnamed(p place) int {
	if text(p.op["operationId"]) == "" {
		return 1
	}
	return 0
}

func (c *compiler) operation(p place) (operation, error) {
	op := operation{
		ID: clip(text(p.op["operationId"]), 200), Method: strings.ToUpper(p.method), Path: p.path,
		Description: describe(p),
	}
	op.Name = c.names.Take(cmp.Or(op.ID, p.method+"_"+strings.NewReplacer("{", "", "}", "", "/", "_", ".", "_").Replace(p.path)))
	servers := c.src.server
	if servers == "" {
		own := c.servers(p.op["servers"])
		if len(own) == 0 {
			own = c.servers(p.item["servers"])
		}
		if len(own) > 0 {
			op.Server = own[0]
		}
	}
	in := &input{properties: map[string]any{}}
	if err := c.params(&op, p, in); err != nil {
		return op, err
	}
	if err := c.body(&op, p, in); err != nil {
		return op, err
	}
	output, err := c.output(&op, p.op)
	if err != nil {
		return op, err
	}
	c.shown = append(c.shown, in.schema(), output)
	if op.Input, err = dialect.Define(in.schema()); err != nil {
		return op, err
	}
	op.Output, err = dialect.Define(output)
	return op, err
}

// input gathers the fields of what an action takes.
type input struct {
	properties map[string]any
	required   []any
}

// field takes a name for a field: the one wanted, or that with the place it goes to.
func (in *input) field(wanted, place string) string {
	name := wanted
	for i := 1; in.properties[name] != nil; i++ {
		name = wanted + "_" + place
		if i > 1 {
			name = fmt.Sprintf("%s_%s_%d", wanted, place, i)
		}
	}
	return name
}

func (in *input) schema() map[string]any {
	s := map[string]any{"type": "object", "properties": in.properties, "additionalProperties": false}
	if len(in.required) > 0 {
		s["required"] = in.required
	}
	return s
}

func describe(p place) string {
	does := cmp.Or(text(p.op["summary"]), text(p.item["summary"]))
	more := text(p.op["description"])
	if does != "" && more != "" && !strings.HasPrefix(more, does) {
		does = strings.TrimRight(does, ".") + ". "
	} else if more != "" {
		does = ""
	}
	return cmp.Or(clip(strings.TrimSpace(does+more), 1000), strings.ToUpper(p.method)+" "+p.path)
}

// object follows the references of something that is an object.
func (c *compiler) object(v any) (map[string]any, error) {
	for range maxChain {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, nil //nolint:nilnil // what is no object has no members
		}
		ref, ok := m["$ref"].(string)
		if !ok {
			return m, nil
		}
		if !strings.HasPrefix(ref, "#/") {
			return nil, refuse("refers to %q: references to other documents are not followed", clip(ref, 200))
		}
		var err error
		if v, err = dialect.At(c.root, ref[1:]); err != nil {
			return nil, err
		}
	}
	return nil, refuse("has references that go in a circle")
}

// at says where in a document something is wrong.
func at(err error, where string) error {
	if refused, ok := err.(*connectors.RegistrationError); ok && refused.Field != "document" { //nolint:errorlint // it is ours and not wrapped
		return err
	}
	return connectors.Refuse("document", "%s: %s", clip(where, 300), err.Error())
}

// check refuses what would not run: every schema must be valid. They are judged all at
// once, for most of them share most of what they refer to.
func (c *compiler) check() error {
	defs := maps.Clone(c.schemas.Defs())
	for i, s := range c.shown {
		defs[fmt.Sprintf("of/%d", i)] = s
	}
	if err := connectors.CheckSchema(map[string]any{"$defs": defs}); err != nil {
		return refuse("has schemas that are not valid")
	}
	return nil
}

func text(v any) string {
	s, _ := v.(string)
	return strings.TrimSpace(s)
}

func flag(v any, otherwise bool) bool {
	if b, ok := v.(bool); ok {
		return b
	}
	return otherwise
}

func clip(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}
