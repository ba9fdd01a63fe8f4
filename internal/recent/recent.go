// Package recent remembers the newest of many things in little memory.
package recent

import "hash/maphash"

// Set holds what was added last, up to its size. It keeps a hash of each and not the
// thing itself, so that, once in many lifetimes, it may say yes to what it has not seen.
// It is for one goroutine at a time.
type Set[K comparable] struct {
	seed maphash.Seed
	kept map[uint64]struct{}
	ring []uint64 // what is kept, to forget the oldest
	next int
}

// NewSet makes a Set that holds so many.
func NewSet[K comparable](size int) *Set[K] {
	return &Set[K]{seed: maphash.MakeSeed(), kept: make(map[uint64]struct{}, size), ring: make([]uint64, size)}
}

// Add takes k in, in place of the oldest one. What is held already stays where it is.
func (s *Set[K]) Add(k K) {
	h := maphash.Comparable(s.seed, k)
	if _, held := s.kept[h]; held {
		return
	}
	delete(s.kept, s.ring[s.next])
	s.kept[h], s.ring[s.next] = struct{}{}, h
	s.next = (s.next + 1) % len(s.ring)
}

// Has tells whether k is held.
func (s *Set[K]) Has(k K) bool {
	_, held := s.kept[maphash.Comparable(s.seed, k)]
	return held
}
