package connectors

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxRetryAfter = time.Hour
	// maxReason is how much of an answer's own explanation is repeated.
	maxReason = 200
	// maxErrorBody is how much of a failed answer is read to find it.
	maxErrorBody = 16 << 10
)

// HTTPError makes an *Error of an answer that is not a success. It reads the
// beginning of the body for the reason given there, and leaves closing it to the
// caller. 408, 425, 429 and 5xx are retryable and Retry-After is kept.
func HTTPError(resp *http.Response) *Error {
	e := &Error{
		Code:    fmt.Sprintf("http_%d", resp.StatusCode),
		Message: fmt.Sprintf("the server answered %d", resp.StatusCode),
		Status:  resp.StatusCode,

		Unauthorized: resp.StatusCode == http.StatusUnauthorized,
	}
	if text := http.StatusText(resp.StatusCode); text != "" {
		e.Message += " " + text
	}
	if reason := reasonIn(resp); reason != "" {
		e.Message += ": " + reason
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		e.Retryable = true
	default:
		e.Retryable = resp.StatusCode >= 500
	}
	if e.Retryable {
		e.RetryAfter = ParseRetryAfter(resp.Header, time.Now())
	}
	return e
}

// ParseRetryAfter reads how long a server asks to wait, as seconds or as a date,
// at most an hour; 0 when it does not ask or asks nonsense. A date is compared
// with the server's own clock where it tells it.
func ParseRetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(v, 10, 63); err == nil {
		if seconds > uint64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// reasonIn finds the sentence in which a failed answer explains itself.
func reasonIn(resp *http.Response) string {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	var answer any
	if json.Unmarshal(body, &answer) == nil {
		return clip(reasonOf(answer))
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		return clip(string(body))
	}
	return ""
}

// reasonOf knows the usual shapes: problem+json, {error}, {error:{message}},
// {message}, {errors:[{message}]} and a bare string.
func reasonOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		if len(v) > 0 {
			return reasonOf(v[0])
		}
	case map[string]any:
		for _, key := range []string{"detail", "message", "msg", "error_description", "error", "errors", "title"} {
			if s := reasonOf(v[key]); s != "" {
				return s
			}
		}
	}
	return ""
}

// clip makes one short printable line of s.
func clip(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == utf8.RuneError
	}), " ")
	if len(s) <= maxReason {
		return s
	}
	cut := maxReason
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
