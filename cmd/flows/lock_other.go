//go:build !unix

package main

import "os"

// lockFile makes the file. This system has no lock that ends with its process.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // G304: the operator says where
	if err != nil {
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
