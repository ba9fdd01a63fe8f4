package metered

import (
	"net/url"
	"reflect"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// gauge puts a schema in front of every schema that can be reached from one, which burns
// and then refers to it. It has to be in front: a schema whose type or enum does not fit
// looks at nothing else, and a list of a hundred thousand items makes as many looks.
type gauge struct {
	burn  func(any) error
	known map[*jsonschema.Schema]*jsonschema.Schema // those in front, by the one behind
}

// before gives the schema in front of s.
func (g *gauge) before(s *jsonschema.Schema) *jsonschema.Schema {
	if s == nil || s.Bool != nil {
		return s
	}
	if front, ok := g.known[s]; ok {
		return front
	}
	front := bare(s)
	front.Ref, front.Format = s, &jsonschema.Format{Validate: g.burn}
	g.known[s], g.known[front] = front, front
	fields := reflect.ValueOf(s).Elem()
	for i := range fields.NumField() {
		if fields.Type().Field(i).IsExported() {
			g.within(fields.Field(i))
		}
	}
	return front
}

// bare gives a copy of s that asks for nothing: what is not exported, such as the
// document it belongs to, is what dynamic references are found by.
func bare(s *jsonschema.Schema) *jsonschema.Schema {
	front := *s
	fields := reflect.ValueOf(&front).Elem()
	for i := range fields.NumField() {
		if fields.Type().Field(i).IsExported() {
			fields.Field(i).SetZero()
		}
	}
	front.DraftVersion, front.Location = s.DraftVersion, s.Location
	front.DynamicAnchor, front.RecursiveAnchor = s.DynamicAnchor, s.RecursiveAnchor
	return &front
}

var (
	schemaType  = reflect.TypeFor[*jsonschema.Schema]()
	dynamicType = reflect.TypeFor[*jsonschema.DynamicRef]()
)

// within replaces the schemas that a field of a schema holds.
func (g *gauge) within(v reflect.Value) {
	switch {
	case v.Type() == schemaType:
		v.Set(reflect.ValueOf(g.before(v.Interface().(*jsonschema.Schema)))) //nolint:forcetypeassert // it is its type
	case v.Type() == dynamicType:
		if !v.IsNil() {
			g.within(v.Elem().FieldByName("Ref"))
		}
	case v.Kind() == reflect.Slice && v.Type().Elem() == schemaType:
		for i := range v.Len() {
			g.within(v.Index(i))
		}
	case v.Kind() == reflect.Map:
		for _, key := range v.MapKeys() {
			if s, ok := reflect.TypeAssert[*jsonschema.Schema](v.MapIndex(key)); ok {
				v.SetMapIndex(key, reflect.ValueOf(g.before(s)))
			}
		}
	case v.Kind() == reflect.Interface && !v.IsNil():
		switch held := v.Interface().(type) {
		case *jsonschema.Schema:
			v.Set(reflect.ValueOf(g.before(held)))
		case []*jsonschema.Schema:
			for i := range held {
				held[i] = g.before(held[i])
			}
		}
	}
}

// escapePointer writes a name as a part of a JSON pointer within an address.
func escapePointer(name string) string {
	return url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
}
