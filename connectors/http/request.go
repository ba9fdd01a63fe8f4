package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	nethttp "net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
)

// input is what an author asks for.
type input struct {
	Method   string          `json:"method"`
	URL      string          `json:"url"`
	Headers  map[string]any  `json:"headers"`
	Query    map[string]any  `json:"query"`
	Body     json.RawMessage `json:"body"`
	Timeout  string          `json:"timeout"`
	Paginate *paginate       `json:"paginate"`

	timeout time.Duration // 0: none of its own
}

func parse(raw json.RawMessage) (input, error) {
	var in input
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // 10000000000000001 must reach the server as it was written
	if err := d.Decode(&in); err != nil {
		return input{}, invalid("the input is not valid")
	}
	if in.Timeout != "" {
		var err error
		if in.timeout, err = connectors.ParseTimeout(in.Timeout); err != nil {
			return input{}, invalid("timeout: " + err.Error())
		}
	}
	if in.Paginate != nil {
		return in, in.Paginate.check(in.Method)
	}
	return in, nil
}

// request builds what is sent, with the credentials of a connection if there is one.
// They go on last, in place of what the author wrote of the same kind. key goes into the Idempotency-Key header unless
// the author wrote one.
func (in input) request(ctx context.Context, c *connectors.Connection, key string) (*nethttp.Request, error) {
	target, err := in.target(c)
	if err != nil {
		return nil, err
	}
	return in.requestTo(ctx, target, c, key)
}

// requestTo is request to an address that was found already.
func (in input) requestTo(ctx context.Context, target *url.URL, c *connectors.Connection, key string) (*nethttp.Request, error) {
	header, err := in.header()
	if err != nil {
		return nil, err
	}
	body, mediaType, err := in.body()
	if err != nil {
		return nil, err
	}
	req, err := nethttp.NewRequestWithContext(ctx, in.Method, target.String(), body)
	if err != nil {
		return nil, invalid("the method or url is not valid")
	}
	req.Header = header
	setDefault(header, "Content-Type", mediaType)
	setDefault(header, "Accept", "application/json, text/*;q=0.9, */*;q=0.8")
	setDefault(header, "Idempotency-Key", key)
	return req, authorize(c, req)
}

// authorize binds a request to the hosts of its connection and adds the credentials.
func authorize(c *connectors.Connection, req *nethttp.Request) error {
	if c != nil && len(c.Hosts) > 0 && !c.Allows(req.URL) {
		return connectors.Permanent(connectors.CodeHostNotAllowed, "connection %s may not be used at %s", c.ID, req.URL.Hostname())
	}
	return c.Authorize(req)
}

// address is where written leads: by itself, or behind the base address.
func address(c *connectors.Connection, written string) (*url.URL, error) {
	if c == nil || c.BaseURL == "" || absolute.MatchString(written) {
		return egress.ParseURL(written)
	}
	if written != "" && written[0] != '/' && written[0] != '?' {
		written = "/" + written // else it could go on with the name of the host
	}
	return egress.ParseURL(c.BaseURL + written)
}

// absolute addresses begin with their scheme.
var absolute = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*://`)

func (in input) target(c *connectors.Connection) (*url.URL, error) {
	u, err := address(c, in.URL)
	var blocked *egress.BlockedError
	switch {
	case errors.As(err, &blocked):
		return nil, connectors.Permanent(connectors.CodeBlocked, "%w", blocked)
	case err != nil:
		return nil, invalid("url: " + err.Error())
	}
	added := url.Values{}
	for name, value := range in.Query {
		values, isList := value.([]any)
		if !isList {
			values = []any{value}
		}
		for _, v := range values {
			if s, ok := text(v); ok {
				added.Add(name, s)
			}
		}
	}
	// Appended, not merged: what the author wrote in the address keeps its order.
	u.RawQuery = strings.Join(slices.DeleteFunc([]string{u.RawQuery, added.Encode()}, func(s string) bool { return s == "" }), "&")
	return u, nil
}

func (in input) header() (nethttp.Header, error) {
	written := make(map[string]string, len(in.Headers))
	for name, value := range in.Headers {
		if s, ok := text(value); ok {
			written[name] = s
		}
	}
	header, err := egress.Headers(written)
	if refused, ok := errors.AsType[*egress.HeaderError](err); ok {
		return nil, invalid(refused.Error())
	}
	return header, err
}

func (in input) body() (body io.Reader, mediaType string, err error) {
	switch {
	case len(in.Body) == 0 || string(in.Body) == "null":
		return nil, "", nil
	case in.Body[0] == '"':
		var s string
		if err := json.Unmarshal(in.Body, &s); err != nil {
			return nil, "", invalid("body: is not valid text")
		}
		return strings.NewReader(s), "text/plain; charset=utf-8", nil
	}
	return bytes.NewReader(in.Body), "application/json", nil
}

// text writes a scalar as it was written; null gives none.
func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	}
	return "", false
}

func setDefault(h nethttp.Header, name, value string) {
	if value != "" && h.Get(name) == "" {
		h.Set(name, value)
	}
}

func invalid(message string) error {
	return connectors.Permanent(connectors.CodeInputInvalid, "%s", message)
}
