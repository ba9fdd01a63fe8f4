package acceptance_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// crew is two agents: one that finds out more about a lead, and one that adds it to a
// sequence. It keeps what they were asked, by path and lead.
type crew struct {
	mu    sync.Mutex
	asked map[string][]asked
}

type asked struct {
	Lead       string         `json:"lead_id"`
	Sequence   string         `json:"sequence_id"`
	Enrichment map[string]any `json:"enrichment"`
}

func (c *crew) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var a asked
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[r.URL.Path+" "+a.Lead] = append(c.asked[r.URL.Path+" "+a.Lead], a)
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"title":"chief of %s"}`, a.Lead)
}

// A lead enters a segment, agents find out more about it and add it to a sequence, and
// somebody outside is told. Every lead does so once, however often and from wherever the
// event is sent.
func TestALeadThatEntersASegmentJoinsTheSequenceOnce(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	alone(t)
	leads, senders := sized(20, 200), 32
	f := newFleet(t, "plain")
	second := newClient(t, f.start(t, "api", "--addr", "127.0.0.1:0").ready(t).URL, f.key)
	f.startAll(t, 2, 1)
	c := &crew{asked: map[string][]asked{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	for _, slug := range []string{"lead-enricher", "sequence-enroller"} {
		require.NoError(t, f.want(http.StatusCreated, "POST", "/agents", fmt.Appendf(nil,
			`{"slug":%q,"kind":"http","config":{"url":"%s/%s"}}`, slug, server.URL, slug), nil))
	}
	var made struct {
		ID       string        `json:"id"`
		Triggers []madeTrigger `json:"triggers"`
	}
	require.NoError(t, f.want(http.StatusCreated, "POST", "/templates/lead-to-sequence/workflows",
		[]byte(`{"inputs":{"segment_id":"seg_trial","sequence_id":"seq_welcome"}}`), &made))
	require.Len(t, made.Triggers, 1)
	h := newHooks(t)
	f.outbound(t, h.url+"/good/done", "flow.run.completed")

	// Each sender sends some of the leads; each lead comes from four of them, as other
	// events, two of which are sent again, and enters another segment as well.
	inParallel(t, senders, 4*leads, func(i int) error {
		lead, from := fmt.Sprintf("lead_%d", i/4), []*client{f.client, second}[i%2]
		entered := func(id, segment string) error {
			_, err := from.publish(news{ID: id, Type: "lead.segment_entered", Data: map[string]string{"lead_id": lead, "segment_id": segment}})
			return err
		}
		for range 1 + i%2 {
			if err := entered(fmt.Sprintf("enter-%d", i), "seg_trial"); err != nil {
				return err
			}
		}
		return entered(fmt.Sprintf("other-%d", i), "seg_other")
	})
	waitFor(t, endLimit, "all events", func() bool {
		return f.number(t, `SELECT count(*) FROM events WHERE attend_at IS NOT NULL`) == 0
	})
	f.settle(t, made.ID)
	require.Equal(t, map[string]int{"completed": leads}, f.count(t, made.ID))
	waitFor(t, endLimit, "the news outside", func() bool { return len(h.of("/good/done")) >= leads })
	require.Len(t, h.of("/good/done"), leads)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range leads {
		lead := fmt.Sprintf("lead_%d", i)
		require.Len(t, c.asked["/lead-enricher "+lead], 1)
		got := c.asked["/sequence-enroller "+lead]
		require.Equal(t, []asked{{Lead: lead, Sequence: "seq_welcome", Enrichment: map[string]any{"title": "chief of " + lead}}}, got)
	}
	require.Equal(t, leads, f.number(t, `SELECT count(*) FROM event_matches WHERE trigger_id = $1 AND outcome = 'fired'`, made.Triggers[0].ID))
	require.Equal(t, 7*leads, f.number(t, `SELECT count(*) FROM event_matches WHERE trigger_id = $1 AND outcome = 'ignored'`, made.Triggers[0].ID),
		"the others are told of, with a reason")
	t.Logf("%d events for %d leads: %d runs", 8*leads, leads, leads)
	f.requireNothingLeft(t)
	f.requireNoErrors(t)
}
