package api

import (
	"net"
	"sync"
	"testing"

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
