package docs_test

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
)

// TestDeployPageStartsTheRoles does what the page says about plain processes, with a
// database, a Redis and an address of its own.
func TestDeployPageStartsTheRoles(t *testing.T) {
	t.Parallel()
	if !testkit.HavePostgres() || !testkit.HaveRedis() {
		return
	}
	program, err := built.flows()
	require.NoError(t, err)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())

	_, script, ok := strings.Cut(read(t, deployPage), "## As plain processes\n\n```text\n")
	require.True(t, ok)
	script, _, _ = strings.Cut(script, "\n```")
	script = regexp.MustCompile(`postgres://\S+`).ReplaceAllLiteralString(script, "'"+testkit.PostgresURL(t)+"'")
	script = regexp.MustCompile(`redis://\S+`).ReplaceAllLiteralString(script, "'"+testkit.RedisURL(t)+"'")

	exports := "set -e\n"
	bash := func(command string) *exec.Cmd {
		cmd := exec.Command("bash", "-c", exports+"exec "+command)
		cmd.Dir, cmd.Stderr = t.TempDir(), os.Stderr
		return cmd
	}
	workspace, key, roles := "", "", 0
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		command, mine := strings.CutPrefix(line, "bin/flows ")
		command = program + " " + strings.ReplaceAll(command, "ws_…", workspace)
		role, stays := strings.CutSuffix(command, " &")
		switch {
		case line == "make build": // it is built once for all tests
		case strings.HasPrefix(line, "export "):
			exports += line + "\n"
		case mine && stays:
			cmd := bash(role)
			if strings.HasSuffix(role, " api") {
				cmd.Env = append(os.Environ(), "FLOWS_HTTP_ADDR="+addr)
			}
			require.NoError(t, cmd.Start())
			t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
			roles++
		case mine:
			out, err := bash(command).Output()
			require.NoError(t, err, command)
			if id := regexp.MustCompile(`ws_\w+`).Find(out); id != nil {
				workspace = string(id)
			}
			if found := regexp.MustCompile(`tnx_\w+`).Find(out); found != nil {
				key = string(found)
			}
		default:
			require.Fail(t, "not a command of this page", line)
		}
	}
	require.Equal(t, 4, roles)
	// A run needs them: one answers, one works.
	client := &http.Client{Timeout: 2 * time.Minute}
	call := func(path, body string) (status int, answer string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/api/v1/flows"+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Prefer", "wait=60")
		resp, err := client.Do(req)
		if err != nil {
			return 0, err.Error() // not there yet
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(text)
	}
	var made string
	require.Eventually(t, func() (ready bool) {
		var status int
		status, made = call("/workflows", `{"name":"a","graph":{"steps":[{"id":"a","type":"connector","connector":"core","action":"set"}],"edges":[]}}`)
		return status == http.StatusCreated
	}, time.Minute, 20*time.Millisecond)
	_, ended := call("/workflows/"+regexp.MustCompile(`wf_\w+`).FindString(made)+"/trigger", `{}`)
	require.Contains(t, ended, `"status":"completed"`)
}
