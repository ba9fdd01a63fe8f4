package mcp

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/internal/egress"
)

// exactly is what a tool gives that has no room in floating point.
const exactly = `{"id":9007199254740993,"text":"data: <a>\n\n","deep":[{"n":18446744073709551615}],"x":0.1}`

// exactServer has one tool, which tells of progress before it answers.
func exactServer() *sdk.Server {
	server := sdk.NewServer(&sdk.Implementation{Name: "exact", Version: "1"}, nil)
	server.AddTool(&sdk.Tool{Name: "count", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(ctx context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		if r.Session != nil {
			_ = r.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: "p", Progress: 1})
		}
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "counted"}}, StructuredContent: json.RawMessage(exactly)}, nil
	})
	return server
}

// programVariable makes this test's program a server on standard streams.
const programVariable = "FLOWS_TEST_EXACT_SERVER"

func TestIntegersAreKeptAsTheyAre(t *testing.T) {
	t.Parallel()
	over := func(stream bool) string {
		handler := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return exactServer() }, &sdk.StreamableHTTPOptions{JSONResponse: !stream})
		return `{"url":"` + connectorstest.NewPeer(t, handler.ServeHTTP).URL + `"}`
	}
	self, err := os.Executable()
	require.NoError(t, err)
	program, err := json.Marshal(map[string][]string{"command": {self}})
	require.NoError(t, err)
	for name, config := range map[string]string{"in one message": over(false), "in a stream": over(true), "on standard streams": string(program)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := open(t, kind(t, egress.Config{AllowPrivate: true}).WithPrograms([]string{programVariable + "=1"}), config, nil)
			resp, err := c.Do(t.Context(), connectors.Request{Action: "count", Input: json.RawMessage(`{}`)})
			require.NoError(t, err)
			var out struct {
				Structured json.RawMessage `json:"structured"`
			}
			require.NoError(t, json.Unmarshal(resp.Output, &out))
			for _, n := range []string{`"id":9007199254740993`, `"n":18446744073709551615`, `"x":0.1`} {
				require.Contains(t, string(out.Structured), n)
			}
			require.JSONEq(t, exactly, string(out.Structured))
		})
	}
}
