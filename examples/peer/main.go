// Command peer stands for whatever a flow talks to. It prints each request it gets
// and answers with a score and what it received, so that a flow can be tried with
// nothing else at hand.
//
// It is an example: it imports nothing of ours, and nothing of ours imports it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const maxBody = 1 << 20

func main() {
	addr := flag.String("addr", "127.0.0.1:9000", "where to listen; with port 0 a free one is taken")
	score := flag.Float64("score", 90, "the score to answer")
	flag.Parse()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", *addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
	fmt.Fprintf(os.Stdout, "listening on http://%s\n", l.Addr())
	server := &http.Server{Handler: answer(os.Stdout, *score), ReadHeaderTimeout: 5 * time.Second}
	fmt.Fprintln(os.Stderr, "peer:", server.Serve(l))
	os.Exit(1)
}

// answer prints a request to out and answers it.
func answer(out io.Writer, score float64) http.Handler {
	var mu sync.Mutex // one line at a time
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "the body cannot be read", http.StatusBadRequest)
			return
		}
		mu.Lock()
		fmt.Fprintf(out, "%s %s key=%s %s\n", r.Method, r.URL.Path, r.Header.Get("Idempotency-Key"), body)
		mu.Unlock()
		var received any = string(body)
		if json.Valid(body) {
			received = json.RawMessage(body)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"score": score, "received": received}) // the client may have gone
	})
}
