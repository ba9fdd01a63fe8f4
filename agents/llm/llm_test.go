package llm_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/agents/llm"
	"github.com/10ex/flows/agents/llm/llmtest"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/internal/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func outside(t *testing.T) *egress.Client {
	t.Helper()
	c, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// eachWay asks a vendor by every protocol, streamed and whole.
func eachWay(t *testing.T, script func(llmtest.Asked) llmtest.Reply, test func(t *testing.T, v *llmtest.Vendor, ask func(llm.Question, func(string)) (*llm.Answer, error))) {
	t.Helper()
	for _, protocol := range []string{llm.SlugOpenAI, llm.SlugAnthropic} {
		for _, way := range []string{"streamed", "whole"} {
			t.Run(protocol+" "+way, func(t *testing.T) {
				t.Parallel()
				server := llmtest.New(t, script)
				var vendor llm.Vendor = llm.NewOpenAI(outside(t))
				if protocol == llm.SlugAnthropic {
					vendor = llm.NewAnthropic(outside(t))
				}
				c := connection(protocol, server.URL)
				test(t, server, func(q llm.Question, text func(string)) (*llm.Answer, error) {
					q.Stream = way == "streamed"
					return vendor.Ask(t.Context(), c, "key-1", q, text)
				})
			})
		}
	}
}

func connection(protocol, url string) *connectors.Connection {
	host := strings.TrimPrefix(url, "http://")
	if protocol == llm.SlugAnthropic {
		return &connectors.Connection{
			ID: "conn_1", Connector: protocol, BaseURL: url, Hosts: []string{host},
			Auth: connectors.Auth{Type: connectors.AuthBearer}, Secrets: map[string]string{connectors.SecretToken: llmtest.Key},
		}
	}
	return &connectors.Connection{
		ID: "conn_1", Connector: protocol, BaseURL: url + "/v1", Hosts: []string{host},
		Auth: connectors.Auth{Type: connectors.AuthBearer}, Secrets: map[string]string{connectors.SecretToken: llmtest.Key},
	}
}

func question() llm.Question {
	return llm.Question{
		Model: "small", System: "Be brief.", MaxTokens: 100,
		Messages: []llm.Message{
			{Role: llm.RoleUser, Text: "Look it up."},
			{Role: llm.RoleAssistant, Text: "I will.", Calls: []llm.Call{{ID: "c1", Name: "find", Arguments: `{"q":1}`}, {ID: "c2", Name: "find", Arguments: "no json"}}},
			{Role: llm.RoleTools, Results: []llm.Result{{ID: "c1", Content: "found"}, {ID: "c2", Content: "bad", Failed: true}}},
		},
		Tools: []llm.Tool{{Name: "find", Description: "Finds.", Input: json.RawMessage(`{"type":"object"}`)}},
	}
}

func TestAnAnswerIsTheSameHoweverItComes(t *testing.T) {
	t.Parallel()
	eachWay(t, func(llmtest.Asked) llmtest.Reply {
		return llmtest.Reply{
			Text: "Let me see – grüße 😀.", Input: 12, Output: 34,
			Calls: []llmtest.Call{{Name: "find", Arguments: `{"q":"ä","n":10000000000000001}`}, {Name: "find", Arguments: `{}`}},
		}
	}, func(t *testing.T, v *llmtest.Vendor, ask func(llm.Question, func(string)) (*llm.Answer, error)) {
		var heard strings.Builder
		a, err := ask(question(), func(s string) { heard.WriteString(s) })
		require.NoError(t, err)
		require.Equal(t, a.Text, heard.String())
		require.NotEqual(t, a.Calls[0].ID, a.Calls[1].ID)
		for i := range a.Calls {
			a.Calls[i].ID = ""
		}
		require.Empty(t, cmp.Diff(&llm.Answer{
			Text: "Let me see – grüße 😀.", Stop: llm.StopCalls, Model: "small", Usage: llm.Usage{Input: 12, Output: 34},
			Calls: []llm.Call{{Name: "find", Arguments: `{"q":"ä","n":10000000000000001}`}, {Name: "find", Arguments: `{}`}},
		}, a))
		asked := v.Asked()[0]
		require.Equal(t, 2, asked.Turn)
		require.Equal(t, []string{"found", "bad"}, asked.Results)
		require.Equal(t, []string{"find"}, asked.Tools)
		require.Equal(t, "Be brief.", asked.System)
		require.Equal(t, 100, asked.MaxTokens)
		require.Equal(t, "key-1", asked.Header.Get("Idempotency-Key"))
	})
}

func TestWhyAnAnswerEnds(t *testing.T) {
	t.Parallel()
	for stop, reply := range map[llm.Stop]llmtest.Reply{
		llm.StopDone: {Text: "a"}, llm.StopLength: {Text: "a", Length: true}, llm.StopRefused: {Text: "a", Refused: true},
	} {
		eachWay(t, func(llmtest.Asked) llmtest.Reply { return reply },
			func(t *testing.T, _ *llmtest.Vendor, ask func(llm.Question, func(string)) (*llm.Answer, error)) {
				a, err := ask(question(), nil)
				require.NoError(t, err)
				require.Equal(t, stop, a.Stop)
			})
	}
}

func TestFailuresAreThoseOfConnectors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reply llmtest.Reply
		want  connectors.Error
	}{
		"too many":   {llmtest.Reply{Status: 429, RetryAfter: "3", Failure: "slow down"}, connectors.Error{Code: "http_429", Retryable: true, RetryAfter: 3 * time.Second}},
		"overloaded": {llmtest.Reply{Status: 529, Failure: "Overloaded"}, connectors.Error{Code: "http_529", Retryable: true}},
		"bad":        {llmtest.Reply{Status: 400, Failure: "no such model"}, connectors.Error{Code: "http_400"}},
	} {
		eachWay(t, func(llmtest.Asked) llmtest.Reply { return tc.reply },
			func(t *testing.T, _ *llmtest.Vendor, ask func(llm.Question, func(string)) (*llm.Answer, error)) {
				_, err := ask(question(), nil)
				e := connectors.AsError(err)
				require.Equal(t, tc.want.Code, e.Code, name)
				require.Equal(t, tc.want.Retryable, e.Retryable, name)
				require.Equal(t, tc.want.RetryAfter, e.RetryAfter, name)
				require.Contains(t, e.Message, tc.reply.Failure)
			})
	}
}

func TestAStreamThatBreaksOffIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]llmtest.Reply{"cut": {Text: "half of", Break: true}, "told": {Text: "half of", Fail: true}} {
		for _, protocol := range []string{llm.SlugOpenAI, llm.SlugAnthropic} {
			t.Run(protocol+" "+name, func(t *testing.T) {
				t.Parallel()
				server := llmtest.New(t, func(llmtest.Asked) llmtest.Reply { return reply })
				var vendor llm.Vendor = llm.NewOpenAI(outside(t))
				if protocol == llm.SlugAnthropic {
					vendor = llm.NewAnthropic(outside(t))
				}
				q := question()
				q.Stream = true
				_, err := vendor.Ask(t.Context(), connection(protocol, server.URL), "", q, nil)
				require.True(t, connectors.AsError(err).Retryable, "%v", err)
			})
		}
	}
}

func TestUncountedTokensAreGuessed(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t, func(llmtest.Asked) llmtest.Reply {
		return llmtest.Reply{Text: strings.Repeat("word ", 80), Uncounted: true}
	})
	q := question()
	q.Stream = true
	a, err := llm.NewOpenAI(outside(t)).Ask(t.Context(), connection(llm.SlugOpenAI, server.URL), "", q, nil)
	require.NoError(t, err)
	require.True(t, a.Usage.Estimated)
	require.EqualValues(t, 101, a.Usage.Output)
	require.Positive(t, a.Usage.Input)
}

func TestServersThatOnlySpeakLikeOpenAI(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		contentType, body string
		want              llm.Answer
		code              string
	}{
		"plain answer to a stream": {"application/json", `{"choices":[{"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`,
			llm.Answer{Text: "hi", Stop: llm.StopDone, Model: "m", Usage: llm.Usage{Input: 1, Output: 2}}, ""},
		"calls that stop": {"application/json", `{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`,
			llm.Answer{Calls: []llm.Call{{ID: "call_1", Name: "f", Arguments: "{}"}}, Stop: llm.StopCalls, Model: "m", Usage: llm.Usage{Input: 1, Output: 2}}, ""},
		"calls that are not counted": {"text/event-stream", "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: [DONE]",
			llm.Answer{Calls: []llm.Call{{ID: "a", Name: "f", Arguments: "{}"}, {ID: "b", Name: "g", Arguments: "{}"}}, Stop: llm.StopCalls, Model: "m", Usage: llm.Usage{Input: 1, Output: 2}}, ""},
		"no farewell, no choices": {"text/event-stream", ": hello\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":null,\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
			llm.Answer{Text: "hi", Stop: llm.StopDone, Model: "m", Usage: llm.Usage{Input: 1, Output: 2}}, ""},
		"a page":    {"text/html", "<html>", llm.Answer{}, "bad_response"},
		"nonsense":  {"text/event-stream", "data: {\n\n", llm.Answer{}, "bad_response"},
		"no choice": {"application/json", `{"choices":[]}`, llm.Answer{}, "bad_response"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := connectorstest.NewPeer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tc.contentType)
				_, _ = w.Write([]byte(tc.body))
			})
			a, err := llm.NewOpenAI(outside(t)).Ask(t.Context(), &connectors.Connection{BaseURL: p.URL, Auth: connectors.Auth{Type: connectors.AuthNone}}, "",
				llm.Question{Model: "m", Stream: true, Messages: []llm.Message{{Role: llm.RoleUser, Text: "x"}}}, nil)
			if tc.code != "" {
				require.Equal(t, tc.code, connectors.AsError(err).Code)
				return
			}
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(&tc.want, a))
		})
	}
}

func TestWithoutAConnectionNothingIsSent(t *testing.T) {
	t.Parallel()
	for _, v := range []llm.Vendor{llm.NewOpenAI(outside(t)), llm.NewAnthropic(outside(t))} {
		_, err := v.Ask(t.Context(), nil, "", llm.Question{}, nil)
		require.Equal(t, connectors.CodeNotConnected, connectors.AsError(err).Code)
	}
}

func TestConnectors(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t, func(llmtest.Asked) llmtest.Reply { return llmtest.Reply{Text: "hello", Input: 1000, Output: 100} })
	prices, err := llm.LoadPrices()
	require.NoError(t, err)
	for _, c := range []*llm.Connector{llm.NewOpenAIConnector(outside(t), prices), llm.NewAnthropicConnector(outside(t), prices)} {
		slug := c.Spec().Slug
		registry, err := connectors.NewRegistry(c)
		require.NoError(t, err)
		conn := connection(slug, server.URL)
		require.NoError(t, c.TestConnection(t.Context(), conn))
		do := func(action, input string, conn *connectors.Connection) (connectors.Response, error) {
			return registry.Do(context.Background(), slug, connectors.Request{Action: action, Input: json.RawMessage(input), Connection: conn, IdempotencyKey: "k"})
		}
		got, err := do("chat", `{"model":"gpt-4o-mini","prompt":"hi"}`, conn)
		require.NoError(t, err)
		require.JSONEq(t, `{"text":"hello","model":"gpt-4o-mini","stop":"done"}`, string(got.Output))
		require.Equal(t, &connectors.Usage{InputTokens: 1000, OutputTokens: 100, Cost: 0.00021, Turns: 1, Model: "gpt-4o-mini"}, got.Usage)
		got, err = do("list_models", `{}`, conn)
		require.NoError(t, err)
		require.JSONEq(t, `{"models":["small","large"]}`, string(got.Output))

		wrong := *conn
		wrong.Secrets = map[string]string{connectors.SecretToken: "wrong-key-1", connectors.SecretValue: "wrong-key-1"}
		err = c.TestConnection(t.Context(), &wrong)
		require.Equal(t, "http_401", connectors.AsError(err).Code)
		elsewhere := *conn
		elsewhere.Hosts = []string{"api.example.com"}
		_, err = do("chat", `{"model":"m","prompt":"hi"}`, &elsewhere)
		require.Equal(t, connectors.CodeHostNotAllowed, connectors.AsError(err).Code)
		_, err = do("chat", `{"model":"m"}`, conn)
		require.Equal(t, connectors.CodeInputInvalid, connectors.AsError(err).Code)
	}
}

func TestPrices(t *testing.T) {
	t.Parallel()
	prices, err := llm.LoadPrices()
	require.NoError(t, err)
	for name, want := range map[string]bool{
		"gpt-4o-mini": true, "gpt-4o-mini-2024-07-18": true, "claude-sonnet-4-5-20250929": true, "claude-3-5-haiku-latest": true,
		"gpt-4o-minor": false, "llama3": false, "": false,
	} {
		_, known := prices.Of(name)
		require.Equal(t, want, known, name)
	}
	for model, p := range prices {
		require.Truef(t, p.Input > 0 && p.Output > p.Input && p.Cached != nil && *p.Cached < p.Input, "%s", model)
	}
	cached := 1.0
	p := llm.Price{Input: 2, Cached: &cached, Output: 8}
	require.EqualValues(t, 600*2000+400*1000+50*8000, p.Cost(llm.Usage{Input: 1000, Cached: 400, Output: 50}))
	require.EqualValues(t, 1, llm.Price{Input: 0.0001}.Cost(llm.Usage{Input: 1}), "a cost is rounded up")
	require.Equal(t, 0.25, llm.Dollars(llm.Nanos(0.25)))
	require.EqualValues(t, 100_000_000, llm.Nanos(0.1))
}
