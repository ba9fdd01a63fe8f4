package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"
)

// overHTTP and overStdio are the two ways to the same tools.
func overHTTP(t *testing.T, url, key string) *mcp.ClientSession {
	t.Helper()
	return connectMCP(t, &mcp.StreamableClientTransport{
		Endpoint: url + "/mcp", HTTPClient: &http.Client{Transport: withKey{key, new(http.Transport)}}, MaxRetries: -1,
	})
}

func overStdio(t *testing.T, url, key string) *mcp.ClientSession {
	t.Helper()
	return connectMCP(t, &mcp.CommandTransport{Command: mcpProgram("TENEX_API_KEY="+key, "TENEX_API_BASE="+url)})
}

func mcpProgram(env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "mcp")
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "FLOWS_") && !strings.HasPrefix(v, "TENEX_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(append(cmd.Env, asProgram+"=1"), env...)
	return cmd
}

type withKey struct {
	key  string
	next http.RoundTripper
}

func (k withKey) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+k.key)
	return k.next.RoundTrip(r)
}

func connectMCP(t *testing.T, transport mcp.Transport) *mcp.ClientSession {
	t.Helper()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), transport, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = session.Close() }) // some tests end the process themselves
	return session
}

func callMCP(t *testing.T, s *mcp.ClientSession, name string, arguments any) map[string]any {
	t.Helper()
	res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: arguments})
	require.NoError(t, err)
	require.False(t, res.IsError, "%s: %v", name, res.StructuredContent)
	return res.StructuredContent.(map[string]any)
}

func TestMCPOffersTheSameOverHTTPAndStdio(t *testing.T) {
	t.Parallel()
	_, l, _ := dev(t, filepath.Join(t.TempDir(), "data"))
	http, stdio := overHTTP(t, l.URL, l.Key), overStdio(t, l.URL+"/api/v1/flows/", l.Key)
	a, err := http.ListTools(t.Context(), nil)
	require.NoError(t, err)
	b, err := stdio.ListTools(t.Context(), nil)
	require.NoError(t, err)
	require.NotEmpty(t, a.Tools)
	require.Empty(t, cmp.Diff(a.Tools, b.Tools))
	require.Equal(t, http.InitializeResult().Instructions, stdio.InitializeResult().Instructions)
	require.NotEmpty(t, stdio.InitializeResult().Instructions)
	for _, s := range []*mcp.ClientSession{http, stdio} {
		require.Equal(t, l.Workspace, callMCP(t, s, "whoami", nil)["workspace_id"])
		made := callMCP(t, s, "create_workflow", map[string]any{"name": "Three steps", "graph": json.RawMessage(threeSteps)})
		run := callMCP(t, s, "trigger_workflow", map[string]any{"workflow_id": made["id"], "wait_seconds": 60})
		require.Equal(t, "completed", run["status"])
		require.Equal(t, map[string]any{"c": map[string]any{"n": 3.0}}, run["output"])
		refused, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "get_run", Arguments: map[string]any{"run_id": "run_none"}})
		require.NoError(t, err)
		require.True(t, refused.IsError)
		_, err = s.CallTool(t.Context(), &mcp.CallToolParams{Name: "fly"})
		require.ErrorContains(t, err, "fly")
	}
}

// bridged runs flows mcp on a script and gives the lines that it answers, in an
// order of their own.
func bridged(t *testing.T, script string, env ...string) []string {
	t.Helper()
	cmd := mcpProgram(env...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(script), &out, &errs
	require.NoError(t, cmd.Run(), errs.String())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	slices.Sort(lines)
	return lines
}

const someKey = "tnx_AAAAAAAA_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestMCPOverStdioAnswersEveryCallWhateverTheServerDoes(t *testing.T) {
	t.Parallel()
	calls := `{"jsonrpc":"2.0","id":1,"method":"tools/list"}` + "\n" + `{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n"
	answering := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	for name, tc := range map[string]struct {
		url, script string
		says        []string
	}{
		"server that is away": {"http://127.0.0.1:1", calls, []string{`"id":1`, "cannot be reached", "127.0.0.1:1"}},
		"another server": {answering(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret text", http.StatusBadGateway) }), calls,
			[]string{`"id":1`, "502 Bad Gateway"}},
		"server that sends elsewhere": {answering(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}), calls,
			[]string{`"id":1`, "307"}},
		"a problem": {answering(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"status":401,"code":"unauthorized","detail":"A valid API key is needed."}`)
		}), calls, []string{`"id":1`, "A valid API key is needed.", `"code":"unauthorized"`}},
		"an answer to nobody": {answering(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no batches"}}`)
		}), calls, []string{`"id":1`, "no batches", "-32600"}},
		"no JSON": {"http://127.0.0.1:1", "hello\n", []string{`"id":null`, "-32700"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := bridged(t, tc.script, "TENEX_API_KEY="+someKey, "TENEX_API_BASE="+tc.url)
			require.Len(t, lines, 1, "a notification gets no answer")
			for _, part := range tc.says {
				require.Contains(t, lines[0], part)
			}
			require.NotContains(t, lines[0], "secret text")
			require.NotContains(t, lines[0], someKey)
		})
	}
}

func TestMCPOverStdioTellsTheServerWhatIsSpoken(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- strings.Join([]string{
			r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Mcp-Protocol-Version"), r.Header.Get("Mcp-Method"), r.Header.Get("Mcp-Name"),
		}, " ")
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18",`+"\n"+`"x":1}}`)
	}))
	t.Cleanup(s.Close)
	in, out := io.Pipe()
	cmd := mcpProgram("TENEX_API_KEY="+someKey, "TENEX_API_BASE="+s.URL)
	cmd.Stdin = in
	answers := newOutput()
	cmd.Stdout = answers
	require.NoError(t, cmd.Start())
	for _, tc := range []struct{ message, sees string }{
		{`{"jsonrpc":"2.0","id":1,"method":"initialize"}`, " initialize "},
		{`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}`, "2025-06-18 tools/call whoami"},
		{`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`, "2026-07-28 tools/list "},
	} {
		before := strings.Count(answers.String(), "\n")
		_, err := io.WriteString(out, tc.message+"\n")
		require.NoError(t, err)
		require.Equal(t, "POST /mcp Bearer "+someKey+" "+tc.sees, <-seen)
		require.Eventually(t, func() bool { return strings.Count(answers.String(), "\n") == before+1 }, limit, 5*time.Millisecond)
	}
	require.NoError(t, out.Close())
	require.NoError(t, cmd.Wait())
	require.Equal(t, 3, strings.Count(answers.String(), "\n"), "an answer is one line")
}

func TestMCPOverStdioForgetsWhatIsCancelled(t *testing.T) {
	t.Parallel()
	arrived, gone := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
		close(gone)
	}))
	t.Cleanup(s.Close)
	in, out := io.Pipe()
	cmd := mcpProgram("TENEX_API_KEY="+someKey, "TENEX_API_BASE="+s.URL)
	var answers bytes.Buffer
	cmd.Stdin, cmd.Stdout = in, &answers
	require.NoError(t, cmd.Start())
	_, err := io.WriteString(out, `{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"whoami"}}`+"\n")
	require.NoError(t, err)
	<-arrived
	_, err = io.WriteString(out, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a"}}`+"\n")
	require.NoError(t, err)
	<-gone
	require.NoError(t, out.Close())
	require.NoError(t, cmd.Wait())
	require.Empty(t, answers.String())
}

func TestServerAddressesAreRead(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"https://api.10ex.ai": "https://api.10ex.ai", "https://api.10ex.ai/": "https://api.10ex.ai",
		"http://127.0.0.1:8080/api/v1/flows": "http://127.0.0.1:8080", "https://example.com/flows/api/v1/": "https://example.com/flows",
	} {
		var got string
		require.NoError(t, serverAddress(&got, given))
		require.Equal(t, want, got)
	}
	for _, bad := range []string{"api.10ex.ai", "ftp://x", "https://", "https://u:p@x", "https://x?a=1", "https://x#a", "::"} {
		require.Error(t, serverAddress(new(string), bad), bad)
	}
}
