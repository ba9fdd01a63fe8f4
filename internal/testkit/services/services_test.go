package services

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// setup returns a Config that wants Redis, on a machine whose programs are only
// those that the test puts into the folder.
func setup(t *testing.T, from ...Source) (Config, string) {
	t.Helper()
	dir := t.TempDir()
	return Config{
		Need:   []Kind{Redis},
		From:   from,
		Getenv: func(string) string { return "" },
		machine: &machine{
			policyFile: filepath.Join(dir, "policy"),
			lookPath:   func(name string) (string, error) { return exec.LookPath(filepath.Join(dir, name)) },
		},
	}, dir
}

func TestMissingServiceSaysWhyForEachSource(t *testing.T) {
	t.Parallel()
	cfg, _ := setup(t, Env, Local, Install, Docker)

	set, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	defer set.Stop()

	require.Empty(t, cmp.Diff([]Missing{{Kind: Redis, Reasons: []string{
		"env: FLOWS_TEST_REDIS_URL is not set",
		"local: no redis-server in PATH",
		"install: no apt-get: not a Debian machine",
		"docker: no docker in PATH",
	}}}, set.Missing))
	require.Equal(t, []string{"A=1"}, set.Environ([]string{"A=1", "FLOWS_TEST_REDIS_URL=old"}))
}

func TestNamedServerThatDoesNotAnswerIsAnError(t *testing.T) {
	t.Parallel()
	for kind, url := range map[Kind]string{
		Postgres: "postgres://nobody:secret-word@127.0.0.1:1/none?sslmode=disable",
		Redis:    "redis://nobody:secret-word@127.0.0.1:1/0",
		Chromium: "/no/such/browser",
	} {
		_, err := Start(t.Context(), Config{Need: []Kind{kind}, Getenv: func(name string) string {
			if name == Variable(kind) {
				return url
			}
			return ""
		}})
		require.ErrorContains(t, err, Variable(kind)+" is set but cannot be used")
		require.NotContains(t, err.Error(), "secret-word")
	}
}

func TestLocalServerIsStartedAndStopped(t *testing.T) {
	t.Parallel()
	cfg, dir := setup(t, Local)
	program(t, dir, "redis-server")
	var log bytes.Buffer
	cfg.Log = &log

	set, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	require.Empty(t, set.Missing)
	url := set.URL(Redis)
	require.NoError(t, pingRedis(t.Context(), url))
	require.Contains(t, set.Environ(nil), "FLOWS_TEST_REDIS_URL="+url)
	private := set.dir
	require.DirExists(t, private)

	set.Stop()
	require.Error(t, pingRedis(t.Context(), url))
	require.NoDirExists(t, private)
	require.NotContains(t, log.String(), "ended by itself")
	set.Stop() // twice does no harm
}

func TestServerThatEndsAtOnceIsToldWithItsLog(t *testing.T) {
	t.Parallel()
	cfg, dir := setup(t, Local)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "redis-server"), []byte("#!/bin/sh\necho bad setting >&2\nexit 3\n"), 0o755))

	set, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	defer set.Stop()
	require.Len(t, set.Missing, 1)
	require.Contains(t, set.Missing[0].Reasons[0], "redis did not start (exit status 3): bad setting")
}

func TestStartGivesUpWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	cfg, dir := setup(t, Local)
	// It never answers, and would run for long.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "redis-server"), []byte("#!/bin/sh\nexec /bin/sleep 60\n"), 0o755))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err := Start(ctx, cfg)
	require.ErrorIs(t, err, context.Canceled)
}

func TestPackagesAreInstalledWithoutStartingServices(t *testing.T) {
	t.Parallel()
	cfg, dir := setup(t, Local, Install)
	cfg.machine.root = true
	bin := filepath.Join(dir, "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	cfg.machine.lookPath = func(name string) (string, error) { return exec.LookPath(filepath.Join(bin, name)) }
	program(t, bin, "apt-get", "FLOWS_TEST_APT_FOLDER="+dir)
	program(t, dir, "redis-server") // found once apt-get has moved it to bin

	set, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	defer set.Stop()
	require.Empty(t, set.Missing)
	require.NoError(t, pingRedis(t.Context(), set.URL(Redis)))

	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	require.NoError(t, err)
	require.Equal(t, strings.Join([]string{
		"-q -o DPkg::Lock::Timeout=120 update; starts forbidden: true",
		"-q -o DPkg::Lock::Timeout=120 install -y --no-install-recommends redis-server; starts forbidden: true",
		"",
	}, "\n"), string(calls))
	require.NoFileExists(t, cfg.machine.policyFile)
}

func TestPolicyOfTheMachineStaysAsItIs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy")
	require.NoError(t, os.WriteFile(path, []byte("theirs"), 0o755))

	release, err := forbidServiceStarts(path)
	require.NoError(t, err)
	release()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "theirs", string(content))
}

func TestOnlyRootInstallsPackages(t *testing.T) {
	t.Parallel()
	cfg, dir := setup(t, Install)
	program(t, dir, "apt-get", "FLOWS_TEST_APT_FOLDER="+dir)

	set, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	require.Equal(t, []string{"install: packages can be installed only by root (run: sudo apt-get install redis-server)"}, set.Missing[0].Reasons)
	require.NoFileExists(t, filepath.Join(dir, "calls"))
}

func TestContainerIsStartedAndRemoved(t *testing.T) {
	t.Parallel()
	cfg, dir := setup(t, Docker)
	program(t, dir, "docker", "FLOWS_TEST_DOCKER_FOLDER="+dir)

	set, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	require.Empty(t, set.Missing)
	url := set.URL(Redis)
	require.NoError(t, pingRedis(t.Context(), url))

	set.Stop()
	require.Error(t, pingRedis(t.Context(), url))
}

func TestDockerWithoutItsServerIsAReason(t *testing.T) {
	t.Parallel()
	cfg, dir := setup(t, Docker)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\necho no daemon here >&2\nexit 1\n"), 0o755))

	set, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	require.Equal(t, []string{"docker: docker's server cannot be reached: no daemon here"}, set.Missing[0].Reasons)
}

func TestServeTriesAnotherPortWhenOneIsTaken(t *testing.T) {
	t.Parallel()
	cfg, dir := setup(t, Local)
	cfg.Log = io.Discard
	s := &starter{cfg: cfg, set: &Set{urls: map[Kind]string{}}}
	defer s.set.Stop()

	var ports []string
	address, err := s.serve(t.Context(), func(port string) (*server, error) {
		ports = append(ports, port)
		if len(ports) == 1 {
			return s.launch("redis", dir, syscall.SIGKILL, "/bin/false")
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		return s.launch("redis", dir, syscall.SIGKILL, "/bin/sleep", "60")
	}, dial)
	require.NoError(t, err)
	require.Len(t, ports, 2)
	require.Equal(t, net.JoinHostPort("127.0.0.1", ports[1]), address)
}

func TestUnknownNamesAreRefused(t *testing.T) {
	t.Parallel()
	_, err := Start(t.Context(), Config{Need: []Kind{"mysql"}})
	require.ErrorContains(t, err, `unknown service "mysql"`)
	_, err = Start(t.Context(), Config{From: []Source{"cloud"}})
	require.ErrorContains(t, err, `unknown source "cloud"`)
}
