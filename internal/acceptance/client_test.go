package acceptance_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const base = "/api/v1/flows"

// client speaks to the API.
type client struct {
	// patient asks a read again that finds the database away, as the answer invites
	// to: a test that cuts connections leaves dead ones behind, each good for one
	// refusal.
	patient  bool
	url, key string
	http     *http.Client
}

func newClient(t *testing.T, url, key string) *client {
	t.Helper()
	c := &client{url: url, key: key, http: &http.Client{
		Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// read decodes the body.
func (a answer) read(into any) error {
	if err := json.Unmarshal(a.body, into); err != nil {
		return fmt.Errorf("read %s: %w", a, err)
	}
	return nil
}

// ask makes a request. A path without a base is one of the API's. headers are names
// and values in turn.
func (c *client) ask(method, path string, body []byte, headers ...string) (answer, error) {
	if !strings.HasPrefix(path, "/api/") {
		path = base + path
	}
	req, err := http.NewRequest(method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return c.send(req)
}

func (c *client) send(req *http.Request) (answer, error) {
	start := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, got, time.Since(start)}, err
}

// want makes a request and fails unless the answer has the status.
func (c *client) want(status int, method, path string, body any, into any, headers ...string) error {
	raw, ok := body.([]byte)
	if !ok && body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return err
		}
	}
	got, err := c.ask(method, path, raw, headers...)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for tries := 0; c.patient && method == http.MethodGet && err == nil && got.status == http.StatusServiceUnavailable && tries < 20; tries++ {
		<-again.C
		got, err = c.ask(method, path, raw, headers...)
	}
	switch {
	case err != nil:
		return err
	case got.status != status:
		return fmt.Errorf("%s %s: want %d, got %s", method, path, status, got)
	case into == nil:
		return nil
	}
	return got.read(into)
}

// run is what a test reads of a run.
type run struct {
	ID         string     `json:"id"`
	Status     string     `json:"status"`
	CreatedAt  time.Time  `json:"created_at"`
	FinishedAt *time.Time `json:"finished_at"`
}

type stepError struct {
	Code string `json:"code"`
}

type attempt struct {
	Number     int        `json:"number"`
	Status     string     `json:"status"`
	Error      *stepError `json:"error"`
	StartedAt  *time.Time `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at"`
}

type step struct {
	ID         string          `json:"id"`
	Status     string          `json:"status"`
	Attempts   []attempt       `json:"attempts"`
	Output     json.RawMessage `json:"output"`
	StartedAt  *time.Time      `json:"started_at"`
	FinishedAt *time.Time      `json:"finished_at"`
	WakeAt     *time.Time      `json:"wake_at"`
}

type event struct {
	Seq    int64     `json:"seq"`
	Type   string    `json:"type"`
	StepID *string   `json:"step_id"`
	At     time.Time `json:"at"`
	Data   struct {
		Attempt int `json:"attempt"`
	} `json:"data"`
}

type items[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next_cursor"`
}

// workflow saves a graph and gives its id.
func (c *client) workflow(t *testing.T, graph string) string {
	t.Helper()
	var made struct {
		ID string `json:"id"`
	}
	body := fmt.Appendf(nil, `{"name":"acceptance","graph":%s}`, graph)
	require.NoError(t, c.want(http.StatusCreated, "POST", "/workflows", body, &made))
	return made.ID
}

// trigger starts a run and gives its id. name makes the request one of its kind.
func (c *client) trigger(workflow, name string, payload any) (string, error) {
	var made run
	err := c.want(http.StatusAccepted, "POST", "/workflows/"+workflow+"/trigger", map[string]any{"payload": payload}, &made, "Idempotency-Key", name)
	return made.ID, err
}

// triggerAll starts n runs from so many clients, the payload of each holding its
// number as n.
func (c *client) triggerAll(t *testing.T, workflow string, clients, n int) []string {
	t.Helper()
	started := make([]string, n)
	inParallel(t, clients, n, func(i int) (err error) {
		started[i], err = c.trigger(workflow, fmt.Sprintf("%s-%d", t.Name(), i), map[string]int{"n": i})
		return err
	})
	slices.Sort(started)
	require.Len(t, slices.Compact(slices.Clone(started)), n, "each is a run of its own")
	return started
}

// triggerMore starts n runs that nobody has to remember.
func (c *client) triggerMore(t *testing.T, workflow string, n int) {
	t.Helper()
	inParallel(t, n, n, func(i int) error {
		return c.want(http.StatusAccepted, "POST", "/workflows/"+workflow+"/trigger", map[string]any{"payload": map[string]int{"n": i}}, nil)
	})
}

// has tells whether there is a run of the workflow in one of the statuses.
func (c *client) has(workflow, statuses string) (bool, error) {
	var found items[run]
	err := c.want(http.StatusOK, "GET", "/runs?limit=1&workflow_id="+workflow+"&status="+statuses, nil, &found)
	return len(found.Items) > 0, err
}

const open = "queued,running,waiting,paused"

// settle waits until no run of the workflow is open.
func (c *client) settle(t *testing.T, workflow string) {
	t.Helper()
	waitFor(t, endLimit, "the end of all runs", func() bool {
		left, err := c.has(workflow, open)
		require.NoError(t, err)
		return !left
	})
}

// count counts the runs of the workflow by status.
func (c *client) count(t *testing.T, workflow string) map[string]int {
	t.Helper()
	n := map[string]int{}
	path := "/runs?limit=200&workflow_id=" + workflow
	for cursor := ""; ; {
		var page items[run]
		require.NoError(t, c.want(http.StatusOK, "GET", path+cursor, nil, &page))
		for _, r := range page.Items {
			n[r.Status]++
		}
		if page.Next == nil {
			return n
		}
		cursor = "&cursor=" + *page.Next
	}
}

// story is everything there is to know of a run.
type story struct {
	run    run
	steps  map[string]step
	events []event
}

// tell reads everything about a run.
func (c *client) tell(id string) (s story, err error) {
	var trace items[step]
	s.steps = map[string]step{}
	err = errors.Join(
		c.want(http.StatusOK, "GET", "/runs/"+id, nil, &s.run),
		c.want(http.StatusOK, "GET", "/runs/"+id+"/steps", nil, &trace),
	)
	for _, one := range trace.Items {
		if _, twice := s.steps[one.ID]; twice {
			err = errors.Join(err, fmt.Errorf("run %s: step %q is in the trace twice", id, one.ID))
		}
		s.steps[one.ID] = one
	}
	for after, more := int64(0), true; more && err == nil; {
		var page items[event]
		err = c.want(http.StatusOK, "GET", fmt.Sprintf("/runs/%s/events?limit=200&after=%d", id, after), nil, &page)
		s.events = append(s.events, page.Items...)
		if more = page.Next != nil; more {
			after = s.events[len(s.events)-1].Seq
		}
	}
	return s, err
}
