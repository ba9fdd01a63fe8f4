package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/internal/egress"
)

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		if err := exactServer().Run(context.Background(), &sdk.StdioTransport{}); err != nil {
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func kind(t *testing.T, cfg egress.Config) *Kind {
	t.Helper()
	client, err := egress.New(cfg)
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return NewKind(client)
}

// open registers what is at an address.
func open(t *testing.T, k *Kind, config string, conn *connectors.Connection) connectors.Registered {
	t.Helper()
	made, err := k.Compile(t.Context(), connectors.Registration{Slug: "tools", Config: json.RawMessage(config), Connection: conn})
	require.NoError(t, err)
	c, err := k.Open(connectors.Stored{Slug: "tools", Name: "Tools", Data: made.Data})
	require.NoError(t, err)
	return c
}

func call(t *testing.T, c connectors.Registered, action, input string, conn *connectors.Connection) (map[string]any, error) {
	t.Helper()
	resp, err := c.Do(t.Context(), connectors.Request{Action: action, Input: json.RawMessage(input), IdempotencyKey: "run_1:a", Connection: conn})
	if err != nil {
		return nil, err
	}
	a, _ := c.Action(action)
	schema, err := connectors.CompileSchema(a.Output)
	require.NoError(t, err)
	require.NoError(t, schema.CheckOutput(resp.Output), string(resp.Output))
	var out map[string]any
	require.NoError(t, json.Unmarshal(resp.Output, &out))
	return out, nil
}

var buildExample = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "mcp")
	if err != nil {
		return "", err
	}
	to := filepath.Join(dir, "everything")
	out, err := exec.Command("go", "build", "-o", to, "github.com/modelcontextprotocol/go-sdk/examples/server/everything").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return to, nil
})

// example is the program of a server that the authors of the SDK show.
func example(t *testing.T) string {
	t.Helper()
	program, err := buildExample()
	require.NoError(t, err)
	return program
}

func TestTheExampleServerOverASocket(t *testing.T) {
	t.Parallel()
	program := example(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	server := exec.CommandContext(t.Context(), program, "-http", address)
	require.NoError(t, server.Start())
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, 30*time.Second, 10*time.Millisecond)
	tryExample(t, open(t, kind(t, egress.Config{AllowPrivate: true}), `{"url":"http://`+address+`"}`, nil))

	_, err = kind(t, egress.Config{}).Compile(t.Context(), connectors.Registration{Config: json.RawMessage(`{"url":"http://` + address + `"}`)})
	require.Equal(t, connectors.CodeBlocked, connectors.AsError(err).Code)
}

func TestTheExampleServerOnStandardStreams(t *testing.T) {
	t.Parallel()
	program := example(t)
	config := fmt.Sprintf(`{"command":[%q]}`, program)
	tryExample(t, open(t, kind(t, egress.Config{}).WithPrograms(nil), config, nil))

	_, err := kind(t, egress.Config{}).Compile(t.Context(), connectors.Registration{Config: json.RawMessage(config)})
	require.ErrorContains(t, err, "not allowed here")
	made, err := kind(t, egress.Config{}).WithPrograms(nil).Compile(t.Context(), connectors.Registration{Config: json.RawMessage(config)})
	require.NoError(t, err)
	c, err := kind(t, egress.Config{}).Open(connectors.Stored{Slug: "x", Data: made.Data})
	require.NoError(t, err)
	_, err = c.Do(t.Context(), connectors.Request{Action: "greet", Input: json.RawMessage(`{"name":"Ann"}`)})
	require.Equal(t, connectors.CodeBlocked, connectors.AsError(err).Code, "the setting is asked at every call")
}

func tryExample(t *testing.T, c connectors.Registered) {
	t.Helper()
	var names []string
	for _, a := range c.Spec().Actions {
		names = append(names, a.Name)
	}
	require.Contains(t, names, "greet")
	require.Contains(t, names, "greet_structured")
	a, ok := c.Action("greet (structured)")
	require.True(t, ok, "what the server calls it is a name, too")
	require.Contains(t, string(a.Output), `"structured":{`)
	out, err := call(t, c, "greet", `{"name":"Ann"}`, nil)
	require.NoError(t, err)
	require.Equal(t, []any{map[string]any{"type": "text", "text": "Hi Ann"}}, out["content"])
	out, err = call(t, c, "greet_structured", `{"name":"Ann"}`, nil)
	require.NoError(t, err)
	require.Equal(t, map[string]any{"message": "Hi Ann"}, out["structured"])
	require.ErrorContains(t, c.CheckInput("greet", json.RawMessage(`{"Nme":1}`)), "Nme: is not a known field")
}

// scripted is a server of the SDK with tools of our own behind a peer that remembers.
func scripted(t *testing.T, key string) *connectorstest.Peer {
	t.Helper()
	server := sdk.NewServer(&sdk.Implementation{Name: "scripted", Title: "Scripted", Version: "1"}, &sdk.ServerOptions{PageSize: 2, Instructions: "For tests."})
	add := func(name string, a *sdk.ToolAnnotations, do sdk.ToolHandler) {
		server.AddTool(&sdk.Tool{Name: name, Annotations: a, InputSchema: json.RawMessage(`{"type":"object","properties":{"n":{"$ref":"#/$defs/N"}},"$defs":{"N":{"type":"integer","minimum":1}}}`)}, do)
	}
	say := func(text string, failed bool) sdk.ToolHandler {
		return func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: text}}, IsError: failed}, nil
		}
	}
	add("read-it", &sdk.ToolAnnotations{ReadOnlyHint: true}, say("read", false))
	add("setIt", &sdk.ToolAnnotations{IdempotentHint: true}, say("no luck", true))
	add("do_it", nil, say("nothing there", true))
	add("fault", nil, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return nil, errors.New("broken")
	})
	over := make(chan struct{}) // a server without sessions does not hear that a client has gone
	add("hang", nil, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		<-over
		return nil, errors.New("over")
	})
	handler := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, &sdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
	peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
		if key != "" && r.Header.Get("Authorization") != "Bearer "+key {
			w.Header().Set("Retry-After", "7")
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	})
	t.Cleanup(func() { close(over) })
	return peer
}

func TestToolsBecomeActions(t *testing.T) {
	t.Parallel()
	peer := scripted(t, "")
	c := open(t, kind(t, egress.Config{AllowPrivate: true}), `{"url":"`+peer.URL+`"}`, nil)
	actions := map[string]connectors.Action{}
	for _, a := range c.Spec().Actions {
		actions[a.Name] = a
	}
	require.Len(t, actions, 5, "of three pages")
	require.True(t, actions["read_it"].NoEffect)
	require.True(t, actions["read_it"].Idempotent)
	require.True(t, actions["set_it"].Idempotent)
	require.False(t, actions["set_it"].NoEffect)
	require.False(t, actions["do_it"].Idempotent)
	require.ErrorContains(t, c.CheckInput("do_it", json.RawMessage(`{"n":0}`)), "n: must be at least 1")
	require.NoError(t, c.CheckInput("do_it", json.RawMessage(`{"n":1}`)))

	peer.Reset()
	_, err := call(t, c, "read_it", `{}`, nil)
	require.NoError(t, err)
	for _, key := range peer.Keys() {
		require.Equal(t, "run_1:a", key)
	}
	for action, want := range map[string]connectors.Error{
		"set_it": {Code: "tool_error", Message: "the tool failed: no luck", Retryable: true},
		"do_it":  {Code: "tool_error", Message: "the tool failed: nothing there"},
	} {
		_, err := call(t, c, action, `{}`, nil)
		e := connectors.AsError(err)
		require.Equal(t, want, connectors.Error{Code: e.Code, Message: e.Message, Retryable: e.Retryable})
	}
	_, err = call(t, c, "fault", `{}`, nil)
	require.Equal(t, "mcp_error", connectors.AsError(err).Code)
	_, err = c.Do(t.Context(), connectors.Request{Action: "nothing"})
	require.Equal(t, connectors.CodeUnknownAction, connectors.AsError(err).Code)

	lost := errors.New("the lease is lost")
	peer.Reset()
	_, err = c.Do(t.Context(), connectors.Request{Action: "do_it", BeforeEffect: func(context.Context) error { return lost }})
	require.ErrorIs(t, err, lost)
	require.Empty(t, peer.Received())
}

func TestACallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	peer := scripted(t, "")
	c := open(t, kind(t, egress.Config{AllowPrivate: true}), `{"url":"`+peer.URL+`"}`, nil)
	ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	began := time.Now()
	_, err := c.Do(ctx, connectors.Request{Action: "hang", Input: json.RawMessage("{}")})
	require.Equal(t, connectors.CodeTimeout, connectors.AsError(err).Code)
	require.Less(t, time.Since(began), 8*time.Second)
}

func TestCredentialsGoToTheServerAlone(t *testing.T) {
	t.Parallel()
	peer := scripted(t, "s3cret")
	k := kind(t, egress.Config{AllowPrivate: true})
	host := strings.TrimPrefix(peer.URL, "http://")
	conn := &connectors.Connection{ID: "conn_1", Auth: connectors.Auth{Type: connectors.AuthBearer}, Hosts: []string{host}, Secrets: map[string]string{"token": "s3cret"}}

	_, err := k.Compile(t.Context(), connectors.Registration{Config: json.RawMessage(`{"url":"` + peer.URL + `"}`)})
	e := connectors.AsError(err)
	require.Equal(t, "http_401", e.Code, e.Message)
	require.False(t, e.Retryable)
	c := open(t, k, `{"url":"`+peer.URL+`"}`, conn)
	_, err = call(t, c, "read_it", `{}`, conn)
	require.NoError(t, err)
	require.NoError(t, c.(connectors.Tester).TestConnection(t.Context(), conn))
	require.Equal(t, []string{host}, c.Spec().Connection.Hosts)

	away := connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, peer.URL, http.StatusTemporaryRedirect)
	})
	elsewhere := *conn
	elsewhere.Hosts = []string{strings.TrimPrefix(away.URL, "http://")}
	peer.Reset()
	_, err = k.Compile(t.Context(), connectors.Registration{Config: json.RawMessage(`{"url":"` + away.URL + `"}`), Connection: &elsewhere})
	require.Error(t, err)
	require.Empty(t, peer.Received(), "a redirect to another host is not followed")
	_, err = k.Compile(t.Context(), connectors.Registration{Config: json.RawMessage(`{"url":"` + peer.URL + `"}`), Connection: &elsewhere})
	require.Equal(t, connectors.CodeHostNotAllowed, connectors.AsError(err).Code)
	require.Empty(t, peer.Received())
}

func TestWhatIsNoServer(t *testing.T) {
	t.Parallel()
	k := kind(t, egress.Config{AllowPrivate: true})
	answering := func(status int, body string) string {
		return connectorstest.NewPeer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}).URL
	}
	for name, tc := range map[string]struct {
		config, want string
	}{
		"nothing said":    {`{}`, "is required"},
		"both":            {`{"url":"http://a","command":["b"]}`, "does not go with a url"},
		"another scheme":  {`{"url":"ftp://a"}`, "http"},
		"nobody there":    {`{"url":"http://127.0.0.1:1"}`, "refused"},
		"not found":       {`{"url":"` + answering(404, `{"message":"no such page"}`) + `"}`, "no such page"},
		"some page":       {`{"url":"` + answering(200, `{"a":1}`) + `"}`, "as an MCP server does"},
		"no JSON":         {`{"url":"` + answering(200, `<html>`) + `"}`, "as an MCP server does"},
		"an empty answer": {`{"url":"` + answering(202, ``) + `"}`, ""},
	} {
		ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
		_, err := k.Compile(ctx, connectors.Registration{Config: json.RawMessage(tc.config)})
		stop()
		require.Errorf(t, err, name)
		require.ErrorContains(t, err, tc.want, name)
	}
}

// What was asked for is there when a session ends; a server that does not hear of the
// end keeps nobody waiting.
func TestAServerThatDoesNotSayGoodbye(t *testing.T) {
	t.Parallel()
	server := sdk.NewServer(&sdk.Implementation{Name: "sessions", Version: "1"}, nil)
	server.AddTool(&sdk.Tool{Name: "read", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "read"}}}, nil
	})
	handler := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, &sdk.StreamableHTTPOptions{JSONResponse: true})
	over, asked := make(chan struct{}), make(chan struct{}, 10)
	peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			asked <- struct{}{}
			<-over
			return
		}
		handler.ServeHTTP(w, r)
	})
	t.Cleanup(func() {
		close(over)
		for s := range server.Sessions() {
			_ = s.Close()
		}
	})
	c := open(t, kind(t, egress.Config{AllowPrivate: true}), `{"url":"`+peer.URL+`"}`, nil)
	<-asked // of the registration
	began := time.Now()
	_, err := call(t, c, "read", `{}`, nil)
	require.NoError(t, err)
	<-asked
	require.Less(t, time.Since(began), 4*time.Second)
}
