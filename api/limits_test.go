package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store/storetest"
)

func TestBadBodiesGetTheAnswerTheyDeserve(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	wf := b.workflow(t, passing)
	trigger := "/workflows/" + wf + "/trigger"
	deep := func(n int) string { return `{"payload":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	for name, tc := range map[string]struct {
		body    string
		headers []string
		status  int
		code    string
		loc     string // of the first error
		typ     string
	}{
		"nested 100,000 deep":     {body: deep(100_000), status: 422, code: "invalid", loc: `["body"]`, typ: "depth"},
		"nested 65 deep":          {body: deep(64), status: 422, code: "invalid", loc: `["body"]`, typ: "depth"},
		"nested 64 deep":          {body: deep(63), status: 202},
		"brackets in a string":    {body: `{"payload":"` + strings.Repeat("[", 1000) + `"}`, status: 202},
		"open and never closed":   {body: strings.Repeat(`{"payload":`, 60), status: 400, code: "malformed"},
		`\u0000`:                  {body: `{"payload":"a\u0000b"}`, status: 422, code: "invalid", loc: `["body"]`, typ: "nul"},
		`\u0000 in a name`:        {body: `{"payload":{"\u0000":1}}`, status: 422, code: "invalid", loc: `["body"]`, typ: "nul"},
		`\\u0000 is text`:         {body: `{"payload":"a\\u0000b"}`, status: 202},
		"NUL itself":              {body: "{\"payload\":\"a\x00b\"}", status: 400, code: "malformed"},
		"half a surrogate pair":   {body: `{"payload":"\ud83d"}`, status: 422, code: "invalid", typ: "surrogate", loc: `["body"]`},
		"half, then an escape":    {body: `{"payload":"\ud83d\u0041"}`, status: 422, code: "invalid", typ: "surrogate", loc: `["body"]`},
		"second half alone":       {body: `{"payload":"\ude00"}`, status: 422, code: "invalid", typ: "surrogate", loc: `["body"]`},
		"a whole pair":            {body: `{"payload":"\ud83d\ude00"}`, status: 202},
		"cut escape":              {body: `{"payload":"\u00"}`, status: 400, code: "malformed"},
		"not UTF-8":               {body: "{\"payload\":\"\xff\xfe\"}", status: 400, code: "malformed"},
		"1e400":                   {body: `{"payload":1e400}`, status: 422, code: "invalid", loc: `["body"]`, typ: "number"},
		"1e999999999":             {body: `{"payload":1e999999999}`, status: 422, code: "invalid", loc: `["body"]`, typ: "number"},
		"1e-999999999":            {body: `{"payload":1e-999999999}`, status: 422, code: "invalid", loc: `["body"]`, typ: "number"},
		"0e999999999999999999999": {body: `{"payload":0e999999999999999999999}`, status: 422, code: "invalid", loc: `["body"]`, typ: "number"},
		"a number of 1000 digits": {body: `{"payload":` + strings.Repeat("1", 1000) + `}`, status: 422, code: "invalid", loc: `["body"]`, typ: "number"},
		"a large number":          {body: `{"payload":123456789012345678901234567890}`, status: 202},
		"not JSON":                {body: `hello`, status: 400, code: "malformed"},
		"two values":              {body: `{} {}`, status: 400, code: "malformed"},
		"only space":              {body: ` `, status: 400, code: "malformed"},
		"nothing":                 {body: ``, status: 202},
		"null":                    {body: `null`, status: 422, code: "invalid", loc: `["body"]`, typ: "type"},
		"a list":                  {body: `[]`, status: 422, code: "invalid", loc: `["body"]`, typ: "type"},
		"unknown field":           {body: `{"paylod":{}}`, status: 422, code: "invalid", loc: `["body","paylod"]`, typ: "unknown_field"},
		"unknown field with dots": {body: `{"a.b[0]":{}}`, status: 422, code: "invalid", loc: `["body","a.b[0]"]`, typ: "unknown_field"},
		"field in another case":   {body: `{"Payload":{}}`, status: 422, code: "invalid", loc: `["body","Payload"]`, typ: "unknown_field"},
		"optional fields as null": {body: `{"payload":null,"version":null,"metadata":null}`, status: 202},
		"metadata not text":       {body: `{"metadata":{"a":1}}`, status: 422, code: "invalid", loc: `["body","metadata","a"]`, typ: "type"},
		"metadata too long":       {body: `{"metadata":{"a":"` + strings.Repeat("x", 501) + `"}}`, status: 422, code: "invalid", loc: `["body","metadata","a"]`, typ: "limit"},
		"version of no size":      {body: `{"version":1e30}`, status: 422, code: "invalid", loc: `["body"]`, typ: "invalid"},
		"version zero":            {body: `{"version":0}`, status: 422, code: "invalid", loc: `["body","version"]`, typ: "limit"},
		"a form":                  {body: `a=b`, headers: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 415, code: "unsupported_media_type"},
		"another charset":         {body: `{}`, headers: []string{"Content-Type", "application/json; charset=latin1"}, status: 415, code: "unsupported_media_type"},
		"compressed":              {body: `{}`, headers: []string{"Content-Encoding", "gzip"}, status: 415, code: "unsupported_media_type"},
		"over 1 MiB":              {body: `{"payload":"` + strings.Repeat("x", 1<<20) + `"}`, status: 413, code: "too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			got := b.sent(t, trigger, tc.body, tc.headers)
			require.Equal(t, tc.status, got.status, got.body)
			require.Less(t, time.Since(began), 5*time.Second)
			if tc.code == "" {
				return
			}
			require.Equal(t, tc.code, got.str(t, "code"))
			require.Equal(t, problemType, got.header.Get("Content-Type"))
			require.NotEmpty(t, got.str(t, "request_id"))
			require.Equal(t, got.str(t, "request_id"), got.header.Get("X-Request-Id"))
			if tc.loc != "" {
				loc := fmt.Sprintf("%q", got.get(t, "errors.0.loc"))
				require.Equal(t, strings.ReplaceAll(tc.loc, ",", " "), loc)
				require.Equal(t, tc.typ, got.str(t, "errors.0.type"))
			}
		})
	}
}

// sent makes the request with the given content type, not the usual one.
func (b *bundle) sent(t *testing.T, path, body string, headers []string) answer {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, base+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+b.key)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.api.App().Test(req, -1)
	if err != nil { // without a socket, a body that is refused has no answer
		require.ErrorContains(t, err, "body size exceeds the given limit")
		return b.overSocket(t, "POST", path, body)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp.StatusCode, resp.Header, string(got)}
}

// listen serves on a socket and gives its address.
func (b *bundle) listen(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- b.api.Listen(l) }()
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
		defer stop()
		require.NoError(t, b.api.Shutdown(ctx))
		require.NoError(t, <-done)
	})
	return "http://" + l.Addr().String()
}

// overSocket makes one request on a connection of its own.
func (b *bundle) overSocket(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequest(method, b.listen(t)+base+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+b.key)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp.StatusCode, resp.Header, string(got)}
}

// A client that writes its whole body before it reads must still find the answer.
func TestABodyOf50MBIsRefusedAndTheAnswerArrives(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	address := strings.TrimPrefix(b.listen(t), "http://")
	const size = 50 << 20
	for name, head := range map[string]string{
		"announced": fmt.Sprintf("Content-Length: %d\r\n\r\n", size),
		"chunked":   fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", size),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", address)
			require.NoError(t, err)
			defer conn.Close()
			began := time.Now()
			_, err = io.WriteString(conn, "POST "+base+"/workflows HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+b.key+"\r\n"+head)
			require.NoError(t, err)
			chunk := make([]byte, 1<<20)
			for range size / len(chunk) {
				_, err := conn.Write(chunk)
				require.NoError(t, err)
			}
			got, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.Contains(t, string(got), "HTTP/1.1 413 ")
			require.Contains(t, string(got), `"code":"too_large"`)
			require.Contains(t, string(got), "X-Request-Id: req_")
			require.Less(t, time.Since(began), 5*time.Second)
		})
	}
}

func TestHeadersThatContradictThemselvesAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	for _, name := range []string{"Idempotency-Key", "Authorization", "If-Match", "Last-Event-ID"} {
		got := b.call(t, "POST", "/workflows", `{}`, name, "a", name, "b")
		require.Equal(t, 400, got.status, name)
		require.Equal(t, "malformed", got.str(t, "code"))
	}
	got := b.overSocket(t, "GET", "/whoami", "", "X-Long", strings.Repeat("x", 20<<10))
	require.Equal(t, 431, got.status, got.body)
	require.Equal(t, "headers_too_large", got.str(t, "code"))
}

func TestRequestIDsAreTakenOrMade(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	require.Equal(t, "mine-1", b.call(t, "GET", "/whoami", "", "X-Request-Id", "mine-1").header.Get("X-Request-Id"))
	for _, bad := range []string{"", "a b", strings.Repeat("x", 129), "<script>"} {
		require.Regexp(t, `^req_[0-9a-z]{26}$`, b.call(t, "GET", "/whoami", "", "X-Request-Id", bad).header.Get("X-Request-Id"))
	}
	got := b.call(t, "GET", "/runs/run_1", "", "X-Request-Id", "mine-2")
	require.Equal(t, "mine-2", got.str(t, "request_id"))
}

func TestUnknownAddressesAndMethodsAreProblems(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	got := b.call(t, "GET", "/nothing-here", "")
	require.Equal(t, 404, got.status)
	require.Equal(t, "not_found", got.str(t, "code"))
	got = b.call(t, "GET", "/nowhere/at/all", "")
	require.Equal(t, 404, got.status)
	got = b.call(t, "DELETE", "/workflows", "")
	require.Equal(t, 405, got.status)
	require.Equal(t, "method_not_allowed", got.str(t, "code"))
	require.Contains(t, got.header.Get("Allow"), "POST")
	require.NotContains(t, got.body, "Cannot")
}

func TestWhoMayGetMayAskForTheHeadersAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{deps: withMonitoring})
	at := b.listen(t)
	wf := b.workflow(t, passing)
	for _, path := range []string{base + "/workflows/" + wf, base + "/runs", "/openapi.json", "/livez", "/readyz"} {
		var got [2]*http.Response
		for i, method := range []string{http.MethodGet, http.MethodHead} {
			req, err := http.NewRequestWithContext(t.Context(), method, at+path, nil)
			require.NoError(t, err)
			req.Header.Set("Authorization", "Bearer "+b.key)
			got[i], err = b.client.Do(req)
			require.NoError(t, err)
			body, err := io.ReadAll(got[i].Body)
			require.NoError(t, err)
			require.NoError(t, got[i].Body.Close())
			require.Equal(t, method == http.MethodHead, len(body) == 0, path)
		}
		require.Equal(t, 200, got[1].StatusCode, path)
		require.Equal(t, got[0].ContentLength, got[1].ContentLength, path)
		for _, name := range []string{"Content-Type", "ETag", "X-Content-Type-Options", "Cache-Control"} {
			require.Equal(t, got[0].Header.Get(name), got[1].Header.Get(name), "%s %s", path, name)
		}
		require.NotEmpty(t, got[1].Header.Get("X-Request-Id"), path)
		require.Equal(t, "nosniff", got[1].Header.Get("X-Content-Type-Options"), path)
	}
	require.Equal(t, 401, b.as(t, "", "HEAD", "/runs", "").status)
	require.Equal(t, 403, b.as(t, b.newKey(t, b.ws, models.ScopeFlowsRead), "HEAD", "/runs", "").status)
	require.Equal(t, 404, b.call(t, "HEAD", "/runs/run_1", "").status)
}

func TestOptionsListsTheMethodsOfAnAddress(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	for path, want := range map[string]string{
		"/workflows": "GET, HEAD, POST, OPTIONS", "/workflows/x/trigger": "POST, OPTIONS", "/runs/x/stream": "GET, OPTIONS",
	} {
		got := b.as(t, "", "OPTIONS", path, "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST")
		require.Equal(t, 204, got.status, path)
		require.Equal(t, want, got.header.Get("Allow"), path)
		require.Empty(t, got.header.Get("Access-Control-Allow-Origin"))
		require.Empty(t, got.body)
	}
	require.Equal(t, 404, b.as(t, "", "OPTIONS", "/nothing-here", "").status)
}

// What is refused in a query is refused in its place, and never in the database.
func TestBadQueriesAreRefusedInTheirPlace(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		run := b.run(t, passing)
		for query, want := range map[string]struct {
			status    int
			code, loc string
		}{
			"/workflows?q=%00":          {422, "invalid", "[query]"},
			"/runs?metadata.a=%00":      {422, "invalid", "[query]"},
			"/workflows?q=%ff":          {400, "malformed", ""},
			"/runs?limit=0":             {422, "invalid", "[query limit]"},
			"/runs?status=done":         {422, "invalid", "[query status 0]"},
			"/runs?created_after=today": {422, "invalid", "[query created_after]"},
			"/runs?cursor=" + encodeCursor(b.ws, "runs", "a\x00"):                                {400, "invalid_cursor", "[query cursor]"},
			"/runs/" + run + "/events?cursor=" + encodeCursor(b.ws, "events of "+run, "seventh"): {400, "invalid_cursor", "[query cursor]"},
		} {
			got := b.call(t, "GET", query, "")
			require.Equal(t, want.status, got.status, query)
			require.Equal(t, want.code, got.str(t, "code"), query)
			if want.loc != "" {
				require.Equal(t, want.loc, sprint(got.get(t, "errors.0.loc")), query)
			}
		}
		wf := b.workflow(t, passing)
		got := b.call(t, "GET", "/workflows/"+wf+"/versions?cursor="+encodeCursor(b.ws, "versions of "+wf, "second"), "")
		require.Equal(t, 400, got.status, got.body)
		require.Equal(t, "invalid_cursor", got.str(t, "code"))
		require.Equal(t, "must be at least 1", b.call(t, "GET", "/runs?limit=0", "").str(t, "errors.0.msg"))
		require.Equal(t, "must be at most 200", b.call(t, "GET", "/runs?limit=201", "").str(t, "errors.0.msg"))
	})
}

// Times beyond the years that can be written lie at their edge.
func TestTimesAtTheEndsOfTheCalendar(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		run := b.run(t, passing)
		got := b.call(t, "GET", "/runs?created_after=0000-01-01T00:00:00Z&created_before=9999-12-31T23:59:59-23:59", "")
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, run, got.str(t, "items.0.id"))
		require.Empty(t, b.call(t, "GET", "/runs?created_before=0000-01-01T00:00:00Z", "").get(t, "items"))
		key := b.call(t, "POST", adminBase+"/api-keys", `{"name":"a","expires_at":"9999-12-31T23:59:59-23:59"}`)
		require.Equal(t, "9999-12-31T23:59:59.999999Z", key.str(t, "expires_at"))
	})
}

// A name that nobody can see is none. What calls things by name is found in the
// OpenAPI document.
func TestNamesAreNotBlank(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct{ Pattern string }
			}
		}
		Paths map[string]map[string]struct {
			RequestBody struct {
				Content map[string]struct {
					Schema struct {
						Ref string `json:"$ref"`
					}
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal(b.api.OpenAPI(), &doc))
	named := 0
	for path, item := range doc.Paths {
		for method, op := range item {
			ref := op.RequestBody.Content["application/json"].Schema.Ref
			if _, ok := doc.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")].Properties["name"]; !ok {
				continue
			}
			named++
			for _, name := range []string{" ", `\t \n`, "\u00a0", "\u3000 \u2003"} {
				got := b.call(t, strings.ToUpper(method), path, `{"name":"`+name+`"}`)
				require.Equal(t, 422, got.status, got.body)
				require.Contains(t, got.body, `{"loc":["body","name"],"msg":"must not be blank","type":"pattern"}`)
			}
			got := b.call(t, strings.ToUpper(method), path, `{"name":" x "}`)
			require.NotContains(t, got.body, `["body","name"]`)
		}
	}
	require.Greater(t, named, 10)
	got := b.call(t, "POST", "/workflows", `{"name":"Leads","graph":{"steps":[{"id":"a","type":"branch","name":"  "}]}}`)
	require.Equal(t, 422, got.status)
	require.Equal(t, "[body graph steps 0 name]", sprint(got.get(t, "errors.0.loc")))
}
