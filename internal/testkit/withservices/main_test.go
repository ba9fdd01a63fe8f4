package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// setup returns a runner of this program with no way to get a service, and the
// files it writes to.
func setup(t *testing.T) (runner func(signals <-chan os.Signal, args ...string) int, output func() string) {
	t.Helper()
	for _, name := range []string{"CI", "FLOWS_TEST_DATABASE_URL", "FLOWS_TEST_REDIS_URL", "FLOWS_TEST_CHROMIUM"} {
		t.Setenv(name, "")
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "output"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	return func(signals <-chan os.Signal, args ...string) int {
			return run(append([]string{"-from=env"}, args...), signals, file, file)
		}, func() string {
			content, err := os.ReadFile(file.Name())
			require.NoError(t, err)
			return string(content)
		}
}

func TestExitCodeIsTheCommands(t *testing.T) {
	run, _ := setup(t)
	require.Equal(t, 0, run(nil, "--", "true"))
	require.Equal(t, 7, run(nil, "--", "sh", "-c", "exit 7"))
	require.Equal(t, 1, run(nil, "--", "sh", "-c", "kill -9 $$"))
	require.Equal(t, 127, run(nil, "--", "no-such-command"))
}

func TestMissingServicesAreToldAndFailOnlyUnderCI(t *testing.T) {
	run, output := setup(t)
	ran := filepath.Join(t.TempDir(), "ran")

	require.Equal(t, 0, run(nil, "--", "touch", ran))
	require.FileExists(t, ran)
	require.Contains(t, output(), "NO POSTGRES: what needs it will not run.")
	require.Contains(t, output(), "NO REDIS: what needs it will not run.")
	require.Contains(t, output(), "env: FLOWS_TEST_REDIS_URL is not set")

	require.NoError(t, os.Remove(ran))
	t.Setenv("CI", "true")
	require.Equal(t, 1, run(nil, "--", "touch", ran))
	require.NoFileExists(t, ran)
	require.Contains(t, output(), "nothing was run")
}

func TestServicesAreNamedToTheCommand(t *testing.T) {
	run, output := setup(t)
	browser := filepath.Join(t.TempDir(), "browser")
	require.NoError(t, os.WriteFile(browser, nil, 0o755))
	t.Setenv("FLOWS_TEST_CHROMIUM", browser)
	envFile := filepath.Join(t.TempDir(), "folder", "env")

	require.Equal(t, 0, run(nil, "-need=chromium", "-env-file="+envFile, "--",
		"sh", "-c", `. "$0" && [ "$FLOWS_TEST_CHROMIUM" = "$1" ] && unset FLOWS_TEST_CHROMIUM`, envFile, browser))
	require.NoFileExists(t, envFile, "it names servers that are gone")
	require.Contains(t, output(), "chromium: the one named by FLOWS_TEST_CHROMIUM")
}

func TestSignalReachesAllOfTheCommandAndEndsIt(t *testing.T) {
	run, _ := setup(t)
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
	require.Equal(t, 128+int(syscall.SIGTERM), run(signals, "--", "sh", "-c", script, fifo))

	pid, err := os.ReadFile(fifo + ".child")
	require.NoError(t, err)
	require.Error(t, exec.Command("sh", "-c", "kill -0 "+string(pid)+" && ! grep -q 'State:.Z' /proc/"+string(pid[:len(pid)-1])+"/status").Run())
}

func TestFlagsAreChecked(t *testing.T) {
	run, output := setup(t)
	require.Equal(t, 2, run(nil, "-fsync=maybe", "--", "true"))
	require.Equal(t, 2, run(nil, "-from=cloud", "--", "true"))
	require.Contains(t, output(), "want on or off")
	require.Contains(t, output(), `"cloud" is none of env,listening,local,install,docker`)
	require.Equal(t, 1, run(nil, "-need=mysql", "--", "true"))
}

func TestProductGetsItsOwnDatabase(t *testing.T) {
	t.Parallel()
	require.Equal(t, "postgres://a:b@127.0.0.1:5432/flows?sslmode=disable",
		withDatabase("postgres://a:b@127.0.0.1:5432/flows_test?sslmode=disable", "flows"))
	require.Empty(t, withDatabase("", "flows"))
}
