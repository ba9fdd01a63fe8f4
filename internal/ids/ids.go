// Package ids makes identifiers: a prefix, an underscore and 26 characters that
// sort by the time of their making (TypeID over UUIDv7, RFC 9562 §5.7).
//
// It knows nothing of what the ids name and imports nothing of ours.
package ids

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// alphabet is Crockford's base 32 in lower case; its order is the order of the
// digits, so the text sorts as the number does.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// New makes an id that no other process makes. Ids of one process rise strictly.
func New(prefix string) string {
	u, err := uuid.NewV7()
	if err != nil {
		panic("ids: no randomness: " + err.Error()) // the kernel cannot run out; nothing sensible to go on with
	}
	return Format(prefix, u)
}

// Format writes u as an id.
func Format(prefix string, u uuid.UUID) string {
	out := make([]byte, len(prefix)+27)
	n := copy(out, prefix)
	out[n] = '_'
	hi, lo := binary.BigEndian.Uint64(u[:8]), binary.BigEndian.Uint64(u[8:])
	for i := len(out) - 1; i > n; i-- { // 5 bits a character, from the end
		out[i] = alphabet[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(out)
}

// UUID reads the number back that Format wrote. It is false for what Format cannot
// have written.
func UUID(id string) (u uuid.UUID, ok bool) {
	n := len(id) - 26
	if n < 1 || id[n-1] != '_' || id[n] > '7' { // 26 characters have room for two bits more than a number has
		return u, false
	}
	var hi, lo uint64
	for _, c := range []byte(id[n:]) {
		digit := strings.IndexByte(alphabet, c)
		if digit < 0 {
			return uuid.UUID{}, false
		}
		hi, lo = hi<<5|lo>>59, lo<<5|uint64(digit)
	}
	binary.BigEndian.PutUint64(u[:8], hi)
	binary.BigEndian.PutUint64(u[8:], lo)
	return u, true
}

// Lowest gives an id that sorts before or with every id made at t or later.
func Lowest(prefix string, t time.Time) string {
	var u uuid.UUID
	putMillis(&u, t)
	return Format(prefix, u)
}

// At makes an id that no other process makes, with t for its time. Of those for the
// same millisecond the ones with a higher n, which counts up to 4095 and from 0 again,
// sort later.
func At(prefix string, t time.Time, n int64) string {
	var u uuid.UUID
	_, _ = rand.Read(u[8:]) // never fails, as in NewSeed
	putMillis(&u, t)
	u[6] = 0x70 | byte(n>>8)&0x0f
	u[7] = byte(n)
	u[8] = u[8]&0x3f | 0x80
	return Format(prefix, u)
}

func putMillis(u *uuid.UUID, t time.Time) {
	ms := uint64(max(t.UnixMilli(), 0))
	binary.BigEndian.PutUint64(u[:8], ms<<16)
}

// Source makes ids that follow from a seed: the same seed and time give the same
// ids in the same order. A request that is repeated after a crash uses one, so
// that what it makes again is what it made before. It may be used concurrently,
// though the order is then not repeatable.
type Source struct {
	seed []byte
	at   time.Time
	n    atomic.Uint64
}

// NewSource makes a Source. at becomes the time inside the ids.
func NewSource(seed []byte, at time.Time) *Source { return &Source{seed: seed, at: at} }

// NewSeed makes a seed.
func NewSeed() []byte {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: documented in crypto/rand
	return b
}

// Next makes the next id.
func (s *Source) Next(prefix string) string {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], s.n.Add(1))
	sum := sha256.Sum256(append(append([]byte{}, s.seed...), n[:]...))
	var u uuid.UUID
	copy(u[:], sum[:16])
	counter := binary.BigEndian.Uint64(n[:])
	putMillis(&u, s.at)
	// Version, then the counter where UUIDv7 has room for one: ids of a source rise.
	u[6] = 0x70 | byte(counter>>8)&0x0f
	u[7] = byte(counter)
	u[8] = u[8]&0x3f | 0x80
	return Format(prefix, u)
}

type sourceKey struct{}

// WithSource gives ctx a source that Make uses.
func WithSource(ctx context.Context, s *Source) context.Context {
	return context.WithValue(ctx, sourceKey{}, s)
}

// Make makes an id from the source in ctx, or a fresh one where there is none.
func Make(ctx context.Context, prefix string) string {
	if s, ok := ctx.Value(sourceKey{}).(*Source); ok {
		return s.Next(prefix)
	}
	return New(prefix)
}

// MakeAt makes an id from the source in ctx, or one as At does where there is none.
func MakeAt(ctx context.Context, prefix string, t time.Time, n int64) string {
	if s, ok := ctx.Value(sourceKey{}).(*Source); ok {
		return s.Next(prefix)
	}
	return At(prefix, t, n)
}
