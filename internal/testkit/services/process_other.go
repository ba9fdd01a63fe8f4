//go:build !linux

package services

import "syscall"

// serverUser returns nil: only on Linux do machines commonly build as root.
func serverUser() *credential { return nil }

// processAttributes has nothing to ask for that every other system offers.
func processAttributes(*credential, syscall.Signal) *syscall.SysProcAttr { return nil }
