package connectorstest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
)

// Peer is a real local HTTP server that remembers what it was asked.
type Peer struct {
	URL string

	mu       sync.Mutex
	received []Received
}

// Received is one request as it arrived.
type Received struct {
	Method, Path, Query string
	Header              http.Header
	Body                string
}

// NewPeer starts a server that answers with h until the test ends.
func NewPeer(t testing.TB, h http.HandlerFunc) *Peer {
	t.Helper()
	p := &Peer{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		p.mu.Lock()
		p.received = append(p.received, Received{
			Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Header: r.Header.Clone(), Body: string(body),
		})
		p.mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	p.URL = srv.URL
	return p
}

// Received lists the requests so far, oldest first.
func (p *Peer) Received() []Received {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.received)
}

// Reset forgets the requests so far.
func (p *Peer) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.received = nil
}

// Keys lists the Idempotency-Key of each request so far, oldest first.
func (p *Peer) Keys() []string {
	var keys []string
	for _, r := range p.Received() {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
	}
	return keys
}

// Hang answers nothing until the client goes away; it closes arrived first.
func Hang(arrived chan<- struct{}) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}
}

// Cut is a handler that closes the connection instead of answering.
func Cut(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}
