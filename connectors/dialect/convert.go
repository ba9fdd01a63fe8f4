package dialect

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of what is read.
const (
	// maxNodes bounds the schemas within schemas of one document.
	maxNodes = 400_000
	// maxNesting bounds how deeply schemas lie in each other, without references.
	maxNesting = 100
	maxText    = 600 // characters of a description
	maxPattern = 1000
	maxEnum    = 2000
)

// ErrTooManyNodes says that a document has more schemas than are read.
var ErrTooManyNodes = fmt.Errorf("the document has more than %d schemas in it", maxNodes)

// Rules say how the schemas of a document are to be read.
type Rules struct {
	// Resolve finds what a reference means, and a name for it that people know. It is
	// called for references within the document only.
	Resolve func(pointer string) (value any, name string, err error)
	// OpenAPI30 says that nullable, and exclusiveMinimum as a boolean, have the meaning
	// they have in OpenAPI 3.0, and that nothing beside a reference counts.
	OpenAPI30 bool
	// TwoWay says that a schema describes what is sent as well as what comes back: what
	// may only be read or only be written is then not required.
	TwoWay bool
}

// Converter turns the schemas of one document into JSON Schema 2020-12. Values are
// those that encoding/json makes, with numbers as json.Number. It is for one
// goroutine.
type Converter struct {
	rules Rules
	names map[string]string // of definitions, by pointer
	taken map[string]bool
	defs  map[string]any
	nodes int
}

// NewConverter makes a Converter.
func NewConverter(rules Rules) *Converter {
	return &Converter{rules: rules, names: map[string]string{}, taken: map[string]bool{}, defs: map[string]any{}}
}

// Schema converts one schema. References in the result point to definitions.
func (c *Converter) Schema(v any) (any, error) { return c.schema(v, 0) }

// Defs are the definitions that everything converted so far refers to.
func (c *Converter) Defs() map[string]any { return c.defs }

func (c *Converter) schema(v any, depth int) (any, error) {
	if c.nodes++; c.nodes > maxNodes {
		return nil, ErrTooManyNodes
	}
	in, ok := v.(map[string]any)
	if !ok {
		if allowed, isBool := v.(bool); isBool {
			return allowed, nil
		}
		return true, nil
	}
	if depth > maxNesting {
		return true, nil
	}
	out := map[string]any{}
	if ref, ok := in["$ref"].(string); ok {
		name, err := c.define(ref)
		if err != nil {
			return nil, err
		}
		out["$ref"] = "#/$defs/" + name
		if c.rules.OpenAPI30 {
			return out, nil
		}
	}
	plain(in, out)
	if err := c.applicators(in, out, depth); err != nil {
		return nil, err
	}
	if c.rules.TwoWay {
		c.relax(in, out)
	}
	if c.rules.OpenAPI30 {
		return nullable(in, out), nil
	}
	return out, nil
}

// define gives the name of the definition that a reference means, and makes it when
// it is met for the first time.
func (c *Converter) define(ref string) (string, error) {
	pointer, local := strings.CutPrefix(ref, "#")
	if !local || pointer != "" && pointer[0] != '/' {
		return "", fmt.Errorf("the reference %q leaves the document, or names a place by an anchor: only #/… is followed", clip(ref, 200))
	}
	if name, ok := c.names[pointer]; ok {
		return name, nil
	}
	value, wanted, err := c.rules.Resolve(pointer)
	if err != nil {
		return "", err
	}
	name := c.name(wanted)
	c.names[pointer] = name
	c.defs[name] = true // until it is known
	schema, err := c.schema(value, 0)
	if err != nil {
		return "", err
	}
	c.defs[name] = schema
	return name, nil
}

var notName = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

func (c *Converter) name(wanted string) string {
	base := strings.Trim(clip(notName.ReplaceAllString(wanted, "_"), 80), "_")
	if base == "" {
		base = "schema"
	}
	name := base
	for n := 2; c.taken[name]; n++ {
		name = fmt.Sprintf("%s_%d", base, n)
	}
	c.taken[name] = true
	return name
}

// plain copies the keywords that hold no schemas, those of them that mean something.
func plain(in, out map[string]any) {
	for key, v := range in {
		switch key {
		case "type":
			if t := types(v); t != nil {
				out[key] = t
			}
		case "title", "description":
			if s, ok := v.(string); ok && s != "" {
				out[key] = clip(s, maxText)
			}
		case "pattern":
			if s, ok := v.(string); ok && usable(s) {
				out[key] = s
			}
		case "format":
			if s, ok := v.(string); ok && formats[s] {
				out[key] = s
			}
		case "const", "default":
			if sane(v) {
				out[key] = v
			}
		case "enum":
			if list, ok := v.([]any); ok && len(list) > 0 && len(list) <= maxEnum && sane(v) {
				out[key] = distinct(list)
			}
		case "required":
			if names := texts(v); names != nil {
				out[key] = names
			}
		case "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains":
			if n, ok := number(v); ok && n.IsInt() && n.Sign() >= 0 {
				out[key] = v
			}
		case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
			if _, ok := number(v); ok {
				out[key] = v
			}
		case "multipleOf":
			if n, ok := number(v); ok && n.Sign() > 0 {
				out[key] = v
			}
		case "uniqueItems", "readOnly", "writeOnly", "deprecated":
			if b, ok := v.(bool); ok && b {
				out[key] = v
			}
		}
	}
	for limit, exclusive := range map[string]string{"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"} {
		if b, ok := in[exclusive].(bool); ok && b && out[limit] != nil {
			out[exclusive] = out[limit]
			delete(out, limit)
		}
	}
}

// applicators converts what holds schemas.
func (c *Converter) applicators(in, out map[string]any, depth int) error {
	for _, key := range slices.Sorted(maps.Keys(in)) {
		v := in[key]
		switch {
		case key == "items" && isList(v): // as it was before 2020-12
			key = "prefixItems"
			fallthrough
		case listsOfSchemas[key]:
			list, err := c.list(v, depth)
			if err != nil {
				return err
			}
			if list != nil {
				out[key] = list
			}
		case schemas[key]:
			if _, isMap := v.(map[string]any); !isMap {
				if _, isBool := v.(bool); !isBool {
					continue
				}
			}
			s, err := c.schema(v, depth+1)
			if err != nil {
				return err
			}
			out[key] = s
		case mapsOfSchemas[key]:
			m, err := c.byName(key, v, depth)
			if err != nil {
				return err
			}
			if m != nil {
				out[key] = m
			}
		case key == "dependentRequired":
			if m := namesByName(v); m != nil {
				out[key] = m
			}
		}
	}
	return nil
}

func (c *Converter) list(v any, depth int) ([]any, error) {
	in, ok := v.([]any)
	if !ok || len(in) == 0 {
		return nil, nil
	}
	out := make([]any, len(in))
	for i, one := range in {
		var err error
		if out[i], err = c.schema(one, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *Converter) byName(key string, v any, depth int) (map[string]any, error) {
	in, ok := v.(map[string]any)
	if !ok {
		return nil, nil //nolint:nilnil // what is no object has no members
	}
	out := make(map[string]any, len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if key == "patternProperties" && !usable(name) {
			continue
		}
		s, err := c.schema(in[name], depth+1)
		if err != nil {
			return nil, err
		}
		out[name] = s
	}
	return out, nil
}

// relax takes out of required what goes one way only.
func (c *Converter) relax(in, out map[string]any) {
	required, _ := out["required"].([]any)
	properties, _ := in["properties"].(map[string]any)
	if len(required) == 0 || len(properties) == 0 {
		return
	}
	kept := slices.DeleteFunc(slices.Clone(required), func(name any) bool {
		s, _ := name.(string)
		p, _ := properties[s].(map[string]any)
		if ref, ok := p["$ref"].(string); ok && strings.HasPrefix(ref, "#/") {
			if target, _, err := c.rules.Resolve(ref[1:]); err == nil {
				p, _ = target.(map[string]any)
			}
		}
		return p["readOnly"] == true || p["writeOnly"] == true
	})
	if len(kept) == 0 {
		delete(out, "required")
		return
	}
	out["required"] = kept
}

// nullable gives nullable of OpenAPI 3.0 its meaning.
func nullable(in, out map[string]any) any {
	if in["nullable"] != true {
		return out
	}
	if list, ok := out["enum"].([]any); ok && !slices.Contains(list, any(nil)) {
		out["enum"] = append(slices.Clone(list), nil)
	}
	switch t := out["type"].(type) {
	case string:
		out["type"] = []any{t, "null"}
		return out
	case []any:
		if !slices.Contains(t, any("null")) {
			out["type"] = append(slices.Clone(t), "null")
		}
		return out
	}
	for _, key := range []string{"allOf", "anyOf", "oneOf", "not"} {
		if out[key] != nil {
			return map[string]any{"anyOf": []any{out, map[string]any{"type": "null"}}}
		}
	}
	return out
}

var schemas = set("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedProperties", "unevaluatedItems")

var listsOfSchemas = set("allOf", "anyOf", "oneOf", "prefixItems")

var mapsOfSchemas = set("properties", "patternProperties", "dependentSchemas")

// formats are those that everybody means the same by.
var formats = set("date-time", "date", "uuid", "email", "ipv4", "ipv6", "uri")

var typeNames = set("string", "number", "integer", "boolean", "object", "array", "null")

func set(names ...string) map[string]bool {
	out := make(map[string]bool, len(names))
	for _, n := range names {
		out[n] = true
	}
	return out
}

func types(v any) any {
	switch v := v.(type) {
	case string:
		if typeNames[v] {
			return v
		}
	case []any:
		var out []any
		for _, t := range v {
			s, ok := t.(string)
			if !ok || !typeNames[s] {
				return nil // one that is unknown means anything
			}
			if !slices.Contains(out, any(s)) {
				out = append(out, s)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

func texts(v any) []any {
	list, _ := v.([]any)
	var out []any
	for _, one := range list {
		if s, ok := one.(string); ok && !slices.Contains(out, any(s)) {
			out = append(out, s)
		}
	}
	return out
}

func namesByName(v any) map[string]any {
	in, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	out := map[string]any{}
	for name, list := range in {
		if names := texts(list); names != nil {
			out[name] = names
		}
	}
	return out
}

// distinct leaves out what is there twice, which JSON Schema does not allow.
func distinct(list []any) []any {
	seen, out := map[string]bool{}, make([]any, 0, len(list))
	for _, v := range list {
		text, err := json.Marshal(v)
		if err != nil || seen[string(text)] {
			continue
		}
		seen[string(text)] = true
		out = append(out, v)
	}
	return out
}

func number(v any) (*big.Rat, bool) {
	n, ok := v.(json.Number)
	if !ok || len(n) > 40 || strings.ContainsAny(string(n), "eE") { // 1e999999999 would fill the memory
		return nil, false
	}
	return new(big.Rat).SetString(string(n))
}

// sane tells whether all numbers in a value can be compared.
func sane(v any) bool {
	switch v := v.(type) {
	case json.Number:
		_, ok := number(v)
		return ok
	case []any:
		return !slices.ContainsFunc(v, func(one any) bool { return !sane(one) })
	case map[string]any:
		for _, one := range v {
			if !sane(one) {
				return false
			}
		}
	}
	return true
}

func isList(v any) bool { _, ok := v.([]any); return ok }

// usable tells whether a pattern is one that is checked in linear time.
func usable(pattern string) bool {
	if len(pattern) > maxPattern {
		return false
	}
	_, err := regexp.Compile(pattern)
	return err == nil
}

func clip(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	runes := []rune(s)
	return string(runes[:most-1]) + "…"
}

// errNowhere is a reference that leads nowhere.
var errNowhere = errors.New("leads nowhere in the document")
