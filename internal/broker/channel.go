package broker

import (
	"bytes"
	"context"
)

// Publish tells the other processes that subscribe to channel. A message must
// hold no line break. It returns at once; the message may be lost.
func (b *Broker) Publish(channel string, message []byte) {
	b.post.add(1, func() { b.post.notices[channel] = append(b.post.notices[channel], message) })
}

// Subscribe calls fn with each message that another process publishes on channel,
// until ctx ends. It reconnects by itself; what is published meanwhile is lost.
func (b *Broker) Subscribe(ctx context.Context, channel string, fn func(message []byte)) {
	sub := b.client.Subscribe(ctx, channel)
	defer sub.Close()
	own := []byte(b.post.sender)
	messages := sub.Channel()
	for {
		select {
		case <-ctx.Done():
			return
		case m, open := <-messages:
			if !open {
				return
			}
			sender, rest, _ := bytes.Cut([]byte(m.Payload), []byte{'\n'})
			if bytes.Equal(sender, own) {
				continue // said within the process already
			}
			for line := range bytes.SplitSeq(rest, []byte{'\n'}) {
				fn(line)
			}
		}
	}
}
