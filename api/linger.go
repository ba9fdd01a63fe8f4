package api

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// lingerTime and lingerBytes bound how long a connection that we close is read
	// to its end.
	lingerTime  = 2 * time.Second
	lingerBytes = 256 << 20
)

// lingeringListener makes connections that close gently. A request that is refused
// before it was read to the end, such as one with a body that is too large, leaves
// unread bytes behind; closing on them makes the system send a reset, and with it
// the client may lose the answer. So the rest is read and thrown away first.
type lingeringListener struct {
	net.Listener
	shut sync.Once

	mu     sync.Mutex
	closed bool
	open   map[*lingeringConn]bool // those that are being read to their end
	wg     sync.WaitGroup
}

func newLingeringListener(l net.Listener) *lingeringListener {
	return &lingeringListener{Listener: l, open: map[*lingeringConn]bool{}}
}

// Accept waits for the next connection.
func (l *lingeringListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return &lingeringConn{Conn: c, half: half, listener: l}, nil
	}
	return c, nil
}

// Close takes no more connections. It may be called twice.
func (l *lingeringListener) Close() (err error) {
	l.shut.Do(func() { err = l.Listener.Close() })
	return err
}

// drain ends what still lingers and waits for it.
func (l *lingeringListener) drain(ctx context.Context) {
	l.mu.Lock()
	l.closed = true
	for c := range l.open {
		_ = c.Conn.Close()
	}
	l.mu.Unlock()
	done := make(chan struct{})
	go func() { l.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

type lingeringConn struct {
	net.Conn
	half     interface{ CloseWrite() error }
	listener *lingeringListener
	once     sync.Once
}

// Close ends what we send at once, and the connection when the client has ended
// what it sends. It does not wait for that.
func (c *lingeringConn) Close() error {
	var err error
	c.once.Do(func() { err = c.close() })
	return err
}

func (c *lingeringConn) close() error {
	l := c.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || c.half.CloseWrite() != nil {
		return c.Conn.Close()
	}
	l.open[c] = true
	l.wg.Go(func() {
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
		_ = c.Conn.Close()
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.open, c)
	})
	return nil
}
