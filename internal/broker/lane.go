package broker

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	lanePrefix = "flows:lane:"
	// laneCap bounds a lane: what is older than so many others has been delivered
	// by the queue meanwhile. It is several times what a process puts there at once
	// of one workspace, so that a step of another does not fall off behind a flood.
	laneCap = 512
	// laneTTL ends a lane that nobody takes from.
	laneTTL = 2 * time.Second
)

// PushLane offers entries to whoever is free to take them at once. It returns at
// once; entries may be lost.
func (b *Broker) PushLane(lane string, entries ...[]byte) {
	b.post.add(len(entries), func() {
		for _, e := range entries {
			b.post.lanes[lanePrefix+lane] = append(b.post.lanes[lanePrefix+lane], e)
		}
	})
}

// LaneReader takes entries from lanes. It is for one goroutine, but for Close.
type LaneReader struct {
	client *redis.Client
	keys   []string
}

// ReadLanes makes a reader of lanes. It has a connection of its own, on which it
// waits, and which Close cuts.
func (b *Broker) ReadLanes(lanes ...string) *LaneReader {
	opt := *b.opt
	opt.PoolSize, opt.MaxRetries = 1, -1
	r := &LaneReader{client: redis.NewClient(&opt)}
	for _, l := range lanes {
		r.keys = append(r.keys, lanePrefix+l)
	}
	return r
}

// Pop waits for an entry, at most for wait, and takes it. No entry is no error.
func (r *LaneReader) Pop(ctx context.Context, wait time.Duration) (lane string, entry []byte, err error) {
	got, err := r.client.BLPop(ctx, wait, r.keys...).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return "", nil, nil
	case err != nil:
		return "", nil, err
	}
	return strings.TrimPrefix(got[0], lanePrefix), []byte(got[1]), nil
}

// Close ends a Pop that waits and makes all later ones fail.
func (r *LaneReader) Close() error { return r.client.Close() }
