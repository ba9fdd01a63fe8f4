package broker

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// embedded is a Redis inside the process. It has no port, so nothing else on the
// host can reach it.
type embedded struct {
	server *miniredis.Miniredis
	stop   chan struct{}
	done   sync.WaitGroup
}

func newEmbedded() *embedded {
	e := &embedded{server: miniredis.NewMiniRedis(), stop: make(chan struct{})}
	e.done.Go(e.tick)
	return e
}

// tick lets keys expire, which this Redis does only when it is told that time has passed.
func (e *embedded) tick() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			e.server.FastForward(time.Second)
		case <-e.stop:
			return
		}
	}
}

func (e *embedded) dial(context.Context, string, string) (net.Conn, error) {
	c, err := e.server.Dial()
	if err != nil {
		return nil, err
	}
	return newPipeConn(c), nil
}

func (e *embedded) close() {
	close(e.stop)
	e.done.Wait()
	e.server.Close()
}

// pipeConn gives an in-memory connection what a socket has: room for what is
// written and not yet read. Without it a long pipeline never ends, for the client
// writes on before it reads, and the server does not read on before its answers
// are taken.
type pipeConn struct {
	net.Conn
	mu      sync.Mutex
	more    sync.Cond
	pending []byte
	err     error
}

func newPipeConn(c net.Conn) *pipeConn {
	p := &pipeConn{Conn: c}
	p.more.L = &p.mu
	go p.pump()
	return p
}

// Write takes all of b at once and never blocks.
func (p *pipeConn) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, p.err
	}
	p.pending = append(p.pending, b...)
	p.more.Signal()
	return len(b), nil
}

// SetWriteDeadline has no effect, for a write does not wait.
func (p *pipeConn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is about reading only.
func (p *pipeConn) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

// Close ends the connection; what has not reached the server is dropped.
func (p *pipeConn) Close() error {
	p.fail(net.ErrClosed)
	return p.Conn.Close()
}

func (p *pipeConn) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	p.more.Signal()
}

// pump carries what was written to the server until the connection ends.
func (p *pipeConn) pump() {
	var spare []byte
	for {
		p.mu.Lock()
		for len(p.pending) == 0 && p.err == nil {
			p.more.Wait()
		}
		if p.err != nil {
			p.mu.Unlock()
			return
		}
		out := p.pending
		p.pending = spare[:0]
		p.mu.Unlock()
		if _, err := p.Conn.Write(out); err != nil {
			p.fail(err)
			return
		}
		spare = out
	}
}
