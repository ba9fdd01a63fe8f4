package http_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	nethttp "net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/connectors/http"
	"github.com/10ex/flows/internal/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func setup(t *testing.T, cfg egress.Config) *http.Connector {
	t.Helper()
	client, err := egress.New(cfg)
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return http.New(client)
}

func peer(t *testing.T, status int, contentType, body string) *connectorstest.Peer {
	t.Helper()
	return connectorstest.NewPeer(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header()["Date"] = nil // so that a case can name all headers
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func TestContract(t *testing.T) {
	t.Parallel()
	c := setup(t, egress.Config{AllowPrivate: true, MaxBody: 1000})
	get := func(p *connectorstest.Peer) string { return fmt.Sprintf(`{"method":"GET","url":%q}`, p.URL) }
	answer := func(name string, status int, contentType, body, want string) connectorstest.Case {
		p := peer(t, status, contentType, body)
		want = fmt.Sprintf(`{"status":%d,"headers":{"content-type":%q,"content-length":"%d"},"body":%s}`, status, contentType, len(body), want)
		return connectorstest.Case{Name: name, Action: "request", Peer: p, Input: get(p), Want: want}
	}
	failure := func(name string, p *connectorstest.Peer, code string, retryable bool) connectorstest.Case {
		return connectorstest.Case{Name: name, Action: "request", Peer: p, Input: get(p), WantCode: code, WantRetryable: retryable}
	}
	invalid := func(name, input string) connectorstest.Case {
		return connectorstest.Case{Name: name, Action: "request", Input: input, WantCode: "input_invalid"}
	}

	cases := []connectorstest.Case{
		answer("json is decoded", 200, "application/json", `{"id":10000000000000001,"z":1,"a":[null]}`, `{"id":10000000000000001,"z":1,"a":[null]}`),
		answer("json by suffix", 201, "application/problem+json; charset=utf-8", `[1]`, `[1]`),
		answer("NUL in json", 200, "application/json", `{"a":"x\u0000y","b\u0000":"\\u0000"}`, `{"a":"x\ufffdy","b\ufffd":"\\u0000"}`),
		answer("half a surrogate pair", 200, "application/json", `["\ud83d\ude00","\ud83d","\ude00x"]`, `["😀","\ufffd","\ufffdx"]`),
		answer("bytes that are no UTF-8 in json", 200, "application/json", "\"a\xffb\"", `"a\ufffdb"`),
		answer("text stays text", 200, "text/plain", "12", `"12"`),
		answer("text in latin-1", 200, "text/plain; charset=iso-8859-1", "caf\xe9", `"café"`),
		answer("xml is text", 200, "application/xml", "<a/>", `"<a/>"`),
		answer("text sent as bytes", 200, "application/octet-stream", "plain", `"plain"`),
		answer("empty is null", 200, "application/json", "", "null"),

		failure("json that is none", peer(t, 200, "application/json", "{"), "bad_response", false),
		failure("json nested too deep", peer(t, 200, "application/json", strings.Repeat("[", 65)+strings.Repeat("]", 65)), "bad_response", false),
		failure("binary by its bytes", peer(t, 200, "text/plain; charset=utf-8", "\x89PNG\xff"), "binary_response", false),
		failure("binary by a NUL", peer(t, 200, "application/pdf", "%PDF\x00"), "binary_response", false),
		failure("too large", peer(t, 200, "text/plain", strings.Repeat("x", 1001)), "too_large", false),
		failure("not modified", peer(t, 304, "text/plain", ""), "http_304", false),
		failure("bad request", peer(t, 400, "text/plain", "no"), "http_400", false),
		failure("not found", peer(t, 404, "text/plain", "no"), "http_404", false),
		failure("request timeout", peer(t, 408, "text/plain", "no"), "http_408", true),
		failure("too early", peer(t, 425, "text/plain", "no"), "http_425", true),
		failure("too many", peer(t, 429, "text/plain", "no"), "http_429", true),
		failure("server fault", peer(t, 500, "text/plain", "no"), "http_500", true),
		failure("unavailable", peer(t, 503, "text/plain", "no"), "http_503", true),
		failure("connection cut", connectorstest.NewPeer(t, connectorstest.Cut), "network", true),
		failure("redirect loop", connectorstest.NewPeer(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
			nethttp.Redirect(w, r, "/again", nethttp.StatusFound)
		}), "bad_response", false),
		failure("endless body", connectorstest.NewPeer(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
			for {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}), "too_large", false),

		invalid("no url", `{"method":"GET"}`),
		invalid("no host", `{"method":"GET","url":"https://"}`),
		invalid("broken url", `{"method":"GET","url":"http://[::1"}`),
		invalid("unknown method", `{"method":"TRACE","url":"http://127.0.0.1/"}`),
		invalid("unknown field", `{"method":"GET","url":"http://127.0.0.1/","header":{}}`),
		invalid("bad timeout", `{"method":"GET","url":"http://127.0.0.1/","timeout":"soon"}`),
		invalid("reserved header", `{"method":"GET","url":"http://127.0.0.1/","headers":{"Host":"x"}}`),
		invalid("header with a line break", `{"method":"GET","url":"http://127.0.0.1/","headers":{"X-A":"a\r\nb: c"}}`),
		{Name: "file scheme", Action: "request", Input: `{"method":"GET","url":"file:///etc/passwd"}`, WantCode: "blocked_address"},
		{Name: "password in the address", Action: "request", Input: `{"method":"GET","url":"http://a:b@127.0.0.1/"}`, WantCode: "blocked_address"},
	}

	arrived := make(chan struct{})
	hanging := connectorstest.NewPeer(t, connectorstest.Hang(arrived))
	connectorstest.Run(t, c, cases, connectorstest.Hanging{Action: "request", Input: get(hanging), Arrived: arrived})
}

func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	type sent = connectorstest.Received
	tests := map[string]struct {
		input string
		want  sent
	}{
		"json body": {
			`{"method":"POST","url":"$/a?x=1&b=2","query":{"q":"a b","n":10000000000000001,"l":[1,true,"z"],"no":null},"body":{"id":10000000000000001,"z":"<ü>"},"headers":{"X-N":7,"X-No":null}}`,
			sent{Method: "POST", Path: "/a", Query: "x=1&b=2&l=1&l=true&l=z&n=10000000000000001&q=a+b", Body: `{"id":10000000000000001,"z":"<ü>"}`,
				Header: nethttp.Header{"Content-Type": {"application/json"}, "X-N": {"7"}, "Idempotency-Key": {"run_1:step"}}},
		},
		"list body": {`{"method":"PUT","url":"$/","body":[1]}`,
			sent{Method: "PUT", Path: "/", Body: "[1]", Header: nethttp.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {"run_1:step"}}}},
		"text body": {`{"method":"PATCH","url":"$/","body":"a=1\n"}`,
			sent{Method: "PATCH", Path: "/", Body: "a=1\n", Header: nethttp.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Idempotency-Key": {"run_1:step"}}}},
		"the author's own headers": {`{"method":"POST","url":"$/","body":"a=1","headers":{"content-type":"application/x-www-form-urlencoded","idempotency-key":"mine","user-agent":"me","authorization":"Bearer k"}}`,
			sent{Method: "POST", Path: "/", Body: "a=1", Header: nethttp.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Idempotency-Key": {"mine"}, "User-Agent": {"me"}, "Authorization": {"Bearer k"}}}},
		"no body": {`{"method":"DELETE","url":" $ ","body":null,"query":null,"headers":null}`,
			sent{Method: "DELETE", Path: "/", Header: nethttp.Header{"Content-Type": nil, "Idempotency-Key": {"run_1:step"}, "User-Agent": {"flows"}}}},
		"false is a body": {`{"method":"POST","url":"$/","body":false}`,
			sent{Method: "POST", Path: "/", Body: "false", Header: nethttp.Header{"Content-Type": {"application/json"}}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := peer(t, 200, "text/plain", "ok")
			_, err := setup(t, egress.Config{AllowPrivate: true}).Do(t.Context(), connectors.Request{
				Action: "request", IdempotencyKey: "run_1:step", Input: json.RawMessage(strings.ReplaceAll(tc.input, "$", p.URL)),
			})
			require.NoError(t, err)
			require.Len(t, p.Received(), 1)
			got := p.Received()[0]
			for name, want := range tc.want.Header {
				require.Equal(t, want, got.Header[name], name)
			}
			got.Header, tc.want.Header = nil, nil
			require.Empty(t, cmp.Diff(tc.want, got))
		})
	}
}

func TestHeadersOfTheAnswer(t *testing.T) {
	t.Parallel()
	p := connectorstest.NewPeer(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		w.Header()["X-Many"] = []string{"a", "b"}
		w.Header()["X-Odd"] = []string{"caf\xe9"}
		w.WriteHeader(nethttp.StatusNoContent)
	})
	out := requestOK(t, p.URL)
	require.Equal(t, 204, out.Status)
	require.Equal(t, "a, b", out.Headers["x-many"])
	require.Equal(t, "caf\uFFFD", out.Headers["x-odd"])
	require.Equal(t, "null", string(out.Body))
}

type output struct {
	Status  int
	Headers map[string]string
	Body    json.RawMessage
}

func requestOK(t *testing.T, address string) output {
	t.Helper()
	resp, err := setup(t, egress.Config{AllowPrivate: true}).Do(t.Context(), request(address, ""))
	require.NoError(t, err)
	var out output
	require.NoError(t, json.Unmarshal(resp.Output, &out))
	return out
}

func request(address, timeout string) connectors.Request {
	in := map[string]string{"method": "GET", "url": address}
	if timeout != "" {
		in["timeout"] = timeout
	}
	raw, _ := json.Marshal(in) // strings always encode
	return connectors.Request{Action: "request", Input: raw}
}

func TestRetryAfterIsHandedOn(t *testing.T) {
	t.Parallel()
	p := connectorstest.NewPeer(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		w.Header().Set("Retry-After", "17")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(nethttp.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"error":{"message":"slow\ndown"}}`)
	})
	_, err := setup(t, egress.Config{AllowPrivate: true}).Do(t.Context(), request(p.URL, ""))
	var e *connectors.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 17*time.Second, e.RetryAfter)
	require.Equal(t, 429, e.Status)
	require.Equal(t, "the server answered 429 Too Many Requests: slow down", e.Message)
}

func TestTimeoutCoversASlowBody(t *testing.T) {
	t.Parallel()
	p := connectorstest.NewPeer(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		_, _ = io.WriteString(w, "the beginning")
		w.(nethttp.Flusher).Flush()
		<-r.Context().Done()
	})
	c := setup(t, egress.Config{AllowPrivate: true})
	_, err := c.Do(t.Context(), request(p.URL, "50ms"))
	require.Equal(t, "timeout", connectors.AsError(err).Code)
	require.True(t, connectors.AsError(err).Retryable)

	ctx, stop := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, fmt.Errorf("some cause"))
	defer stop()
	_, err = c.Do(ctx, request(p.URL, ""))
	require.Equal(t, "timeout", connectors.AsError(err).Code)
}

func TestErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	gone := peer(t, 200, "text/plain", "")
	u, err := url.Parse(gone.URL)
	require.NoError(t, err)
	for _, address := range []string{
		"http://127.0.0.1:1/?token=s3cret",               // nobody listens
		"http://nowhere.invalid/?token=s3cret",           // no such name
		"https://" + u.Host + "/?token=s3cret",           // no TLS there
		"http://127.0.0.1:99999/?token=s3cret",           // no such port
		gone.URL + "/?token=s3cret%zz&x=" + "\x7fs3cret", // no address
	} {
		_, err := setup(t, egress.Config{AllowPrivate: true}).Do(t.Context(), request(address, "5s"))
		require.Error(t, err, address)
		require.NotContains(t, err.Error(), "s3cret")
		require.NotContains(t, err.Error(), "127.0.0.1")
	}
}

func TestPrivateAddressesAreBlocked(t *testing.T) {
	t.Parallel()
	p := peer(t, 200, "text/plain", "inside")
	_, err := setup(t, egress.Config{}).Do(t.Context(), request(p.URL, ""))
	require.Equal(t, "blocked_address", connectors.AsError(err).Code)
	require.Equal(t, "this address is not allowed", err.Error())
	require.Empty(t, p.Received())
}
