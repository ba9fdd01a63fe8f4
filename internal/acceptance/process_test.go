package acceptance_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// process is a run of the product.
type process struct {
	name string
	cmd  *exec.Cmd
	logs *journal
	done chan struct{} // closed when it has ended
	code int           // then: its exit code, or -1 after a signal
}

// launch starts the product and ends it with the test. env is what it is told, on
// top of what every program needs.
func launch(t *testing.T, path, name string, env []string, args ...string) *process {
	t.Helper()
	p := &process{name: name, logs: newJournal(), done: make(chan struct{})}
	p.cmd = exec.Command(path, args...)
	p.cmd.Env = append(append(ownEnvironment(), "FLOWS_LOG_FORMAT=json"), env...)
	p.cmd.Dir = t.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = p.logs, p.logs
	p.cmd.SysProcAttr = attributes()
	require.NoError(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // the exit code says it
		p.code = p.cmd.ProcessState.ExitCode()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // an error means that it has ended
		<-p.done
		if t.Failed() {
			t.Logf("last lines of %s:\n%s", p.name, p.logs.tail(30))
		}
	})
	return p
}

// ownEnvironment is this process's without the product's settings.
func ownEnvironment() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "FLOWS_") && !strings.HasPrefix(kv, "OTEL_") {
			env = append(env, kv)
		}
	}
	return env
}

// ready waits until the process says that it serves, and gives the line in which
// it does.
func (p *process) ready(t *testing.T) line {
	t.Helper()
	select {
	case l := <-p.logs.ready:
		return l
	case <-p.done:
	case <-time.After(startLimit):
	}
	require.FailNow(t, p.name+" does not serve")
	panic("unreachable")
}

// kill ends the process as a power cut would, and says when.
func (p *process) kill(t *testing.T) time.Time {
	t.Helper()
	at := time.Now()
	require.NoError(t, p.cmd.Process.Kill())
	<-p.done
	return at
}

// terminate asks the process to end. It does not wait for it.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
}

// line is what a process says: a line of its log, or its answer on stdout.
type line struct {
	Level    string `json:"level"`
	Msg      string `json:"msg"`
	URL      string `json:"url"`
	Key      string `json:"api_key"`
	WorkerID string `json:"worker_id"`
	text     string
}

// journal keeps what a process says.
type journal struct {
	ready chan line // the first line with a URL or of readiness

	mu    sync.Mutex
	rest  []byte
	lines []line
	said  bool
}

func newJournal() *journal { return &journal{ready: make(chan line, 1)} }

// Write takes output in, a part of a line or many of them.
func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rest = append(j.rest, b...)
	for {
		one, rest, found := bytes.Cut(j.rest, []byte{'\n'})
		if !found {
			return len(b), nil
		}
		j.rest = rest
		l := line{text: string(one)}
		_ = json.Unmarshal(one, &l) // a panic is no JSON
		j.lines = append(j.lines, l)
		if !j.said && (l.Msg == "ready" || l.Key != "") {
			j.said = true
			j.ready <- l
		}
	}
}

// find gives the lines that match.
func (j *journal) find(match func(line) bool) []line {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []line
	for _, l := range j.lines {
		if match(l) {
			found = append(found, l)
		}
	}
	return found
}

func (j *journal) tail(n int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, l := range j.lines[max(0, len(j.lines)-n):] {
		b.WriteString(l.text)
		b.WriteByte('\n')
	}
	b.Write(j.rest)
	return b.String()
}

// workerID is what the process calls itself where it does steps.
func (p *process) workerID(t *testing.T) string {
	t.Helper()
	found := p.logs.find(func(l line) bool { return l.Msg == "worker started" })
	require.Len(t, found, 1)
	return found[0].WorkerID
}

// requireNoErrors fails the test if the process has logged an error that is none of
// those allowed, or has said something that is not a line of a log: a panic, or
// what the race detector found.
func (p *process) requireNoErrors(t *testing.T, allowed ...string) {
	t.Helper()
	for _, l := range p.logs.find(func(l line) bool { return l.Level == "ERROR" || l.Level == "" && l.Key == "" }) {
		ok := false
		for _, a := range allowed {
			ok = ok || strings.Contains(l.text, a)
		}
		if !ok {
			require.Failf(t, "unexpected output", "%s said: %s\n%s", p.name, l.text, p.logs.tail(60))
		}
	}
}
