package connectors_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
)

// fixed is a connector that gives always the same.
type fixed struct {
	spec connectors.Spec
	resp connectors.Response
	err  error
}

func (f fixed) Spec() connectors.Spec { return f.spec }
func (f fixed) Do(context.Context, connectors.Request) (connectors.Response, error) {
	return f.resp, f.err
}

func spec(slug string, change ...func(*connectors.Spec)) connectors.Spec {
	s := connectors.Spec{Slug: slug, Name: "N", Description: "D", Actions: []connectors.Action{{
		Name: "crm.create_lead", Description: "D", Output: json.RawMessage(`{}`),
		Input: json.RawMessage(`{
			"type":"object","required":["name"],"additionalProperties":false,
			"properties":{
				"name":{"type":"string","minLength":2},
				"kind":{"enum":["a","b"]},
				"age":{"type":["integer","null"],"minimum":18},
				"mail":{"type":"string","format":"email"},
				"code":{"type":"string","pattern":"^x+$"},
				"to":{"anyOf":[{"type":"string"},{"type":"object","required":["id"]}]},
				"tags":{"type":"array","items":{"type":"string"}}
			}}`),
	}}}
	for _, c := range change {
		c(&s)
	}
	return s
}

func TestRegistryListsBySlug(t *testing.T) {
	t.Parallel()
	r, err := connectors.NewRegistry(fixed{spec: spec("slack_2")}, fixed{spec: spec("core")})
	require.NoError(t, err)
	var slugs []string
	for _, s := range r.Specs() {
		slugs = append(slugs, s.Slug)
	}
	require.Equal(t, []string{"core", "slack_2"}, slugs)
	c, ok := r.Lookup("slack_2")
	require.True(t, ok)
	require.Equal(t, "slack_2", c.Spec().Slug)
	_, ok = r.Lookup("nothing")
	require.False(t, ok)
	a, ok := r.Action("core", "crm.create_lead")
	require.True(t, ok)
	require.Empty(t, cmp.Diff(spec("core").Actions[0], a))
	_, ok = r.Action("core", "create_lead")
	require.False(t, ok)
}

func TestRegistryRefusesWhatIsIncomplete(t *testing.T) {
	t.Parallel()
	action := func(change func(*connectors.Action)) func(*connectors.Spec) {
		return func(s *connectors.Spec) { change(&s.Actions[0]) }
	}
	for want, s := range map[string]connectors.Spec{
		"slug must be":            spec("Bad Slug"),
		"name and description":    spec("a", func(s *connectors.Spec) { s.Name = "" }),
		"has no actions":          spec("a", func(s *connectors.Spec) { s.Actions = nil }),
		"name must be":            spec("a", action(func(a *connectors.Action) { a.Name = "Do It" })),
		"listed twice":            spec("a", func(s *connectors.Spec) { s.Actions = append(s.Actions, s.Actions[0]) }),
		"description is required": spec("a", action(func(a *connectors.Action) { a.Description = "" })),
		"input: schema":           spec("a", action(func(a *connectors.Action) { a.Input = json.RawMessage(`{"type":"text"}`) })),
		"has no way of auth":      spec("a", func(s *connectors.Spec) { s.Connection = &connectors.ConnectionSpec{} }),
		`auth "key" is unknown`: spec("a", func(s *connectors.Spec) {
			s.Connection = &connectors.ConnectionSpec{Auth: []connectors.AuthType{"key"}}
		}),
		"config: schema": spec("a", func(s *connectors.Spec) {
			s.Connection = &connectors.ConnectionSpec{Auth: []connectors.AuthType{connectors.AuthNone}, Config: json.RawMessage(`{"type":"text"}`)}
		}),
		"output: schema":       spec("a", action(func(a *connectors.Action) { a.Output = json.RawMessage(`{"$ref":"http://127.0.0.1/s.json"}`) })),
		"input: schema is not": spec("a", action(func(a *connectors.Action) { a.Input = nil })),
	} {
		r, err := connectors.NewRegistry(fixed{spec: s})
		if strings.Contains(want, "schema") {
			require.NoError(t, err, want)
			err = r.Check()
		}
		require.ErrorContains(t, err, want)
	}
	_, err := connectors.NewRegistry(fixed{spec: spec("a")}, fixed{spec: spec("a")})
	require.ErrorContains(t, err, "registered twice")
}

func TestValidateInputNamesEachField(t *testing.T) {
	t.Parallel()
	r, err := connectors.NewRegistry(fixed{spec: spec("a")})
	require.NoError(t, err)
	require.NoError(t, r.ValidateInput("a", "crm.create_lead", json.RawMessage(`{"name":"Ann","age":null,"mail":"a@b.example","to":{"id":1}}`)))
	err = r.ValidateInput("a", "crm.create_lead", json.RawMessage(
		`{"kind":"s3cret","age":5,"mail":"s3cret","code":"s3cret","to":7,"tags":["a",1],"extra":1}`))
	e := connectors.AsError(err)
	require.Equal(t, "input_invalid", e.Code)
	require.False(t, e.Retryable)
	require.Equal(t, `the input is not valid: age: must be at least 18; code: must match ^x+$; extra: is not a known field; `+
		`kind: must be one of ["a","b"]; mail: must be a valid email; name: is required; tags.1: must be string; to: does not have one of the allowed forms`, e.Message)

	for input, want := range map[string]string{`[]`: "must be object", ``: "must be object", `{`: "is not JSON", `{"name":""}`: "name: must have at least 2 characters"} {
		err := r.ValidateInput("a", "crm.create_lead", json.RawMessage(input))
		require.ErrorContains(t, err, want, input)
	}
	require.Equal(t, "unknown_action", connectors.AsError(r.ValidateInput("a", "none", nil)).Code)
	require.Equal(t, "unknown_action", connectors.AsError(r.ValidateInput("none", "none", nil)).Code)
}

func TestValidateInputStaysShort(t *testing.T) {
	t.Parallel()
	r, err := connectors.NewRegistry(fixed{spec: spec("a")})
	require.NoError(t, err)
	err = r.ValidateInput("a", "crm.create_lead", json.RawMessage(`{"name":"Ann","tags":[`+strings.Repeat("1,", 499)+`1]}`))
	require.ErrorContains(t, err, "and 490 more")
}

func TestDoChecksCallsAndCleans(t *testing.T) {
	t.Parallel()
	do := func(f fixed, input string) (connectors.Response, error) {
		f.spec = spec("a")
		r, err := connectors.NewRegistry(f)
		require.NoError(t, err)
		return r.Do(t.Context(), "a", connectors.Request{Action: "crm.create_lead", Input: json.RawMessage(input)})
	}
	const valid = `{"name":"Ann"}`
	usage := &connectors.Usage{Turns: 1}
	resp, err := do(fixed{resp: connectors.Response{Output: json.RawMessage(`{"a": "\u0000"}`), Usage: usage}}, valid)
	require.NoError(t, err)
	require.JSONEq(t, `{"a":"\ufffd"}`, string(resp.Output))
	require.Equal(t, usage, resp.Usage)
	resp, err = do(fixed{}, valid)
	require.NoError(t, err)
	require.Equal(t, "null", string(resp.Output))
	_, err = do(fixed{resp: connectors.Response{Output: json.RawMessage(`{`)}}, valid)
	require.Equal(t, "bad_response", connectors.AsError(err).Code)
	_, err = do(fixed{}, `{}`)
	require.Equal(t, "input_invalid", connectors.AsError(err).Code)
	own := errors.New("own")
	_, err = do(fixed{err: own}, valid)
	require.ErrorIs(t, err, own)
}

func TestBegin(t *testing.T) {
	t.Parallel()
	require.NoError(t, connectors.Request{}.Begin(t.Context()))
	lost := errors.New("lost")
	called := 0
	r := connectors.Request{BeforeEffect: func(context.Context) error { called++; return lost }}
	require.ErrorIs(t, r.Begin(t.Context()), lost)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, "cancelled", connectors.AsError(r.Begin(ctx)).Code)
	require.Equal(t, 1, called)
}

func TestConnectionKeepsItsSecretsOutOfLogs(t *testing.T) {
	t.Parallel()
	c := connectors.Connection{ID: "conn_1", Secrets: map[string]string{"token": "s3cret"}}
	require.Equal(t, "conn_1", c.LogValue().String())
}
