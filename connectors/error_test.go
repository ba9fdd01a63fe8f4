package connectors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
)

func TestErrorAsJSON(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(connectors.AsError(connectors.RetryAfter(time.Minute, connectors.Permanent("no_stock", "none of %s left", "it"))))
	require.NoError(t, err)
	require.JSONEq(t, `{"code":"no_stock","message":"none of it left","retryable":true}`, string(raw))
	raw, err = json.Marshal(&connectors.Error{Code: "http_404", Message: "m", Status: 404})
	require.NoError(t, err)
	require.JSONEq(t, `{"code":"http_404","message":"m","status":404,"retryable":false}`, string(raw))
}

func TestRetryAfterLeavesTheGivenErrorAlone(t *testing.T) {
	t.Parallel()
	given := connectors.Permanent("a", "b")
	later := connectors.AsError(connectors.RetryAfter(time.Second, given))
	require.Equal(t, time.Second, later.RetryAfter)
	require.True(t, later.Retryable)
	require.False(t, connectors.AsError(given).Retryable)
	require.Zero(t, connectors.AsError(connectors.RetryAfter(-1, given)).RetryAfter)
}

func TestAsErrorTellsNothingOfUnknownErrors(t *testing.T) {
	t.Parallel()
	inside := errors.New("pq: password s3cret")
	e := connectors.AsError(fmt.Errorf("x: %w", inside))
	require.Equal(t, "internal", e.Code)
	require.True(t, e.Retryable)
	require.NotContains(t, e.Error(), "s3cret")
	require.ErrorIs(t, e, inside)
	require.Nil(t, connectors.AsError(nil))
	require.Equal(t, "timeout", connectors.AsError(context.DeadlineExceeded).Code)
	wrapped := fmt.Errorf("step a: %w", connectors.Retryable("c", "m"))
	require.Equal(t, "c", connectors.AsError(wrapped).Code)
}

func TestNetworkError(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("lease lost"))
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	tests := []struct {
		ctx       context.Context
		err       error
		code      string
		retryable bool
	}{
		{t.Context(), dial(syscall.ECONNREFUSED), "network", true},
		{t.Context(), dial(syscall.ECONNRESET), "network", true},
		{t.Context(), dial(&net.DNSError{Name: "s3cret.example", IsNotFound: true}), "network", true},
		{t.Context(), &net.DNSError{Name: "s3cret.example", IsTimeout: true}, "timeout", true},
		{t.Context(), io.ErrUnexpectedEOF, "network", true},
		{t.Context(), errors.New("s3cret"), "network", true},
		{t.Context(), context.DeadlineExceeded, "timeout", true},
		{t.Context(), context.Canceled, "cancelled", true},
		{ended, context.Cause(ended), "cancelled", true},
		{ended, &egress.TooLargeError{Limit: 5}, "too_large", false},
		{t.Context(), &egress.BlockedError{}, "blocked_address", false},
		{t.Context(), &egress.HeaderError{Name: "Host"}, "input_invalid", false},
		{t.Context(), egress.ErrTooManyRedirects, "bad_response", false},
		{t.Context(), connectors.Permanent("own", "m"), "own", false},
	}
	for _, tc := range tests {
		e := connectors.NetworkError(tc.ctx, tc.err)
		require.Equal(t, tc.code, e.Code, "%v", tc.err)
		require.Equal(t, tc.retryable, e.Retryable, "%v", tc.err)
		require.NotContains(t, e.Message, "s3cret")
	}
}

func response(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

func TestHTTPErrorGivesTheReason(t *testing.T) {
	t.Parallel()
	for body, reason := range map[string]string{
		`{"title":"Bad","detail":"no such lead"}`:     ": no such lead",
		`{"error":"denied"}`:                          ": denied",
		`{"error":{"code":3,"message":"denied"}}`:     ": denied",
		`{"errors":[{"message":"denied"}]}`:           ": denied",
		`{"detail":[{"loc":["a"],"msg":"required"}]}`: ": required",
		`"denied"`:          ": denied",
		`{"a":1}`:           "",
		`<html>oops</html>`: "",
		"":                  "",
		`{"message":"` + strings.Repeat("é", 200) + `"}`:   ": " + strings.Repeat("é", 100) + "…",
		`{"message":"a\u0000b\u001b[31m \n\n c\ufffd d "}`: ": a b [31m c d",
	} {
		e := connectors.HTTPError(response(404, body, "Content-Type", "text/html"))
		require.Equal(t, "the server answered 404 Not Found"+reason, e.Message, body)
		require.Equal(t, "http_404", e.Code)
		require.False(t, e.Retryable)
	}
	require.Equal(t, "the server answered 400 Bad Request: no", connectors.HTTPError(response(400, "no\n", "Content-Type", "text/plain; charset=utf-8")).Message)
	require.Equal(t, "the server answered 599", connectors.HTTPError(response(599, "")).Message)
}

func TestOnlyRetryableAnswersKeepRetryAfter(t *testing.T) {
	t.Parallel()
	require.Equal(t, time.Minute, connectors.HTTPError(response(503, "", "Retry-After", "60")).RetryAfter)
	require.Zero(t, connectors.HTTPError(response(403, "", "Retry-After", "60")).RetryAfter)
}

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for value, want := range map[string]time.Duration{
		"":                       0,
		"0":                      0,
		"5":                      5 * time.Second,
		" 5 ":                    5 * time.Second, //nolint:gocritic // the spaces are what is tried
		"3600":                   time.Hour,
		"86400":                  time.Hour,
		"9223372036854775807":    time.Hour,
		"99999999999999999999":   0, // no number of ours
		"-5":                     0,
		"1.5":                    0,
		"soon":                   0,
		date(90 * time.Second):   90 * time.Second,
		date(-90 * time.Second):  0,
		date(1000 * time.Second): 1000 * time.Second,
		date(48 * time.Hour):     time.Hour,
	} {
		h := http.Header{"Retry-After": {value}}
		require.Equal(t, want, connectors.ParseRetryAfter(h, now), value)
	}
	// The server's clock is ten minutes behind ours.
	h := http.Header{"Retry-After": {date(-590 * time.Second)}, "Date": {date(-600 * time.Second)}}
	require.Equal(t, 10*time.Second, connectors.ParseRetryAfter(h, now))
}

func TestParseTimeout(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]time.Duration{"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "7d": 7 * 24 * time.Hour, "150ms": 150 * time.Millisecond} {
		d, err := connectors.ParseTimeout(s)
		require.NoError(t, err)
		require.Equal(t, want, d)
	}
	for _, s := range []string{"", "d", "0s", "0d", "-1s", "-1d", "1.5d", "5", "1d2h", "99999999999d"} {
		_, err := connectors.ParseTimeout(s)
		require.Error(t, err, s)
	}
}
