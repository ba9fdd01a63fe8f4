package connectors_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
)

// One attempt may use two connections, and the secret of one may begin like the other's.
func TestASecretThatBeginsLikeAnotherIsTakenOutWhole(t *testing.T) {
	t.Parallel()
	short := &connectors.Connection{Secrets: map[string]string{"token": "acme-prod"}}
	long := &connectors.Connection{Secrets: map[string]string{"token": "acme-prod-9f8e7d6c5b4a"}}
	for _, watched := range [][]*connectors.Connection{{short, long}, {long, short}, {short, nil, long, long}} {
		var g connectors.Guard
		for _, c := range watched {
			g.Watch(c)
		}
		require.Equal(t, "a [redacted] b [redacted]", g.Text("a acme-prod-9f8e7d6c5b4a b acme-prod"))
		require.JSONEq(t, `{"k":"[redacted]"}`, string(g.JSON(json.RawMessage(`{"k":"acme-prod-9f8e7d6c5b4a"}`))))
		require.EqualError(t, g.Error(connectors.Permanent("x", "acme-prod-9f8e7d6c5b4a")), "[redacted]")
	}
}

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
