package engine

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"time"

	"github.com/10ex/flows/models"
)

// Defaults of a retry policy that leaves a field out. A step without a policy is
// tried once.
const (
	defaultTimeout     = 5 * time.Minute
	defaultMaxAttempts = 3
	defaultInitial     = time.Second
	defaultMultiplier  = 2.0
	defaultMax         = time.Minute
)

type retryPolicy struct {
	maxAttempts int
	initial     time.Duration
	multiplier  float64
	max         time.Duration
	jitter      bool
}

// backoff tells how long to wait after an attempt, counted from 1, has failed.
// The jitter is drawn from the step and the attempt, not from a generator: the
// same history gives the same plan. asked is what the other side asked for, and
// is a lower bound.
func (p retryPolicy) backoff(run models.RunID, step string, iteration, attempt int, asked time.Duration) time.Duration {
	d := float64(p.initial) * math.Pow(p.multiplier, float64(attempt-1))
	if d > float64(p.max) {
		d = float64(p.max)
	}
	if p.jitter {
		d *= 0.5 + fraction(run, step, iteration, attempt)/2 // half of it stays, so that a retry is never immediate
	}
	return max(time.Duration(d), asked).Truncate(time.Microsecond)
}

// fraction is a number in [0,1) that looks random and is not.
func fraction(run models.RunID, step string, iteration, attempt int) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(run))
	_, _ = h.Write([]byte(step))
	var n [16]byte
	binary.BigEndian.PutUint64(n[:8], uint64(iteration))
	binary.BigEndian.PutUint64(n[8:], uint64(attempt))
	_, _ = h.Write(n[:])
	return float64(h.Sum64()>>11) / (1 << 53)
}
