// Package http is the connector that sends any HTTP request. It decides how an
// author's words become a request and an answer becomes JSON; which addresses may
// be reached is internal/egress's matter. It imports connectors and internal/egress.
package http

import (
	"context"
	"encoding/json"
	"io"
	nethttp "net/http"
	"net/url"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
)

// Connector is the http connector.
type Connector struct{ client *egress.Client }

var (
	_ connectors.Tester = (*Connector)(nil)
	_ connectors.Placed = (*Connector)(nil)
)

// New makes the connector; client sends its requests.
func New(client *egress.Client) *Connector { return &Connector{client: client} }

// Spec describes the connector.
func (*Connector) Spec() connectors.Spec {
	return connectors.Spec{
		Slug:        "http",
		Name:        "HTTP",
		Description: "Calls any HTTP API.",
		Connection: &connectors.ConnectionSpec{
			Auth: []connectors.AuthType{
				connectors.AuthBearer, connectors.AuthBasic, connectors.AuthHeader, connectors.AuthQuery, connectors.AuthOAuth2,
				connectors.AuthTenex, connectors.AuthNone,
			},
			Config:     json.RawMessage(configSchema),
			NeedsHosts: true,
		},
		Actions: []connectors.Action{{
			Name: "request",
			Description: "Sends one request. Every attempt of a step carries the same Idempotency-Key header, " +
				"so that the server can tell a repeat. JSON answers are decoded, text is kept as it is.",
			Input:      json.RawMessage(inputSchema),
			Output:     json.RawMessage(outputSchema),
			Guarded:    []string{"url"},
			Idempotent: true, // towards every server that knows the Idempotency-Key header
		}},
	}
}

const configSchema = `{
	"type": "object",
	"properties": {
		"test_url": {"type": "string", "minLength": 1, "maxLength": 8192, "description": "What a test of the connection reads: an address, or what stands behind base_url."}
	},
	"additionalProperties": false
}`

const inputSchema = `{
	"type": "object",
	"properties": {
		"method":  {"type": "string", "enum": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]},
		"url":     {"type": "string", "minLength": 1, "maxLength": 8192, "description": "An http or https address, or what stands behind the base_url of the connection."},
		"headers": {"type": ["object", "null"], "additionalProperties": {"type": ["string", "number", "boolean", "null"]}, "description": "Null values are left out."},
		"query":   {"type": ["object", "null"], "description": "Added to the address; a list repeats the parameter, null values are left out.",
			"additionalProperties": {
				"type": ["string", "number", "boolean", "null", "array"],
				"items": {"type": ["string", "number", "boolean"]}
			}},
		"body":    {"description": "Text is sent as it is, anything else as JSON; null sends none."},
		"timeout": {"type": "string", "description": "Such as 30s. Default: the step's timeout."},
		"paginate": ` + paginateSchema + `
	},
	"required": ["method", "url"],
	"additionalProperties": false
}`

const outputSchema = `{
	"type": "object",
	"properties": {
		"status":  {"type": "integer", "minimum": 200, "maximum": 299},
		"headers": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Names in lower case; repeated headers joined by a comma."},
		"body":    {"description": "Decoded JSON, or text; null when empty. With paginate, the list."},
		"pages":   {"type": "integer", "minimum": 1, "description": "With paginate: how many were read."},
		"more":    {"type": "boolean", "description": "With paginate: whether the list went on."}
	},
	"required": ["status", "headers", "body"],
	"additionalProperties": false
}`

// Host tells which host a request would go to.
func (*Connector) Host(r connectors.Request) string {
	in, err := parse(r.Input)
	if err != nil {
		return ""
	}
	u, err := url.Parse(in.URL)
	if err != nil {
		return ""
	}
	return u.Host
}

// Do performs one action.
func (c *Connector) Do(ctx context.Context, r connectors.Request) (connectors.Response, error) {
	if r.Action != "request" {
		return connectors.Response{}, connectors.Permanent(connectors.CodeUnknownAction, "connector %q has no action %q", "http", r.Action)
	}
	in, err := parse(r.Input)
	if err != nil {
		return connectors.Response{}, err
	}
	if in.timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, in.timeout)
		defer stop()
	}
	req, err := in.request(ctx, r.Connection, r.IdempotencyKey)
	if err != nil {
		return connectors.Response{}, err
	}
	if err := r.Begin(ctx); err != nil {
		return connectors.Response{}, err
	}
	if in.Paginate != nil {
		output, err := c.readPages(ctx, in, r)
		return connectors.Response{Output: output}, err
	}
	got, err := c.exchange(req)
	if err != nil {
		return connectors.Response{}, err
	}
	output, err := got.output(got.body, nil, nil)
	return connectors.Response{Output: output}, err
}

// exchange sends req and reads the whole answer.
func (c *Connector) exchange(req *nethttp.Request) (*page, error) {
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, connectors.NetworkError(req.Context(), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, connectors.HTTPError(resp)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, connectors.NetworkError(req.Context(), err)
	}
	return answer(resp, body)
}
