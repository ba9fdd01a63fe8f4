package acceptance_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// effect names what a step of a run does to the outside.
type effect struct{ run, step string }

// record is what the outside saw of an effect.
type record struct {
	keys    []string    // one for each request, in order of arrival
	at      []time.Time // when each arrived
	gone    []time.Time // when the product gave one up before it was answered
	refused int         // requests that were answered 503 on purpose
}

// sink is the outside: an HTTP server that keeps account of who asked what, by the
// run and step that a request names in its body. The path /do takes, in its query,
// fail: answer 503 to the first request of an effect; and hold: take so many
// milliseconds to answer the first one, whose answer repeats get at once.
type sink struct {
	url string

	mu     sync.Mutex
	seen   map[effect]*record
	slower time.Duration
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{seen: map[effect]*record{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var named struct{ Run, Step string }
	if err := json.NewDecoder(r.Body).Decode(&named); err != nil {
		http.Error(w, "no effect is named", http.StatusBadRequest)
		return
	}
	e, key := effect{named.Run, named.Step}, r.Header.Get("Idempotency-Key")
	hold, _ := strconv.Atoi(r.URL.Query().Get("hold"))

	s.mu.Lock()
	rec := s.seen[e]
	if rec == nil {
		rec = &record{}
		s.seen[e] = rec
	}
	rec.keys, rec.at = append(rec.keys, key), append(rec.at, time.Now())
	count := len(rec.keys)
	fail := count == 1 && r.URL.Query().Has("fail")
	if fail {
		rec.refused++
	}
	wait := s.slower
	if count == 1 {
		wait += time.Duration(hold) * time.Millisecond
	}
	s.mu.Unlock()

	if fail {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			s.mu.Lock()
			rec.gone = append(rec.gone, time.Now())
			s.mu.Unlock()
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]int{"count": count})
}

// slow makes every answer take longer.
func (s *sink) slow(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slower = by
}

// of gives what was seen of an effect; the zero record if nothing was.
func (s *sink) of(run, step string) record {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := s.seen[effect{run, step}]
	if rec == nil {
		return record{}
	}
	return record{slices.Clone(rec.keys), slices.Clone(rec.at), slices.Clone(rec.gone), rec.refused}
}
