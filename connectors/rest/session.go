package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/10ex/flows/connectors"
)

// Session is one action under way.
type Session struct {
	// Request is the one that the action is to fulfil. Its Connection is there.
	Request connectors.Request

	connector *Connector
	begun     bool
}

// Call is one question to the service.
type Call struct {
	Method string
	// Path is below the base address of the connection; see Path.
	Path  string
	Query url.Values
	// Body is sent as JSON; nil sends none.
	Body any
	// Read says that the call changes nothing.
	Read bool
	// To is the whole address, in place of Path, where that is a secret of the
	// connection by itself. Nothing is added to it but the key of the effect.
	To *url.URL
	// Accept tells of a refusal that it is an answer all the same, such as that there
	// is already what was asked for. Nil: none is.
	Accept func(a Answer) bool
}

// Answer is what the service said.
type Answer struct {
	Status int
	Header http.Header
	// Body is the JSON of the answer, or its text as JSON; null where it is empty.
	Body json.RawMessage
}

// Input reads the input of the action into a value. Numbers that go into a value of
// no particular type stay as they were written.
func (s *Session) Input(into any) error {
	return decode(s.Request.Input, into, "the input is not valid")
}

// Decode reads what the service said into a value.
func (a Answer) Decode(into any) error {
	d := json.NewDecoder(bytes.NewReader(a.Body))
	d.UseNumber()
	if d.Decode(into) != nil {
		return connectors.Permanent(connectors.CodeBadResponse, "the answer is not what the service is known to send")
	}
	return nil
}

func decode(raw json.RawMessage, into any, otherwise string) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(into) != nil {
		return Invalid("%s", otherwise)
	}
	return nil
}

// Config reads the config of the connection into a value.
func (s *Session) Config(into any) error {
	if len(s.Request.Connection.Config) == 0 {
		return nil
	}
	return decode(s.Request.Connection.Config, into, "the config of the connection is not valid")
}

// Send asks the service. A failure is an error; whatever else it says is the answer.
// Leave to act is asked before the first call that changes something.
func (s *Session) Send(ctx context.Context, c Call) (Answer, error) {
	req, err := s.request(ctx, c)
	if err != nil {
		return Answer{}, err
	}
	if err := s.begin(ctx, c); err != nil {
		return Answer{}, err
	}
	resp, err := s.connector.client.Do(req)
	if err != nil {
		return Answer{}, connectors.NetworkError(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return s.refused(c, resp)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}, connectors.NetworkError(ctx, err)
	}
	a := Answer{Status: resp.StatusCode, Header: resp.Header}
	if a.Body, err = content(resp.Header.Get("Content-Type"), body); err != nil {
		return Answer{}, err
	}
	if check := s.connector.def.Check; check != nil {
		if err := check(a); err != nil {
			return Answer{}, err
		}
	}
	return a, nil
}

// maxRefusal is how much of a refusal is read for the reason in it.
const maxRefusal = 64 << 10

// refused makes an error of a refusal. Secrets that the service repeats are taken out
// before the reason is cut short: half of one could not be found any more.
func (s *Session) refused(c Call, resp *http.Response) (Answer, error) {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	if c.Accept != nil {
		a := Answer{Status: resp.StatusCode, Header: resp.Header}
		var err error
		if a.Body, err = content(resp.Header.Get("Content-Type"), body); err == nil && c.Accept(a) {
			return a, nil
		}
	}
	told := *resp
	told.Body = io.NopCloser(strings.NewReader(s.Request.Connection.Redactor().Text(string(body))))
	return Answer{}, connectors.HTTPError(&told)
}

// content makes JSON of a body.
func content(contentType string, body []byte) (json.RawMessage, error) {
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return json.RawMessage("null"), nil
	case connectors.IsJSON(contentType):
		return connectors.CleanJSON(body)
	}
	text, err := json.Marshal(string(body))
	if err != nil {
		return nil, err
	}
	return connectors.CleanJSON(text)
}

func (s *Session) begin(ctx context.Context, c Call) error {
	if c.Read || s.begun {
		if err := ctx.Err(); err != nil {
			return connectors.NetworkError(ctx, err)
		}
		return nil
	}
	s.begun = true
	return s.Request.Begin(ctx)
}

func (s *Session) request(ctx context.Context, c Call) (*http.Request, error) {
	target := c.To
	if target == nil {
		var err error
		if target, err = s.Request.Connection.URL(c.Path); err != nil {
			return nil, err
		}
		if len(c.Query) > 0 {
			target.RawQuery = c.Query.Encode()
		}
	}
	var body io.Reader
	if c.Body != nil {
		raw, err := json.Marshal(c.Body)
		if err != nil {
			return nil, Invalid("the input cannot be sent")
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, c.Method, target.String(), body)
	if err != nil {
		return nil, Invalid("the address of the request is not valid")
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	if s.Request.IdempotencyKey != "" {
		req.Header.Set("Idempotency-Key", s.Request.IdempotencyKey)
	}
	if c.To != nil {
		return req, nil
	}
	return req, s.Request.Connection.Authorize(req)
}
