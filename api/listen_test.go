package api

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/store/storetest"
)

// lateListener calls something when the server looks at it for the first time, just
// before it serves.
type lateListener struct {
	net.Listener
	once  sync.Once
	first func()
}

func (l *lateListener) Addr() net.Addr {
	l.once.Do(l.first)
	return l.Listener.Addr()
}

func TestAServerThatWasStoppedDoesNotServe(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(l *lateListener, shutdown func()){
		"before it listens":  func(_ *lateListener, shutdown func()) { shutdown() },
		"while it begins to": func(l *lateListener, shutdown func()) { l.first = shutdown },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, storetest.SQLite(t), options{})
			inner, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			l := &lateListener{Listener: inner, first: func() {}}
			stop(l, func() { require.NoError(t, b.api.Shutdown(t.Context())) })
			require.NoError(t, b.api.Listen(l))
			_, err = inner.Accept()
			require.ErrorIs(t, err, net.ErrClosed)
		})
	}
}

// Clients open connections that they have no use for in the end.
func TestConnectionsThatSayNothingDelayNoShutdown(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- b.api.Listen(l) }()
	dial := func() net.Conn {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	silent := dial()
	// By the time a later one is answered, the silent one has been accepted.
	heard := dial()
	_, err = io.WriteString(heard, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	answer := make([]byte, len("HTTP/1.1 200"))
	_, err = io.ReadFull(heard, answer)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 200", string(answer))

	// The server's own patience with such a connection is five seconds.
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
	defer stop()
	require.NoError(t, b.api.Shutdown(ctx))
	require.NoError(t, <-done)
	_, err = silent.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}
