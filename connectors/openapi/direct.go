package openapi

import (
	"context"
	"encoding/json"
	"maps"
	"sync"
	"time"

	"github.com/10ex/flows/connectors"
)

// Direct is the connector that calls an operation of any document, whose address its
// connection names, without registering the document first.
type Direct struct {
	kind *Kind

	mu   sync.Mutex
	read map[string]*readOnce // documents that were read not long ago, by connection
}

type readOnce struct {
	opened connectors.Registered
	at     time.Time
	of     string // the config it was read for
}

const (
	// freshFor is how long a document that was read is used again.
	freshFor = 5 * time.Minute
	// mostRead is how many are kept.
	mostRead = 8
)

var _ connectors.Tester = (*Direct)(nil)

// NewDirect makes the connector.
func NewDirect(k *Kind) *Direct { return &Direct{kind: k, read: map[string]*readOnce{}} }

// Spec describes the connector.
func (*Direct) Spec() connectors.Spec {
	return connectors.Spec{
		Slug: "openapi", Name: "OpenAPI",
		Description: "Calls an operation of any API that is described by an OpenAPI document. A document that is registered becomes a connector with an action for each operation.",
		Actions: []connectors.Action{
			{Name: "call", Description: "Calls an operation by its operationId or its name.", Input: json.RawMessage(callInput), Output: json.RawMessage(callOutput)},
			{Name: "list_operations", Description: "Lists the operations of the document.", Input: json.RawMessage(listInput), Output: json.RawMessage(listOutput), Idempotent: true, NoEffect: true},
		},
		Connection: &connectors.ConnectionSpec{
			Required: true, NeedsHosts: true, Address: "document_url",
			Auth: []connectors.AuthType{
				connectors.AuthBearer, connectors.AuthBasic, connectors.AuthHeader, connectors.AuthQuery, connectors.AuthOAuth2, connectors.AuthNone,
			},
			Config: json.RawMessage(`{"type":"object","properties":{"document_url":{"type":"string","minLength":1,"maxLength":2048,
				"description":"Where the document is. Requests go to base_url, or to the server that the document names."}},"required":["document_url"]}`),
		},
	}
}

const (
	callInput = `{"type":"object","properties":{
		"operation":{"type":"string","minLength":1,"maxLength":300},
		"parameters":{"type":["object","null"],"description":"Those of the path, the query and the headers, by their names."},
		"body":{"description":"What the request carries."}
	},"required":["operation"],"additionalProperties":false}`
	callOutput = `{"type":"object","properties":{
		"status":{"type":"integer"},"headers":{"type":"object","additionalProperties":{"type":"string"}},"body":{}
	},"required":["status","headers","body"]}`
	listInput  = `{"type":["object","null"],"additionalProperties":false}`
	listOutput = `{"type":"object","properties":{"operations":{"type":"array","items":{"type":"object","properties":{
		"name":{"type":"string"},"description":{"type":"string"}},"required":["name","description"]}}},"required":["operations"]}`
)

// open reads the document of a connection.
func (d *Direct) open(ctx context.Context, c *connectors.Connection) (connectors.Registered, error) {
	if c == nil {
		return nil, connectors.Permanent(connectors.CodeNoConnection, "the step needs a connection, which names the document")
	}
	d.mu.Lock()
	have := d.read[c.ID]
	d.mu.Unlock()
	if have != nil && have.of == string(c.Config) && time.Since(have.at) < freshFor {
		return have.opened, nil
	}
	var cfg Config
	if err := json.Unmarshal(c.Config, &cfg); err != nil {
		return nil, connectors.Permanent(connectors.CodeInputInvalid, "the connection names no document")
	}
	cfg.Server = c.BaseURL
	config, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	made, err := d.kind.Compile(ctx, connectors.Registration{Slug: "openapi", Config: config, Connection: c})
	if refused, ok := err.(*connectors.RegistrationError); ok { //nolint:errorlint // it is ours and not wrapped
		return nil, connectors.Permanent(connectors.CodeBadResponse, "%s", refused.Message)
	}
	if err != nil {
		return nil, err
	}
	opened, err := d.kind.Open(connectors.Stored{Slug: "openapi", Name: made.Name, Data: made.Data})
	if err != nil {
		return nil, err
	}
	d.keep(c, opened)
	return opened, nil
}

func (d *Direct) keep(c *connectors.Connection, opened connectors.Registered) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.read[c.ID] == nil && len(d.read) >= mostRead {
		oldest := ""
		for id, r := range d.read {
			if oldest == "" || r.at.Before(d.read[oldest].at) {
				oldest = id
			}
		}
		delete(d.read, oldest)
	}
	d.read[c.ID] = &readOnce{opened: opened, at: time.Now(), of: string(c.Config)}
}

// Do performs one action.
func (d *Direct) Do(ctx context.Context, r connectors.Request) (connectors.Response, error) {
	if r.Action != "call" && r.Action != "list_operations" {
		return connectors.Response{}, connectors.Permanent(connectors.CodeUnknownAction, "connector %q has no action %q", "openapi", r.Action)
	}
	if err := ctx.Err(); err != nil {
		return connectors.Response{}, connectors.NetworkError(ctx, err)
	}
	c, err := d.open(ctx, r.Connection)
	if err != nil {
		return connectors.Response{}, err
	}
	if r.Action == "list_operations" {
		return listed(c)
	}
	var in struct {
		Operation  string                     `json:"operation"`
		Parameters map[string]json.RawMessage `json:"parameters"`
		Body       json.RawMessage            `json:"body"`
	}
	if err := json.Unmarshal(r.Input, &in); err != nil {
		return connectors.Response{}, invalid("the input is not valid")
	}
	fields := map[string]json.RawMessage{}
	maps.Copy(fields, in.Parameters)
	if len(in.Body) > 0 && string(in.Body) != "null" {
		fields["body"] = in.Body
	}
	r.Action = in.Operation
	if r.Input, err = json.Marshal(fields); err != nil {
		return connectors.Response{}, err
	}
	if err := c.CheckInput(r.Action, r.Input); err != nil {
		return connectors.Response{}, err
	}
	return c.Do(ctx, r)
}

func listed(c connectors.Registered) (connectors.Response, error) {
	type shown struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	}
	out := struct {
		Operations []shown `json:"operations"`
	}{[]shown{}}
	for _, a := range c.Spec().Actions {
		out.Operations = append(out.Operations, shown{a.Name, a.Description})
	}
	raw, err := json.Marshal(out)
	return connectors.Response{Output: raw}, err
}

// TestConnection reads the document.
func (d *Direct) TestConnection(ctx context.Context, c *connectors.Connection) error {
	_, err := d.open(ctx, c)
	return err
}
