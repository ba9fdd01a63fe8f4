package api

import (
	"net/netip"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// clientIP is the address a request comes from. A proxy's word is taken only where
// the proxy is trusted, and only as far back as the chain of trusted ones goes:
// what stands further left in X-Forwarded-For was written by a stranger.
func (a *API) clientIP(c *fiber.Ctx) string {
	at, err := netip.ParseAddr(c.Context().RemoteIP().String())
	if err != nil {
		return "unknown"
	}
	at = at.Unmap()
	hops := strings.Split(c.Get(fiber.HeaderXForwardedFor), ",")
	for i := len(hops) - 1; i >= 0 && a.trusts(at); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		at = hop.Unmap()
	}
	return at.String()
}

// secure tells whether the client's own connection is encrypted.
func (a *API) secure(c *fiber.Ctx) bool {
	if c.Context().IsTLS() {
		return true
	}
	at, err := netip.ParseAddr(c.Context().RemoteIP().String())
	return err == nil && a.trusts(at.Unmap()) && strings.EqualFold(c.Get(fiber.HeaderXForwardedProto), "https")
}

func (a *API) trusts(at netip.Addr) bool {
	for _, p := range a.proxies {
		if p.Contains(at) {
			return true
		}
	}
	return false
}

// parseProxies reads addresses and networks.
func parseProxies(list []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		if at, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.PrefixFrom(at, at.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, &configError{"TrustedProxies", s, "addresses and networks such as 10.0.0.0/8"}
		}
		out = append(out, p)
	}
	return out, nil
}
