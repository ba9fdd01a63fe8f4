package egress

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// travelling headers may follow a redirect to another origin. Everything else
// stays: which header holds a secret cannot be told from its name.
var travelling = []string{
	"Accept", "Accept-Language", "Content-Encoding", "Content-Language", "Content-Type", "Idempotency-Key", "User-Agent",
}

// Travels tells whether a header of that name follows a redirect to another origin, so
// that it may hold no secret.
func Travels(name string) bool {
	return slices.Contains(travelling, http.CanonicalHeaderKey(name))
}

func (c *Client) checkRedirect(req *http.Request, via []*http.Request) error {
	if c.noRedirects {
		return http.ErrUseLastResponse
	}
	if len(via) > maxRedirects {
		return ErrTooManyRedirects
	}
	req.Header.Del("Referer") // set by net/http to the whole last address, query and all
	if leftOrigin(req, via) {
		kept := make(http.Header, len(travelling))
		for _, name := range travelling {
			if v, ok := req.Header[name]; ok {
				kept[name] = v
			}
		}
		req.Header = kept //nolint:gosec // G119: only those that travel are in it
	}
	return nil
}

// leftOrigin tells whether any hop so far went elsewhere. Coming back does not
// restore trust: the way back was chosen by the other side.
func leftOrigin(req *http.Request, via []*http.Request) bool {
	first := via[0].URL
	for _, hop := range via[1:] {
		if !SameOrigin(first, hop.URL) {
			return true
		}
	}
	return !SameOrigin(first, req.URL)
}

// SameOrigin tells whether a and b share scheme, host and port.
func SameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}
