package http

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	nethttp "net/http"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"

	"github.com/10ex/flows/connectors"
)

// Answer reads a successful response and gives what the output of an action that sends
// one request is: status, headers and body. The caller closes the body.
func Answer(resp *nethttp.Response) (json.RawMessage, error) {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, connectors.NetworkError(resp.Request.Context(), err)
	}
	got, err := answer(resp, body)
	if err != nil {
		return nil, err
	}
	return got.output(got.body, nil, nil)
}

// page is a successful answer.
type page struct {
	resp *nethttp.Response // whose body was read
	body json.RawMessage   // decoded
}

func answer(resp *nethttp.Response, body []byte) (*page, error) {
	decoded, err := decode(resp.Header.Get("Content-Type"), body)
	return &page{resp, decoded}, err
}

// output makes the output of the action: read and more are there for lists only.
func (p *page) output(body json.RawMessage, read *int, more *bool) (json.RawMessage, error) {
	headers := make(map[string]string, len(p.resp.Header))
	for name, values := range p.resp.Header {
		headers[strings.ToLower(name)] = clean(strings.Join(values, ", "))
	}
	return json.Marshal(struct {
		Status  int               `json:"status"`
		Headers map[string]string `json:"headers"`
		Body    json.RawMessage   `json:"body"`
		Pages   *int              `json:"pages,omitempty"`
		More    *bool             `json:"more,omitempty"`
	}{p.resp.StatusCode, headers, body, read, more})
}

// decode makes JSON of a body: JSON as it is, text as a string, nothing as null.
func decode(contentType string, body []byte) (json.RawMessage, error) {
	switch {
	case len(body) == 0:
		return json.RawMessage("null"), nil
	case connectors.IsJSON(contentType):
		return connectors.CleanJSON(body)
	}
	body = inUTF8(contentType, body)
	// Judged by its bytes: servers send text as octet-stream and bytes as text.
	if !utf8.Valid(body) || bytes.IndexByte(body, 0) >= 0 {
		return nil, connectors.Permanent("binary_response", "the answer is neither JSON nor text")
	}
	return json.Marshal(string(body))
}

// inUTF8 converts body from the character set its type names, if it names one.
func inUTF8(contentType string, body []byte) []byte {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["charset"] == "" {
		return body
	}
	charset, err := htmlindex.Get(params["charset"])
	if err != nil || charset == unicode.UTF8 { // whose decoder would hide invalid bytes
		return body
	}
	converted, err := charset.NewDecoder().Bytes(body)
	if err != nil {
		return body
	}
	return converted
}

// clean makes a header value, which may hold any byte, fit into JSON text.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
