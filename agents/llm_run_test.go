package agents_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/agents"
	"github.com/10ex/flows/agents/llm"
	"github.com/10ex/flows/agents/llm/llmtest"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/connectors/core"
	httpconnector "github.com/10ex/flows/connectors/http"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/deltas"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

// office is a connector whose actions are an agent's tools.
type office struct {
	mu   sync.Mutex
	done []connectors.Request
	fail func(connectors.Request) error
}

func (o *office) Spec() connectors.Spec {
	schema := json.RawMessage(`{"type":"object","properties":{"to":{"type":"string"},"text":{"type":"string","minLength":2},"cc":{"type":"string"}},"required":["to","text"],"additionalProperties":false}`)
	return connectors.Spec{Slug: "office", Name: "Office", Description: "For tests.", Connection: &connectors.ConnectionSpec{Auth: []connectors.AuthType{connectors.AuthBearer}}, Actions: []connectors.Action{
		{Name: "find", Description: "Finds a person.", Input: json.RawMessage(`{"type":"object","properties":{"name":{"type":"string"}},"required":["name"],"additionalProperties":false}`), Output: json.RawMessage(`true`), Idempotent: true, NoEffect: true},
		{Name: "send", Description: "Sends a letter.", Input: schema, Output: json.RawMessage(`true`), Guarded: []string{"to", "cc"}},
	}}
}

func (o *office) Do(ctx context.Context, r connectors.Request) (connectors.Response, error) {
	if err := r.Begin(ctx); err != nil {
		return connectors.Response{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done = append(o.done, r)
	if o.fail != nil {
		if err := o.fail(r); err != nil {
			return connectors.Response{}, err
		}
	}
	return connectors.Response{Output: json.RawMessage(fmt.Sprintf(`{"did":%q,"echo":%q}`, r.Action, string(r.Input)))}, nil
}

func (o *office) requests() []connectors.Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]connectors.Request(nil), o.done...)
}

// desk is a Runner with a vendor, tools and a ledger.
type desk struct {
	vendor   *llmtest.Vendor
	office   *office
	ws       models.WorkspaceID
	ledger   *store.Tenant
	runner   *agents.Runner
	protocol string
	// catalogue has the tools, and conns the connections.
	catalogue *connectors.Catalogue
	conns     map[string]*connectors.Connection

	mu     sync.Mutex
	deltas []deltas.Delta
}

const toolSecret = "tool-canary-55aa55aa"

func newDesk(t *testing.T, s *store.Store, protocol string, script func(llmtest.Asked) llmtest.Reply) *desk {
	t.Helper()
	d := &desk{vendor: llmtest.New(t, script), office: &office{}, ws: models.WorkspaceID(ids.New("ws")), protocol: protocol}
	require.NoError(t, s.CreateWorkspace(t.Context(), &models.Workspace{ID: d.ws, Name: "Acme", CreatedAt: time.Now().UTC()}))
	d.ledger = s.For(d.ws)
	outside, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	t.Cleanup(outside.CloseIdleConnections)
	prices, err := llm.LoadPrices()
	require.NoError(t, err)
	registry, err := connectors.NewRegistry(
		core.Connector{}, httpconnector.New(outside), d.office, llm.NewOpenAIConnector(outside, prices), llm.NewAnthropicConnector(outside, prices),
	)
	require.NoError(t, err)
	ledger := func(ws models.WorkspaceID) agents.Ledger { return s.For(ws) }
	d.catalogue = connectors.NewCatalogue(registry, nil).WithSpending(agents.NewPurse(ledger, clock.System{}))
	host := strings.TrimPrefix(d.vendor.URL, "http://")
	conns := map[string]*connectors.Connection{
		"conn_openai": {
			ID: "conn_openai", Connector: llm.SlugOpenAI, BaseURL: d.vendor.URL + "/v1", Hosts: []string{host},
			Auth: connectors.Auth{Type: connectors.AuthBearer}, Secrets: map[string]string{connectors.SecretToken: llmtest.Key},
		},
		"conn_anthropic": {
			ID: "conn_anthropic", Connector: llm.SlugAnthropic, BaseURL: d.vendor.URL, Hosts: []string{host},
			Auth: connectors.Auth{Type: connectors.AuthHeader, Name: "X-Api-Key"}, Secrets: map[string]string{connectors.SecretValue: llmtest.Key},
		},
		"conn_office": {ID: "conn_office", Connector: "office", Auth: connectors.Auth{Type: connectors.AuthBearer}, Secrets: map[string]string{connectors.SecretToken: toolSecret}},
	}
	d.conns = conns
	find := func(ws models.WorkspaceID, id string) (*connectors.Connection, error) {
		if c := conns[id]; c != nil && ws == d.ws {
			return c, nil
		}
		return nil, fmt.Errorf("connection %s: %w", id, models.ErrNotFound)
	}
	d.runner, err = agents.New(agents.Deps{
		Egress: outside, Tools: d.catalogue, Clock: clock.System{},
		OpenFunc: func(_ context.Context, ws models.WorkspaceID, id string) (*connectors.Connection, error) {
			return find(ws, id)
		},
		PeekFunc: func(_ context.Context, ws models.WorkspaceID, id string) (string, error) {
			c, err := find(ws, id)
			if err != nil {
				return "", err
			}
			return c.Connector, nil
		},
		LedgerFunc: ledger,
		DeltaFunc: func(_ context.Context, delta deltas.Delta) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.deltas = append(d.deltas, delta)
		},
	})
	require.NoError(t, err)
	return d
}

func (d *desk) agent(config, output string) agents.Agent {
	a := agents.Agent{Slug: "clerk", Kind: agents.KindLLM, Connection: "conn_" + d.protocol, Config: json.RawMessage(config)}
	if output != "" {
		a.OutputSchema = json.RawMessage(output)
	}
	return a
}

func (d *desk) request(attempt int) agents.Request {
	return agents.Request{
		WorkspaceID: string(d.ws), WorkflowID: "wf_1", RunID: "run_1", StepID: "ask", Attempt: attempt,
		IdempotencyKey: "run_1:ask", Input: json.RawMessage(`{"name":"Ada","email":"ada@example.com"}`),
	}
}

func (d *desk) spent(t *testing.T, scope models.BudgetScope, subject string) models.BudgetDay {
	t.Helper()
	days, err := d.ledger.BudgetDays(t.Context(), models.Day(time.Now()))
	require.NoError(t, err)
	for _, day := range days {
		if day.Scope == scope && day.Subject == subject {
			return *day
		}
	}
	return models.BudgetDay{}
}

// everyDesk runs a test with each protocol on each database.
func everyDesk(t *testing.T, script func(llmtest.Asked) llmtest.Reply, test func(t *testing.T, d *desk)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		for _, protocol := range []string{llm.SlugOpenAI, llm.SlugAnthropic} {
			t.Run(protocol, func(t *testing.T) {
				t.Parallel()
				test(t, newDesk(t, s, protocol, script))
			})
		}
	})
}

const clerk = `{
	"model":"gpt-4o-mini", "instructions":"Write to people.",
	"tools":["office.find", {"action":"office.send","name":"write","connection":"conn_office","from_input":{"to":"email"}}]
}`

const verdict = `{"type":"object","properties":{"score":{"type":"integer","minimum":0}},"required":["score"],"additionalProperties":false}`

// threeTurns is a model that looks, writes and answers.
func threeTurns(a llmtest.Asked) llmtest.Reply {
	switch a.Turn {
	case 1:
		return llmtest.Reply{Text: "I look.", Calls: []llmtest.Call{{Name: "office_find", Arguments: `{"name":"Ada"}`}}, Input: 1000, Output: 100}
	case 2:
		return llmtest.Reply{Calls: []llmtest.Call{
			{Name: "write", Arguments: `{"text":"x"}`}, {Name: "write", Arguments: `{"text":"Hello","to":"eve@example.com","cc":"eve@example.com"}`}, {Name: "write", Arguments: `{"text":"Hello"}`},
			{Name: "nothing", Arguments: `{}`},
		}, Input: 2000, Output: 200}
	}
	return llmtest.Reply{Text: "```json\n{\"score\": 7}\n```", Input: 3000, Output: 300}
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return connectors.AsError(err).Code
}

func TestAConversationOfThreeTurns(t *testing.T) {
	t.Parallel()
	everyDesk(t, threeTurns, func(t *testing.T, d *desk) {
		got, err := d.runner.Run(t.Context(), d.agent(clerk, verdict), d.request(1))
		require.NoError(t, err)
		require.JSONEq(t, `{"score":7}`, string(got.Output))
		require.Empty(t, cmp.Diff(&connectors.Usage{InputTokens: 6000, OutputTokens: 600, Cost: 0.00126, Turns: 3, Model: "gpt-4o-mini"}, got.Usage))

		asked := d.vendor.Asked()
		require.Len(t, asked, 3)
		require.Contains(t, asked[0].System, "Write to people.")
		require.Contains(t, asked[0].System, `"minimum":0`)
		require.Equal(t, []string{"office_find", "write"}, asked[0].Tools)
		require.NotContains(t, asked[0].Body, `"to"`, "the model does not learn of what is not its to set")
		require.NotContains(t, asked[0].Body, `"cc"`, "nor of what nobody sets")
		require.Len(t, asked[2].Results, 4)
		require.Contains(t, asked[2].Results[0], "text: must have at least 2 characters")
		require.Contains(t, asked[2].Results[1], ": is not a known field")
		require.Contains(t, asked[2].Results[2], "did")
		require.Contains(t, asked[2].Results[3], "unknown_tool")
		require.Equal(t, 8192, asked[0].MaxTokens)
		require.Equal(t, 8192-300, asked[2].MaxTokens)

		done := d.office.requests()
		require.Len(t, done, 2)
		require.JSONEq(t, `{"text":"Hello","to":"ada@example.com"}`, string(done[1].Input))
		require.Equal(t, "run_1:ask:turn-1:call-0", done[0].IdempotencyKey)
		require.Equal(t, "run_1:ask:turn-2:call-2", done[1].IdempotencyKey)
		require.Equal(t, "conn_office", done[1].Connection.ID)
		require.Nil(t, done[0].Connection)

		var said strings.Builder
		for _, delta := range d.deltas {
			said.WriteString(delta.Text)
			require.Equal(t, "ask", delta.Step)
		}
		require.Equal(t, "I look.```json\n{\"score\": 7}\n```", said.String())
		require.EqualValues(t, 1_260_000, d.spent(t, models.BudgetWorkspace, "").CostSpent)
		require.EqualValues(t, 6600, d.spent(t, models.BudgetWorkflow, "wf_1").TokensSpent)
		require.EqualValues(t, 6600, d.spent(t, models.BudgetAgent, "clerk").TokensSpent)
		require.Zero(t, d.spent(t, models.BudgetAgent, "clerk").TokensReserved)
	})
}

func TestAnotherAttemptPaysForNothingTwice(t *testing.T) {
	t.Parallel()
	everyDesk(t, threeTurns, func(t *testing.T, d *desk) {
		lost := fmt.Errorf("the lease is lost")
		req := d.request(1)
		begun := 0
		req.BeforeEffect = func(context.Context) error {
			if begun++; begun > 4 { // three for turns one and two with their tools, and one for the letter
				return lost
			}
			return nil
		}
		_, err := d.runner.Run(t.Context(), d.agent(clerk, verdict), req)
		require.ErrorIs(t, err, lost)
		require.Equal(t, []int{1, 2}, d.vendor.Turns())

		got, err := d.runner.Run(t.Context(), d.agent(clerk, verdict), d.request(2))
		require.NoError(t, err)
		require.JSONEq(t, `{"score":7}`, string(got.Output))
		require.Equal(t, []int{1, 2, 3}, d.vendor.Turns(), "turns one and two were paid for once")
		require.Len(t, d.office.requests(), 2, "and their tools used once")
		require.Equal(t, 3, got.Usage.Turns)
		require.EqualValues(t, 6600, got.Usage.InputTokens+got.Usage.OutputTokens)
		require.EqualValues(t, 6600, d.spent(t, models.BudgetWorkspace, "").TokensSpent)

		again, err := d.runner.Run(t.Context(), d.agent(clerk, verdict), d.request(3))
		require.NoError(t, err)
		require.Equal(t, got, again)
		require.Len(t, d.vendor.Turns(), 3, "all was known")
	})
}

func TestAChangedAgentBeginsAnew(t *testing.T) {
	t.Parallel()
	everyDesk(t, threeTurns, func(t *testing.T, d *desk) {
		_, err := d.runner.Run(t.Context(), d.agent(clerk, verdict), d.request(1))
		require.NoError(t, err)
		changed := strings.Replace(clerk, "Write to people.", "Write nicely.", 1)
		for range 2 {
			got, err := d.runner.Run(t.Context(), d.agent(changed, verdict), d.request(2))
			require.NoError(t, err)
			require.Equal(t, 6, got.Usage.Turns, "what the first series has cost is not forgotten")
		}
		require.Equal(t, []int{1, 2, 3, 1, 2, 3}, d.vendor.Turns())
		done := d.office.requests()
		require.Equal(t, "run_1:ask:turn-2:call-2:series-1", done[3].IdempotencyKey)
	})
}

func TestAnEffectOfUnknownOutcomeIsNotRepeated(t *testing.T) {
	t.Parallel()
	everyDesk(t, func(a llmtest.Asked) llmtest.Reply {
		if a.Turn == 1 {
			return llmtest.Reply{Calls: []llmtest.Call{{Name: "write", Arguments: `{"text":"Hello"}`}}, Input: 1, Output: 1}
		}
		return llmtest.Reply{Text: a.Results[0], Input: 1, Output: 1}
	}, func(t *testing.T, d *desk) {
		ctx, crash := context.WithCancel(t.Context())
		d.office.fail = func(connectors.Request) error {
			crash()
			return connectors.NetworkError(ctx, ctx.Err())
		}
		_, err := d.runner.Run(ctx, d.agent(clerk, ""), d.request(1))
		require.Error(t, err)
		d.office.fail = nil
		got, err := d.runner.Run(t.Context(), d.agent(clerk, ""), d.request(2))
		require.NoError(t, err)
		require.Contains(t, string(got.Output), "outcome_unknown")
		require.Len(t, d.office.requests(), 1)
	})
}

func TestAnAnswerOfAToolThatDoesNotArriveIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		unsent bool
		calls  int
	}{"it was sent": {false, 1}, "it was not sent": {true, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyDesk(t, func(a llmtest.Asked) llmtest.Reply {
				if a.Turn == 1 {
					return llmtest.Reply{Calls: []llmtest.Call{{Name: "write", Arguments: `{"text":"Hello"}`}}, Input: 1, Output: 1}
				}
				return llmtest.Reply{Text: a.Results[0], Input: 1, Output: 1}
			}, func(t *testing.T, d *desk) {
				d.office.fail = func(connectors.Request) error {
					d.office.fail = nil
					return &connectors.Error{Code: connectors.CodeNetwork, Message: "the line broke", Retryable: true, Unsent: c.unsent}
				}
				got, err := d.runner.Run(t.Context(), d.agent(clerk, ""), d.request(1))
				if c.unsent {
					require.Equal(t, "network", code(err))
					got, err = d.runner.Run(t.Context(), d.agent(clerk, ""), d.request(2))
				}
				require.NoError(t, err)
				require.Equal(t, !c.unsent, strings.Contains(string(got.Output), "outcome_unknown"), string(got.Output))
				require.Len(t, d.office.requests(), c.calls)
			})
		})
	}
}

func TestAToolThatMayWorkLaterIsTriedAgainAlone(t *testing.T) {
	t.Parallel()
	everyDesk(t, func(a llmtest.Asked) llmtest.Reply {
		if a.Turn == 1 {
			return llmtest.Reply{Calls: []llmtest.Call{{Name: "office_find", Arguments: `{"name":"Ada"}`}, {Name: "write", Arguments: `{"text":"Hello"}`}}, Input: 1, Output: 1}
		}
		return llmtest.Reply{Text: "done", Input: 1, Output: 1}
	}, func(t *testing.T, d *desk) {
		d.office.fail = func(r connectors.Request) error {
			if r.Action == "send" {
				return connectors.RetryAfter(9*time.Second, &connectors.Error{Code: "http_503", Message: "busy with " + toolSecret, Status: 503})
			}
			return nil
		}
		_, err := d.runner.Run(t.Context(), d.agent(clerk, ""), d.request(1))
		e := connectors.AsError(err)
		require.Equal(t, "http_503", e.Code)
		require.True(t, e.Retryable)
		require.Equal(t, 9*time.Second, e.RetryAfter)
		require.Equal(t, "busy with [redacted]", e.Message)
		d.office.fail = nil
		got, err := d.runner.Run(t.Context(), d.agent(clerk, ""), d.request(2))
		require.NoError(t, err)
		require.JSONEq(t, `{"text":"done"}`, string(got.Output))
		require.Equal(t, []int{1, 2}, d.vendor.Turns())
		keys := map[string]int{}
		for _, r := range d.office.requests() {
			keys[r.IdempotencyKey]++
		}
		require.Equal(t, map[string]int{"run_1:ask:turn-1:call-0": 1, "run_1:ask:turn-1:call-1": 2}, keys)
	})
}

func TestOutputIsMendedTwiceAtMost(t *testing.T) {
	t.Parallel()
	wrong := []string{"seven", `{"score":"seven"}`, `{"score":-1}`}
	answering := func(right int) func(llmtest.Asked) llmtest.Reply {
		return func(a llmtest.Asked) llmtest.Reply {
			if a.Turn == right {
				return llmtest.Reply{Text: `{"score":7}`, Input: 10, Output: 1}
			}
			return llmtest.Reply{Text: wrong[a.Turn-1], Input: 10, Output: 1}
		}
	}
	everyDesk(t, answering(3), func(t *testing.T, d *desk) {
		got, err := d.runner.Run(t.Context(), d.agent(`{"model":"gpt-4o-mini"}`, verdict), d.request(1))
		require.NoError(t, err)
		require.JSONEq(t, `{"score":7}`, string(got.Output))
		asked := d.vendor.Asked()
		require.Contains(t, asked[1].Last, "is not JSON")
		require.Contains(t, asked[2].Last, "score: must be integer")
	})
	everyDesk(t, answering(4), func(t *testing.T, d *desk) {
		got, err := d.runner.Run(t.Context(), d.agent(`{"model":"gpt-4o-mini"}`, verdict), d.request(1))
		require.Equal(t, "output_invalid", code(err))
		require.False(t, connectors.AsError(err).Retryable)
		require.Len(t, d.vendor.Asked(), 3)
		require.Equal(t, 3, got.Usage.Turns, "what was used is told")
	})
}

func TestCapsStop(t *testing.T) {
	t.Parallel()
	looping := func(llmtest.Asked) llmtest.Reply {
		return llmtest.Reply{Calls: []llmtest.Call{{Name: "office_find", Arguments: `{"name":"Ada"}`}}, Input: 1000, Output: 100}
	}
	for name, tc := range map[string]struct {
		config, code string
		turns, tools int
	}{
		"turns":                {`{"model":"gpt-4o-mini","tools":["office.find"],"max_turns":3}`, "max_turns", 3, 2},
		"tokens":               {`{"model":"gpt-4o-mini","tools":["office.find"],"max_tokens":200}`, "max_tokens", 2, 2},
		"dollars a call":       {`{"model":"gpt-4o-mini","tools":["office.find"],"max_tokens":1000,"budget":0.0011}`, "budget_exceeded", 3, 3},
		"tokens a call":        {`{"model":"gpt-4o-mini","tools":["office.find"],"max_tokens":1000,"budget":{"per_run":{"tokens":4000}}}`, "budget_exceeded", 3, 3},
		"dollars a day":        {`{"model":"gpt-4o-mini","tools":["office.find"],"max_tokens":1000,"budget":{"per_day":0.0011}}`, "budget_exceeded", 3, 3},
		"a model nobody knows": {`{"model":"home-made","tools":["office.find"],"max_tokens":1000,"price":{"input":0.15,"output":0.6},"budget":0.0011}`, "budget_exceeded", 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyDesk(t, looping, func(t *testing.T, d *desk) {
				got, err := d.runner.Run(t.Context(), d.agent(tc.config, ""), d.request(1))
				require.Equal(t, tc.code, code(err))
				require.False(t, connectors.AsError(err).Retryable)
				require.Len(t, d.vendor.Asked(), tc.turns)
				require.Len(t, d.office.requests(), tc.tools)
				require.Equal(t, tc.turns, got.Usage.Turns)
				require.EqualValues(t, 1100*tc.turns, d.spent(t, models.BudgetWorkspace, "").TokensSpent)
			})
		})
	}
}

func TestBudgetsOfWorkspaceAndWorkflowRefuse(t *testing.T) {
	t.Parallel()
	for _, scope := range []models.BudgetScope{models.BudgetWorkspace, models.BudgetWorkflow} {
		everyDesk(t, threeTurns, func(t *testing.T, d *desk) {
			subject := map[models.BudgetScope]string{models.BudgetWorkflow: "wf_1"}[scope]
			require.NoError(t, d.ledger.SetBudgets(t.Context(), []*models.Budget{{Scope: scope, Subject: subject, Cost: models.Unlimited, Tokens: 100, UpdatedAt: time.Now().UTC()}}))
			got, err := d.runner.Run(t.Context(), d.agent(clerk, verdict), d.request(1))
			require.Equal(t, "budget_exceeded", code(err))
			require.Contains(t, err.Error(), string(scope))
			require.Empty(t, d.vendor.Asked(), "nothing was asked")
			require.Nil(t, got.Usage)
		})
	}
}

func TestTimeAndEndOfContextStopAModelThatTalks(t *testing.T) {
	t.Parallel()
	never := make(chan struct{})
	talking := func(llmtest.Asked) llmtest.Reply { return llmtest.Reply{Text: "and so on and so on", Hold: never} }
	everyDesk(t, talking, func(t *testing.T, d *desk) {
		got, err := d.runner.Run(t.Context(), d.agent(`{"model":"gpt-4o-mini","timeout":"200ms"}`, ""), d.request(1))
		require.Equal(t, "timeout", code(err))
		require.False(t, connectors.AsError(err).Retryable, "the agent's own limit is final")
		require.True(t, got.Usage.Estimated, "what was heard has been paid for, as far as one can tell")
		require.Positive(t, d.spent(t, models.BudgetWorkspace, "").CostSpent)
		require.Zero(t, d.spent(t, models.BudgetAgent, "clerk").CostReserved)
	})
}

func TestAFailingVendorLeavesNothingSetAside(t *testing.T) {
	t.Parallel()
	everyDesk(t, func(llmtest.Asked) llmtest.Reply {
		return llmtest.Reply{Status: 429, RetryAfter: "7", Failure: "slow down"}
	}, func(t *testing.T, d *desk) {
		_, err := d.runner.Run(t.Context(), d.agent(`{"model":"gpt-4o-mini","budget":{"per_day":1}}`, ""), d.request(1))
		e := connectors.AsError(err)
		require.Equal(t, "http_429", e.Code)
		require.True(t, e.Retryable)
		require.Equal(t, 7*time.Second, e.RetryAfter)
		require.Zero(t, d.spent(t, models.BudgetAgent, "clerk").CostReserved)
	})
}

func TestAModelsPriceMayBeUnknown(t *testing.T) {
	t.Parallel()
	everyDesk(t, func(llmtest.Asked) llmtest.Reply { return llmtest.Reply{Text: "hi", Input: 5, Output: 5} }, func(t *testing.T, d *desk) {
		got, err := d.runner.Run(t.Context(), d.agent(`{"model":"home-made"}`, ""), d.request(1))
		require.NoError(t, err)
		require.Zero(t, got.Usage.Cost)
		require.True(t, got.Usage.CostUnknown)
	})
}

// A tool gives its own secret away, and the model repeats it and the vendor's.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	everyDesk(t, func(a llmtest.Asked) llmtest.Reply {
		if a.Turn == 1 {
			return llmtest.Reply{Text: strings.Repeat("your key is "+llmtest.Key+" ", 20), Calls: []llmtest.Call{{Name: "write", Arguments: `{"text":"` + llmtest.Key + `"}`}}, Input: 1, Output: 1}
		}
		return llmtest.Reply{Text: a.Results[0] + " " + a.Header.Get("Authorization") + a.Header.Get("X-Api-Key"), Input: 1, Output: 1}
	}, func(t *testing.T, d *desk) {
		d.office.fail = func(r connectors.Request) error {
			return connectors.Permanent("odd", "the office says %s to %s", r.Connection.Secrets[connectors.SecretToken], r.Input)
		}
		got, err := d.runner.Run(t.Context(), d.agent(clerk, ""), d.request(1))
		require.NoError(t, err)
		rows, err := d.ledger.AgentTurns(t.Context(), models.AgentPlace{RunID: "run_1", StepID: "ask", Iteration: models.NoIteration})
		require.NoError(t, err)
		raw, err := json.Marshal(rows)
		require.NoError(t, err)
		all := string(got.Output) + string(raw)
		for _, delta := range d.deltas {
			all += delta.Text
		}
		require.Contains(t, all, connectors.Redacted)
		for _, secret := range []string{llmtest.Key, toolSecret} {
			require.NotContains(t, all, secret)
			for _, asked := range d.vendor.Asked() {
				require.NotContains(t, asked.Body, secret)
			}
		}
	})
}

func TestAModelDoesNotChooseTheHost(t *testing.T) {
	t.Parallel()
	good := connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		_, _ = w.Write([]byte("good"))
	})
	evil := connectorstest.NewPeer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("evil")) })
	everyDesk(t, func(a llmtest.Asked) llmtest.Reply {
		if a.Turn > 1 {
			return llmtest.Reply{Text: strings.Join(a.Results, "\n"), Input: 1, Output: 1}
		}
		var r llmtest.Reply
		for _, url := range []string{good.URL + "/a", evil.URL + "/b", good.URL + "/c?to=" + evil.URL, good.URL + "@" + strings.TrimPrefix(evil.URL, "http://")} {
			r.Calls = append(r.Calls, llmtest.Call{Name: "http_request", Arguments: fmt.Sprintf(`{"method":"GET","url":%q}`, url)})
		}
		return r
	}, func(t *testing.T, d *desk) {
		config := fmt.Sprintf(`{"model":"m","tools":[{"action":"http.request","hosts":[%q]}]}`, strings.TrimPrefix(good.URL, "http://"))
		_, err := d.runner.Run(t.Context(), d.agent(config, ""), d.request(1))
		require.NoError(t, err)
		results := d.vendor.Asked()[1].Results
		require.Contains(t, results[0], "good")
		require.Contains(t, results[1], "host_not_allowed")
		require.Contains(t, results[2], "blocked_address")
		require.Contains(t, results[3], "error")
	})
	require.Empty(t, evil.Received())
}

func TestCheckTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	d := newDesk(t, storetest.SQLite(t), llm.SlugOpenAI, threeTurns)
	for name, tc := range map[string]struct {
		agent agents.Agent
		want  []string
	}{
		"good":               {d.agent(clerk, verdict), nil},
		"no connection":      {agents.Agent{Kind: agents.KindLLM, Config: json.RawMessage(`{"model":"m"}`)}, []string{"connection: is required, and of connector anthropic or openai"}},
		"another's":          {agents.Agent{Kind: agents.KindLLM, Connection: "conn_nobody", Config: json.RawMessage(`{"model":"m"}`)}, []string{"connection: there is no such connection"}},
		"of another kind":    {agents.Agent{Kind: agents.KindLLM, Connection: "conn_office", Config: json.RawMessage(`{"model":"m"}`)}, []string{"connection: must be of connector anthropic or openai"}},
		"no model":           {d.agent(`{}`, ""), []string{"config.model: is required"}},
		"turns":              {d.agent(`{"model":"m","max_turns":0}`, ""), []string{"config.max_turns: must be at least 1"}},
		"timeout":            {d.agent(`{"model":"m","timeout":"soon"}`, ""), []string{`config.timeout: "soon" is not a duration such as 30s, 5m or 1d`}},
		"dollars of unknown": {d.agent(`{"model":"home-made","budget":1}`, ""), []string{"config.price: is required: no price is known for the model, so a budget in dollars cannot be kept"}},
		"unknown tool":       {d.agent(`{"model":"m","tools":["office.fly"]}`, ""), []string{`config.tools.0.action: there is no action "office.fly"`}},
		"no action":          {d.agent(`{"model":"m","tools":["office"]}`, ""), []string{"config.tools.0: must name an action as connector.action"}},
		"free host":          {d.agent(`{"model":"m","tools":["http.request"]}`, ""), []string{"config.tools.0.hosts: is required, or a connection: a model does not choose the host"}},
		"hosts that are none": {d.agent(`{"model":"m","tools":[{"action":"http.request","hosts":["api.example.com:8443","https://example.com/","*"]}]}`, ""), []string{
			"config.tools.0.hosts.1: must be a host such as api.example.com, api.example.com:8443 or *.example.com", "config.tools.0.hosts.2: must be a host such as api.example.com, api.example.com:8443 or *.example.com",
		}},
		"fields that are none": {d.agent(`{"model":"m","tools":[{"action":"office.find","input":{"surname":"x"},"from_input":{"age":"a"}}]}`, ""), []string{
			"config.tools.0.input.surname: is not a field of the action's input", "config.tools.0.from_input.age: is not a field of the action's input",
		}},
		"free recipient":      {d.agent(`{"model":"m","tools":["office.find","office.send"]}`, ""), []string{"config.tools.1.input.to: has to be set here or in from_input: a model does not choose it"}},
		"twice":               {d.agent(`{"model":"m","tools":["office.find","office.find"]}`, ""), []string{`config.tools.1.name: another tool is called "office_find"`}},
		"tool's connection":   {d.agent(`{"model":"m","tools":[{"action":"office.find","connection":"conn_nobody"}]}`, ""), []string{"config.tools.0.connection: there is no such connection"}},
		"tool's other's":      {d.agent(`{"model":"m","tools":[{"action":"office.find","connection":"conn_openai"}]}`, ""), []string{"config.tools.0.connection: must be of connector office"}},
		"short form in wrong": {d.agent(`{"model":"m","budget":"much"}`, ""), []string{"config.budget: must be object"}},
	} {
		err := d.runner.Check(t.Context(), string(d.ws), tc.agent)
		if tc.want == nil {
			require.NoError(t, err, name)
			continue
		}
		require.EqualError(t, err, strings.Join(tc.want, "; "), name)
	}
	err := d.runner.Check(t.Context(), "ws_other", d.agent(`{"model":"m"}`, ""))
	require.EqualError(t, err, "connection: there is no such connection", "the workspace counts")
}
