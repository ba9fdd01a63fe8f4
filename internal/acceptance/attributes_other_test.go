//go:build !linux

package acceptance_test

import "syscall"

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
