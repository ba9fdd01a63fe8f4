package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// dialer opens connections to allowed addresses only.
type dialer struct {
	net     net.Dialer
	guarded bool
}

func newDialer(cfg Config, timeout time.Duration) *dialer {
	d := &dialer{
		net:     net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second, Resolver: cfg.Resolver},
		guarded: !cfg.AllowPrivate,
	}
	if d.guarded {
		var v4, v6 []netip.Prefix
		for _, p := range cfg.Allow {
			if p.Addr().Is4() {
				v4 = append(v4, p)
			} else {
				v6 = append(v6, p)
			}
		}
		g := ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))
		// Control runs between resolving and connecting, once for every address tried.
		d.net.Control = func(network, address string, conn syscall.RawConn) error {
			if g.Safe(network, address, conn) != nil {
				return errAddress()
			}
			return nil
		}
	}
	return d
}

func (d *dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.guarded {
		host, _, err := net.SplitHostPort(addr)
		if err != nil || disguised(host) {
			return nil, errAddress()
		}
	}
	return d.net.DialContext(ctx, network, addr)
}

// disguised tells whether host is an address in a spelling other than the usual
// one: 2130706433, 0x7f.1, 0177.0.0.1. Resolvers disagree on these, so they are
// refused by form instead of trusted to whichever resolver is in use.
func disguised(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false // the usual spelling; judged when it is dialled
	}
	if strings.Contains(host, ":") {
		return true
	}
	// Names come here in their ASCII form. What is left in another one is none, and what a
	// resolver of the system makes of it nobody knows.
	if strings.ContainsFunc(host, func(r rune) bool { return !nameRune(r) }) {
		return true
	}
	last := strings.TrimRight(host, ".")
	last = last[strings.LastIndexByte(last, '.')+1:]
	if hex, ok := strings.CutPrefix(strings.ToLower(last), "0x"); ok {
		_, err := strconv.ParseUint("0"+hex, 16, 64)
		return err == nil
	}
	return last == "" || strings.Trim(last, "0123456789") == ""
}

// nameRune tells whether names of hosts are written with r.
func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_'
}

// ParseURL reads an address that somebody wrote and says, in words fit for them,
// what is wrong with its form. Whether it may be reached shows when it is dialled.
func ParseURL(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil {
		return nil, errors.New("is not a valid address")
	}
	if err := checkURL(u); err != nil {
		return nil, err
	}
	return u, nil
}

func checkURL(u *url.URL) error {
	switch {
	case u == nil || u.Scheme != "http" && u.Scheme != "https":
		return errScheme()
	case u.User != nil:
		return errUserinfo()
	case u.Hostname() == "":
		return errors.New("an address needs a host")
	}
	return nil
}
