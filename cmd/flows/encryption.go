package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/10ex/flows/internal/seal"
)

// parseEncryptionKeys reads the key and, behind commas, those it has replaced.
func parseEncryptionKeys(c *config, value string) error {
	var keys [][]byte
	for one := range strings.SplitSeq(value, ",") {
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(one))
		if err != nil || len(key) != seal.KeySize || forSamples(key) {
			return errNotAllowed
		}
		keys = append(keys, key)
	}
	c.EncryptionKey, c.OldEncryptionKeys = keys[0], keys[1:]
	return nil
}

// ring is what secrets are sealed with.
func (c config) ring() (*seal.Ring, error) {
	return seal.New(append([][]byte{c.EncryptionKey}, c.OldEncryptionKeys...)...)
}

// sampleWords stand in keys that were copied from a text about keys.
var sampleWords = []string{
	"sample", "example", "change", "secret", "placeholder", "password", "insecure", "default", "your", "0123456789", "1234567890", "abcdefgh",
}

// fewSigns is what a key of random bytes always has more of.
const fewSigns = 4

// forSamples tells whether a key obviously was not made at random, so that everybody
// can know it.
func forSamples(key []byte) bool {
	different := map[byte]bool{}
	for _, b := range key {
		different[b] = true
	}
	if len(different) <= fewSigns {
		return true
	}
	steady := true
	for i := 2; i < len(key); i++ {
		steady = steady && key[i]-key[i-1] == key[1]-key[0]
	}
	text := bytes.ToLower(key)
	for _, word := range sampleWords {
		steady = steady || bytes.Contains(text, []byte(word))
	}
	return steady
}

func errNoEncryptionKey(command string) error {
	return fmt.Errorf("flows %s needs FLOWS_ENCRYPTION_KEY, which stored secrets are encrypted with: make one with "+
		"openssl rand -base64 32, keep it, and give all processes the same", command)
}

// encryptionFile is where flows dev keeps a key of its own, readable by its owner only.
const encryptionFile = "encryption.key"

// encryptionKey gives the key that is kept, or makes one. A file that is not a key is
// an error and not replaced: what was sealed under the key would be lost.
func (d *dataDir) encryptionKey() ([]byte, error) {
	path := d.file(encryptionFile)
	raw, err := os.ReadFile(path) //nolint:gosec // G304: it is in the directory that whoever runs the program names
	if errors.Is(err, fs.ErrNotExist) {
		key, err := newEncryptionKey()
		if err != nil {
			return nil, err
		}
		return key, writePrivate(path, []byte(base64.StdEncoding.EncodeToString(key)+"\n"))
	}
	if err != nil {
		return nil, fmt.Errorf("the key %q cannot be read: %w", path, pathCause(err))
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(key) != seal.KeySize {
		return nil, fmt.Errorf("the file %q must hold 32 bytes in base64: bring it back from a copy, or begin with --reset", path)
	}
	return key, nil
}

func newEncryptionKey() ([]byte, error) {
	key := make([]byte, seal.KeySize)
	_, err := rand.Read(key)
	return key, err
}
