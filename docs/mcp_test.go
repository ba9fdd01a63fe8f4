package docs_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"
)

//go:generate go test . -run ^TestMCPPageListsEveryTool$ -update

const mcpPage = "how-to/use-from-an-mcp-client.md"

// key is that of the installation.
func (in *installation) key(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(in.dir, ".flows", "key.json"))
	require.NoError(t, err)
	var kept struct {
		Key string `json:"api_key"`
	}
	require.NoError(t, json.Unmarshal(raw, &kept))
	return kept.Key
}

// mcpTools connects by a way of the how-to and gives the tools there are.
func (in *installation) mcpTools(t *testing.T, configuration string) []*mcp.Tool {
	t.Helper()
	configuration = strings.ReplaceAll(configuration, "http://127.0.0.1:8080", in.url)
	configuration = strings.ReplaceAll(configuration, "tnx_…", in.key(t))
	var c struct {
		Servers map[string]struct {
			Type    string            `json:"type"`
			URL     string            `json:"url"`
			Headers map[string]string `json:"headers"`
			Command string            `json:"command"`
			Args    []string          `json:"args"`
			Env     map[string]string `json:"env"`
		} `json:"mcpServers"`
	}
	require.NoError(t, json.Unmarshal([]byte(configuration), &c))
	s := c.Servers["flows"]
	var transport mcp.Transport
	if s.Type == "http" {
		transport = &mcp.StreamableClientTransport{Endpoint: s.URL, HTTPClient: &http.Client{Transport: withHeaders{s.Headers, new(http.Transport)}}}
	} else {
		require.Equal(t, "flows", s.Command)
		program, err := built.flows()
		require.NoError(t, err)
		cmd := exec.Command(program, s.Args...)
		for name, value := range s.Env {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		transport = &mcp.CommandTransport{Command: cmd}
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "docs", Version: "1"}, nil).Connect(t.Context(), transport, nil)
	require.NoError(t, err)
	list, err := session.ListTools(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, session.Close())
	return list.Tools
}

type withHeaders struct {
	headers map[string]string
	next    http.RoundTripper
}

// RoundTrip adds the headers.
func (h withHeaders) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, value := range h.headers {
		r.Header.Set(name, value)
	}
	return h.next.RoundTrip(r)
}

func configurations(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, b := range blocks(t, mcpPage) {
		if b.info == "json" {
			out = append(out, b.text)
		}
	}
	require.Len(t, out, 2)
	return out
}

// TestMCPPageListsEveryTool holds the list of tools to those that are served.
func TestMCPPageListsEveryTool(t *testing.T) {
	t.Parallel()
	in := install(t, false)
	var rows [][]string
	for _, tool := range in.mcpTools(t, configurations(t)[0]) {
		needed, _ := tool.InputSchema.(map[string]any)["required"].([]any)
		var arguments []string
		for _, name := range slices.Sorted(maps.Keys(tool.InputSchema.(map[string]any)["properties"].(map[string]any))) {
			if !slices.Contains(needed, any(name)) {
				arguments = append(arguments, code(name)+"?")
			}
		}
		for _, name := range needed {
			arguments = slices.Insert(arguments, 0, code(fmt.Sprint(name)))
		}
		kind := "reads"
		switch {
		case *tool.Annotations.DestructiveHint:
			kind = "final"
		case *tool.Annotations.OpenWorldHint:
			kind = "acts in the world"
		case !tool.Annotations.ReadOnlyHint:
			kind = "changes"
		}
		scope := "any key"
		if s, _ := tool.Meta["10ex.ai/scope"].(string); s != "" {
			scope = code(s)
		}
		rows = append(rows, []string{code(tool.Name), tool.Title, kind, scope, strings.Join(arguments, " ")})
	}
	holds(t, "reference/mcp.md", "tools", table([]string{"tool", "does", "kind", "scope", "arguments"}, rows))
}

// TestMCPHowTo does what the how-to tells its reader to do, and connects both ways.
func TestMCPHowTo(t *testing.T) {
	t.Parallel()
	eachCurl(t, func(t *testing.T, in *installation) {
		out := in.run(t, strings.Join(shellBlocks(t, mcpPage), "\necho\n"))
		require.Contains(t, out, `"name":"trigger_workflow"`)
		require.Contains(t, out, `"kind":"approval"`)
		require.Contains(t, out, `"code":"invalid_state"`)
		require.Contains(t, out, `"isError":true`)
		require.Regexp(t, `"status":"(running|completed)"`, out)
		ways := configurations(t)
		require.Equal(t, in.mcpTools(t, ways[0]), in.mcpTools(t, ways[1]))
	})
}
