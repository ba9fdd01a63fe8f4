// Package seal encrypts what is secret before it is stored. A Ring holds the key
// that new secrets are sealed under and older ones that still open theirs.
//
// It knows neither what it seals nor where that is kept: callers name the owner,
// and what is sealed for one owner opens for no other. It imports none of ours.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// KeySize is the length of a key.
const KeySize = 32

const (
	version = 1
	idSize  = 4
	head    = 1 + idSize // version and id of the key stand before the cipher text
)

// Why something does not open. Neither text tells anything about the secret.
var (
	// ErrUnknownKey means that it was sealed under a key the ring does not hold.
	ErrUnknownKey = errors.New("sealed under a key that is not known here")
	// ErrBroken means that it was changed, or sealed for somebody else.
	ErrBroken = errors.New("what is sealed cannot be opened")
)

// Ring seals under its first key and opens under all. It may be used concurrently.
type Ring struct{ keys []key }

type key struct {
	id   [idSize]byte
	box  cipher.AEAD
	sign []byte // tokens
}

// New makes a Ring of keys of KeySize random bytes, the one to seal under first.
func New(keys ...[]byte) (*Ring, error) {
	if len(keys) == 0 {
		return nil, errors.New("seal: at least one key is needed")
	}
	r := &Ring{}
	for i, k := range keys {
		if len(k) != KeySize {
			return nil, fmt.Errorf("seal: key %d has %d bytes; allowed are %d", i+1, len(k), KeySize)
		}
		made, err := newKey(k)
		if err != nil {
			return nil, err
		}
		r.keys = append(r.keys, made)
	}
	return r, nil
}

// newKey derives what is used from what was given: the same key also signs logins,
// and its id must tell nothing about it.
func newKey(secret []byte) (k key, err error) {
	derived, err := hkdf.Key(sha256.New, secret, nil, "flows seal", KeySize)
	if err != nil {
		return k, fmt.Errorf("seal: %w", err)
	}
	id, err := hkdf.Key(sha256.New, secret, nil, "flows seal id", idSize)
	if err != nil {
		return k, fmt.Errorf("seal: %w", err)
	}
	copy(k.id[:], id)
	block, err := aes.NewCipher(derived)
	if err != nil {
		return k, fmt.Errorf("seal: %w", err)
	}
	if k.box, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return k, err
	}
	k.sign, err = hkdf.Key(sha256.New, secret, nil, "flows seal token", KeySize)
	return k, err
}

// Seal encrypts plain for an owner, which is named by as many parts as it takes to
// tell it from all others: the workspace and an id.
func (r *Ring) Seal(plain []byte, owner ...string) []byte {
	k := r.keys[0]
	out := make([]byte, 0, head+len(plain)+k.box.Overhead())
	out = append(append(out, version), k.id[:]...)
	return k.box.Seal(out, nil, plain, bind(out, owner)) //nolint:gosec // G407: the box draws a nonce for each by itself
}

// Open gives back what was sealed for that owner. The error is ErrUnknownKey or
// ErrBroken.
func (r *Ring) Open(sealed []byte, owner ...string) ([]byte, error) {
	if len(sealed) < head || sealed[0] != version {
		return nil, ErrBroken
	}
	err := ErrUnknownKey
	for _, k := range r.keys { // two keys may have one id, if hardly ever
		if !bytes.Equal(k.id[:], sealed[1:head]) {
			continue
		}
		plain, refused := k.box.Open(nil, nil, sealed[head:], bind(sealed[:head], owner))
		if refused == nil {
			return plain, nil
		}
		err = ErrBroken
	}
	return nil, err
}

// Stale tells whether something is sealed under an older key, so that whoever
// writes it anyway may seal it again.
func (r *Ring) Stale(sealed []byte) bool {
	return len(sealed) < head || !bytes.Equal(r.keys[0].id[:], sealed[1:head])
}

// TokenSize is the length of what Token gives.
const TokenSize = sha256.Size

// Token proves that whoever shows it was given the parts by a holder of the ring. It
// is the same for the same parts, so it need not be kept anywhere.
func (r *Ring) Token(parts ...string) []byte { return r.keys[0].token(parts) }

// Check tells whether a token is that of the parts, under any key of the ring. How
// long it takes says nothing about the token.
func (r *Ring) Check(token []byte, parts ...string) bool {
	ok := false
	for _, k := range r.keys {
		ok = hmac.Equal(token, k.token(parts)) || ok
	}
	return ok
}

func (k key) token(parts []string) []byte {
	mac := hmac.New(sha256.New, k.sign)
	mac.Write(bind(nil, parts))
	return mac.Sum(nil)
}

// bind is what is authenticated beside the secret. Lengths keep the parts apart.
func bind(head []byte, owner []string) []byte {
	out := bytes.Clone(head)
	for _, part := range owner {
		out = binary.BigEndian.AppendUint32(out, uint32(len(part)))
		out = append(out, part...)
	}
	return out
}
