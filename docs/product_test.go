package docs_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// built are programs of this repository, built once for all tests.
var built = struct {
	flows, peer func() (string, error)
}{build("flows", "../cmd/flows"), build("peer", "../examples/peer")}

// buildFolder is where they are; TestMain removes it.
var buildFolder string

func build(name, pkg string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		path := filepath.Join(buildFolder, name)
		out, err := exec.Command("go", "build", "-o", path, pkg).CombinedOutput()
		if err != nil {
			return "", &buildError{string(out)}
		}
		return path, nil
	})
}

type buildError struct{ out string }

func (e *buildError) Error() string { return e.out }

// output is what a program prints, read while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// startProgram starts a program in a folder, gives the first line it prints, and
// keeps the rest. It is stopped at the end of the test.
func startProgram(t *testing.T, dir string, path func() (string, error), args ...string) (string, *output) {
	t.Helper()
	return startProgramWith(t, nil, dir, path, args...)
}

// startProgramWith starts a program with variables of the environment.
func startProgramWith(t *testing.T, env []string, dir string, path func() (string, error), args ...string) (string, *output) {
	t.Helper()
	program, err := path()
	require.NoError(t, err)
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var logged output
	cmd.Stderr = &logged
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines, rest := bufio.NewReader(out), &output{}
	first := make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		line, _ := lines.ReadString('\n')
		first <- line
		_, _ = io.Copy(rest, lines)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-read
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(logged.String())
		}
	})
	select {
	case line := <-first:
		return line, rest
	case <-time.After(time.Minute):
		require.FailNow(t, "it does not start", logged.String())
		return "", nil
	}
}

// installation is flows dev and the peer as the documents start them, but on free
// ports, in a folder of their own.
type installation struct {
	dir, url, peerURL string
	peer              *output
	path              string // PATH of scripts
}

func install(t *testing.T, withCurl bool, env ...string) *installation {
	t.Helper()
	in := &installation{dir: t.TempDir(), path: os.Getenv("PATH")}
	line, _ := startProgramWith(t, env, in.dir, built.flows, "dev", "--addr", "127.0.0.1:0")
	var ready struct {
		URL string `json:"url"`
	}
	require.NoError(t, json.Unmarshal([]byte(line), &ready), line)
	in.url = ready.URL
	line, in.peer = startProgram(t, in.dir, built.peer, "-addr", "127.0.0.1:0")
	in.peerURL = strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	if !withCurl {
		self, err := os.Executable()
		require.NoError(t, err)
		bin := filepath.Join(in.dir, "bin")
		require.NoError(t, os.Mkdir(bin, 0o755))
		require.NoError(t, os.Symlink(self, filepath.Join(bin, "curl")))
		in.path = bin + string(os.PathListSeparator) + in.path
	}
	return in
}

// run runs a script of a document, and gives what it prints.
func (in *installation) run(t *testing.T, script string) string {
	t.Helper()
	script = strings.ReplaceAll(script, "http://127.0.0.1:8080", in.url)
	script = strings.ReplaceAll(script, "http://127.0.0.1:9000", in.peerURL)
	cmd := exec.Command("sh", "-eu")
	cmd.Dir, cmd.Stdin = in.dir, strings.NewReader(script)
	cmd.Env = append(os.Environ(), "PATH="+in.path)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

// eachCurl runs a test with the curl of this machine, if it has one, and with ours.
func eachCurl(t *testing.T, test func(t *testing.T, in *installation)) {
	t.Helper()
	names := []string{"without curl"}
	if _, err := exec.LookPath("curl"); err == nil {
		names = append(names, "with curl")
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, install(t, name == "with curl"))
		})
	}
}

// shellBlocks gives the blocks of a document that readers are told to run.
func shellBlocks(t *testing.T, file string) []string {
	t.Helper()
	var out []string
	for _, b := range blocks(t, file) {
		if b.info == "sh" {
			out = append(out, b.text)
		}
	}
	return out
}
