//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup has the command lead a process group, so that what it starts can be
// reached through it.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// signalGroup signals all of the command's group. An error means that nothing of
// it is left.
func signalGroup(cmd *exec.Cmd, sig os.Signal) {
	if s, ok := sig.(syscall.Signal); ok {
		_ = syscall.Kill(-cmd.Process.Pid, s)
	}
}
