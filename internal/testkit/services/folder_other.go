//go:build !unix

package services

// tryLockFolder never gets the lock: without one, folders are left alone.
func tryLockFolder(string) (func(), bool) { return nil, false }
