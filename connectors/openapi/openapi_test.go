package openapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/internal/egress"
)

func open(t *testing.T, document, server string) connectors.Registered {
	t.Helper()
	client, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	k := NewKind(client)
	config, err := json.Marshal(Config{Server: server})
	require.NoError(t, err)
	made, err := k.Compile(t.Context(), connectors.Registration{Slug: "x", Config: config, Document: []byte(document)})
	require.NoError(t, err)
	c, err := k.Open(connectors.Stored{Slug: "x", Name: "X", Data: made.Data})
	require.NoError(t, err)
	return c
}

func document(version, paths, more string) string {
	return `{"openapi":"` + version + `","info":{"title":"T","version":"1"},"paths":{` + paths + `}` + more + `}`
}

// sentBy does an action against a peer and gives what arrived.
func sentBy(t *testing.T, document, action, input string, conn *connectors.Connection) connectorstest.Received {
	t.Helper()
	peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	c := open(t, document, peer.URL+"/v1")
	require.NoError(t, c.CheckInput(action, json.RawMessage(input)))
	if conn != nil {
		conn.Hosts = []string{strings.TrimPrefix(peer.URL, "http://")}
	}
	_, err := c.Do(t.Context(), connectors.Request{Action: action, Input: json.RawMessage(input), IdempotencyKey: "run_1:a", Connection: conn})
	require.NoError(t, err)
	got := peer.Received()[0]
	require.Equal(t, "run_1:a", got.Header.Get("Idempotency-Key"))
	return got
}

func TestParametersAreWrittenAsTheDocumentSays(t *testing.T) {
	t.Parallel()
	const list, object = `["a b","c/d"]`, `{"k":"v 1","n":2}`
	for name, tc := range map[string]struct {
		param, value string
		path, query  string
	}{
		"path simple":        {`{"name":"p","in":"path"}`, `"a b/ü"`, "/v1/x/a b/ü", ""},
		"path list":          {`{"name":"p","in":"path"}`, `["a","b"]`, "/v1/x/a,b", ""},
		"path label":         {`{"name":"p","in":"path","style":"label","explode":true}`, `["a","b"]`, "/v1/x/.a.b", ""},
		"path matrix":        {`{"name":"p","in":"path","style":"matrix"}`, `["a","b"]`, "/v1/x/;p=a,b", ""},
		"path matrix object": {`{"name":"p","in":"path","style":"matrix","explode":true}`, `{"k":"v"}`, "/v1/x/;k=v", ""},
		"query form":         {`{"name":"q","in":"query"}`, `"a&b"`, "", "q=a%26b"},
		"query list":         {`{"name":"q","in":"query"}`, list, "", "q=a%20b&q=c%2Fd"},
		"query list joined":  {`{"name":"q","in":"query","explode":false}`, list, "", "q=a%20b,c%2Fd"},
		"query spaces":       {`{"name":"q","in":"query","style":"spaceDelimited","explode":false}`, list, "", "q=a%20b%20c%2Fd"},
		"query pipes":        {`{"name":"q","in":"query","style":"pipeDelimited","explode":false}`, list, "", "q=a%20b%7Cc%2Fd"},
		"query object":       {`{"name":"q","in":"query"}`, object, "", "k=v%201&n=2"},
		"query object flat":  {`{"name":"q","in":"query","explode":false}`, object, "", "q=k,v%201,n,2"},
		"query deep":         {`{"name":"q","in":"query","style":"deepObject","explode":true}`, `{"a":{"b":1},"l":["x"]}`, "", "q[a][b]=1&q[l][0]=x"},
		"query reserved":     {`{"name":"q","in":"query","allowReserved":true}`, `"a/b?c&d"`, "", "q=a/b?c%26d"},
		"query as JSON":      {`{"name":"q","in":"query","content":{"application/json":{"schema":{}}}}`, `{"a":[1]}`, "", "q=%7B%22a%22%3A%5B1%5D%7D"},
		"a large number":     {`{"name":"q","in":"query"}`, `10000000000000001`, "", "q=10000000000000001"},
		"null is left out":   {`{"name":"q","in":"query"}`, `null`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, field := "/x", "q"
			if tc.path != "" {
				path, field = "/x/{p}", "p"
			}
			doc := document("3.1.0", `"`+path+`":{"get":{"operationId":"get","parameters":[`+tc.param+`]}}`, "")
			got := sentBy(t, doc, "get", `{"`+field+`":`+tc.value+`}`, nil)
			if tc.path != "" {
				require.Equal(t, tc.path, got.Path)
			}
			require.Equal(t, tc.query, got.Query)
		})
	}
	t.Run("headers and cookies", func(t *testing.T) {
		t.Parallel()
		doc := document("3.1.0", `"/x":{"parameters":[{"name":"X-A","in":"header"},{"name":"c","in":"cookie"},{"name":"Authorization","in":"header"},{"name":"X-A","in":"query"}],"get":{"operationId":"get"}}`, "")
		got := sentBy(t, doc, "get", `{"X-A_header":["a","b"],"c":"d","X-A":1}`, nil)
		require.Equal(t, "a,b", got.Header.Get("X-A"))
		require.Equal(t, "c=d", got.Header.Get("Cookie"))
		require.Equal(t, "X-A=1", got.Query, "names that collide are told apart by their place")
	})
}

func TestNoValueLeadsElsewhere(t *testing.T) {
	t.Parallel()
	c := open(t, document("3.0.3", `"/x/{p}/y":{"get":{"operationId":"get"}}`, ""), "https://example.com/v1")
	for _, value := range []string{`".."`, `"."`, `""`, `null`} {
		_, err := c.Do(t.Context(), connectors.Request{Action: "get", Input: json.RawMessage(`{"p":` + value + `}`)})
		require.Equal(t, connectors.CodeInputInvalid, connectors.AsError(err).Code, value)
	}
	got := sentBy(t, document("3.0.3", `"/x/{p}/y":{"get":{"operationId":"get"}}`, ""), "get", `{"p":"../../a?b#c//@evil.example"}`, nil)
	require.Equal(t, "/v1/x/../../a?b#c//@evil.example/y", got.Path)
	require.Empty(t, got.Query)
}

func TestBodies(t *testing.T) {
	t.Parallel()
	post := func(media, schema, more string) string {
		return document("3.1.0", `"/x":{"post":{"operationId":"post","requestBody":{"required":true,"content":{"`+media+`":{"schema":`+schema+more+`}}}}}`, "")
	}
	for name, tc := range map[string]struct{ doc, input, media, want string }{
		"json":        {post("application/json", `{"type":"object"}`, ""), `{"body":{"n":10000000000000001}}`, "application/json", `{"n":10000000000000001}`},
		"json suffix": {post("application/vnd.x+json", `{}`, ""), `{"body":[1]}`, "application/vnd.x+json", `[1]`},
		"form": {post("application/x-www-form-urlencoded", `{"type":"object"}`, ""), `{"body":{"a":"1 2","l":["x","y"],"o":{"k":1}}}`,
			"application/x-www-form-urlencoded", `a=1%202&l=x&l=y&o=%7B%22k%22%3A1%7D`},
		"deep form": {post("application/x-www-form-urlencoded", `{"type":"object"}`, `,"encoding":{"o":{"style":"deepObject","explode":true}}`), `{"body":{"o":{"k":{"m":1}}}}`,
			"application/x-www-form-urlencoded", `o[k][m]=1`},
		"text":  {post("text/plain", `{}`, ""), `{"body":"hello"}`, "text/plain", `hello`},
		"bytes": {post("application/octet-stream", `{}`, ""), `{"body":"AAEC"}`, "application/octet-stream", "\x00\x01\x02"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := sentBy(t, tc.doc, "post", tc.input, nil)
			require.Equal(t, tc.media, got.Header.Get("Content-Type"))
			require.Equal(t, tc.want, got.Body)
		})
	}
	t.Run("multipart", func(t *testing.T) {
		t.Parallel()
		doc := post("multipart/form-data", `{"type":"object","properties":{"file":{"type":"string","format":"binary"},"tags":{"type":"array","items":{"type":"string"}},"o":{"type":"object"}}}`, "")
		got := sentBy(t, doc, "post", `{"body":{"file":{"filename":"a.bin","base64":"AAE="},"tags":["x","y"],"o":{"k":1}}}`, nil)
		_, params, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
		require.NoError(t, err)
		var parts []string
		for r := multipart.NewReader(strings.NewReader(got.Body), params["boundary"]); ; {
			p, err := r.NextPart()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			content, err := io.ReadAll(p)
			require.NoError(t, err)
			parts = append(parts, fmt.Sprintf("%s %s %q", p.FormName(), p.FileName(), content))
		}
		require.Equal(t, []string{`file a.bin "\x00\x01"`, `o  "{\"k\":1}"`, `tags  "x"`, `tags  "y"`}, parts)
	})
}

func TestSecuritySchemesBecomeWaysOfAuth(t *testing.T) {
	t.Parallel()
	doc := document("3.0.3", `"/x":{"get":{"operationId":"get","parameters":[{"name":"api_key","in":"query"}]}}`, `,"security":[{"q":[]}],"components":{"securitySchemes":{
		"b":{"type":"http","scheme":"bearer"},"q":{"type":"apiKey","in":"query","name":"api_key"},
		"o":{"type":"oauth2","flows":{"clientCredentials":{"tokenUrl":"https://a.example/token","scopes":{}}}}}}`)
	spec := open(t, doc, "https://api.example.com:8443/v1").Spec().Connection
	require.Equal(t, []connectors.AuthType{"query", "bearer", "oauth2", "none"}, spec.Auth)
	require.Equal(t, []string{"api.example.com:8443"}, spec.Hosts)
	got := sentBy(t, doc, "get", `{}`, &connectors.Connection{Auth: connectors.Auth{Type: connectors.AuthQuery, Name: "api_key"}, Secrets: map[string]string{"value": "s3cret"}})
	require.Equal(t, "api_key=s3cret", got.Query)
}

func TestOlderSchemasBecomeNewerOnes(t *testing.T) {
	t.Parallel()
	doc := document("3.0.3", `"/x":{"post":{"operationId":"post","requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/A"}}}}}}`,
		`,"components":{"schemas":{"A":{"type":"object","required":["id","n"],"properties":{
			"id":{"type":"string","readOnly":true},"n":{"type":"integer","nullable":true,"minimum":1,"exclusiveMinimum":true},
			"e":{"type":"string","enum":["a"],"nullable":true},"child":{"$ref":"#/components/schemas/A"},"odd":{"type":"file","pattern":"(?=x)","maximum":"3"}}}}}`)
	c := open(t, doc, "https://example.com")
	for input, fault := range map[string]string{
		`{"body":{"n":2}}`:               "",
		`{"body":{"n":null,"e":null}}`:   "",
		`{"body":{"n":1}}`:               "body.n",
		`{"body":{}}`:                    "body.n: is required",
		`{"body":{"n":2,"e":"b"}}`:       "body.e",
		`{"body":{"n":2,"child":{}}}`:    "body.child.n: is required",
		`{"body":{"n":2,"odd":{"a":1}}}`: "",
	} {
		err := c.CheckInput("post", json.RawMessage(input))
		if fault == "" {
			require.NoError(t, err, input)
			continue
		}
		require.ErrorContains(t, err, fault, input)
	}
}

func TestFailuresOfTheServer(t *testing.T) {
	t.Parallel()
	peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, err := open(t, document("3.0.0", `"/x":{"get":{"operationId":"get"}}`, ""), peer.URL).Do(t.Context(), connectors.Request{Action: "get"})
	e := connectors.AsError(err)
	require.Equal(t, "http_429", e.Code)
	require.True(t, e.Retryable)
	require.Equal(t, 3*time.Second, e.RetryAfter)
}

func TestHostileDocumentsAreRefused(t *testing.T) {
	t.Parallel()
	var many, bomb strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, `"/p%d":{"get":{}},`, i)
	}
	bomb.WriteString("openapi: 3.1.0\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	one := func(ref string) string {
		return document("3.1.0", `"/x":{"get":{"parameters":[{"name":"q","in":"query","schema":{"$ref":"`+ref+`"}}]}}`, `,"components":{"schemas":{"A":{}},"parameters":{"P":{"$ref":"#/components/parameters/P"}}}`)
	}
	for name, tc := range map[string]struct{ doc, want string }{
		"too large":             {strings.Repeat(" ", connectors.MaxDocument+1), "more than the 16777216 allowed"},
		"10,000 operations":     {document("3.1.0", strings.TrimSuffix(many.String(), ","), ""), "2000 are allowed"},
		"aliases that multiply": {bomb.String(), "more than 2000000 values"},
		"values":                {`{"a":[` + strings.Repeat("1,", 2_000_001) + `1]}`, "more than 2000000 values"},
		"an alias of itself":    {"openapi: 3.1.0\na: &a [*a]\n", "nested deeper"},
		"depth of JSON":         {`{"a":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`, "nested deeper"},
		"depth of YAML":         {"a:\n" + deepYAML(300), "nested deeper"},
		"another document":      {one("https://evil.example/schema.json"), "leaves the document"},
		"a file":                {one("../../etc/passwd"), "leaves the document"},
		"a place there is not":  {one("#/components/schemas/B"), "leads nowhere"},
		"a circle of parameters": {document("3.1.0", `"/x":{"get":{"parameters":[{"$ref":"#/components/parameters/P"}]}}`,
			`,"components":{"parameters":{"P":{"$ref":"#/components/parameters/P"}}}`), "in a circle"},
		"a parameter elsewhere": {document("3.1.0", `"/x":{"get":{"parameters":[{"$ref":"https://evil.example/p"}]}}`, ""), "references to other documents"},
		"no operations":         {document("3.1.0", "", ""), "no operations"},
		"no UTF-8":              {"{\"openapi\":\"3.1.0\",\"a\":\"\xff\"}", "not UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			_, _, err := compile([]byte(tc.doc), source{server: "https://example.com"})
			require.ErrorContains(t, err, tc.want)
			require.Less(t, time.Since(began), 20*time.Second)
		})
	}
}

func deepYAML(n int) string {
	var out strings.Builder
	for i := range n {
		out.WriteString(strings.Repeat(" ", i+1) + "a:\n")
	}
	return out.String()
}

// A schema of thirty lines that branches in two on each would be looked at a billion
// times; so would one that branches into itself, for each level of the input.
func TestASchemaThatTakesForEverIsStopped(t *testing.T) {
	t.Parallel()
	var doubling strings.Builder
	for i := range 40 {
		fmt.Fprintf(&doubling, `"D%d":{"anyOf":[{"$ref":"#/components/schemas/D%d"},{"$ref":"#/components/schemas/D%d"}]},`, i, i+1, i+1)
	}
	for name, tc := range map[string]struct{ schemas, input string }{
		"branches": {doubling.String() + `"D40":{"type":"string","minLength":3}`, `1`},
		"formats":  {strings.ReplaceAll(doubling.String(), `{"anyOf"`, `{"format":"date","anyOf"`) + `"D40":{"format":"date"}`, `"2020-01-01x"`},
		"into itself": {`"D0":{"type":"object","properties":{"a":{"allOf":[{"$ref":"#/components/schemas/D0"},{"$ref":"#/components/schemas/D0"},{"$ref":"#/components/schemas/D0"}]}}}`,
			strings.Repeat(`{"a":`, 50) + "1" + strings.Repeat("}", 50)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc := document("3.1.0", `"/x":{"post":{"operationId":"post","requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/D0"}}}}}}`,
				`,"components":{"schemas":{`+tc.schemas+`}}`)
			c := open(t, doc, "https://example.com")
			began := time.Now()
			err := c.CheckInput("post", json.RawMessage(`{"body":`+tc.input+`}`))
			require.Equal(t, connectors.CodeInputInvalid, connectors.AsError(err).Code)
			require.Less(t, time.Since(began), 20*time.Second)
		})
	}
}

func TestNamesOfActions(t *testing.T) {
	t.Parallel()
	var names connectors.ActionNames
	for _, tc := range [][2]string{
		{"getPetById", "get_pet_by_id"}, {"get-pet-by-id", "get_pet_by_id_2"}, {"repos/list-for-org", "repos.list_for_org"},
		{"HTTPServer2Start", "http_server2_start"}, {"2fa", "n2fa"}, {"v1.users.get", "v1.users.get"}, {"a..b//c", "a.b.c"},
		{"日本", "action_9a0b9f6e"}, {"_x_", "x"},
	} {
		got := names.Take(tc[0])
		if strings.HasPrefix(tc[1], "action_") {
			require.Regexp(t, `^action_[0-9a-f]{8}$`, got)
			continue
		}
		require.Equal(t, tc[1], got, tc[0])
	}
	require.Len(t, names.Take(strings.Repeat("long", 100)), 100)
}
