// Package apikey makes and reads the keys clients carry: tnx_<prefix>_<secret>.
// The prefix finds the row, the secret proves the right to it, and only a hash
// of the secret is ever stored.
//
// It knows no workspace, no scope and no database, and imports nothing of ours.
package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"strings"
)

const (
	scheme = "tnx"
	// PrefixChars is the length of the public part of a key.
	PrefixChars = 8
	// secretChars gives 190 random bits, so that a fast hash is enough: nobody
	// can try them.
	secretChars = 32
	alphabet    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// Key is a key that was just made. Secret and Full are shown once and never kept.
type Key struct {
	Prefix string
	Secret string
	Full   string // what a client sends as its bearer
	Hash   []byte // what is kept
}

// New makes a key.
func New() Key {
	prefix, secret := random(PrefixChars), random(secretChars)
	return Key{Prefix: prefix, Secret: secret, Full: scheme + "_" + prefix + "_" + secret, Hash: Hash(secret)}
}

// Hash is what is kept of a secret.
func Hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// Matches tells whether secret is the one hash was made from. It takes the same
// time for every wrong one.
func Matches(hash []byte, secret string) bool {
	return subtle.ConstantTimeCompare(hash, Hash(secret)) == 1
}

// Parse takes a bearer apart. What is not shaped like a key cannot be one, so
// nobody needs to look for it.
func Parse(bearer string) (prefix, secret string, ok bool) {
	rest, ok := strings.CutPrefix(bearer, scheme+"_")
	if !ok || len(rest) != PrefixChars+1+secretChars || rest[PrefixChars] != '_' {
		return "", "", false
	}
	prefix, secret = rest[:PrefixChars], rest[PrefixChars+1:]
	return prefix, secret, wellFormed(prefix) && wellFormed(secret)
}

func wellFormed(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(alphabet, r) }) < 0
}

// random gives n characters of the alphabet, each equally likely.
func random(n int) string {
	const fair = 256 - 256%len(alphabet) // bytes above would favour the first characters
	out := make([]byte, 0, n)
	var buf [64]byte
	for {
		_, _ = rand.Read(buf[:]) // never fails: documented in crypto/rand
		for _, b := range buf {
			if int(b) < fair {
				if out = append(out, alphabet[int(b)%len(alphabet)]); len(out) == n {
					return string(out)
				}
			}
		}
	}
}
