package acceptance_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hookCall is a webhook as it came in.
type hookCall struct {
	at     time.Time
	event  string // the id in its body
	signed string // 10ex's signature
	body   []byte
}

// hooks is the addresses that webhooks go out to. It keeps what came in by path and
// webhook-id. What the path begins with says how it answers: good; flaky, which refuses
// the first time; bad, which always does; hang, which says nothing; redirect, to
// an address inside; huge, a gibibyte; hold, which says nothing the first time.
type hooks struct {
	url string

	mu      sync.Mutex
	calls   map[string]map[string][]hookCall
	written int64 // bytes of huge answers that were taken
	over    chan struct{}
}

func newHooks(t *testing.T) *hooks {
	t.Helper()
	h := &hooks{calls: map[string]map[string][]hookCall{}, over: make(chan struct{})}
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		close(h.over)
		server.Close()
	})
	h.url = server.URL
	return h
}

func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var named struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(body, &named)
	path, id := r.URL.Path, r.Header.Get("webhook-id")
	h.mu.Lock()
	if h.calls[path] == nil {
		h.calls[path] = map[string][]hookCall{}
	}
	h.calls[path][id] = append(h.calls[path][id], hookCall{at, named.ID, r.Header.Get("X-10ex-Signature"), body})
	first := len(h.calls[path][id]) == 1
	h.mu.Unlock()
	_, kind, _ := strings.Cut(path, "/")
	kind, _, _ = strings.Cut(kind, "/")
	switch {
	case kind == "hang", kind == "hold" && first:
		select {
		case <-r.Context().Done():
		case <-h.over:
		}
	case kind == "bad", kind == "flaky" && first:
		w.WriteHeader(http.StatusInternalServerError)
	case kind == "redirect":
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusTemporaryRedirect)
	case kind == "inside":
		http.Redirect(w, r, h.url+"/secret", http.StatusTemporaryRedirect)
	case kind == "huge":
		h.writeHuge(w)
	}
}

func (h *hooks) writeHuge(w io.Writer) {
	page := make([]byte, 1<<16)
	for range 1 << 30 / len(page) {
		n, err := w.Write(page)
		h.mu.Lock()
		h.written += int64(n)
		h.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// of gives what came in at a path, by webhook-id.
func (h *hooks) of(path string) map[string][]hookCall {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string][]hookCall{}
	for id, calls := range h.calls[path] {
		out[id] = slices.Clone(calls)
	}
	return out
}

// outbound makes a trigger that tells an address of the events of a type.
func (f *fleet) outbound(t *testing.T, url, eventType string) madeTrigger {
	t.Helper()
	return f.subscribe(t, fmt.Sprintf(`{"type":"event","event_type":%q,"target_type":"webhook","url":%q}`, eventType, url))
}

// delivery is what the product says became of a webhook.
type delivery struct {
	ID       string  `json:"id"`
	EventID  string  `json:"event_id"`
	Status   string  `json:"status"`
	Code     *int    `json:"code"`
	Error    *string `json:"error"`
	Attempts []struct {
		Code    *int   `json:"code"`
		Snippet string `json:"snippet"`
	} `json:"attempts"`
}

func (f *fleet) deliveries(t *testing.T, trigger string) []delivery {
	t.Helper()
	var found items[delivery]
	require.NoError(t, f.want(http.StatusOK, "GET", "/triggers/"+trigger+"/deliveries?limit=200", nil, &found))
	return found.Items
}

// await waits until the one delivery of a trigger has a status.
func (f *fleet) await(t *testing.T, trigger, status string) (d delivery) {
	t.Helper()
	waitFor(t, endLimit, "the delivery to be "+status, func() bool {
		found := f.deliveries(t, trigger)
		if len(found) == 1 {
			d = found[0]
		}
		return d.Status == status
	})
	return d
}

func TestWebhooksReachWhoeverAnswers(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	alone(t)
	f := newFleet(t, "plain")
	h := newHooks(t)
	workers := f.startAll(t, 2, 2)

	t.Run("a third answers", func(t *testing.T) {
		each := 4 // addresses of each kind
		events := sized(60, 500)
		over := time.Duration(sized(2, 20)) * time.Second
		secrets := map[string]string{}
		for i := range each {
			bad := "bad"
			if i%2 == 0 {
				bad = "flaky"
			}
			for _, kind := range []string{"good", bad, "hang"} {
				path := fmt.Sprintf("/%s/%d", kind, i)
				secrets[path] = f.outbound(t, h.url+path, "flood.*").Secret
			}
		}
		begun := time.Now()
		received := f.flood(t, events, over)
		sent := time.Since(begun)
		all := func(kind string) func() bool {
			return func() bool {
				for path := range secrets {
					if strings.HasPrefix(path, kind) && len(h.of(path)) < events {
						return false
					}
				}
				return true
			}
		}
		waitFor(t, endLimit, "the webhooks of those who answer", all("/good"))
		t.Logf("%d events in %s to %d addresses", events, sent.Round(time.Millisecond), len(secrets))
		waitFor(t, endLimit, "the webhooks of those who refuse", all("/flaky"))
		waitFor(t, endLimit, "the second attempts", func() bool {
			return f.number(t, `SELECT count(*) FROM deliveries AS d JOIN triggers AS g ON g.workspace_id = d.workspace_id AND g.id = d.trigger_id
				WHERE g.url LIKE '%/flaky/%' AND d.status <> 'delivered'`) == 0
		})
		t.Logf("who refuses once had all after %s", time.Since(begun).Round(time.Millisecond))
		var delays spread
		repeats := 0
		for path, secret := range secrets {
			calls := h.of(path)
			kind := strings.Split(path, "/")[1]
			if kind == "good" || kind == "flaky" {
				require.Len(t, calls, events, path)
			}
			for id, got := range calls {
				at, known := received[id]
				require.True(t, known, "the webhook-id is the event's")
				for _, c := range got {
					require.Equal(t, id, c.event)
					require.Equal(t, got[0].body, c.body, "attempts have one body")
					m := hmac.New(sha256.New, []byte(secret))
					_, _ = m.Write(c.body)
					require.Equal(t, "sha256="+hex.EncodeToString(m.Sum(nil)), c.signed)
				}
				switch kind {
				case "good":
					require.Len(t, got, 1, "%s: what was taken is not sent again", path)
					delays = append(delays, got[0].at.Sub(at))
				case "flaky":
					require.Len(t, got, 2, path)
				case "bad":
					repeats += len(got) - 1
				}
			}
		}
		slices.Sort(delays)
		t.Logf("delay at those who answer: %s; %d repeats at those who refuse", delays, repeats)
		require.LessOrEqual(t, delays.at(99), 5*time.Second)
		require.Positive(t, repeats)
	})

	t.Run("nobody is followed inside", func(t *testing.T) {
		for _, kind := range []string{"redirect", "inside"} {
			trg := f.outbound(t, h.url+"/"+kind, "follow."+kind)
			_, err := f.publish(news{Type: "follow." + kind, Data: map[string]int{}})
			require.NoError(t, err)
			waitFor(t, endLimit, "an attempt", func() bool {
				d := f.deliveries(t, trg.ID)
				return len(d) == 1 && len(d[0].Attempts) > 0
			})
			d := f.deliveries(t, trg.ID)[0]
			require.Equal(t, http.StatusTemporaryRedirect, *d.Attempts[0].Code)
			require.Contains(t, *d.Error, "redirects are not followed")
		}
		require.Empty(t, h.of("/secret"))
	})

	t.Run("a huge answer is not read", func(t *testing.T) {
		trg := f.outbound(t, h.url+"/huge", "huge")
		_, err := f.publish(news{Type: "huge", Data: map[string]int{}})
		require.NoError(t, err)
		d := f.await(t, trg.ID, "delivered")
		require.Len(t, d.Attempts, 1)
		h.mu.Lock()
		written := h.written
		h.mu.Unlock()
		t.Logf("of a GiB %d KiB were taken", written>>10)
		require.Less(t, written, int64(16<<20), "no more than what lies in buffers on the way")
	})

	t.Run("a worker dies", func(t *testing.T) {
		workers[1].terminate(t)
		<-workers[1].done
		trg := f.outbound(t, h.url+"/hold", "hold")
		got, err := f.publish(news{Type: "hold", Data: map[string]int{}})
		require.NoError(t, err)
		waitFor(t, endLimit, "the webhook", func() bool { return len(h.of("/hold")[got.ID]) == 1 })
		killed := workers[0].kill(t)
		f.start(t, "worker").ready(t)
		require.Equal(t, 1, f.number(t, `SELECT count(*) FROM deliveries WHERE trigger_id = $1 AND status = 'sending'`, trg.ID))
		if !*full { // its lease, which is half a minute, is over at once
			_, err := f.db.Exec(t.Context(), `UPDATE deliveries SET attend_at = now() WHERE trigger_id = $1`, trg.ID)
			require.NoError(t, err)
		}
		d := f.await(t, trg.ID, "delivered")
		calls := h.of("/hold")
		require.Len(t, calls, 1, "it has the webhook-id it had")
		require.Len(t, calls[got.ID], 2)
		require.Equal(t, calls[got.ID][0].body, calls[got.ID][1].body)
		require.Equal(t, got.ID, d.EventID)
		t.Logf("it was sent again %s after the worker was killed", calls[got.ID][1].at.Sub(killed).Round(time.Millisecond))
	})
	f.requireNoErrors(t)
}

// flood sends events to webhooks at a steady pace, and tells when each was received.
func (f *fleet) flood(t *testing.T, n int, over time.Duration) map[string]time.Time {
	t.Helper()
	const batch = 10
	tick := time.NewTicker(over * batch / time.Duration(n))
	defer tick.Stop()
	for from := 0; from < n; from += batch {
		<-tick.C
		var events []news
		for i := from; i < min(from+batch, n); i++ {
			events = append(events, news{ID: fmt.Sprintf("flood-%d", i), Type: "flood.lead", Data: map[string]int{"n": i}})
		}
		fresh, err := f.publishAll(events)
		require.NoError(t, err)
		require.Equal(t, len(events), fresh)
	}
	rows, err := f.db.Query(t.Context(), `SELECT id, received_at FROM events WHERE type = 'flood.lead'`)
	require.NoError(t, err)
	defer rows.Close()
	received := map[string]time.Time{}
	for rows.Next() {
		var id string
		var at time.Time
		require.NoError(t, rows.Scan(&id, &at))
		received[id] = at
	}
	require.NoError(t, rows.Err())
	require.Len(t, received, n)
	return received
}

// Where private networks are closed, no webhook goes there.
func TestNoWebhookGoesToAPrivateAddress(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	f := newFleet(t, "plain")
	f.env = append(f.env, "FLOWS_ALLOW_PRIVATE_NETWORKS=false", "FLOWS_WEBHOOK_RETRIES=50ms")
	f.startAll(t, 1, 1)
	h := newHooks(t)
	triggers := []madeTrigger{
		f.outbound(t, h.url+"/good/0", "private"),
		f.outbound(t, "http://169.254.169.254/latest/meta-data/", "private"),
		f.outbound(t, strings.Replace(h.url, "127.0.0.1", "localhost", 1)+"/good/1", "private"),
	}
	_, err := f.publish(news{Type: "private", Data: map[string]int{}})
	require.NoError(t, err)
	for _, trg := range triggers {
		d := f.await(t, trg.ID, "failed")
		require.Nil(t, d.Code)
		t.Log(*d.Error)
	}
	require.Empty(t, h.of("/good/0"))
	require.Empty(t, h.of("/good/1"))
	f.requireNoErrors(t)
}
