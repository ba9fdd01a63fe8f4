//go:build !unix

package main

import (
	"os"
	"os/exec"
)

// ownGroup has nothing to ask for where there are no process groups.
func ownGroup(*exec.Cmd) {}

// signalGroup ends the command alone, the one thing that works everywhere.
func signalGroup(cmd *exec.Cmd, _ os.Signal) { _ = cmd.Process.Kill() }
