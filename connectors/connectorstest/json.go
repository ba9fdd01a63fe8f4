package connectorstest

import (
	"io"
	"net/http"
	"testing"
)

// NewJSON starts a peer that always answers with a status and one JSON value.
func NewJSON(t testing.TB, status int, body string) *Peer {
	t.Helper()
	return NewPeer(t, func(w http.ResponseWriter, _ *http.Request) { WriteJSON(w, status, body) })
}

// WriteJSON answers with a status and one JSON value.
func WriteJSON(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}
