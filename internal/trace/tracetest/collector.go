// Package tracetest is a collector of traces for tests: a real OTLP server over
// HTTP that keeps what it is sent. It knows only the protocol and imports nothing of
// ours.
package tracetest

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is a span as it arrived.
type Span struct {
	Trace, ID, Parent string // in hexadecimal
	Name              string
	Kind              tracepb.Span_SpanKind
	Status            *tracepb.Status
	Attributes        map[string]string
	Resource          map[string]string
	Links             []Link
	Start, End        time.Time
}

// Link points at another span.
type Link struct{ Trace, ID string }

// Collector keeps the spans it is sent.
type Collector struct {
	URL string

	mu      sync.Mutex
	status  int
	spans   []Span
	headers []http.Header
	more    chan struct{} // closed and made anew with every request
}

// New starts a collector until the test ends.
func New(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{status: http.StatusOK, more: make(chan struct{})}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, err := c.take(r)
		if err != nil {
			t.Errorf("collector: %v", err)
			status = http.StatusBadRequest
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.WriteHeader(status)
	}))
	t.Cleanup(srv.Close)
	c.URL = srv.URL
	return c
}

// Answer makes the collector answer with a status from now on; it keeps nothing
// unless that is 200.
func (c *Collector) Answer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

func (c *Collector) take(r *http.Request) (int, error) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			return 0, err
		}
		body = unzipped
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return 0, err
	}
	var data tracepb.TracesData // the same on the wire as a request to export
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" {
		return http.StatusNotFound, nil
	}
	if err := proto.Unmarshal(raw, &data); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers = append(c.headers, r.Header.Clone())
	if c.status == http.StatusOK {
		c.spans = append(c.spans, spansOf(&data)...)
	}
	close(c.more)
	c.more = make(chan struct{})
	return c.status, nil
}

func spansOf(data *tracepb.TracesData) []Span {
	var all []Span
	for _, r := range data.GetResourceSpans() {
		for _, scope := range r.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				one := Span{
					Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
					Name: s.GetName(), Kind: s.GetKind(), Status: s.GetStatus(), Attributes: attributes(s.GetAttributes()),
					Resource: attributes(r.GetResource().GetAttributes()),
					Start:    time.Unix(0, int64(s.GetStartTimeUnixNano())).UTC(),
					End:      time.Unix(0, int64(s.GetEndTimeUnixNano())).UTC(),
				}
				for _, l := range s.GetLinks() {
					one.Links = append(one.Links, Link{hex.EncodeToString(l.GetTraceId()), hex.EncodeToString(l.GetSpanId())})
				}
				all = append(all, one)
			}
		}
	}
	return all
}

func attributes(list []*commonpb.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range list {
		switch v := kv.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			m[kv.GetKey()] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			m[kv.GetKey()] = strconv.FormatInt(v.IntValue, 10)
		case *commonpb.AnyValue_BoolValue:
			m[kv.GetKey()] = strconv.FormatBool(v.BoolValue)
		default:
			m[kv.GetKey()] = kv.GetValue().String()
		}
	}
	return m
}

// Spans gives what has arrived.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Span(nil), c.spans...)
}

// Headers gives the headers of every request.
func (c *Collector) Headers() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]http.Header(nil), c.headers...)
}

// Wait waits until what has arrived is enough, and gives it.
func (c *Collector) Wait(t testing.TB, enough func([]Span) bool) []Span {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		c.mu.Lock()
		more := c.more
		c.mu.Unlock()
		spans := c.Spans()
		if enough(spans) {
			return spans
		}
		select {
		case <-more:
		case <-deadline:
			require.FailNow(t, "the spans did not come", "%+v", spans)
		}
	}
}

// Named gives the spans of a name.
func Named(spans []Span, name string) []Span {
	var some []Span
	for _, s := range spans {
		if s.Name == name {
			some = append(some, s)
		}
	}
	return some
}
