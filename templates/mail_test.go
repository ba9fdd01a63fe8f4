package templates_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// mailbox is a mail server that takes everything but what is for nobody.
type mailbox struct {
	l net.Listener

	mu    sync.Mutex
	mails []string // with their recipients in front
}

func newMailbox(t *testing.T) *mailbox {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := &mailbox{l: l}
	var talks sync.WaitGroup
	talks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			talks.Go(func() { m.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); talks.Wait() })
	return m
}

func (m *mailbox) port() int {
	at, _ := m.l.Addr().(*net.TCPAddr)
	return at.Port
}

func (m *mailbox) serve(conn net.Conn) {
	defer conn.Close()
	say := func(text string) { _, _ = fmt.Fprintf(conn, "%s\r\n", text) }
	say("220 mail.example.com ESMTP")
	var mail strings.Builder
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		verb, rest, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "RCPT":
			if strings.Contains(rest, "nobody@") {
				say("550 no such mailbox")
				continue
			}
			mail.WriteString(rest + "\n")
			say("250 ok")
		case "DATA":
			say("354 go on")
			for lines.Scan() && lines.Text() != "." {
				mail.WriteString(lines.Text() + "\n")
			}
			m.mu.Lock()
			m.mails = append(m.mails, mail.String())
			m.mu.Unlock()
			mail.Reset()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// got gives the mails that came, with their recipients in front.
func (m *mailbox) got() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string{}, m.mails...)
}
