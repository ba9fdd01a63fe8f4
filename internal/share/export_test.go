package share

// Waiting tells how many wait under a key.
func (c *Calls[K, V]) Waiting(key K) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.lines[key])
}

// Keys tells how many keys are in hand.
func (c *Calls[K, V]) Keys() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.lines)
}
