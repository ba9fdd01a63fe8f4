package email_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// script says how a mail server differs from one that takes everything.
type script struct {
	implicitTLS, noStartTLS bool
	auth                    string            // what it offers; default PLAIN LOGIN
	answers                 map[string]string // by the first word of a command, or "." for the end of a message, or "greeting"
	hang                    string            // the command it never answers
	cut                     string            // the command at which it hangs up
	arrived                 chan struct{}     // closed when it hangs
}

// mailServer speaks SMTP over a real socket.
type mailServer struct {
	script

	t      *testing.T
	l      net.Listener
	tls    *tls.Config
	closed chan struct{}

	mu       sync.Mutex
	commands []string // as they came, with what was said in the clear marked
	mails    []string
}

// authority is what servers of tests have their certificate from.
var authority = sync.OnceValues(func() (*x509.CertPool, tls.Certificate) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, _ := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	parsed, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func newMailServer(t *testing.T, s script) *mailServer {
	t.Helper()
	_, cert := authority()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := &mailServer{script: s, t: t, l: l, tls: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, closed: make(chan struct{})}
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
	t.Cleanup(func() { close(m.closed); _ = l.Close(); talks.Wait() })
	return m
}

func (m *mailServer) port() int {
	at, _ := m.l.Addr().(*net.TCPAddr)
	return at.Port
}

func (m *mailServer) serve(conn net.Conn) {
	defer conn.Close()
	secure := false
	if m.implicitTLS {
		conn, secure = tls.Server(conn, m.tls), true
	}
	lines := bufio.NewReader(conn)
	say := func(text string) { _, _ = fmt.Fprintf(conn, "%s\r\n", text) }
	answer := func(command, usual string) {
		if own := m.answers[command]; own != "" {
			usual = own
		}
		say(usual)
	}
	answer("greeting", "220 mail.example.com ESMTP")
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		m.note(secure, line)
		if m.hang != "" && verb == m.hang {
			close(m.arrived)
			<-m.closed
			return
		}
		if m.cut != "" && verb == m.cut {
			return
		}
		switch verb {
		case "EHLO":
			features := []string{"mail.example.com", "8BITMIME", "SIZE 1000000"}
			if !m.noStartTLS && !secure {
				features = append(features, "STARTTLS")
			}
			if auth := m.auth; auth != "-" {
				if auth == "" {
					auth = "PLAIN LOGIN"
				}
				features = append(features, "AUTH "+auth)
			}
			for i, f := range features {
				sep := "-"
				if i == len(features)-1 {
					sep = " "
				}
				say("250" + sep + f)
			}
		case "STARTTLS":
			say("220 go ahead")
			conn, secure = tls.Server(conn, m.tls), true
			lines = bufio.NewReader(conn)
		case "AUTH":
			if strings.HasPrefix(strings.ToUpper(line), "AUTH LOGIN") {
				for _, prompt := range []string{"Username:", "Password:"} {
					say("334 " + base64.StdEncoding.EncodeToString([]byte(prompt)))
					said, err := lines.ReadString('\n')
					if err != nil {
						return
					}
					m.note(secure, "LOGIN "+strings.TrimSpace(said))
				}
			}
			answer("AUTH", "235 2.7.0 welcome")
		case "DATA":
			answer("DATA", "354 go on")
			if m.answers["DATA"] != "" {
				continue
			}
			var mail strings.Builder
			for {
				text, err := lines.ReadString('\n')
				if err != nil {
					return
				}
				if text == ".\r\n" {
					break
				}
				mail.WriteString(strings.TrimPrefix(text, "."))
			}
			m.mu.Lock()
			m.mails = append(m.mails, mail.String())
			m.mu.Unlock()
			if m.cut == "." {
				return
			}
			answer(".", "250 2.0.0 queued as 7")
		case "QUIT":
			say("221 bye")
			return
		default:
			answer(verb, "250 2.1.0 fine")
		}
	}
}

func (m *mailServer) note(secure bool, line string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !secure {
		line = "clear: " + line
	}
	m.commands = append(m.commands, line)
}

// said lists the commands and the mails so far.
func (m *mailServer) said() (commands, mails []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string{}, m.commands...), append([]string{}, m.mails...)
}
