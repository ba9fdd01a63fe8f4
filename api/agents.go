package api

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"time"

	"github.com/10ex/flows/agents"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// Agent is something that steps of type agent can call.
type Agent struct {
	Slug         string          `json:"slug"`
	Name         string          `json:"name"`
	Kind         string          `json:"kind" enum:"http,llm,platform"`
	Connection   *string         `json:"connection" doc:"Id of the connection it acts through, or null"`
	Config       json.RawMessage `json:"config"`
	InputSchema  json.RawMessage `json:"input_schema" doc:"JSON Schema of its input, or null"`
	OutputSchema json.RawMessage `json:"output_schema" doc:"JSON Schema of its output, or null"`
	CreatedAt    stamp           `json:"created_at"`
	UpdatedAt    stamp           `json:"updated_at"`
}

func showAgent(a *models.Agent) Agent {
	out := Agent{
		Slug: a.Slug, Name: a.Name, Kind: a.Kind, Config: a.Config, InputSchema: a.InputSchema, OutputSchema: a.OutputSchema,
		CreatedAt: stamp(a.CreatedAt), UpdatedAt: stamp(a.UpdatedAt),
	}
	if a.Connection != "" {
		out.Connection = &a.Connection
	}
	return out
}

type agentAnswer struct {
	Location string `header:"Location"`
	Body     Agent
}

type createAgentRequest struct {
	Body struct {
		Slug         string          `json:"slug" pattern:"^[a-z0-9][a-z0-9-]{0,63}$"`
		Name         string          `json:"name,omitempty" pattern:"^$|\\S" maxLength:"200" doc:"The slug if not given"`
		Kind         string          `json:"kind" doc:"What it is: http, llm or platform"`
		Connection   *string         `json:"connection,omitempty" doc:"Id of a connection that fits the kind"`
		Config       json.RawMessage `json:"config,omitempty" doc:"Depends on the kind"`
		InputSchema  json.RawMessage `json:"input_schema,omitempty" doc:"JSON Schema (2020-12)"`
		OutputSchema json.RawMessage `json:"output_schema,omitempty" doc:"JSON Schema (2020-12)"`
	}
}

func (a *API) createAgent(ctx context.Context, in *createAgentRequest) (*agentAnswer, error) {
	b := in.Body
	now := a.now()
	agent := &models.Agent{
		ID: models.AgentID(ids.Make(ctx, models.AgentPrefix)), Slug: b.Slug, Name: b.Name, Kind: b.Kind,
		Config: orNil(b.Config), InputSchema: orNil(b.InputSchema), OutputSchema: orNil(b.OutputSchema), CreatedAt: now, UpdatedAt: now,
	}
	if b.Connection != nil {
		agent.Connection = *b.Connection
	}
	if agent.Name == "" {
		agent.Name = agent.Slug
	}
	if err := a.checkAgent(ctx, agent); err != nil {
		return nil, err
	}
	t := a.store.For(workspace(ctx))
	if err := t.CreateAgent(ctx, agent); err != nil {
		have, missing := t.Agent(ctx, agent.Slug)
		if !errors.Is(err, models.ErrConflict) || missing != nil || have.ID != agent.ID {
			return nil, err
		}
		agent = have // a repeated request, the first try of which got this far
	}
	return &agentAnswer{Location: base + "/agents/" + agent.Slug, Body: showAgent(agent)}, nil
}

// checkAgent refuses an agent that could not be run.
func (a *API) checkAgent(ctx context.Context, agent *models.Agent) error {
	var found []models.FieldError
	checked := runnable(agent)
	if checked.Config == nil {
		checked.Config = json.RawMessage("{}")
	}
	var bad *agents.ConfigError
	if err := a.agents.Check(ctx, string(workspace(ctx)), checked); errors.As(err, &bad) {
		for _, f := range bad.Fields {
			loc := []any{"body"}
			for _, name := range f.Path {
				if n, err := strconv.Atoi(name); err == nil { // a place in a list
					loc = append(loc, n)
					continue
				}
				loc = append(loc, name)
			}
			found = append(found, models.FieldError{Loc: loc, Msg: f.Message, Type: "invalid"})
		}
	} else if err != nil {
		return err
	}
	for _, s := range []struct {
		name   string
		schema json.RawMessage
	}{{"input_schema", agent.InputSchema}, {"output_schema", agent.OutputSchema}} {
		if s.schema == nil {
			continue
		}
		if bad, ok := errors.AsType[*models.InvalidError](engine.CheckSchema(s.schema)); ok {
			for _, f := range bad.Fields {
				f.Loc = append([]any{"body", s.name}, f.Loc...)
				found = append(found, f)
			}
		}
	}
	if len(found) > 0 {
		return invalid(found...)
	}
	return nil
}

type listAgentsRequest struct{ ListQuery }

type agentsAnswer struct{ Body page[Agent] }

func (a *API) listAgents(ctx context.Context, in *listAgentsRequest) (*agentsAnswer, error) {
	p, err := readPage(ctx, in.ListQuery, byID("agents", models.AgentPrefix, func(a *models.Agent) models.AgentID { return a.ID }),
		func(p store.Page) ([]*models.Agent, error) { return a.store.For(workspace(ctx)).Agents(ctx, p) },
		showAgent)
	return &agentsAnswer{p}, err
}

// AgentPath is the path of everything about one agent.
type AgentPath struct {
	Slug string `path:"slug" doc:"Slug of an agent"`
}

var agentSlug = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

func (in AgentPath) slug() (string, error) {
	if !agentSlug.MatchString(in.Slug) {
		return "", models.ErrNotFound
	}
	return in.Slug, nil
}

func (a *API) getAgent(ctx context.Context, in *AgentPath) (*agentAnswer, error) {
	slug, err := in.slug()
	if err != nil {
		return nil, err
	}
	agent, err := a.store.For(workspace(ctx)).Agent(ctx, slug)
	if err != nil {
		return nil, err
	}
	return &agentAnswer{Body: showAgent(agent)}, nil
}

type patchAgentRequest struct {
	AgentPath
	Body struct {
		Name         *string         `json:"name,omitempty" minLength:"1" pattern:"^$|\\S" maxLength:"200"`
		Kind         *string         `json:"kind,omitempty"`
		Connection   json.RawMessage `json:"connection,omitempty" doc:"Id of a connection that fits the kind; null takes it away"`
		Config       json.RawMessage `json:"config,omitempty"`
		InputSchema  json.RawMessage `json:"input_schema,omitempty" doc:"An empty object allows everything"`
		OutputSchema json.RawMessage `json:"output_schema,omitempty" doc:"An empty object allows everything"`
	}
}

func (a *API) patchAgent(ctx context.Context, in *patchAgentRequest) (*agentAnswer, error) {
	slug, err := in.slug()
	if err != nil {
		return nil, err
	}
	b := in.Body
	connection, err := idOrNull(b.Connection)
	if err != nil {
		return nil, err
	}
	change := func(agent *models.Agent) {
		if b.Name != nil {
			agent.Name = *b.Name
		}
		if b.Kind != nil {
			agent.Kind = *b.Kind
		}
		if connection != nil {
			agent.Connection = *connection
		}
		for _, f := range []struct{ to, from *json.RawMessage }{
			{&agent.Config, &b.Config}, {&agent.InputSchema, &b.InputSchema}, {&agent.OutputSchema, &b.OutputSchema},
		} {
			if *f.from != nil {
				*f.to = orNil(*f.from) // null takes it away
			}
		}
	}
	// Whether it could be run is found out before, and not while the row is locked:
	// connections have to be looked up.
	t := a.store.For(workspace(ctx))
	agent, err := t.Agent(ctx, slug)
	if err != nil {
		return nil, err
	}
	before := *agent
	change(agent)
	if err := a.checkAgent(ctx, agent); err != nil {
		return nil, err
	}
	agent, err = t.UpdateAgent(ctx, slug, a.now(), func(agent *models.Agent) error {
		if !agent.UpdatedAt.Equal(before.UpdatedAt) {
			return models.Conflict(models.CodeConflict, "agent %q was changed meanwhile", slug)
		}
		change(agent)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &agentAnswer{Body: showAgent(agent)}, nil
}

func (a *API) deleteAgent(ctx context.Context, in *AgentPath) (*struct{}, error) {
	slug, err := in.slug()
	if err != nil {
		return nil, err
	}
	return nil, a.store.For(workspace(ctx)).DeleteAgent(ctx, slug)
}

// TestResult is what one call of an action or agent gave.
type TestResult struct {
	Status string                   `json:"status" enum:"completed,failed"`
	Output json.RawMessage          `json:"output"`
	Error  orNull[connectors.Error] `json:"error" doc:"Why it failed, or null"`
	Usage  orNull[connectors.Usage] `json:"usage" doc:"What it used, or null"`
	TookMS int64                    `json:"took_ms"`
}

type testAnswer struct{ Body TestResult }

// tested makes an answer of what a call gave. A call that failed is a test that
// worked.
func tested(r connectors.Response, err error, took time.Duration) *testAnswer {
	out := TestResult{Status: "completed", Output: r.Output, Usage: maybe(r.Usage), TookMS: took.Milliseconds()}
	if err != nil {
		out.Status, out.Output, out.Error = "failed", nil, maybe(connectors.AsError(err))
	}
	return &testAnswer{out}
}

// untested answers for a call that was not made: because of its connection, which the
// result tells, or because of the request, which is refused.
func untested(err error, took time.Duration) (*testAnswer, error) {
	if e, ok := errors.AsType[*connectors.Error](err); ok {
		return tested(connectors.Response{}, e, took), nil
	}
	return nil, err
}

type testAgentRequest struct {
	AgentPath
	Body *struct {
		Input json.RawMessage `json:"input,omitempty"`
	}
}

func (a *API) testAgent(ctx context.Context, in *testAgentRequest) (*testAnswer, error) {
	slug, err := in.slug()
	if err != nil {
		return nil, err
	}
	agent, err := a.store.For(workspace(ctx)).Agent(ctx, slug)
	if err != nil {
		return nil, err
	}
	req := a.testCall(ctx)
	if in.Body != nil {
		req.Input = in.Body.Input
	}
	began := time.Now()
	var guard connectors.Guard
	req.Guard = &guard
	resp, err := a.agents.Run(ctx, runnable(agent), req)
	resp, err = guard.Outcome(resp, err, a.cfg.MaxOutput)
	return tested(resp, err, time.Since(began)), nil
}

// runnable is an agent as those who run it want it.
func runnable(a *models.Agent) agents.Agent {
	return agents.Agent{
		Slug: a.Slug, Name: a.Name, Kind: a.Kind, Connection: a.Connection, Config: a.Config,
		InputSchema: a.InputSchema, OutputSchema: a.OutputSchema,
	}
}

// testCall is a call outside any run. Its key is new, or follows from the
// request's Idempotency-Key.
func (a *API) testCall(ctx context.Context) connectors.Request {
	return connectors.Request{
		WorkspaceID: string(workspace(ctx)), IdempotencyKey: ids.Make(ctx, "test"), Attempt: 1,
	}
}
