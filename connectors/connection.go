package connectors

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/10ex/flows/internal/egress"
)

// ConnectionSpec tells what a connector takes to act for somebody.
type ConnectionSpec struct {
	// Required says that no action works without a connection.
	Required bool `json:"required"`
	// Auth lists the ways to prove who one is, the usual one first.
	Auth []AuthType `json:"auth"`
	// Config is the JSON Schema of what a connection of this connector may say
	// besides auth, base_url and hosts, as the properties of an object.
	Config json.RawMessage `json:"config_schema,omitempty"`
	// BaseURL is where requests go unless a connection says otherwise; empty where
	// there is no such place.
	BaseURL string `json:"base_url,omitempty"`
	// Hosts are those the connector itself binds its credentials to. A connection
	// cannot name others. Empty: those of the connection.
	Hosts []string `json:"hosts,omitempty"`
	// Secrets names those that a connection may have besides the ones of its auth,
	// with what each of them is.
	Secrets map[string]string `json:"secrets,omitempty"`
	// NeedsHosts says that steps name the addresses, so that a connection with secrets
	// has to say which hosts may hear them.
	NeedsHosts bool `json:"needs_hosts,omitempty"`
	// Names are the headers and query parameters that carry the value, by way of auth,
	// where a connection does not say.
	Names map[AuthType]string `json:"names,omitempty"`
	// Address is the field of the config that holds an address: its host is the one that
	// a connection without hosts and base_url is bound to.
	Address string `json:"address,omitempty"`
	// OAuth is what the connector knows of the other side's OAuth 2.0; a connection may
	// leave it out. Type is not part of it.
	OAuth *Auth `json:"oauth,omitempty"`
}

func (s *ConnectionSpec) check() error {
	if s == nil {
		return nil
	}
	if len(s.Auth) == 0 {
		return errors.New("has no way of auth")
	}
	for _, a := range s.Auth {
		if !slices.Contains(AuthTypes, a) {
			return fmt.Errorf("auth %q is unknown", a)
		}
	}
	return nil
}

// CodeNoConnection is the code of an action that needs a connection where the step
// names none.
const CodeNoConnection = "no_connection"

// Connection is a workspace's account at the other side, with its secrets open.
// Pass it down, never keep it.
type Connection struct { //nolint:recvcheck // it hides itself in logs as a value, too
	ID        string
	Connector string
	Config    json.RawMessage
	// Auth is how to prove who one is.
	Auth Auth
	// BaseURL is where requests go, without a slash at the end; it may be empty.
	BaseURL string
	// Hosts are those that may hear the secrets: "api.example.com", with ":8443"
	// where a port counts, or "*.example.com" for every host below.
	Hosts []string
	// Limits bound how it is used, by all workers together.
	Limits Limits
	// Health is what was known of it when it was opened.
	Health Health
	// Secrets are open. Which there are depends on Auth and the connector.
	Secrets map[string]string
}

// Health is what is known of whether the other side takes a connection.
type Health struct {
	Status, Error string
	// Version is another whenever the connection or its token was changed.
	Version string
}

// Limits bound how often and by how many steps at once something is used. What is zero
// does not bound.
type Limits struct {
	Count       int           // beginnings
	Per         time.Duration // in so long
	Concurrency int
}

// Placed is a connector that can tell which host an action would burden, for those
// that use no connection; empty where it cannot.
type Placed interface {
	Connector
	Host(r Request) string
}

// LogValue keeps the secrets out of logs.
func (c Connection) LogValue() slog.Value { return slog.StringValue(c.ID) }

// CodeHostNotAllowed is the code of a request that would have taken credentials to
// a host they are not bound to.
const CodeHostNotAllowed = "host_not_allowed"

// Authorize adds the credentials to a request, in place of any of its own of the
// same kind. It refuses a host that is not bound. Redirects away from the origin
// lose what was added, for the egress client takes it off.
func (c *Connection) Authorize(req *http.Request) error {
	if c == nil || c.Auth.Type == AuthNone {
		return nil
	}
	if !c.Allows(req.URL) {
		return Permanent(CodeHostNotAllowed, "connection %s may not be used at %s", c.ID, req.URL.Hostname())
	}
	return c.Auth.apply(req, c.Secrets)
}

// Allows tells whether the secrets may go to the host of u. Where the base address is a
// secure one, no other will do.
func (c *Connection) Allows(u *url.URL) bool {
	if strings.HasPrefix(strings.ToLower(c.BaseURL), "https://") && u.Scheme != "https" {
		return false
	}
	for _, host := range c.Hosts {
		if MatchesHost(host, u) {
			return true
		}
	}
	return false
}

// URL is the address of a path below the base address of the connection.
func (c *Connection) URL(path string) (*url.URL, error) {
	if c == nil || c.BaseURL == "" {
		return nil, Permanent(CodeInputInvalid, "the connection has no base_url")
	}
	u, err := egress.ParseURL(c.BaseURL + path)
	if err != nil {
		return nil, Permanent(CodeInputInvalid, "the address %w", err)
	}
	return u, nil
}

// MatchesHost tells whether a pattern of Connection.Hosts means the host of u. A
// pattern without a port means the usual port of the scheme.
func MatchesHost(pattern string, u *url.URL) bool {
	host, port := pattern, ""
	if h, p, err := net.SplitHostPort(pattern); err == nil {
		host, port = h, p
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if port == "" && u.Port() != "" && u.Port() != usualPorts[u.Scheme] || port != "" && port != portOf(u) {
		return false
	}
	name := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	host = strings.ToLower(host)
	if below, ok := strings.CutPrefix(host, "*"); ok {
		return len(below) > 1 && below[0] == '.' && strings.HasSuffix(name, below) && len(name) > len(below)
	}
	return name == host
}

// HostFault tells what is wrong with a pattern of Connection.Hosts, in lower case; it is
// empty for a good one.
func HostFault(h string) string {
	const form = "must be a host such as api.example.com, api.example.com:8443 or *.example.com"
	if strings.Contains(h, "/") { // an address, most of the time
		return form
	}
	name, port := h, ""
	if n, p, err := net.SplitHostPort(h); err == nil {
		name, port = n, p
		if i, err := strconv.Atoi(p); err != nil || i < 1 || i > 65535 {
			return "must have a port from 1 to 65535"
		}
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if _, err := netip.ParseAddr(bare); err == nil {
		if strings.Contains(bare, ":") && port == "" && bare == name {
			return "must have an IPv6 address in brackets"
		}
		return ""
	}
	below, wild := strings.CutPrefix(name, "*.")
	labels := strings.Split(below, ".")
	if wild && len(labels) < 2 {
		return "must name a domain behind *. with a dot in it"
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return form
		}
	}
	return ""
}

var usualPorts = map[string]string{"http": "80", "https": "443"}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return usualPorts[u.Scheme]
}
