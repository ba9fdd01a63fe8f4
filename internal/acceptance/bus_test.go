package acceptance_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// full asks for the sizes the product promises something for. Without it the tests of
// events are smaller, so that they fit into every run of the suite.
var full = flag.Bool("full", false, "send as many events as the product promises something for, and wait for clocks")

// sized gives one of two sizes, as -full says.
func sized(small, large int) int {
	if *full {
		return large
	}
	return small
}

// news is an event as a test sends it.
type news struct {
	ID   string `json:"id,omitempty"`
	Type string `json:"type"`
	Data any    `json:"data"`
}

type receipt struct {
	ID        string          `json:"id"`
	Duplicate bool            `json:"duplicate"`
	Error     json.RawMessage `json:"error"`
}

// publish sends one event.
func (c *client) publish(e news) (r receipt, err error) {
	err = c.want(http.StatusAccepted, "POST", "/events", e, &r)
	return r, err
}

// publishAll sends up to 500 events in one request, and tells how many were new.
func (c *client) publishAll(events []news) (fresh int, err error) {
	var got items[receipt]
	if err := c.want(http.StatusAccepted, "POST", "/events/batch", map[string]any{"items": events}, &got); err != nil {
		return 0, err
	}
	for _, r := range got.Items {
		if r.Error != nil {
			return 0, fmt.Errorf("an event was refused: %s", r.Error)
		}
		if !r.Duplicate {
			fresh++
		}
	}
	return fresh, nil
}

type madeTrigger struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// subscribe makes a trigger.
func (c *client) subscribe(t *testing.T, body string) (made madeTrigger) {
	t.Helper()
	require.NoError(t, c.want(http.StatusCreated, "POST", "/triggers", []byte(body), &made))
	return made
}

// spread is how long things took, in order.
type spread []time.Duration

func (s spread) at(percent int) time.Duration {
	if len(s) == 0 {
		return 0
	}
	return s[min(len(s)*percent/100, len(s)-1)]
}

func (s spread) String() string {
	return fmt.Sprintf("p50 %s, p99 %s, at most %s (%d)",
		s.at(50).Round(time.Millisecond), s.at(99).Round(time.Millisecond), s.at(100).Round(time.Millisecond), len(s))
}

// latencies asks the database for seconds.
func (f *fleet) latencies(t *testing.T, query string, args ...any) spread {
	t.Helper()
	rows, err := f.db.Query(t.Context(), query, args...)
	require.NoError(t, err)
	defer rows.Close()
	var s spread
	for rows.Next() {
		var seconds float64
		require.NoError(t, rows.Scan(&seconds))
		s = append(s, time.Duration(seconds*float64(time.Second)))
	}
	require.NoError(t, rows.Err())
	slices.Sort(s)
	return s
}
