package metered_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/metered"
)

type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, errors.New("no") }

func value(t *testing.T, text string) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	require.NoError(t, err)
	return v
}

func compile(t *testing.T, text string) *metered.Schema {
	t.Helper()
	s, err := metered.Compile(value(t, text), noLoader{})
	require.NoError(t, err)
	return s
}

// doubling gives definitions of which each looks at the next one twice.
func doubling(how, last string) string {
	var defs []string
	for i := range 40 {
		defs = append(defs, fmt.Sprintf(`"a%d":{"%s":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%d"}]}`, i, how, i+1, i+1))
	}
	return strings.Join(append(defs, `"a40":`+last), ",")
}

func list(n int, item func(i int) string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = item(i)
	}
	return "[" + strings.Join(items, ",") + "]"
}

// Each of these would take longer than anybody lives.
func TestAHostileSchemaIsStopped(t *testing.T) {
	t.Parallel()
	number := func(i int) string { return fmt.Sprint(i) }
	for name, c := range map[string]struct{ schema, value string }{
		"of references":         {`{"$defs":{` + doubling("allOf", `{"type":"object"}`) + `},"$ref":"#/$defs/a0"}`, `{}`},
		"of alternatives":       {`{"$defs":{` + doubling("anyOf", `{"const":1}`) + `},"not":{"$ref":"#/$defs/a0"}}`, `{}`},
		"in an unknown keyword": {`{"more":{` + strings.ReplaceAll(doubling("allOf", `true`), "$defs", "more") + `},"$ref":"#/more/a0"}`, `{}`},
		"of an older draft":     {`{"$schema":"http://json-schema.org/draft-07/schema#","$defs":{` + doubling("allOf", `{"minProperties":0}`) + `},"$ref":"#/$defs/a0"}`, `{}`},
		"behind a dynamic reference": {`{"$id":"http://x/outer","$ref":"inner","$defs":{` + doubling("allOf", `{"minProperties":0}`) + `,
			"n":{"$dynamicAnchor":"n","$ref":"#/$defs/a0"},
			"inner":{"$id":"inner","$dynamicRef":"#n","$defs":{"d":{"$dynamicAnchor":"n"}}}}}`, `{}`},
		"of one that goes down": {`{"$defs":{"d":{"properties":{"a":{"$ref":"#/$defs/d"}},"patternProperties":{"a":{"$ref":"#/$defs/d"}}}},"$ref":"#/$defs/d"}`,
			strings.Repeat(`{"a":`, 60) + "1" + strings.Repeat("}", 60)},
		"of a long enum": {`{"items":{"enum":` + list(20_000, number) + `}}`, list(100_000, func(i int) string { return fmt.Sprint(i + 1_000_000) })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := compile(t, c.schema)
			began := time.Now()
			require.ErrorIs(t, s.Validate(value(t, c.value)), metered.ErrTooLong)
			require.Less(t, time.Since(began), time.Minute)
		})
	}
}

func TestNumbersOfAMillionDigitsAreRefused(t *testing.T) {
	t.Parallel()
	s := compile(t, `{"items":{"type":"integer","minimum":0}}`)
	for _, n := range []string{"1e999999", "1E+2000", "-1e-999999", "1e99999999999999999999", strings.Repeat("1", 1001)} {
		require.ErrorIs(t, s.Validate(value(t, `[`+n+`]`)), metered.ErrNumber, n)
		_, err := metered.Compile(value(t, `{"properties":{"a":{"enum":[`+n+`]}}}`), noLoader{})
		require.ErrorIs(t, err, metered.ErrNumber, n)
	}
	require.NoError(t, s.Validate(value(t, `[1e30, 12345678901234567890, 0]`)))
}

// What stands in front of a schema must not be felt.
func TestASchemaMeansWhatItSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ schema, good, bad string }{
		{`true`, `1`, ``},
		{`false`, ``, `1`},
		{`{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}`, `{"a":1}`, `{"a":"x"}`},
		{`{"type":"object","additionalProperties":{"type":"string"}}`, `{"a":"x"}`, `{"a":1}`},
		{`{"patternProperties":{"^a":{"type":"string"}},"propertyNames":{"maxLength":3}}`, `{"ab":"x"}`, `{"abcd":"x"}`},
		{`{"prefixItems":[{"type":"string"},{"type":"integer"}],"items":{"type":"boolean"}}`, `["x",1,true]`, `["x",1,2]`},
		{`{"contains":{"type":"string"},"minContains":2}`, `["x",1,"y"]`, `["x",1]`},
		{`{"format":"email"}`, `"a@example.com"`, `"nobody"`},
		{`{"if":{"properties":{"k":{"const":1}},"required":["k"]},"then":{"required":["x"]},"else":{"required":["y"]}}`, `{"k":1,"x":1}`, `{"k":1,"y":1}`},
		{`{"not":{"type":"string"}}`, `1`, `"x"`},
		{`{"oneOf":[{"type":"string"},{"type":"integer"}]}`, `1`, `true`},
		{`{"dependentSchemas":{"a":{"required":["b"]}}}`, `{"a":1,"b":1}`, `{"a":1}`},
		{`{"allOf":[{"properties":{"a":true}}],"properties":{"b":true},"unevaluatedProperties":false}`, `{"a":1,"b":1}`, `{"a":1,"c":1}`},
		{`{"$ref":"#/$defs/x","unevaluatedProperties":{"type":"string"},"$defs":{"x":{"properties":{"a":{"type":"integer"}}}}}`, `{"a":1,"b":"x"}`, `{"a":1,"b":1}`},
		{`{"prefixItems":[true],"allOf":[{"prefixItems":[true,{"type":"string"}]}],"unevaluatedItems":false}`, `[1,"x"]`, `[1,"x",2]`},
		{`{"$defs":{"n":{"properties":{"next":{"$ref":"#/$defs/n"}},"required":["v"]}},"$ref":"#/$defs/n"}`, `{"v":1,"next":{"v":2}}`, `{"v":1,"next":{}}`},
		{`{"$id":"http://x/tree","$dynamicAnchor":"node","type":"object","properties":{"children":{"items":{"$dynamicRef":"#node"}}},"required":["v"]}`,
			`{"v":1,"children":[{"v":2}]}`, `{"v":1,"children":[{}]}`},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","dependencies":{"a":["b"],"c":{"required":["d"]}},"items":[{"type":"string"}],"additionalItems":false}`, `{"a":1,"b":1}`, `{"c":1}`},
	} {
		s := compile(t, c.schema)
		if c.good != "" {
			require.NoError(t, s.Validate(value(t, c.good)), c.schema)
		}
		if c.bad != "" {
			var misfit *jsonschema.ValidationError
			require.ErrorAs(t, s.Validate(value(t, c.bad)), &misfit, c.schema)
		}
	}
}
