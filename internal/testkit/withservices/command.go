package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// stopGrace is how long a command may take to end after a signal.
const stopGrace = 15 * time.Second

// runCommand runs the command in a process group of its own, passes signals on
// to the whole group, and returns the exit code to end with. Nothing of the
// group is left when it returns: a test that hangs must not outlive its server.
func runCommand(command, env []string, signals <-chan os.Signal, stderr *os.File) int {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(stderr, "withservices:", err)
		return 127
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()

	var stopped os.Signal
	var grace <-chan time.Time
	for {
		select {
		case err := <-done:
			signalGroup(cmd, syscall.SIGKILL)
			if stopped != nil {
				return signalCode(stopped)
			}
			return exitCode(err, stderr)
		case sig := <-signals:
			if stopped != nil { // the second time it is meant
				signalGroup(cmd, syscall.SIGKILL)
				continue
			}
			stopped = sig
			signalGroup(cmd, sig)
			grace = time.After(stopGrace)
		case <-grace:
			signalGroup(cmd, syscall.SIGKILL)
		}
	}
}

func exitCode(err error, stderr *os.File) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode()
	case errors.As(err, &exit):
		fmt.Fprintln(stderr, "withservices: the command ended by", err)
		return 1
	default:
		fmt.Fprintln(stderr, "withservices:", err)
		return 1
	}
}
