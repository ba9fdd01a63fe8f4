package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

func get(t *testing.T, c *Client, url string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	return send(c, req)
}

func send(c *Client, req *http.Request) (string, error) {
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestNewRefusesBadConfig(t *testing.T) {
	t.Parallel()
	_, err := New(Config{MaxBody: -1})
	require.ErrorContains(t, err, "MaxBody -1")
	_, err = New(Config{ConnectTimeout: -1})
	require.ErrorContains(t, err, "ConnectTimeout")
	c := newClient(t, Config{})
	require.Nil(t, c.transport.Proxy, "the environment must not route requests")
	require.EqualValues(t, 10<<20, c.maxBody)
}

func TestUserAgentIsOursUnlessSet(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.UserAgent()) })
	c := newClient(t, Config{AllowPrivate: true})
	body, err := get(t, c, srv.URL)
	require.NoError(t, err)
	require.Equal(t, "flows", body)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
	require.NoError(t, err)
	req.Header.Set("User-Agent", "mine")
	body, err = send(c, req)
	require.NoError(t, err)
	require.Equal(t, "mine", body)
}

func TestAnswersStopAtTheLimit(t *testing.T) {
	t.Parallel()
	var written atomic.Int64
	endless := make(chan struct{})
	zip := func(size int) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(make([]byte, size))
		_ = w.Close()
		return b.Bytes()
	}
	bomb := zip(4 << 20)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/exact":
			_, _ = w.Write(make([]byte, 1000))
		case "/over":
			_, _ = w.Write(make([]byte, 1001))
		case "/chunked":
			_, _ = w.Write(make([]byte, 600))
			w.(http.Flusher).Flush()
			_, _ = w.Write(make([]byte, 600))
		case "/endless":
			defer close(endless)
			for {
				n, err := w.Write(make([]byte, 4096))
				written.Add(int64(n))
				if err != nil {
					return
				}
			}
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb)
		}
	})
	c := newClient(t, Config{AllowPrivate: true, MaxBody: 1000})

	body, err := get(t, c, srv.URL+"/exact")
	require.NoError(t, err)
	require.Len(t, body, 1000)
	for _, path := range []string{"/over", "/chunked", "/endless", "/bomb"} {
		body, err := get(t, c, srv.URL+path)
		var large *TooLargeError
		require.ErrorAs(t, err, &large, path)
		require.EqualValues(t, 1000, large.Limit)
		require.LessOrEqual(t, len(body), 1000, path)
	}
	<-endless // closing the body told the server to stop
	require.Less(t, written.Load(), int64(16<<20))

	body, err = get(t, c.WithMaxBody(1001), srv.URL+"/over")
	require.NoError(t, err)
	require.Len(t, body, 1001)
}

func TestHeadMayAnnounceMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "999999") })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, srv.URL, nil)
	require.NoError(t, err)
	body, err := send(newClient(t, Config{AllowPrivate: true, MaxBody: 10}), req)
	require.NoError(t, err)
	require.Empty(t, body)
}

func TestRedirectsAreFollowedFiveTimes(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		left, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if left == 0 {
			_, _ = io.WriteString(w, "there")
			return
		}
		http.Redirect(w, r, fmt.Sprintf("/%d", left-1), http.StatusFound)
	})
	c := newClient(t, Config{AllowPrivate: true})
	body, err := get(t, c, srv.URL+"/5")
	require.NoError(t, err)
	require.Equal(t, "there", body)
	_, err = get(t, c, srv.URL+"/6")
	require.Equal(t, ErrTooManyRedirects, err)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/6", nil)
	require.NoError(t, err)
	resp, err := c.WithoutRedirects().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusFound, resp.StatusCode)
}

func TestRedirectsMeetTheSameRules(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Query().Get("to"))
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	c := newClient(t, Config{Allow: allowOnly(t, srv)})
	for _, to := range []string{
		"http://127.0.0.2/", "http://2130706433/", "http://[::1]/", "http://169.254.169.254/latest/meta-data/",
		"//10.0.0.1/", "file:///etc/passwd", "ftp://example.com/", "http://a:b@example.com/", "http://[64:ff9b::7f00:1]/",
	} {
		_, err := get(t, c, srv.URL+"/?to="+to)
		var blocked *BlockedError
		require.ErrorAs(t, err, &blocked, to)
	}
}

func TestOnlyHarmlessHeadersLeaveTheOrigin(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 10)
	record := func(r *http.Request) { seen <- r.Header.Clone() }
	var home *httptest.Server
	other := serve(t, func(w http.ResponseWriter, r *http.Request) {
		record(r)
		if r.URL.Path == "/back" {
			http.Redirect(w, r, home.URL+"/end", http.StatusFound)
		}
	})
	home = serve(t, func(w http.ResponseWriter, r *http.Request) {
		record(r)
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
		}
	})
	c := newClient(t, Config{AllowPrivate: true})
	secret := []string{"Authorization", "Cookie", "X-Api-Key", "X-Anything"}
	visit := func(url string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		for _, name := range secret {
			req.Header.Set(name, "s3cret")
		}
		req.Header.Set("Idempotency-Key", "run:step")
		_, err = send(c, req)
		require.NoError(t, err)
	}
	requireKept := func(h http.Header, kept bool) {
		t.Helper()
		for _, name := range secret {
			require.Equal(t, kept, h.Get(name) != "", name)
		}
		require.Equal(t, "run:step", h.Get("Idempotency-Key"))
		require.Empty(t, h.Get("Referer"))
	}

	visit(home.URL + "/?token=s3cret&to=/end") // the same origin
	requireKept(<-seen, true)
	requireKept(<-seen, true)
	visit(home.URL + "/?token=s3cret&to=" + other.URL + "/") // another port
	requireKept(<-seen, true)
	requireKept(<-seen, false)
	visit(home.URL + "/?to=" + other.URL + "/back") // away and back
	requireKept(<-seen, true)
	requireKept(<-seen, false)
	requireKept(<-seen, false)
}

func TestErrorsDoNotRepeatTheAddress(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close() // nobody listens there any more
	_, err := get(t, newClient(t, Config{AllowPrivate: true}), srv.URL+"/?token=s3cret")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "s3cret")
}

func TestCancelEndsARequestInFlight(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	srv := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	go func() { <-arrived; cancel(stopped) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL, nil)
	require.NoError(t, err)
	_, err = send(newClient(t, Config{AllowPrivate: true}), req)
	require.Error(t, err)
	require.ErrorIs(t, context.Cause(ctx), stopped)
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	h, err := Headers(map[string]string{"x-api-key": " k ", "ACCEPT": "a/b", "X-Umlaut": "ü"})
	require.NoError(t, err)
	require.Equal(t, http.Header{"X-Api-Key": {"k"}, "Accept": {"a/b"}, "X-Umlaut": {"ü"}}, h)
	for name, value := range map[string]string{
		"": "v", "a b": "v", "a:b": "v", "é": "v", "a\r\nb": "v",
		"Host": "v", "content-length": "1", "Transfer-Encoding": "chunked", "connection": "close", "TE": "trailers", "upgrade": "h2c",
		"Proxy-Authorization": "v", "Accept-Encoding": "br",
		"X-Split": "s3cret\r\nX-Other: v", "X-Nul": "s3cret\x00", "X-Del": "s3cret\x7f",
	} {
		_, err := Headers(map[string]string{name: value})
		var refused *HeaderError
		require.ErrorAs(t, err, &refused, name)
		require.NotContains(t, err.Error(), "s3cret")
	}
	_, err = Headers(map[string]string{"A": "1", "a": "2"})
	require.Error(t, err)
}

func allowOnly(t *testing.T, srv *httptest.Server) []netip.Prefix {
	t.Helper()
	at, err := netip.ParseAddrPort(srv.Listener.Addr().String())
	require.NoError(t, err)
	return []netip.Prefix{netip.PrefixFrom(at.Addr(), at.Addr().BitLen())}
}
