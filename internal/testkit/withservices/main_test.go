package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// bundle runs this program with no way to get a service but the environment.
type bundle struct {
	file    *os.File
	environ []string
}

func setup(t *testing.T) *bundle {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "output"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	return &bundle{file: file, environ: []string{"PATH=" + os.Getenv("PATH")}}
}

func (b *bundle) run(args ...string) int { return b.runUntil(nil, args...) }

func (b *bundle) runUntil(signals <-chan os.Signal, args ...string) int {
	return run(append([]string{"-from=env"}, args...), b.environ, signals, b.file, b.file)
}

func (b *bundle) output(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(b.file.Name())
	require.NoError(t, err)
	return string(content)
}

func TestExitCodeIsTheCommands(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Equal(t, 0, b.run("--", "true"))
	require.Equal(t, 7, b.run("--", "sh", "-c", "exit 7"))
	require.Equal(t, 1, b.run("--", "sh", "-c", "kill -9 $$"))
	require.Equal(t, 127, b.run("--", "no-such-command"))
}

func TestMissingServicesAreToldAndFailOnlyUnderCI(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ran := filepath.Join(t.TempDir(), "ran")

	require.Equal(t, 0, b.run("--", "touch", ran))
	require.FileExists(t, ran)
	require.Contains(t, b.output(t), "NO POSTGRES: what needs it will not run.")
	require.Contains(t, b.output(t), "NO REDIS: what needs it will not run.")
	require.Contains(t, b.output(t), "env: FLOWS_TEST_REDIS_URL is not set")

	require.NoError(t, os.Remove(ran))
	b.environ = append(b.environ, "CI=true")
	require.Equal(t, 1, b.run("--", "touch", ran))
	require.NoFileExists(t, ran)
	require.Contains(t, b.output(t), "nothing was run")
}

func TestRaceDetectorIsLeftOutWithoutCompiler(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Equal(t, 0, b.run("-need=cc", "--", "sh", "-c", `[ $# = 1 ] && [ "$1" = ./... ]`, "sh", "-race", "./..."))
	require.Contains(t, b.output(t), "running without -race")
}

func TestServicesAreNamedToTheCommand(t *testing.T) {
	t.Parallel()
	b := setup(t)
	browser := filepath.Join(t.TempDir(), "browser")
	require.NoError(t, os.WriteFile(browser, nil, 0o755))
	b.environ = append(b.environ, "FLOWS_TEST_CHROMIUM="+browser)
	envFile := filepath.Join(t.TempDir(), "folder", "env")

	require.Equal(t, 0, b.run("-need=chromium", "-env-file="+envFile, "--",
		"sh", "-c", `. "$0" && [ "$FLOWS_TEST_CHROMIUM" = "$1" ] && unset FLOWS_TEST_CHROMIUM`, envFile, browser))
	require.NoFileExists(t, envFile, "it names servers that are gone")
	require.Contains(t, b.output(t), "chromium: the one named by FLOWS_TEST_CHROMIUM")
}

func TestSignalReachesAllOfTheCommandAndEndsIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))

	signals := make(chan os.Signal, 1)
	go func() {
		// Opening returns once the command has opened the other end.
		if f, err := os.Open(fifo); err == nil {
			signals <- syscall.SIGTERM
			f.Close()
		}
	}()
	// The child of the command would outlive it.
	script := `sleep 600 & echo $! > "$0.child"; exec 3> "$0"; wait`
	require.Equal(t, 128+int(syscall.SIGTERM), b.runUntil(signals, "--", "sh", "-c", script, fifo))

	pid, err := os.ReadFile(fifo + ".child")
	require.NoError(t, err)
	require.Error(t, exec.Command("sh", "-c", "kill -0 "+string(pid)+" && ! grep -q 'State:.Z' /proc/"+string(pid[:len(pid)-1])+"/status").Run())
}

func TestFlagsAreChecked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Equal(t, 2, b.run("-fsync=maybe", "--", "true"))
	require.Equal(t, 2, b.run("-from=cloud", "--", "true"))
	require.Contains(t, b.output(t), "want on or off")
	require.Contains(t, b.output(t), `"cloud" is none of env,listening,local,install,docker`)
	require.Equal(t, 1, b.run("-need=mysql", "--", "true"))
}

func TestProductGetsItsOwnDatabase(t *testing.T) {
	t.Parallel()
	require.Equal(t, "postgres://a:b@127.0.0.1:5432/flows?sslmode=disable",
		withDatabase("postgres://a:b@127.0.0.1:5432/flows_test?sslmode=disable", "flows"))
	require.Empty(t, withDatabase("", "flows"))
}
