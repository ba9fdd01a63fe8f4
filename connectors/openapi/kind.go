package openapi

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
)

// Kind makes connectors of OpenAPI documents.
type Kind struct {
	client *egress.Client
	// reading bounds how many documents are read at once: each takes some hundred
	// megabytes at worst.
	reading chan struct{}
}

var _ connectors.Kind = (*Kind)(nil)

// NewKind makes the kind; client fetches documents and sends requests.
func NewKind(client *egress.Client) *Kind {
	return &Kind{client: client, reading: make(chan struct{}, 2)}
}

// Config is what a registration says besides the document.
type Config struct {
	// DocumentURL is where the document is, if it is not given.
	DocumentURL string `json:"document_url,omitempty"`
	// Server is where requests go instead of the servers of the document.
	Server string `json:"server,omitempty"`
}

// Compile reads a document, which it fetches if it is not given.
func (k *Kind) Compile(ctx context.Context, r connectors.Registration) (connectors.Compiled, error) {
	var cfg Config
	if len(r.Config) > 0 {
		if err := json.Unmarshal(r.Config, &cfg); err != nil {
			return connectors.Compiled{}, connectors.Refuse("config", "cannot be read")
		}
	}
	src := source{address: cfg.DocumentURL}
	if cfg.Server != "" {
		var err error
		if src.server, err = serverAddress(cfg.Server); err != nil {
			return connectors.Compiled{}, connectors.Refuse("server", "%s", err.Error())
		}
	}
	raw := r.Document
	if len(raw) == 0 {
		if cfg.DocumentURL == "" {
			return connectors.Compiled{}, connectors.Refuse("document", "is required, or a document_url")
		}
		var err error
		if raw, err = fetch(ctx, k.client, cfg.DocumentURL, r.Connection); err != nil {
			return connectors.Compiled{}, err
		}
		raw = without(r.Connection.Redactor(), raw)
	}
	select {
	case k.reading <- struct{}{}:
		defer func() { <-k.reading }()
	case <-ctx.Done():
		return connectors.Compiled{}, connectors.NetworkError(ctx, ctx.Err())
	}
	doc, about, err := compile(raw, src)
	if err != nil {
		return connectors.Compiled{}, err
	}
	data, err := doc.encode()
	return connectors.Compiled{Name: about.name, Description: about.description, Actions: len(doc.Operations), Data: data}, err
}

// without gives a document without the secrets with which it was fetched: it is kept
// and shown, and a server may have written them into it.
func without(secrets *connectors.Redactor, document []byte) []byte {
	switch {
	case secrets == nil:
		return document
	case json.Valid(document):
		return secrets.JSON(document)
	}
	return []byte(secrets.Text(string(document)))
}

// Open makes a connector of a document that was read.
func (k *Kind) Open(stored connectors.Stored) (connectors.Registered, error) {
	doc, err := decode(stored.Data)
	if err != nil {
		return nil, err
	}
	return newConnector(k.client, stored, doc), nil
}

// fetch gets a document.
func fetch(ctx context.Context, client *egress.Client, address string, conn *connectors.Connection) ([]byte, error) {
	u, err := egress.ParseURL(address)
	if err != nil {
		return nil, connectors.Refuse("document_url", "%s", err.Error())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, connectors.Refuse("document_url", "is not an address")
	}
	req.Header.Set("Accept", "application/json, application/yaml, text/yaml, */*;q=0.5")
	if conn != nil && conn.Allows(u) { // a document elsewhere is public, or is not got
		if err := conn.Authorize(req); err != nil {
			return nil, err
		}
	}
	resp, err := client.WithMaxBody(connectors.MaxDocument).Do(req)
	if err != nil {
		return nil, connectors.NetworkError(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, connectors.HTTPError(resp)
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, connectors.NetworkError(ctx, err)
	}
	return raw, nil
}
