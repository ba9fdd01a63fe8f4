package api

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store/storetest"
	"github.com/10ex/flows/web"
)

func TestTheOpenAPIDocumentIsValidAndHasEveryRoute(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	got := b.as(t, "", "GET", "/openapi.json", "")
	require.Equal(t, 200, got.status)
	doc, err := openapi3.NewLoader().LoadFromData([]byte(got.body))
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context()))
	require.Equal(t, "3.1.0", doc.OpenAPI)
	require.Equal(t, "1.2.3", doc.Info.Version)

	operations := 0
	for _, item := range doc.Paths.Map() {
		operations += len(item.Operations())
	}
	require.Equal(t, len(b.api.routes())+1, operations, "the table and the document have the same operations, but for what receives webhooks")
	hook := doc.Paths.Find(hooksPath + "{token}").Post
	require.NotNil(t, hook)
	require.Nil(t, hook.Security, "it takes no key")
	require.NotNil(t, hook.Parameters.GetByInAndName("path", "token"))
	names := map[string]bool{}
	for _, r := range b.api.routes() {
		op := doc.Paths.Find(r.path).GetOperation(r.method)
		require.NotNil(t, op, r.name)
		require.Equal(t, r.name, op.OperationID)
		require.False(t, names[r.name], "%s is there twice", r.name)
		names[r.name] = true
		require.NotEmpty(t, op.Summary)
		require.NotNil(t, op.Security, r.name)
		require.Contains(t, (*op.Security)[0], securityName)
		require.NotNil(t, op.Responses.Value(strconv.Itoa(r.status())), "%s has its success", r.name)
		for _, status := range []string{"400", "401", "403", "404", "422", "429", "500", "503"} {
			resp := op.Responses.Value(status)
			require.NotNil(t, resp, "%s has %s", r.name, status)
			media := resp.Value.Content["application/problem+json"]
			require.NotNil(t, media, "%s %s is a problem", r.name, status)
			require.Equal(t, "#/components/schemas/Problem", media.Schema.Ref)
		}
		if r.scope != "" {
			require.Equal(t, string(r.scope), op.Extensions["x-scope"])
		}
		require.Equal(t, r.has(acts), op.Parameters.GetByInAndName("header", "Idempotency-Key") != nil, r.name)
		for _, part := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(r.path, -1) {
			require.NotNil(t, op.Parameters.GetByInAndName("path", part[1]), "%s has %s", r.name, part[1])
		}
	}
	require.NotNil(t, doc.Components.SecuritySchemes[securityName])
	require.Contains(t, doc.Components.Schemas, "Graph")
	require.NotContains(t, got.body, "Shape")
}

// fieldsOf lists the JSON members of a type with the kind of each.
func fieldsOf(typ reflect.Type) map[string]bool {
	out := map[string]bool{}
	for field := range typ.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		out[name] = true
	}
	return out
}

func TestTheShapeOfAGraphIsThatOfTheModel(t *testing.T) {
	t.Parallel()
	for model, shape := range map[reflect.Type]reflect.Type{
		reflect.TypeFor[models.Graph]():        reflect.TypeFor[graphShape](),
		reflect.TypeFor[models.GraphStep]():    reflect.TypeFor[stepShape](),
		reflect.TypeFor[models.Retry]():        reflect.TypeFor[retryShape](),
		reflect.TypeFor[models.EventWait]():    reflect.TypeFor[eventWait](),
		reflect.TypeFor[models.ApprovalWait](): reflect.TypeFor[approvalShape](),
		reflect.TypeFor[models.Edge]():         reflect.TypeFor[edgeShape](),
		reflect.TypeFor[models.Settings]():     reflect.TypeFor[settingsShape](),
		reflect.TypeFor[models.Concurrency]():  reflect.TypeFor[concurrencyShape](),
		reflect.TypeFor[models.Debounce]():     reflect.TypeFor[debounceShape](),
	} {
		require.Empty(t, cmp.Diff(fieldsOf(model), fieldsOf(shape)), model.String())
	}
}

// The schema has the limits of the model, so that an editor can tell them, too.
func TestTheSchemaOfAGraphHasItsLimits(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	steps := func(ids ...string) string {
		var list []string
		for _, id := range ids {
			list = append(list, `{"id":"`+id+`","type":"branch"}`)
		}
		return `"steps":[` + strings.Join(list, ",") + `]`
	}
	many := make([]string, models.MaxSteps+1)
	for i := range many {
		many[i] = "s" + strconv.Itoa(i)
	}
	edges := func(n int) string {
		return `,"edges":[` + strings.Repeat(`{"from":"a","to":"b"},`, n-1) + `{"from":"a","to":"b"}]`
	}
	for name, tc := range map[string]struct{ graph, loc string }{
		"fits":            {steps("a", "b-1_C", strings.Repeat("x", 64)), ""},
		"as many as can":  {steps(many[:models.MaxSteps]...) + edges(models.MaxEdges), ""},
		"no step":         {steps(), "[graph steps]"},
		"too many steps":  {steps(many...), "[graph steps]"},
		"too many edges":  {steps("a", "b") + edges(models.MaxEdges+1), "[graph edges]"},
		"long id":         {steps(strings.Repeat("x", 65)), "[graph steps 0 id]"},
		"id with a digit": {steps("a", "1b"), "[graph steps 1 id]"},
		"id with a line":  {steps(`a\n`), "[graph steps 0 id]"},
		"no id":           {steps(""), "[graph steps 0 id]"},
		"no attempt":      {`"steps":[{"id":"a","type":"agent","retry":{"max_attempts":0}}]`, "[graph steps 0 retry max_attempts]"},
		"all at once":     {`"steps":[{"id":"a","type":"agent","max_parallel":101}]`, "[graph steps 0 max_parallel]"},
	} {
		found := b.api.bodies.checkValue(graphSchemaName, []byte("{"+tc.graph+"}"), "graph")
		if tc.loc == "" {
			require.Empty(t, found, name)
			continue
		}
		require.Len(t, found, 1, name)
		require.Equal(t, tc.loc, fmt.Sprint(found[0].Loc), name)
	}
}

func TestTheReferenceExplainsEveryCode(t *testing.T) {
	t.Parallel()
	script, err := web.Files.ReadFile("static/docs.js")
	require.NoError(t, err)
	for _, code := range []string{
		codeMalformed, codeInvalidCursor, codeUnauthorized, codeForbidden, codeCrossSite, codeNotFound, codeNotAllowed, codePrecondition, codeTooLarge,
		codeMediaType, codeInvalid, codeIdempotency, codeRateLimited, codeHeaders, codeInternal, codeUnavailable, codeTimeout,
		models.CodeConflict, models.CodeInvalidState, models.CodeWorkflowNotActive, models.CodeVersionArchived, models.CodeConcurrencyLimit,
	} {
		require.Contains(t, string(script), `"`+code+`"`)
	}
}

func TestAnswersFitTheDocument(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b.api.OpenAPI()))
		require.NoError(t, err)
		c := jsonschema.NewCompiler()
		c.DefaultDraft(jsonschema.Draft2020)
		c.AssertFormat()
		require.NoError(t, c.AddResource("urn:openapi", doc))
		pointer := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
		fits := func(method, path string, got answer) {
			media := "application/json"
			if got.status >= 400 {
				media = problemType
			}
			place := fmt.Sprintf("urn:openapi#/paths/%s/%s/responses/%d/content/%s/schema", pointer.Replace(path), strings.ToLower(method), got.status, pointer.Replace(media))
			schema, err := c.Compile(place)
			require.NoErrorf(t, err, "%s %s answers %d, which is not in the document: %s", method, path, got.status, got.body)
			body, err := jsonschema.UnmarshalJSON(strings.NewReader(got.body))
			require.NoError(t, err)
			require.NoErrorf(t, schema.Validate(body), "%s %s: %s", method, path, got.body)
		}
		x := b.things(t)
		ended, never := b.run(t, passing), ids.New("run")
		for _, r := range b.api.routes() {
			for _, at := range []struct{ run, slug, step string }{{x.run, "robot", "ask"}, {ended, "core", "ask"}, {never, "nothing", "ask"}} {
				if r.has(streams) || r.has(secret) || r.name == "revoke-api-key" {
					continue
				}
				path := strings.NewReplacer("/runs/{id}", "/runs/"+at.run, "/workflows/{id}", "/workflows/"+x.workflow, "{n}", "1", "{step}", at.step, "{slug}", at.slug, "{action}", "set").Replace(r.path)
				got := b.call(t, r.method, path, actions(x)[r.name].body)
				if got.status == 204 {
					continue
				}
				fits(r.method, r.path, got)
			}
		}
		trg := b.call(t, "POST", "/triggers", `{"type":"webhook","workflow_id":"`+b.workflow(t, passing)+`","verify":"none"}`)
		require.Equal(t, 201, trg.status, trg.body)
		address := strings.TrimPrefix(trg.str(t, "url"), "http://example.com")
		for _, call := range []struct {
			address, body string
			status        int
		}{{address, `{"a":1}`, 202}, {address, `{"a":1}`, 200}, {address, `{`, 400}, {address, `{"a":"\u0000"}`, 422}, {hooksPath + "nobodys", `{}`, 404}} {
			got := b.as(t, "", "POST", call.address, call.body, "Idempotency-Key", "one")
			require.Equal(t, call.status, got.status, got.body)
			fits("POST", hooksPath+"{token}", got)
		}
	})
}
