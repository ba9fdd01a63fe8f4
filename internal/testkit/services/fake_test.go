package services

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"
)

// The programs that this package runs are played by this test binary: a script
// of the program's name calls it with fakeVariable set. So every source is
// tested on any machine, whatever is installed on it.
const fakeVariable = "FLOWS_TEST_FAKE_PROGRAM"

func TestMain(m *testing.M) {
	switch os.Getenv(fakeVariable) {
	case "":
		os.Exit(m.Run())
	case "redis-server":
		fakeRedis(os.Args[1:])
	case "docker":
		fakeDocker(os.Args[1:])
	case "apt-get":
		fakeApt(os.Args[1:])
	}
}

// program puts a fake program in dir.
func program(t *testing.T, dir, name string, env ...string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	// With -race every program sleeps for a second at its end, unless told not to.
	script := "#!/bin/sh\nexport GORACE=atexit_sleep_ms=0 " + fakeVariable + "=" + name + "\n"
	for _, kv := range env {
		script += "export " + kv + "\n"
	}
	script += `exec "` + self + `" "$@"` + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
}

// fakeRedis serves until it is told to end. It reads its arguments as
// redis-server does: a file, then options.
func fakeRedis(args []string) {
	content, err := os.ReadFile(args[0])
	fatal(err)
	port := args[slices.Index(args, "--port")+1]
	server := miniredis.NewMiniRedis()
	for line := range strings.Lines(string(content)) {
		if password, ok := strings.CutPrefix(strings.TrimSpace(line), "requirepass "); ok {
			server.RequireUserAuth("default", password)
		}
	}
	fatal(server.StartAddr("127.0.0.1:" + port))
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
}

// fakeDocker answers the five commands that this package gives. A container is a
// fake redis-server whose id is its process id.
func fakeDocker(args []string) {
	folder := os.Getenv("FLOWS_TEST_DOCKER_FOLDER")
	switch args[0] {
	case "version":
	case "run":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		fatal(err)
		_, port, err := net.SplitHostPort(l.Addr().String())
		fatal(err)
		fatal(l.Close())
		config := filepath.Join(folder, "redis.conf")
		password := args[slices.Index(args, "--requirepass")+1]
		fatal(os.WriteFile(config, []byte("requirepass "+password+"\n"), 0o600))
		self, err := os.Executable()
		fatal(err)
		cmd := exec.Command(self, config, "--port", port)
		cmd.Env = append(os.Environ(), fakeVariable+"=redis-server")
		fatal(cmd.Start())
		fatal(os.WriteFile(filepath.Join(folder, "port"), []byte(port), 0o600))
		fmt.Fprintln(os.Stdout, cmd.Process.Pid)
	case "port":
		port, err := os.ReadFile(filepath.Join(folder, "port"))
		fatal(err)
		fmt.Fprintln(os.Stdout, "127.0.0.1:"+string(port))
	case "rm":
		pid, err := strconv.Atoi(args[len(args)-1])
		fatal(err)
		fatal(syscall.Kill(pid, syscall.SIGKILL))
	default:
		fatal(fmt.Errorf("unknown command %q", args))
	}
}

// fakeApt writes down how it was called, and installs redis-server.
func fakeApt(args []string) {
	folder := os.Getenv("FLOWS_TEST_APT_FOLDER")
	f, err := os.OpenFile(filepath.Join(folder, "calls"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	fatal(err)
	_, err = os.Stat(filepath.Join(folder, "policy"))
	fmt.Fprintf(f, "%s; starts forbidden: %v\n", strings.Join(args, " "), err == nil)
	fatal(f.Close())
	if slices.Contains(args, "install") {
		fatal(os.Rename(filepath.Join(folder, "redis-server"), filepath.Join(folder, "bin", "redis-server")))
	}
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
