package api

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
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
	ending bool
	closed bool
	open   map[*lingeringConn]bool // those that are being read to their end
	silent map[*lingeringConn]bool // those that have sent nothing yet
	wg     sync.WaitGroup
}

func newLingeringListener(l net.Listener) *lingeringListener {
	return &lingeringListener{Listener: l, open: map[*lingeringConn]bool{}, silent: map[*lingeringConn]bool{}}
}

// Accept waits for the next connection.
func (l *lingeringListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return c, nil
	}
	lc := &lingeringConn{Conn: c, half: half, listener: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending {
		return lc, c.Close()
	}
	l.silent[lc] = true
	return lc, nil
}

// end closes the connections that have sent nothing. Clients open some that they have
// no use for, and the server would wait for their requests.
func (l *lingeringListener) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = true
	for c := range l.silent {
		_ = c.Conn.Close()
	}
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
	heard    atomic.Bool
}

func (c *lingeringConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.heard.Load() {
		c.heard.Store(true)
		c.listener.mu.Lock()
		delete(c.listener.silent, c)
		c.listener.mu.Unlock()
	}
	return n, err
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
	delete(l.silent, c)
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
