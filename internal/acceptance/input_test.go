package acceptance_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// badInput is a request that must be refused, and how.
type badInput struct {
	name, method, path string
	body               []byte
	status             int
	code               string
	says               []string // what must stand in the answer
	contentType        string   // default: JSON
}

// graphOf is a body with a graph of these steps and edges.
func graphOf(steps, edges string) []byte {
	return fmt.Appendf(nil, `{"name":"bad","graph":{"steps":[%s],"edges":[%s]}}`, steps, edges)
}

// many joins what is made for 0 … n-1.
func many(n int, one func(i int) string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = one(i)
	}
	return strings.Join(all, ",")
}

func link(from, to string) string { return fmt.Sprintf(`{"from":%q,"to":%q}`, from, to) }

func badInputs(workflow string) []badInput {
	a, b := set("a", `{}`), set("b", `{}`)
	numbered := func(i int) string { return set("s"+strconv.Itoa(i), `{}`) }
	// Every pair of 101 steps, but for the last ones, makes a few more than 5000.
	var pairs []string
	for i := range 101 {
		for j := i + 1; j < 101; j++ {
			pairs = append(pairs, link("s"+strconv.Itoa(i), "s"+strconv.Itoa(j)))
		}
	}
	deep := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	trigger := "/workflows/" + workflow + "/trigger"
	save := func(name string, body []byte, says ...string) badInput {
		return badInput{name: name, method: "POST", path: "/workflows", body: body, status: http.StatusUnprocessableEntity, code: "invalid", says: says}
	}
	send := func(name, path string, body []byte, status int, code string, says ...string) badInput {
		return badInput{name: name, method: "POST", path: path, body: body, status: status, code: code, says: says}
	}
	return []badInput{
		save("a cycle", graphOf(a+","+b, link("a", "b")+","+link("b", "a")), `"graph","edges"`, "a → b → a"),
		save("a step after itself", graphOf(a, link("a", "a")), `"edges"`, "a → a"),
		save("a long cycle", graphOf(many(1000, numbered), many(1000, func(i int) string {
			return link("s"+strconv.Itoa(i), "s"+strconv.Itoa((i+1)%1000))
		})), `"edges"`, "s0 → s1"),
		save("no steps", graphOf("", ""), `"graph","steps"`),
		save("too many steps", graphOf(many(1001, numbered), ""), `"graph","steps"`, "1000"),
		save("too many edges", graphOf(many(101, numbered), strings.Join(pairs[:5001], ",")), `"graph","edges"`, "5000"),
		save("a step twice", graphOf(a+","+a, ""), `"steps",1,"id"`),
		save("an edge to nowhere", graphOf(a, link("a", "z")), `"edges",0`),
		save("an id that is none", graphOf(set("1 a", `{}`), ""), `"steps",0,"id"`),
		save("two defaults", graphOf(`{"id":"r","type":"branch"},`+a+","+b,
			`{"from":"r","to":"a","default":true},{"from":"r","to":"b","default":true}`), `"edges",1`),
		save("an unknown agent", graphOf(`{"id":"a","type":"agent","agent":"nobody","input":{}}`, ""), `"steps",0,"agent"`, "nobody"),
		save("an unknown connector", graphOf(`{"id":"a","type":"connector","connector":"nope","action":"set"}`, ""), `"steps",0,"connector"`),
		save("an unknown action", graphOf(`{"id":"a","type":"connector","connector":"core","action":"nope"}`, ""), `"steps",0,"action"`),
		save("a bad expression", graphOf(a+","+`{"id":"b","type":"connector","connector":"core","action":"set","input":{},"if":"payload.n >"}`, ""),
			`"steps",1,"if"`, "line 1, column 11"),
		save("a bad expression in a template", graphOf(set("a", `{"x":["{{ payload.n + }}"]}`), ""), `"steps",0,"input"`, "line 1, column"),
		save("a bad condition", graphOf(`{"id":"r","type":"branch"},`+a, `{"from":"r","to":"a","when":"payload.n = 1"}`), `"edges",0,"when"`, "column"),
		save("an unknown field", []byte(`{"name":"bad","graph":{"steps":[`+a+`]},"extra":1}`), `"body","extra"`),
		save("NUL in a name", []byte(`{"name":"a\u0000b","graph":{"steps":[`+a+`]}}`), `u0000`),
		save("nested 100,000 deep", []byte(`{"name":"bad","graph":`+string(deep(100_000))+`}`), "64"),
		save("an input nested too deep", graphOf(set("a", string(deep(65))), ""), "64"),

		send("not JSON", "/workflows", []byte(`{"name":`), http.StatusBadRequest, "malformed"),
		send("not UTF-8", "/workflows", []byte("{\"name\":\"\xff\"}"), http.StatusBadRequest, "malformed"),
		send("more than one JSON", "/workflows", []byte(`{} {}`), http.StatusBadRequest, "malformed"),
		{
			name: "no JSON at all", method: "POST", path: "/workflows", body: []byte(`name=bad`), contentType: "application/x-www-form-urlencoded",
			status: http.StatusUnsupportedMediaType, code: "unsupported_media_type",
		},
		send("NUL in a payload", trigger, []byte(`{"payload":{"a":"\u0000"}}`), http.StatusUnprocessableEntity, "invalid", "u0000"),
		send("NUL in a name in a payload", trigger, []byte(`{"payload":{"\u0000":1}}`), http.StatusUnprocessableEntity, "invalid", "u0000"),
		send("a payload nested 100,000 deep", trigger, []byte(`{"payload":`+string(deep(100_000))+`}`), http.StatusUnprocessableEntity, "invalid", "64"),
		send("a version there is not", trigger, []byte(`{"version":7}`), http.StatusNotFound, "not_found"),
		send("a batch of none", trigger+"/batch", []byte(`{"items":[]}`), http.StatusUnprocessableEntity, "invalid", `"items"`),
		send("a batch too large", trigger+"/batch", []byte(`{"items":[`+many(501, func(int) string { return `{}` })+`]}`),
			http.StatusUnprocessableEntity, "invalid", `"items"`),
		{name: "a page too large", method: "GET", path: "/runs?limit=201", status: http.StatusUnprocessableEntity, code: "invalid", says: []string{`"limit"`}},
		{name: "a cursor that is none", method: "GET", path: "/runs?cursor=x", status: http.StatusBadRequest, code: "invalid_cursor"},
		{name: "a status there is not", method: "GET", path: "/runs?status=odd", status: http.StatusUnprocessableEntity, code: "invalid"},
		{name: "an id that is none", method: "GET", path: "/runs/%00", status: http.StatusNotFound, code: "not_found"},
		{name: "no such route", method: "GET", path: "/nothing", status: http.StatusNotFound, code: "not_found"},
	}
}

// problem is what every refusal is.
type problem struct {
	Type, Title, Detail, Code string
	Status                    int
	RequestID                 string `json:"request_id"`
	Errors                    []struct {
		Loc []any
		Msg string
	}
}

// leaks are words that only the inside knows.
var leaks = regexp.MustCompile(`(?i)goroutine|\.go:\d|panic|sqlstate|pgx|postgres|redis|bun\b|fiber|huma|json: |unmarshal`)

func TestBadInputIsRefusedQuicklyAndLeavesNothing(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	alone(t)
	f := newFleet(t, "plain")
	wf := f.workflow(t, chain(set("a", `{}`)))
	rows, memory := f.rows(t), f.memory(t)

	slowest := time.Duration(0)
	for _, in := range badInputs(wf) {
		var got answer
		// Twice, for the first asks for things to be made ready; and under a key, which
		// must not be kept either.
		for range 2 {
			headers := []string{"Idempotency-Key", "bad"}
			if in.contentType != "" {
				headers = append(headers, "Content-Type", in.contentType)
			}
			var err error
			got, err = f.ask(in.method, in.path, in.body, headers...)
			require.NoError(t, err, in.name)
		}
		requireProblem(t, in, got)
		slowest = max(slowest, got.took)
	}
	t.Logf("the slowest refusal took %s", slowest)
	require.Less(t, slowest, time.Second)

	t.Run("a body of 50 MB", func(t *testing.T) { f.requireTooLarge(t) })
	require.Equal(t, rows, f.rows(t), "nothing is left behind")
	grown := f.memory(t) - memory
	t.Logf("memory grew by %d MB", grown>>20)
	require.Less(t, grown, 100<<20)
	// It is as alive as before.
	id, err := f.trigger(wf, "good", map[string]int{})
	require.NoError(t, err)
	require.NotEmpty(t, id)
	f.requireNoErrors(t)
	f.api.terminate(t)
	<-f.api.done
	require.Zero(t, f.api.code)
}

func requireProblem(t *testing.T, in badInput, got answer) {
	t.Helper()
	require.Equal(t, in.status, got.status, "%s: %s", in.name, got)
	require.Equal(t, "application/problem+json", got.header.Get("Content-Type"), in.name)
	var p problem
	require.NoError(t, got.read(&p), in.name)
	require.Equal(t, in.code, p.Code, "%s: %s", in.name, got)
	require.Equal(t, in.status, p.Status, in.name)
	require.Equal(t, p.RequestID, got.header.Get("X-Request-Id"), in.name)
	for _, text := range []string{p.Type, p.Title, p.Detail, p.RequestID} {
		require.NotEmpty(t, text, in.name)
	}
	namesFields := in.code == "invalid" || in.code == "invalid_cursor"
	require.Equal(t, namesFields, len(p.Errors) > 0, "%s: %s", in.name, got)
	for _, say := range in.says {
		require.Contains(t, string(got.body), say, in.name)
	}
	require.NotRegexp(t, leaks, string(got.body), in.name)
	require.Less(t, len(got.body), 100_000, "%s: an answer is no flood", in.name)
}

// requireTooLarge sends bodies that are too large, in both ways there are to send
// one, many at once.
func (f *fleet) requireTooLarge(t *testing.T) {
	t.Helper()
	const size = 50 << 20
	body := bytes.Repeat([]byte{' '}, size)
	inParallel(t, 8, 16, func(i int) error {
		var content io.Reader = bytes.NewReader(body)
		if i%2 == 1 {
			content = io.MultiReader(content) // whose length nobody knows
		}
		req, err := http.NewRequest(http.MethodPost, f.url+base+"/workflows", content)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+f.key)
		req.Header.Set("Content-Type", "application/json")
		got, err := f.send(req)
		var p problem
		switch {
		case err != nil:
			return fmt.Errorf("the client must get to read the answer: %w", err)
		case got.status != http.StatusRequestEntityTooLarge || got.took > 2*time.Second:
			return fmt.Errorf("want 413 at once, got %s after %s", got, got.took)
		case got.read(&p) != nil || p.Code != "too_large":
			return fmt.Errorf("want a problem, got %s", got)
		}
		return nil
	})
}

// rows counts what is in each table.
func (f *fleet) rows(t *testing.T) map[string]int {
	t.Helper()
	found, err := f.db.Query(t.Context(), `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()`)
	require.NoError(t, err)
	var names []string
	for found.Next() {
		var name string
		require.NoError(t, found.Scan(&name))
		names = append(names, name)
	}
	require.NoError(t, found.Err())
	require.NotEmpty(t, names)
	n := map[string]int{}
	for _, name := range names {
		n[name] = f.number(t, `SELECT count(*) FROM `+name)
	}
	return n
}

// memory is how many bytes the API holds.
func (f *fleet) memory(t *testing.T) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/metrics", nil)
	require.NoError(t, err)
	got, err := f.send(req)
	require.NoError(t, err)
	found := regexp.MustCompile(`(?m)^process_resident_memory_bytes (\S+)$`).FindSubmatch(got.body)
	require.NotNil(t, found)
	bytes, err := strconv.ParseFloat(string(found[1]), 64)
	require.NoError(t, err)
	return int(bytes)
}

// things are ids of a workspace, by the name of the parameter in a path.
type things struct{ workflow, run, agent, key string }

// path fills the parameters of a route in. ok is false where none of them is the
// id of something that a workspace has.
func (x things) path(route string) (path string, ok bool) {
	var ids string
	switch {
	case strings.Contains(route, "/workflows/{"):
		ids = x.workflow
	case strings.Contains(route, "/runs/{"):
		ids = x.run
	case strings.Contains(route, "/agents/{"):
		ids = x.agent
	case strings.Contains(route, "/api-keys/{"):
		ids = x.key
	default:
		return "", false
	}
	path = regexp.MustCompile(`/(workflows|runs|agents|api-keys)/\{[a-z]+\}`).ReplaceAllString(route, "/$1/"+ids)
	path = strings.NewReplacer("{n}", "1", "{step}", "ask").Replace(path)
	return path, !strings.Contains(path, "{")
}

// bodies are of the operations that look at theirs before they look for anything.
var bodies = map[string]string{
	"put-graph":     `{"graph":{"steps":[{"id":"a","type":"connector","connector":"core","action":"set"}]}}`,
	"trigger-batch": `{"items":[{}]}`,
}

var requestID = regexp.MustCompile(`"request_id":"[^"]*"`)

// Every route that the API says it has, also those that are added later, treats
// what another workspace has as if it had never been.
func TestAnotherWorkspaceIsAsIfItHadNeverBeen(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	alone(t)
	f := newFleet(t, "plain")
	_, stranger := f.tenant(t, f.url)

	theirs := things{agent: "robot"}
	theirs.workflow = f.workflow(t, chain(`{"id":"ask","type":"wait","approval":{}}`))
	var err error
	theirs.run, err = f.trigger(theirs.workflow, "one", map[string]int{})
	require.NoError(t, err)
	require.NoError(t, f.want(http.StatusCreated, "POST", "/agents", []byte(`{"slug":"robot","kind":"http","config":{"url":"https://agent.example"}}`), nil))
	var made struct{ ID string }
	require.NoError(t, f.want(http.StatusCreated, "POST", "/api/v1/admin/api-keys", []byte(`{"name":"second"}`), &made))
	theirs.key = made.ID
	// Ids like theirs that nobody ever had.
	other := func(id string) string { return id[:len(id)-4] + "0000" }
	never := things{other(theirs.workflow), other(theirs.run), "robot-of-nobody", other(theirs.key)}

	var document struct {
		Paths map[string]map[string]struct {
			Operation string `json:"operationId"`
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/openapi.json", nil)
	require.NoError(t, err)
	described, err := f.send(req)
	require.NoError(t, err)
	require.NoError(t, described.read(&document))

	before := f.rows(t)
	asked := 0
	for route, methods := range document.Paths {
		for method, op := range methods {
			path, ok := theirs.path(route)
			if !ok {
				continue
			}
			asked++
			var body []byte
			if method != "get" && method != "delete" {
				body = []byte(bodies[op.Operation])
				if len(body) == 0 {
					body = []byte(`{}`)
				}
			}
			ask := func(path string) answer {
				got, err := stranger.ask(strings.ToUpper(method), path, body)
				require.NoError(t, err)
				got.body = requestID.ReplaceAll(got.body, nil)
				return got
			}
			unknown, _ := never.path(route)
			got, want := ask(path), ask(unknown)
			require.Equal(t, http.StatusNotFound, got.status, "%s %s: %s", method, route, got)
			require.Equal(t, string(want.body), string(got.body), "%s %s", method, route)
			require.Equal(t, headerNames(want.header), headerNames(got.header), "%s %s", method, route)
		}
	}
	require.Greater(t, asked, 20, "the document lists the routes")

	// Ids in a query or a body find nothing either.
	for _, id := range []string{theirs.workflow, never.workflow} {
		left, err := stranger.has(id, open)
		require.NoError(t, err)
		require.False(t, left)
	}
	for _, id := range []string{theirs.run, never.run} {
		got, err := stranger.ask("POST", "/runs/bulk", fmt.Appendf(nil, `{"action":"cancel","ids":[%q]}`, id))
		require.NoError(t, err)
		require.NotContains(t, string(got.body), `"cancelled":1`)
	}
	require.Equal(t, before, f.rows(t))
	left, err := f.has(theirs.workflow, "waiting")
	require.NoError(t, err)
	require.True(t, left, "nothing of theirs was touched")
	f.requireNoErrors(t)
}

// headerNames lists an answer's headers: none may tell what the body does not.
func headerNames(h http.Header) []string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
