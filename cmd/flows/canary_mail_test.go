package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// authority makes a certificate for this machine that processes believe whose
// environment holds what is given back.
func authority(t *testing.T) (cert tls.Certificate, env string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, "SSL_CERT_FILE=" + path
}

// modesOfMail are the ways in which a mail server repeats a password.
var modesOfMail = []string{"ok", "535-raw", "535-base64", "421-raw", "long", "lines", "rcpt", "data", "end", "nonsense", "hang-up"}

// mailEchoes is a mail server that repeats the passwords it is sent.
type mailEchoes struct {
	echoes *echoes
	cert   tls.Certificate
}

// serve starts the server in a mode and gives its port.
func (m *mailEchoes) serve(t *testing.T, mode string) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var talks sync.WaitGroup
	talks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			talks.Go(func() { m.talk(conn, mode) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); talks.Wait() })
	at, _ := l.Addr().(*net.TCPAddr)
	return at.Port
}

// passwordIn finds the password in what was said to sign in.
func (m *mailEchoes) passwordIn(said string) string {
	raw, _ := base64.StdEncoding.DecodeString(said)
	text := string(raw)
	at := strings.Index(text, canaryHead)
	if at < 0 {
		return ""
	}
	text, _, _ = strings.Cut(text[at:], "\x01")
	m.echoes.mu.Lock()
	defer m.echoes.mu.Unlock()
	for _, kind := range kindForm.FindAllStringSubmatch(text, -1) {
		m.echoes.heard[kind[1]]++
	}
	return text
}

func (m *mailEchoes) talk(conn net.Conn, mode string) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(limit))
	lines := bufio.NewReader(conn)
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(conn, format+"\r\n", args...) }
	answer := func(in, usual, text string) {
		if mode == in {
			say("%s", text)
			return
		}
		say("%s", usual)
	}
	secret := ""
	say("220 mail.example.com ESMTP")
	secure := false
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch verb {
		case "EHLO":
			say("250-mail.example.com")
			if secure {
				say("250 AUTH PLAIN XOAUTH2")
			} else {
				say("250 STARTTLS")
			}
		case "STARTTLS":
			say("220 go ahead")
			conn, secure = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{m.cert}, MinVersion: tls.VersionTLS12}), true
			lines = bufio.NewReader(conn)
		case "AUTH":
			fields := strings.Fields(line)
			secret = m.passwordIn(fields[len(fields)-1])
			switch mode {
			case "535-raw":
				say("535 5.7.8 no, %s", secret)
			case "535-base64":
				say("535 5.7.8 %s %s", fields[len(fields)-1], spelled["query"](secret))
			case "421-raw":
				say("421 %s", secret)
			case "long":
				say("535 %s%s", strings.Repeat("x", 30), strings.Repeat(secret, 20))
			case "lines":
				say("535-one %s", secret)
				say("535 two %s", spelled["hex"](secret))
			case "nonsense":
				say("%s", secret)
			case "hang-up":
				return
			default:
				say("235 2.7.0 welcome %s", secret)
			}
		case "RCPT":
			answer("rcpt", "250 "+secret, "550 no "+secret)
		case "DATA":
			answer("data", "354 "+secret, "451 not now "+secret)
			if mode == "data" {
				continue
			}
			for {
				text, err := lines.ReadString('\n')
				if err != nil {
					return
				}
				if text == ".\r\n" {
					break
				}
			}
			answer("end", "250 queued as "+secret, "554 "+secret)
		case "QUIT":
			say("221 bye %s", secret)
			return
		default:
			say("250 fine %s", secret)
		}
	}
}
