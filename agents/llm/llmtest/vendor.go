// Package llmtest is a vendor of models for tests: a real local server that speaks
// OpenAI's chat completions and Anthropic's messages, whole and streamed, and answers
// by a script. It refuses what the vendors refuse.
//
// Only tests import it.
package llmtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Asked is one request, in words that both protocols share.
type Asked struct {
	Protocol string // openai or anthropic
	// Turn is 1 and one more for every answer of the model that the conversation holds.
	Turn      int
	Model     string
	MaxTokens int
	System    string
	Tools     []string // their names
	Results   []string // of the tools, in the last message
	Last      string   // what the user said last
	Stream    bool
	Header    http.Header
	Body      string
}

// Call is a tool that the model wants used.
type Call struct{ Name, Arguments string }

// Reply is what the model says.
type Reply struct {
	Text  string
	Calls []Call
	// Model is what the vendor calls the model; empty: as it was asked for.
	Model string
	// Input and Output are the tokens that are counted. Uncounted: none are.
	Input, Output int
	Uncounted     bool
	// Length ends the answer as too long, Refused as refused.
	Length, Refused bool

	// Status other than 0 and 200 is a failure, with a text.
	Status     int
	RetryAfter string
	Failure    string
	// Break breaks a stream off after the text; Fail does so with the word of the
	// server that it failed.
	Break, Fail bool
	// Hold, if set, delays the answer until it is closed or the client has left. With
	// a text, that is streamed before.
	Hold <-chan struct{}
}

func (r Reply) model(a Asked) string { return cmp.Or(r.Model, a.Model) }

// Vendor is the server.
type Vendor struct {
	// URL is where Anthropic's protocol is spoken; OpenAI's is at URL/v1.
	URL    string
	script func(Asked) Reply

	mu    sync.Mutex
	asked []Asked
}

// Key is what the vendor wants to be shown, as a bearer token or in X-Api-Key.
const Key = "sk-canary-0123456789abcdef"

// New starts a vendor that answers by a script, which may be asked concurrently.
func New(t testing.TB, script func(Asked) Reply) *Vendor {
	t.Helper()
	v := &Vendor{script: script}
	srv := httptest.NewServer(v)
	t.Cleanup(srv.Close)
	v.URL = srv.URL
	return v
}

// Asked lists the turns that were asked for so far, oldest first.
func (v *Vendor) Asked() []Asked {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.asked)
}

// Turns lists the numbers of the turns that were asked for so far.
func (v *Vendor) Turns() []int {
	var turns []int
	for _, a := range v.Asked() {
		turns = append(turns, a.Turn)
	}
	return turns
}

// ServeHTTP answers a request.
func (v *Vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+Key && r.Header.Get("X-Api-Key") != Key {
		refuse(w, r, http.StatusUnauthorized, "authentication_error", "the key "+r.Header.Get("Authorization")+r.Header.Get("X-Api-Key")+" is not valid")
		return
	}
	if r.URL.Path == "/v1/models" && r.Method == http.MethodGet {
		answer(w, map[string]any{"object": "list", "data": []map[string]string{{"id": "small", "type": "model"}, {"id": "large", "type": "model"}}})
		return
	}
	v.speak(w, r)
}

// Speak answers a request by a script, whatever key comes with it.
func Speak(w http.ResponseWriter, r *http.Request, script func(Asked) Reply) {
	(&Vendor{script: script}).speak(w, r)
}

func (v *Vendor) speak(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var a Asked
	switch r.URL.Path {
	case "/v1/chat/completions":
		a, err = readOpenAI(body)
	case "/v1/messages":
		a, err = readAnthropic(body)
		if err == nil && r.Header.Get("Anthropic-Version") == "" {
			err = fmt.Errorf("anthropic-version: header is required")
		}
	default:
		refuse(w, r, http.StatusNotFound, "not_found_error", "there is nothing here")
		return
	}
	if err != nil {
		refuse(w, r, http.StatusBadRequest, "invalid_request_error", err.Error())
		return
	}
	a.Header, a.Body = r.Header.Clone(), string(body)
	v.mu.Lock()
	v.asked = append(v.asked, a)
	v.mu.Unlock()
	reply := v.script(a)
	if reply.Status != 0 && reply.Status != http.StatusOK {
		if reply.RetryAfter != "" {
			w.Header().Set("Retry-After", reply.RetryAfter)
		}
		refuse(w, r, reply.Status, "rate_limit_error", reply.Failure)
		return
	}
	if reply.Hold != nil && reply.Text == "" {
		if !wait(r, reply.Hold) {
			return
		}
		reply.Hold = nil
	}
	switch {
	case a.Protocol == "openai" && a.Stream:
		streamOpenAI(w, r, a, reply)
	case a.Protocol == "openai":
		answer(w, wholeOpenAI(a, reply))
	case a.Stream:
		streamAnthropic(w, r, a, reply)
	default:
		answer(w, wholeAnthropic(a, reply))
	}
}

func wait(r *http.Request, hold <-chan struct{}) bool {
	select {
	case <-hold:
		return true
	case <-r.Context().Done():
		return false
	}
}

func answer(w http.ResponseWriter, v any) {
	write(w, http.StatusOK, v)
}

func refuse(w http.ResponseWriter, r *http.Request, status int, kind, message string) {
	body := map[string]any{"error": map[string]any{"message": message, "type": kind, "param": nil, "code": nil}}
	if strings.HasSuffix(r.URL.Path, "/messages") {
		body["type"] = "error"
	}
	write(w, status, body)
}

func write(w http.ResponseWriter, status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(raw)
}

// event sends one server-sent event; name may be empty.
func event(w http.ResponseWriter, name string, data any) {
	if name != "" {
		_, _ = fmt.Fprintf(w, "event: %s\n", name)
	}
	text, ok := data.(string)
	if !ok {
		raw, err := json.Marshal(data)
		if err != nil {
			return
		}
		text = string(raw)
	}
	_, _ = fmt.Fprintf(w, "data: %s\n\n", text)
	w.(http.Flusher).Flush() //nolint:forcetypeassert // that of net/http can
}

// pieces cuts a text as vendors do: anywhere.
func pieces(s string) []string {
	var out []string
	runes := []rune(s)
	for len(runes) > 0 {
		n := min(5, len(runes))
		out = append(out, string(runes[:n]))
		runes = runes[n:]
	}
	return out
}
