// Package tenex is the connector of the 10ex platform: leads, segments, sequences and
// calls. endpoints.go maps each action to a request and is the one place to change when
// the platform's addresses do; how requests get there is the matter of connectors/rest.
// It imports connectors, connectors/rest and internal/egress.
package tenex

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/rest"
	"github.com/10ex/flows/internal/egress"
)

// New makes the connector; client sends its requests.
func New(client *egress.Client) *rest.Connector {
	actions := make([]rest.Action, len(endpoints))
	for i, e := range endpoints {
		actions[i] = e.action()
	}
	return rest.New(client, rest.Definition{
		Spec: connectors.Spec{
			Slug:        "tenex",
			Name:        "10ex",
			Description: "Works with the leads, segments, sequences and calls of a 10ex workspace.",
			Connection: &connectors.ConnectionSpec{
				Required: true,
				Auth:     []connectors.AuthType{connectors.AuthTenex, connectors.AuthBearer},
				BaseURL:  "https://api.10ex.ai",
			},
		},
		Actions: actions,
		Test: func(ctx context.Context, s *rest.Session) error {
			_, err := s.Send(ctx, rest.Call{Method: http.MethodGet, Path: "/api/v1/crm/leads", Query: url.Values{"limit": {"1"}}, Read: true})
			return err
		},
	})
}

// endpoint maps an action to a request. Fields of the input that the path names go into
// it, in order; the others into the query of a GET, and into the body of anything else.
type endpoint struct {
	name, description string
	method, path      string
	in                []string // the fields of the path, in order
	input, output     string   // schemas
	idempotent        bool
	guarded           []string // see connectors.Action
	// settled lists the codes of refusals that say that it is so already.
	settled []string
	// absent says that a 404 means the same.
	absent bool
	give   func(in fields, a rest.Answer, changed bool) (any, error)
}

// fields are those of an object.
type fields map[string]json.RawMessage

func (e endpoint) action() rest.Action {
	return rest.Action{
		Action: connectors.Action{
			Name: e.name, Description: e.description, Input: json.RawMessage(e.input), Output: json.RawMessage(e.output),
			Guarded:    e.guarded,
			Idempotent: e.idempotent || e.method == http.MethodGet, NoEffect: e.method == http.MethodGet,
		},
		Do: e.do,
	}
}

func (e endpoint) do(ctx context.Context, s *rest.Session) (json.RawMessage, error) {
	var in fields
	if err := s.Input(&in); err != nil {
		return nil, err
	}
	call := rest.Call{Method: e.method, Read: e.method == http.MethodGet, Accept: e.isSettled}
	values := make([]string, len(e.in))
	body := fields{}
	for name, v := range in {
		if !slices.Contains(e.in, name) {
			body[name] = v
		}
	}
	for i, name := range e.in {
		values[i] = text(in[name])
	}
	var err error
	if call.Path, err = rest.Path(e.path, values...); err != nil {
		return nil, err
	}
	switch e.method {
	case http.MethodGet:
		call.Query = url.Values{}
		for name, v := range body {
			call.Query.Set(name, text(v))
		}
	case http.MethodDelete:
	default:
		call.Body = body
	}
	a, err := s.Send(ctx, call)
	if err != nil {
		return nil, err
	}
	out, err := e.give(in, a, a.Status < 300)
	if err != nil {
		return nil, err
	}
	return rest.Marshal(out)
}

// isSettled tells whether a refusal says that things are already as they should be.
func (e endpoint) isSettled(a rest.Answer) bool {
	if a.Status == http.StatusNotFound {
		return e.absent
	}
	var body struct {
		Code string `json:"code"`
	}
	return a.Status == http.StatusConflict && json.Unmarshal(a.Body, &body) == nil && slices.Contains(e.settled, body.Code)
}

// text is a value as it stands in an address.
func text(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	return string(v)
}

var errShape = errors.New("not what is expected")

// object reads an answer that is an object, by itself or below data.
func object(a rest.Answer) (fields, error) {
	var f fields
	if json.Unmarshal(a.Body, &f) != nil || f == nil {
		return nil, errShape
	}
	var inner fields
	if raw, ok := f["data"]; ok && json.Unmarshal(raw, &inner) == nil && inner != nil {
		return inner, nil
	}
	return f, nil
}

// giveLead gives a lead and its id.
func giveLead(in fields, a rest.Answer, _ bool) (any, error) {
	lead, err := object(a)
	if err != nil {
		return nil, rest.Unexpected("lead")
	}
	id := text(lead["id"])
	if id == "" {
		id = text(lead["lead_id"])
	}
	if id == "" {
		id = text(in["lead_id"])
	}
	if id == "" {
		return nil, rest.Unexpected("id of the lead")
	}
	return map[string]any{"lead_id": id, "lead": lead}, nil
}

// giveMade gives something that was made, and its id under a name.
func giveMade(name string) func(fields, rest.Answer, bool) (any, error) {
	return func(_ fields, a rest.Answer, _ bool) (any, error) {
		made, err := object(a)
		if err != nil || text(made["id"]) == "" {
			return nil, rest.Unexpected("id")
		}
		return map[string]any{name + "_id": text(made["id"]), name: made}, nil
	}
}

// giveChange tells whether anything changed.
func giveChange(names ...string) func(fields, rest.Answer, bool) (any, error) {
	return func(in fields, _ rest.Answer, changed bool) (any, error) {
		out := map[string]any{"changed": changed}
		for _, name := range names {
			out[name] = text(in[name])
		}
		return out, nil
	}
}

// giveList gives one page.
func giveList(_ fields, a rest.Answer, _ bool) (any, error) {
	var page struct {
		Items  []json.RawMessage `json:"items"`
		Cursor *string           `json:"next_cursor"`
	}
	if json.Unmarshal(a.Body, &page) != nil || page.Items == nil {
		return nil, rest.Unexpected("items")
	}
	return map[string]any{"items": page.Items, "next_cursor": page.Cursor}, nil
}
