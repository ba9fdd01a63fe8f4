package engine_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/models"
)

// A schema is somebody's own, and a few lines of it can ask for more than there is time
// and memory.
func TestASchemaThatAsksForTooMuchIsAnAnswer(t *testing.T) {
	t.Parallel()
	var doubling []string
	for i := range 40 {
		doubling = append(doubling, fmt.Sprintf(`"a%d":{"allOf":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%d"}]}`, i, i+1, i+1))
	}
	for name, c := range map[string]struct{ schema, payload, msg string }{
		"checks":   {`{"$ref":"#/$defs/a0","$defs":{"a40":{"type":"object"},` + strings.Join(doubling, ",") + `}}`, `{}`, "takes too long"},
		"defaults": {`{"$ref":"#/$defs/d","$defs":{"d":{"properties":{"a":{"$ref":"#/$defs/d","default":{}},"b":{"$ref":"#/$defs/d","default":{}}}}}}`, `{}`, "have no end"},
		"looks":    {`{"$ref":"#/$defs/d","$defs":{"d":{"properties":{"a":{"$ref":"#/$defs/d","properties":{"a":{"$ref":"#/$defs/d"}}}}}}}`, strings.Repeat(`{"a":`, 60) + "1" + strings.Repeat("}", 60), "have no end"},
		"a long default": {`{"properties":{"list":{"items":{"properties":{"t":{"default":"` + strings.Repeat("x", 100_000) + `"}}}}}}`,
			`{"list":[{}` + strings.Repeat(",{}", 1000) + `]}`, "have no end"},
		"digits": {`{"properties":{"n":{"type":"integer"}}}`, `{"n":1e999999}`, "too large an exponent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := engine.FitSchema(json.RawMessage(c.schema), json.RawMessage(c.payload))
			var invalid *models.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Contains(t, invalid.Fields[0].Msg, c.msg)
		})
	}
	filled, err := engine.FitSchema(json.RawMessage(`{"properties":{"a":{"default":{"b":[1,"x"]}},"c":{"properties":{"d":{"default":2}}}}}`), json.RawMessage(`{"c":{}}`))
	require.NoError(t, err)
	require.JSONEq(t, `{"a":{"b":[1,"x"]},"c":{"d":2}}`, string(filled))
}
