package acceptance_test

import "syscall"

// attributes puts a process in a group of its own, so that Ctrl-C reaches only the
// test, and has the kernel end it should the test be killed.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
