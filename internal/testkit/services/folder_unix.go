//go:build unix

package services

import (
	"os"
	"syscall"
)

// tryLockFolder takes the lock on a folder unless another process has it. The
// kernel gives it up when the process ends, however it ends.
func tryLockFolder(dir string) (func(), bool) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, false
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, false
	}
	return func() { f.Close() }, true
}
