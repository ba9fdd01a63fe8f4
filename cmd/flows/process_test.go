package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// asProgram makes the test binary behave as the product's, so that tests can
// start it as a process of its own, signal it and kill it.
const asProgram = "FLOWS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop)
		p := &program{env: processEnvironment(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
		os.Exit(p.main(ctx, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// limit is how long a test waits for what must happen.
const limit = time.Minute

// process is one running binary.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout *output
	stderr *output
	done   chan struct{}
}

// output gathers what a process writes and can be waited on.
type output struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{}
}

func newOutput() *output { return &output{more: make(chan struct{}, 1)} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.more <- struct{}{}:
	default:
	}
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start runs the binary with an environment that holds env and nothing else of ours.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0], args...), stdout: newOutput(), stderr: newOutput(), done: make(chan struct{})}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "FLOWS_") && !strings.HasPrefix(v, "TENEX_") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	p.cmd.Env = append(append(p.cmd.Env, asProgram+"=1"), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	require.NoError(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // the state says how it ended
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("flows %s\nstdout:\n%s\nstderr:\n%s", strings.Join(args, " "), p.stdout, p.stderr)
		}
	})
	return p
}

// terminate is how operators and orchestrators ask a process to end.
const terminate = syscall.SIGTERM

// kill ends the process as a crash does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// stop ends the process as an operator does and gives its exit code.
func (p *process) stop() int {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(terminate))
	return p.wait()
}

func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		require.FailNow(p.t, "the process did not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// line waits for the first whole line on out that holds part.
func (p *process) line(out *output, part string) string {
	p.t.Helper()
	deadline := time.After(limit)
	for {
		for one := range strings.Lines(out.String()) {
			if strings.HasSuffix(one, "\n") && strings.Contains(one, part) {
				return strings.TrimSpace(one)
			}
		}
		select {
		case <-out.more:
		case <-p.done:
			require.FailNow(p.t, "the process ended", "exit code %d\n%s", p.cmd.ProcessState.ExitCode(), p.stderr)
		case <-deadline:
			require.FailNow(p.t, "the line did not come", part)
		}
	}
}

// runTo runs the binary to its end and decodes each line it prints.
func runTo[T any](t *testing.T, env []string, args ...string) []T {
	t.Helper()
	p := start(t, env, args...)
	require.Zero(t, p.wait(), p.stderr.String())
	var out []T
	dec := json.NewDecoder(strings.NewReader(p.stdout.String()))
	for {
		var v T
		err := dec.Decode(&v)
		if err == io.EOF {
			return out
		}
		require.NoError(t, err, p.stdout.String())
		out = append(out, v)
	}
}

// client asks an API.
type client struct {
	t   *testing.T
	url string
	key string
}

// do sends a request and decodes a 2xx answer into out.
func (c client) do(method, path, body string, out any, headers ...string) int {
	c.t.Helper()
	status, raw := c.send(method, path, body, headers...)
	if status/100 == 2 && out != nil {
		require.NoError(c.t, json.Unmarshal(raw, out), string(raw))
	}
	return status
}

func (c client) send(method, path, body string, headers ...string) (int, []byte) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	require.NoError(c.t, err)
	req.Header.Set("Authorization", "Bearer "+c.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := new(http.Client).Do(req)
	require.NoError(c.t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	return resp.StatusCode, raw
}

const apiRoot = "/api/v1/flows"

// workflow makes a workflow and gives its id.
func (c client) workflow(graph string) string {
	c.t.Helper()
	var w struct {
		ID string `json:"id"`
	}
	status, raw := c.send(http.MethodPost, apiRoot+"/workflows", `{"name":"test","graph":`+graph+`}`)
	require.Equal(c.t, http.StatusCreated, status, string(raw))
	require.NoError(c.t, json.Unmarshal(raw, &w))
	return w.ID
}

type run struct {
	ID     string          `json:"id"`
	Status string          `json:"status"`
	Output json.RawMessage `json:"output"`
	Error  json.RawMessage `json:"error"`
}

// trigger starts a run.
func (c client) trigger(workflow string, headers ...string) run {
	c.t.Helper()
	var r run
	status := c.do(http.MethodPost, apiRoot+"/workflows/"+workflow+"/trigger", `{}`, &r, headers...)
	require.Equal(c.t, 2, status/100, "status %d", status)
	return r
}

// completed waits until every run has completed.
func (c client) completed(ids []string) {
	c.t.Helper()
	for _, id := range ids {
		var r run
		require.Eventually(c.t, func() bool {
			return c.do(http.MethodGet, apiRoot+"/runs/"+id, "", &r) == http.StatusOK && (r.Status == "completed" || r.Status == "failed")
		}, 2*limit, 20*time.Millisecond, "run %s", id)
		require.Equal(c.t, "completed", r.Status, string(r.Error))
	}
}
