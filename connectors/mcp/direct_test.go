package mcp

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
)

func TestAToolOfTheServerOfAConnection(t *testing.T) {
	t.Parallel()
	peer := scripted(t, "s3cret")
	registry, err := connectors.NewRegistry(NewDirect(kind(t, egress.Config{AllowPrivate: true})))
	require.NoError(t, err)
	conn := &connectors.Connection{
		ID: "conn_1", Config: json.RawMessage(`{"url":"` + peer.URL + `"}`), Auth: connectors.Auth{Type: connectors.AuthBearer},
		Hosts: []string{strings.TrimPrefix(peer.URL, "http://")}, Secrets: map[string]string{"token": "s3cret"},
	}
	do := func(action, input string) (connectors.Response, error) {
		return registry.Do(t.Context(), "mcp", connectors.Request{Action: action, Input: json.RawMessage(input), IdempotencyKey: "run_1:a", Connection: conn})
	}
	resp, err := do("list_tools", `{}`)
	require.NoError(t, err)
	require.Contains(t, string(resp.Output), `"name":"read-it"`)
	resp, err = do("call_tool", `{"tool":"read-it","arguments":{"n":1}}`)
	require.NoError(t, err)
	require.JSONEq(t, `{"content":[{"type":"text","text":"read"}],"structured":null,"is_error":false}`, string(resp.Output))
	_, err = do("call_tool", `{"tool":"do_it"}`)
	require.Equal(t, "tool_error", connectors.AsError(err).Code)
	conn = nil
	_, err = do("list_tools", `{}`)
	require.Equal(t, connectors.CodeNoConnection, connectors.AsError(err).Code)
}
