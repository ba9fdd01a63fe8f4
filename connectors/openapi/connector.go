package openapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/10ex/flows/connectors"
	httpconnector "github.com/10ex/flows/connectors/http"
	"github.com/10ex/flows/internal/egress"
)

// connector is a registered document.
type connector struct {
	*connectors.Described
	client *egress.Client
	doc    *compiled
}

var _ connectors.Registered = (*connector)(nil)

func newConnector(client *egress.Client, stored connectors.Stored, doc *compiled) *connector {
	actions, ids := make([]connectors.Action, len(doc.Operations)), make([]string, len(doc.Operations))
	for i := range doc.Operations {
		actions[i], ids[i] = summary(&doc.Operations[i]), doc.Operations[i].ID
	}
	schemas := func(i int) (input, output json.RawMessage) {
		op := &doc.Operations[i]
		return doc.Defs.Bundle(op.Input, connectors.MaxSchema), doc.Defs.Bundle(op.Output, connectors.MaxSchema)
	}
	return &connector{connectors.Describe(stored, connection(doc), actions, ids, schemas), client, doc}
}

// connection tells which accounts go with a document.
func connection(doc *compiled) *connectors.ConnectionSpec {
	s := &connectors.ConnectionSpec{}
	for _, a := range doc.Auth {
		s.Auth = append(s.Auth, a.Type)
		if a.Name != "" {
			if s.Names == nil {
				s.Names = map[connectors.AuthType]string{}
			}
			s.Names[a.Type] = a.Name
		}
		if a.Type == connectors.AuthOAuth2 {
			s.OAuth = &connectors.Auth{Grant: a.Grant, AuthorizationURL: a.AuthorizationURL, TokenURL: a.TokenURL}
		}
	}
	s.Auth = append(s.Auth, connectors.AuthNone)
	if len(doc.Auth) == 0 { // documents often do not say; the server does
		s.Auth = []connectors.AuthType{
			connectors.AuthNone, connectors.AuthBearer, connectors.AuthBasic, connectors.AuthHeader, connectors.AuthQuery, connectors.AuthOAuth2,
		}
	}
	addresses := slices.Clone(doc.Servers)
	for i := range doc.Operations {
		addresses = append(addresses, doc.Operations[i].Server)
	}
	for _, address := range addresses {
		u, err := url.Parse(address)
		if err == nil && u.Host != "" && !slices.Contains(s.Hosts, strings.ToLower(u.Host)) {
			s.Hosts = append(s.Hosts, strings.ToLower(u.Host))
		}
	}
	if len(doc.Servers) > 0 {
		s.BaseURL = doc.Servers[0]
	}
	return s
}

func summary(op *operation) connectors.Action {
	return connectors.Action{
		Name: op.Name, Description: op.Description,
		Idempotent: slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete}, op.Method),
		NoEffect:   slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, op.Method),
	}
}

// Do sends the request of an operation.
func (c *connector) Do(ctx context.Context, r connectors.Request) (connectors.Response, error) {
	i, err := c.Place(r.Action)
	if err != nil {
		return connectors.Response{}, err
	}
	op := &c.doc.Operations[i]
	req, err := op.request(ctx, c.server(op, r.Connection), r.Input)
	if err != nil {
		return connectors.Response{}, err
	}
	if r.IdempotencyKey != "" {
		req.Header.Set("Idempotency-Key", r.IdempotencyKey)
	}
	if err := r.Connection.Authorize(req); err != nil {
		return connectors.Response{}, err
	}
	if err := r.Begin(ctx); err != nil {
		return connectors.Response{}, err
	}
	return send(c.client, req)
}

// server is where an operation's requests go. A connection may choose among the
// servers of the document, and has no say beyond.
func (c *connector) server(op *operation, conn *connectors.Connection) string {
	switch {
	case op.Server != "":
		return op.Server
	case conn != nil && slices.Contains(c.doc.Servers, conn.BaseURL):
		return conn.BaseURL
	}
	return c.doc.Servers[0]
}

func send(client *egress.Client, req *http.Request) (connectors.Response, error) {
	resp, err := client.Do(req)
	if err != nil {
		return connectors.Response{}, connectors.NetworkError(req.Context(), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return connectors.Response{}, connectors.HTTPError(resp)
	}
	output, err := httpconnector.Answer(resp)
	return connectors.Response{Output: output}, err
}
