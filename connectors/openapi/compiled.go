package openapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/dialect"
)

// compiled is all that is kept of a document.
type compiled struct {
	Servers []string `json:"servers"` // of the document as a whole, the usual one first
	// Auth lists the ways to prove who one is, with all the document tells of them.
	Auth       []connectors.Auth `json:"auth,omitempty"`
	Defs       dialect.Library   `json:"defs,omitempty"`
	Operations []operation       `json:"operations"`
}

// operation is one action.
type operation struct {
	Name        string             `json:"name"`
	ID          string             `json:"id,omitempty"` // operationId
	Description string             `json:"description"`
	Method      string             `json:"method"`
	Path        string             `json:"path"`
	Server      string             `json:"server,omitempty"` // where it is not that of the document
	Params      []param            `json:"params,omitempty"`
	Body        *body              `json:"body,omitempty"`
	Accept      string             `json:"accept,omitempty"`
	Input       dialect.Definition `json:"input"`
	Output      dialect.Definition `json:"output"`
}

// param is one parameter of an operation.
type param struct {
	Field    string `json:"field"` // of the input
	Name     string `json:"name"`  // on the wire
	In       string `json:"in"`
	Style    string `json:"style"`
	Explode  bool   `json:"explode,omitempty"`
	Reserved bool   `json:"reserved,omitempty"` // reserved characters go as they are
	JSON     bool   `json:"json,omitempty"`     // the value goes as JSON
}

// body is what a request carries.
type body struct {
	Media string `json:"media"`
	Form  form   `json:"form"`
	// Parts says how the fields of a form are written where it is not the usual way.
	Parts map[string]part `json:"parts,omitempty"`
}

type part struct {
	Style   string `json:"style,omitempty"`
	Explode bool   `json:"explode,omitempty"`
	Media   string `json:"media,omitempty"`
	File    bool   `json:"file,omitempty"`
}

// form is how a body is written.
type form string

const (
	formJSON      form = "json"
	formURL       form = "url"
	formMultipart form = "multipart"
	formText      form = "text"
	formBytes     form = "bytes" // given in base64
)

func (c *compiled) encode() ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	if err := json.NewEncoder(zip).Encode(c); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// maxCompiled is the size of what is kept when it is unpacked: a few times that of a
// document.
const maxCompiled = 4 * connectors.MaxDocument

func decode(data []byte) (*compiled, error) {
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("openapi: what was stored cannot be unpacked: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(zip, maxCompiled+1))
	if err != nil || len(raw) > maxCompiled {
		return nil, fmt.Errorf("openapi: what was stored cannot be unpacked: %d bytes, %w", len(raw), err)
	}
	c := &compiled{}
	if err := json.Unmarshal(raw, c); err != nil {
		return nil, fmt.Errorf("openapi: what was stored cannot be read: %w", err)
	}
	return c, nil
}
