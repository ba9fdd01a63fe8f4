package services

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// credential is the unprivileged user that servers run as when we are root;
// PostgreSQL refuses to run as root.
type credential struct{ uid, gid uint32 }

// folder returns the private folder that holds everything started here, owned by
// the user that the servers run as. It is removed by Set.Stop.
func (s *starter) folder(name string) (string, error) {
	if s.set.dir == "" {
		base := folderBase(s.cfg.machine.owner)
		removeAbandoned(base)
		dir, err := os.MkdirTemp(base, folderPrefix)
		if err != nil {
			return "", fmt.Errorf("make a private folder: %w", err)
		}
		s.set.dir = dir
		s.set.unlock = lockFolder(dir)
		if err := s.own(dir); err != nil {
			return "", err
		}
	}
	dir := filepath.Join(s.set.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return "", fmt.Errorf("make a private folder: %w", err)
	}
	return dir, s.own(dir)
}

// own hands a path to the user that the servers run as.
func (s *starter) own(path string) error {
	owner := s.cfg.machine.owner
	if owner == nil {
		return nil
	}
	if err := os.Chown(path, int(owner.uid), int(owner.gid)); err != nil {
		return fmt.Errorf("hand over %s: %w", path, err)
	}
	return nil
}

// folderBase returns where private folders go: the usual place, unless the
// server's user could not reach it there.
func folderBase(owner *credential) string {
	base := os.TempDir()
	if owner == nil {
		return base
	}
	for dir := base; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return "/tmp"
		}
	}
	return base
}

// writeFile writes a file that only the servers' user can read.
func (s *starter) writeFile(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return s.own(path)
}

// run runs a program to its end as the servers' user, with its output in the
// error when it fails.
func (s *starter) run(ctx context.Context, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir // the caller's folder may be closed to that user
	cmd.SysProcAttr = processAttributes(s.cfg.machine.owner, syscall.SIGKILL)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(program), err, tail(out))
	}
	return nil
}

// server is a program that was started here.
type server struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	// stopping is set before the server is told to end, so that an end nobody
	// asked for can be told from one that was.
	stopping atomic.Bool
	err      error
}

// launch starts a server as the servers' user and makes Stop end it with the
// signal, or by force after five seconds.
func (s *starter) launch(name, dir string, end syscall.Signal, program string, args ...string) (*server, error) {
	path := filepath.Join(dir, "server.log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	defer log.Close()

	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = processAttributes(s.cfg.machine.owner, end)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}

	srv := &server{name: name, cmd: cmd, log: path, done: make(chan struct{})}
	go func() {
		srv.err = cmd.Wait()
		if !srv.stopping.Load() {
			s.logf("%s ended by itself (%v): %s", name, srv.err, srv.logTail())
		}
		close(srv.done)
	}()
	s.set.onStop(func() { srv.stop(end) })
	return srv, nil
}

func (srv *server) stop(end syscall.Signal) {
	srv.stopping.Store(true)
	for _, signal := range []syscall.Signal{end, syscall.SIGKILL} {
		// An error means that it has ended already, which done tells as well.
		_ = srv.cmd.Process.Signal(signal)
		select {
		case <-srv.done:
			return
		case <-time.After(5 * time.Second):
		}
	}
}

// waitReady calls ping until it succeeds, the server ends, or ctx does.
func (srv *server) waitReady(ctx context.Context, ping func(context.Context) error) error {
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()

	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-srv.done:
			return fmt.Errorf("%s did not start (%w): %s", srv.name, srv.err, srv.logTail())
		case <-ctx.Done():
			return fmt.Errorf("%s did not answer: %w: %s", srv.name, err, srv.logTail())
		case <-tick.C:
		}
	}
}

func (srv *server) logTail() string {
	out, err := os.ReadFile(srv.log)
	if err != nil {
		return "no log: " + err.Error()
	}
	return tail(out)
}

// tail returns the last lines of a program's output on one line.
func tail(out []byte) string {
	lines := strings.Split(string(bytes.TrimSpace(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], " | ")
}

// freePort returns a local port that nothing listens on at the moment. Another
// program may take it before the server does; the server then fails to start,
// which the callers answer by trying again.
func freePort(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// findProgram returns the path of the first program found, in PATH or in the
// folders that match the patterns (the last match first: the newest version).
func (s *starter) findProgram(names, patterns []string) (string, bool) {
	for _, name := range names {
		if path, err := s.cfg.machine.lookPath(name); err == nil {
			return path, true
		}
		for _, pattern := range patterns {
			matches, _ := filepath.Glob(filepath.Join(pattern, name)) // the patterns are constants: no error
			if len(matches) > 0 {
				return matches[len(matches)-1], true
			}
		}
	}
	return "", false
}
