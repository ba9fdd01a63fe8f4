package egress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Config says what a Client may do. The zero Config is the strict one.
type Config struct {
	// AllowPrivate opens loopback, private and other special addresses.
	// Default false. The rules for schemes, redirects and sizes stay.
	AllowPrivate bool
	// Allow opens single networks although they are private, for services an
	// installation wants to reach. Default none.
	Allow []netip.Prefix
	// MaxBody is the most bytes of an answer that are read, after
	// decompression. Default 10 MiB.
	MaxBody int64
	// ConnectTimeout bounds resolving a name and opening a connection.
	// Default 10 s.
	ConnectTimeout time.Duration
	// UserAgent is sent when a request names none. Default "flows".
	UserAgent string
	// Resolver looks up names. Default the system's.
	Resolver *net.Resolver
	// Observe sees every request on its way, each hop of a redirect by itself. It
	// gives the request to send in its place and what to call with the answer, whose
	// body has not been read then. Default: nobody looks.
	Observe func(req *http.Request) (*http.Request, func(*http.Response, error))
}

const (
	defaultMaxBody        = 10 << 20
	defaultConnectTimeout = 10 * time.Second
	maxRedirects          = 5
)

// Client sends requests under the rules of its Config. It is safe for
// concurrent use; make one a process, so that connections are shared.
type Client struct {
	transport   *http.Transport
	dialer      *dialer
	userAgent   string
	maxBody     int64
	noRedirects bool
	observe     func(*http.Request) (*http.Request, func(*http.Response, error))
}

// New makes a Client. It refuses a Config with negative limits or bad networks.
func New(cfg Config) (*Client, error) {
	if cfg.MaxBody < 0 {
		return nil, fmt.Errorf("egress MaxBody %d: must not be negative", cfg.MaxBody)
	}
	if cfg.ConnectTimeout < 0 {
		return nil, fmt.Errorf("egress ConnectTimeout %s: must not be negative", cfg.ConnectTimeout)
	}
	for _, p := range cfg.Allow {
		if !p.IsValid() {
			return nil, fmt.Errorf("egress Allow %q: not a network", p)
		}
	}
	connect := cmp.Or(cfg.ConnectTimeout, defaultConnectTimeout)
	d := newDialer(cfg, connect)
	return &Client{
		dialer: d,
		transport: &http.Transport{
			// A proxy would resolve and dial in our place, past the check.
			Proxy:                  nil,
			DialContext:            d.DialContext,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    connect,
			ExpectContinueTimeout:  time.Second,
			MaxIdleConns:           256,
			MaxIdleConnsPerHost:    64, // flows call few hosts often
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 256 << 10,
		},
		userAgent: cmp.Or(cfg.UserAgent, "flows"),
		maxBody:   cmp.Or(cfg.MaxBody, defaultMaxBody),
		observe:   cfg.Observe,
	}, nil
}

// WithMaxBody returns a client that shares c's connections and reads at most n
// bytes of an answer.
func (c *Client) WithMaxBody(n int64) *Client {
	derived := *c
	derived.maxBody = n
	return &derived
}

// WithoutRedirects returns a client that shares c's connections and hands a
// redirect back as the answer instead of following it.
func (c *Client) WithoutRedirects() *Client {
	derived := *c
	derived.noRedirects = true
	return &derived
}

// Do sends req and follows redirects. The caller closes the answer's body;
// reading past the limit gives a *TooLargeError. Unlike net/http, an error never
// repeats the address, whose query may hold a secret.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.HTTP().Do(req)
	if err == nil {
		return resp, nil
	}
	if withURL, ok := errors.AsType[*url.Error](err); ok {
		err = withURL.Err
	}
	// net/http has no type for it, and its text holds the whole header, in which the
	// other side may repeat what it was sent.
	if strings.HasPrefix(err.Error(), "failed to parse Location header") {
		err = ErrBadRedirect
	}
	return nil, err
}

// Dial opens a connection to host:port under the rules for addresses, for protocols
// other than HTTP. How much is read of it and for how long is the caller's to limit.
func (c *Client) Dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := c.dialer.DialContext(ctx, "tcp", addr)
	if blocked, ok := errors.AsType[*BlockedError](err); ok {
		return nil, blocked // without the resolved address net puts around it
	}
	return conn, err
}

// HTTP returns c as an *http.Client for libraries that want one. The same rules
// hold, but its errors repeat the address.
func (c *Client) HTTP() *http.Client {
	return &http.Client{Transport: c, CheckRedirect: c.checkRedirect}
}

// RoundTrip sends one request without following redirects, under the rules for
// addresses and sizes. Each hop of a redirect passes here again.
func (c *Client) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent atomic.Bool
	resp, err := c.roundTrip(req, &sent)
	if _, blocked := errors.AsType[*BlockedError](err); err != nil && !blocked && !sent.Load() {
		err = &UnsentError{err}
	}
	return resp, err
}

func (c *Client) roundTrip(req *http.Request, sent *atomic.Bool) (resp *http.Response, err error) {
	err = checkURL(req.URL)
	if err == nil {
		err = checkWithin(req.Context(), req.URL)
	}
	if err != nil {
		closeBody(req)
		return nil, err
	}
	if req.Header.Get("User-Agent") == "" {
		req = req.Clone(req.Context())
		req.Header.Set("User-Agent", c.userAgent)
	}
	if c.observe != nil {
		var done func(*http.Response, error)
		req, done = c.observe(req)
		defer func() { done(resp, err) }()
	}
	resp, err = c.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) },
	})))
	if err != nil {
		if blocked, ok := errors.AsType[*BlockedError](err); ok {
			return nil, blocked // without the resolved address net puts around it
		}
		return nil, err
	}
	resp.Body = capBody(resp, c.maxBody)
	return resp, nil
}

// CloseIdleConnections closes what is kept open and unused, for this client and
// all derived from it.
func (c *Client) CloseIdleConnections() { c.transport.CloseIdleConnections() }

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
