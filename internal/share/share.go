// Package share lets callers who ask for the same thing at the same moment have it
// fetched once for all. It keeps nothing: whatever a caller is given was fetched
// after it had asked, so it is as fresh as if the caller had been alone.
//
// It knows nothing of what it fetches and imports none of our packages.
package share

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// Fetch gets what n callers want under one key: a value for each, in the order in
// which they came. The context is that of a caller who is alone, and does not end by
// itself where there are several.
type Fetch[K comparable, V any] func(ctx context.Context, key K, n int) ([]V, error)

// Calls brings callers together. A caller who is alone fetches at once and by
// itself; those who come meanwhile wait, and are fetched for together next. It may
// be used concurrently.
type Calls[K comparable, V any] struct {
	fetch Fetch[K, V]

	mu    sync.Mutex
	lines map[K][]chan<- result[V] // who waits, by the keys that are being fetched
}

type result[V any] struct {
	value V
	err   error
}

// New makes Calls.
func New[K comparable, V any](fetch Fetch[K, V]) *Calls[K, V] {
	return &Calls[K, V]{fetch: fetch, lines: map[K][]chan<- result[V]{}}
}

// Get gives what there is under key. A caller leaves when its context ends.
func (c *Calls[K, V]) Get(ctx context.Context, key K) (V, error) {
	c.mu.Lock()
	if line, busy := c.lines[key]; busy {
		mine := make(chan result[V], 1)
		c.lines[key] = append(line, mine)
		c.mu.Unlock()
		select {
		case r := <-mine:
			return r.value, r.err
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		}
	}
	c.lines[key] = nil
	c.mu.Unlock()
	values, err := c.one(ctx, key, 1)
	c.next(context.WithoutCancel(ctx), key)
	if err != nil {
		var none V
		return none, err
	}
	return values[0], nil
}

// next has what came up meanwhile fetched, or lets the key go.
func (c *Calls[K, V]) next(ctx context.Context, key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	line := c.lines[key]
	if len(line) == 0 {
		delete(c.lines, key)
		return
	}
	c.lines[key] = nil
	go func() {
		values, err := c.one(ctx, key, len(line))
		for i, waiter := range line {
			r := result[V]{err: err}
			if err == nil {
				r.value = values[i]
			}
			waiter <- r
		}
		c.next(ctx, key)
	}()
}

// one fetches. A panic would end the process for the fault of one caller, or leave
// all others waiting.
func (c *Calls[K, V]) one(ctx context.Context, key K, n int) (values []V, err error) {
	defer func() {
		if p := recover(); p != nil {
			values, err = nil, fmt.Errorf("share: %v\n%s", p, debug.Stack())
		}
	}()
	values, err = c.fetch(ctx, key, n)
	if err == nil && len(values) != n {
		err = fmt.Errorf("share: %d values were fetched for %d callers", len(values), n)
	}
	return values, err
}
