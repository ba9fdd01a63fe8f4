package misfit

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
)

func list(t *testing.T, schema, value string) []models.FieldError {
	t.Helper()
	read := func(s string) any {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(s))
		require.NoError(t, err)
		return v
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource("urn:x", read(schema)))
	compiled, err := c.Compile("urn:x")
	require.NoError(t, err)
	v := read(value)
	wrong, ok := errors.AsType[*jsonschema.ValidationError](compiled.Validate(v))
	require.True(t, ok)
	return List(wrong, v, "body")
}

func TestWhatIsWrongIsSaidInOurWords(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ schema, value, msg, typ string }{
		"type":      {`{"type":"string"}`, `5`, "must be string", "type"},
		"types":     {`{"type":["string","integer"]}`, `[]`, "must be integer or string", "type"},
		"enum":      {`{"enum":["a",1]}`, `2`, "must be one of a, 1", "enum"},
		"const":     {`{"const":"a"}`, `2`, "must be a", "enum"},
		"pattern":   {`{"pattern":"^a"}`, `"b"`, "must match ^a", "pattern"},
		"format":    {`{"format":"uri"}`, `"b"`, "must be a valid uri", "format"},
		"short":     {`{"minLength":1}`, `""`, "must have at least 1 character", "limit"},
		"long":      {`{"maxLength":2}`, `"abc"`, "must have at most 2 characters", "limit"},
		"few":       {`{"minItems":1}`, `[]`, "must have at least 1 item", "limit"},
		"many":      {`{"maxItems":0}`, `[1]`, "must have at most 0 items", "limit"},
		"twice":     {`{"uniqueItems":true}`, `[1,1]`, "must not have the same item twice", "limit"},
		"small":     {`{"minimum":1}`, `0`, "must be at least 1", "limit"},
		"large":     {`{"maximum":1.5}`, `2`, "must be at most 1.5", "limit"},
		"not more":  {`{"exclusiveMinimum":1}`, `1`, "must be more than 1", "limit"},
		"not less":  {`{"exclusiveMaximum":1}`, `1`, "must be less than 1", "limit"},
		"odd":       {`{"multipleOf":2}`, `1`, "must be a multiple of 2", "limit"},
		"empty":     {`{"minProperties":1}`, `{}`, "must have at least 1 member", "limit"},
		"crowded":   {`{"maxProperties":0}`, `{"a":1}`, "must have at most 0 members", "limit"},
		"never":     {`false`, `1`, "is not allowed", "invalid"},
		"not":       {`{"not":{"type":"string"}}`, `"a"`, "is not allowed", "invalid"},
		"forms":     {`{"anyOf":[{"type":"string"},{"type":"number"}]}`, `[]`, "does not have one of the allowed forms", "invalid"},
		"two forms": {`{"oneOf":[{"type":"integer"},{"type":"number"}]}`, `1`, "does not have one of the allowed forms", "invalid"},
		"or null":   {`{"oneOf":[{"type":"string","minLength":2},{"type":"null"}]}`, `"a"`, "must have at least 2 characters", "limit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := []models.FieldError{{Loc: []any{"body"}, Msg: tc.msg, Type: tc.typ}}
			require.Empty(t, cmp.Diff(want, list(t, tc.schema, tc.value)))
		})
	}
}

func TestPlacesAreExact(t *testing.T) {
	t.Parallel()
	got := list(t, `{"properties":{
		"list":{"items":{"required":["a.b"],"additionalProperties":false,"properties":{"a.b":{}}}},
		"1":{"type":"string"},
		"maybe":{"oneOf":[{"$ref":"#/$defs/pair"},{"type":"null"}]}},
		"dependentRequired":{"list":["other"]},
		"$defs":{"pair":{"type":"object","required":["key","window"]}}}`, `{"list":[{"a.b":1},{"z":1}],"1":1,"maybe":{"key":1}}`)
	require.Empty(t, cmp.Diff([]models.FieldError{
		{Loc: []any{"body", "1"}, Msg: "must be string", Type: "type"},
		{Loc: []any{"body", "list", 1, "a.b"}, Msg: "is required", Type: "missing"},
		{Loc: []any{"body", "list", 1, "z"}, Msg: "is not a known field", Type: "unknown_field"},
		{Loc: []any{"body", "maybe", "window"}, Msg: "is required", Type: "missing"},
		{Loc: []any{"body", "other"}, Msg: "is required beside list", Type: "missing"},
	}, got))
}
