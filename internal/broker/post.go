package broker

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/obs"
)

const (
	// postLimit bounds what waits to be sent. Past it the newest are dropped.
	postLimit = 4096
	// postTimeout bounds one sending, postRest how long nothing is sent after one
	// that failed.
	postTimeout = 500 * time.Millisecond
	postRest    = time.Second
)

// post sends best-effort messages from a goroutine of its own. Whatever gathers
// while one lot is on its way goes out together as the next one.
type post struct {
	client *redis.Client
	log    *slog.Logger
	sender string // begins what this process publishes, so that it can skip it

	mu      sync.Mutex
	lanes   map[string][]any    // by key, oldest first
	notices map[string][][]byte // by channel
	waiting int
	dropped int
	closed  bool

	wake chan struct{}
	done chan struct{}
}

func newPost(client *redis.Client, log *slog.Logger) *post {
	p := &post{
		client: client, log: log, sender: ids.New("p"),
		lanes: map[string][]any{}, notices: map[string][][]byte{},
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go p.run()
	return p
}

// add takes messages in. It returns at once.
func (p *post) add(n int, put func()) {
	p.mu.Lock()
	if p.closed || p.waiting+n > postLimit {
		p.dropped += n
		p.mu.Unlock()
		return
	}
	p.waiting += n
	put()
	select {
	case p.wake <- struct{}{}:
	default:
	}
	p.mu.Unlock()
}

func (p *post) run() {
	defer close(p.done)
	for range p.wake {
		if err := p.send(); err != nil {
			p.rest(err)
		}
	}
	_ = p.send() // what came in before the end
}

// rest lets Redis be for a moment. What comes in meanwhile is sent or dropped after.
func (p *post) rest(err error) {
	p.log.Warn("could not nudge other processes, they will look by themselves", obs.Err(err))
	t := time.NewTimer(postRest)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return
		case _, open := <-p.wake:
			if !open {
				// run ends as it finds the channel closed.
				return
			}
		}
	}
}

// send sends all that waits in one round trip.
func (p *post) send() error {
	p.mu.Lock()
	lanes, notices := p.lanes, p.notices
	empty := p.waiting == 0
	dropped := p.dropped
	p.lanes, p.notices, p.waiting, p.dropped = map[string][]any{}, map[string][][]byte{}, 0, 0
	p.mu.Unlock()
	if dropped > 0 {
		p.log.Warn("nudges to other processes were dropped", obs.Count(dropped))
	}
	if empty {
		return nil
	}
	ctx, stop := context.WithTimeout(context.Background(), postTimeout)
	defer stop()
	pipe := p.client.TxPipeline() // as one, so that no lane is ever without its cap or its end
	for key, entries := range lanes {
		entries = entries[max(0, len(entries)-laneCap):]
		// The newest goes first and the oldest falls off: by now the queue itself
		// has delivered that one.
		pipe.LPush(ctx, key, entries...)
		pipe.LTrim(ctx, key, 0, laneCap-1)
		pipe.PExpire(ctx, key, laneTTL)
	}
	for channel, messages := range notices {
		pipe.Publish(ctx, channel, append([]byte(p.sender+"\n"), bytes.Join(messages, []byte{'\n'})...))
	}
	_, err := pipe.Exec(ctx)
	return err
}

func (p *post) close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.wake)
	}
	p.mu.Unlock()
	<-p.done
}
