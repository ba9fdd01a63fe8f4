package connectors_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
)

func TestAnOutputOfMoreThanIsAllowedIsAFailure(t *testing.T) {
	t.Parallel()
	var g connectors.Guard
	g.Watch(&connectors.Connection{Secrets: map[string]string{"token": "1234"}})
	gives := func(output string) (connectors.Response, error) {
		return g.Outcome(connectors.Response{Output: json.RawMessage(output), Usage: &connectors.Usage{Turns: 1}}, nil, 100)
	}
	resp, err := gives(`"1234 is taken out"`)
	require.NoError(t, err)
	require.JSONEq(t, `"[redacted] is taken out"`, string(resp.Output))
	for name, output := range map[string]string{
		"as it is": `"` + strings.Repeat("x", 99) + `"`, "without secrets": `"` + strings.Repeat("1234 ", 19) + `"`,
	} {
		resp, err = gives(output)
		require.Equal(t, connectors.CodeOutputTooLarge, connectors.AsError(err).Code, name)
		require.Empty(t, resp.Output, name)
		require.NotNil(t, resp.Usage, "what was used is used")
	}
	_, err = g.Outcome(connectors.Response{}, connectors.Permanent("x", "told 1234"), 100)
	require.EqualError(t, err, "told [redacted]")
}
