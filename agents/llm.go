package agents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/10ex/flows/agents/llm"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/deltas"
	"github.com/10ex/flows/models"
)

// Codes of an agent of kind llm that was stopped.
const (
	codeMaxTurns       = "max_turns"
	codeMaxTokens      = "max_tokens"
	codeBudgetExceeded = "budget_exceeded"
	codeRefused        = "refused"
)

const (
	// maxCalls is how many tools a turn may use.
	maxCalls = 32
	// maxRepairs is how often the model is asked to mend its output.
	maxRepairs = 2
)

var errAgentTimeout = errors.New("the agent's own time is up")

// conversation is one attempt at a call of an agent of kind llm.
type conversation struct {
	runner     *Runner
	agent      Agent
	cfg        llmConfig
	req        Request
	output     *connectors.Schema
	connection *connectors.Connection
	vendor     llm.Vendor
	tools      []*tool
	secrets    secrets
	journal    *journal

	question llm.Question
	used     connectors.Usage
	cost     llm.Nano // of all turns, those of earlier attempts included
	written  int      // tokens the model wrote in this series
}

// runLLM holds a conversation until the model has its answer.
func (r *Runner) runLLM(ctx context.Context, a Agent, req Request) (Response, error) {
	cfg, err := parseLLMConfig(a.Config)
	if err != nil {
		return Response{}, connectors.Permanent(codeConfigInvalid, "the agent's %s", err.Error())
	}
	if cfg.timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, cfg.timeout, errAgentTimeout)
		defer stop()
	}
	c := &conversation{runner: r, agent: a, cfg: cfg, req: req, secrets: secretsOf(req)}
	resp, err := c.run(ctx)
	if errors.Is(context.Cause(ctx), errAgentTimeout) && err != nil {
		err = connectors.Permanent(connectors.CodeTimeout, "the agent did not finish within %s", cfg.Timeout)
	}
	return resp, c.secrets.error(err)
}

func (c *conversation) run(ctx context.Context) (Response, error) {
	if err := c.prepare(ctx); err != nil {
		return Response{}, err
	}
	output, err := c.talk(ctx)
	if errors.Is(err, errChanged) {
		// All begins anew; in a new series nothing can differ from what was.
		c.journal.restart()
		output, err = c.talk(ctx)
	}
	var usage *connectors.Usage
	if c.used.Turns > 0 {
		c.used.Cost = llm.Dollars(c.cost)
		usage = &c.used
	}
	return Response{Output: output, Usage: usage}, err
}

// prepare opens what the conversation takes. Nothing is sent yet.
func (c *conversation) prepare(ctx context.Context) (err error) {
	r := c.runner
	slugs, _ := fitting(KindLLM)
	if c.connection, err = r.open(ctx, c.req.WorkspaceID, c.agent.Connection, slugs...); err != nil {
		return err
	}
	c.secrets.Watch(c.connection)
	c.vendor = r.vendors[c.connection.Connector]
	if c.output, err = r.schema(c.agent.OutputSchema); err != nil {
		return err
	}
	opened := map[string]*connectors.Connection{}
	for _, tc := range c.cfg.Tools {
		var t *tool
		var fault *toolFault
		err := r.patiently(ctx, func(ctx context.Context) (err error) {
			t, fault, err = r.makeTool(ctx, c.req.WorkspaceID, tc)
			return err
		})
		if err != nil {
			return err
		}
		if fault != nil {
			return connectors.Permanent(codeConfigInvalid, "the agent's tool %s: %s %s", tc.Action, strings.Join(fault.path, "."), fault.message)
		}
		if err := t.fill(c.req.Input); err != nil {
			return err
		}
		if id := t.cfg.Connection; id != "" {
			if t.connection = opened[id]; t.connection == nil {
				if t.connection, err = r.open(ctx, c.req.WorkspaceID, id); err != nil {
					return err
				}
				opened[id] = t.connection
				c.secrets.Watch(t.connection)
			}
			if of := t.connection.Connector; !slices.Contains(t.accounts, of) {
				return notOf(id, of, t.accounts)
			}
		}
		c.tools = append(c.tools, t)
	}
	c.journal, err = r.openJournal(ctx, c.req)
	return err
}

// ask is what the conversation begins with.
func (c *conversation) ask() {
	c.question = llm.Question{
		Model: c.cfg.Model, System: c.cfg.Instructions, Temperature: c.cfg.Temperature,
		Messages: []llm.Message{{Role: llm.RoleUser, Text: promptOf(c.req.Input)}},
		Stream:   c.cfg.Stream == nil || *c.cfg.Stream,
	}
	for _, t := range c.tools {
		c.question.Tools = append(c.question.Tools, t.Tool)
	}
	if c.structured() {
		c.question.Output = c.agent.OutputSchema
		c.question.System = strings.TrimSpace(c.question.System + "\n\nYour last answer must be one JSON value that fits this JSON Schema, " +
			"without any text around it:\n" + string(c.agent.OutputSchema))
	}
	c.used, c.cost, c.written = connectors.Usage{Model: c.cfg.Model}, 0, 0
	for _, u := range c.journal.past {
		c.count(u)
	}
	for _, u := range c.journal.pastTools {
		c.spend(u)
	}
}

func (c *conversation) structured() bool {
	s := string(c.agent.OutputSchema)
	return s != "" && s != "null" && s != "true" && s != "{}"
}

// promptOf is the input as the model reads it: a text as it is, anything else as JSON.
func promptOf(input json.RawMessage) string {
	var text string
	if json.Unmarshal(input, &text) == nil && text != "" {
		return text
	}
	return string(input)
}

// talk goes from turn to turn until there is an output.
func (c *conversation) talk(ctx context.Context) (json.RawMessage, error) {
	c.ask()
	repairs := 0
	for n := 1; n <= c.cfg.MaxTurns; n++ {
		a, err := c.turn(ctx, n)
		if err != nil {
			return nil, err
		}
		c.question.Messages = append(c.question.Messages, llm.Message{Role: llm.RoleAssistant, Text: a.Text, Calls: a.Calls})
		switch {
		case a.Stop == llm.StopLength:
			return nil, connectors.Permanent(codeMaxTokens, "the model reached its limit of %d tokens", c.cfg.MaxTokens)
		case a.Stop == llm.StopRefused:
			return nil, connectors.Permanent(codeRefused, "the model would not answer: %s", openText(a.Text, 500))
		case len(a.Calls) > 0 && n == c.cfg.MaxTurns:
			// Effects that nobody will look at are better not had.
		case len(a.Calls) > 0:
			results := make([]llm.Result, len(a.Calls))
			for i, call := range a.Calls {
				if results[i], err = c.use(ctx, n, i, call); err != nil {
					return nil, err
				}
			}
			c.question.Messages = append(c.question.Messages, llm.Message{Role: llm.RoleTools, Results: results})
		case !c.structured():
			return json.Marshal(map[string]string{"text": a.Text})
		default:
			output, faults := c.read(a.Text)
			if len(faults) == 0 {
				return output, nil
			}
			if repairs++; repairs > maxRepairs {
				return nil, c.output.CheckOutput(output)
			}
			c.question.Messages = append(c.question.Messages, llm.Message{Role: llm.RoleUser, Text: repair(faults)})
		}
	}
	return nil, connectors.Permanent(codeMaxTurns, "the agent did not finish within %d turns", c.cfg.MaxTurns)
}

// read finds the JSON in an answer and tells how it breaks the schema.
func (c *conversation) read(text string) (json.RawMessage, []connectors.Violation) {
	text = strings.TrimSpace(text)
	if fenced, ok := strings.CutPrefix(text, "```"); ok { // as models like to write it
		if _, body, ok := strings.Cut(fenced, "\n"); ok {
			text = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(body), "```"))
		}
	}
	raw, err := connectors.CleanJSON([]byte(text))
	if err != nil {
		return json.RawMessage(text), []connectors.Violation{{Message: "is not JSON"}}
	}
	return raw, c.output.Check(raw)
}

func repair(faults []connectors.Violation) string {
	const most = 20
	var b strings.Builder
	b.WriteString("That answer cannot be used:\n")
	for i, f := range faults {
		if i == most {
			fmt.Fprintf(&b, "and %d more\n", len(faults)-most)
			break
		}
		fmt.Fprintf(&b, "- %s\n", f)
	}
	b.WriteString("Answer again with the whole corrected JSON value, and nothing else.")
	return b.String()
}

// turn gives the answer of a turn: the one that was paid for already, or a new one.
func (c *conversation) turn(ctx context.Context, n int) (*llm.Answer, error) {
	q := c.question
	if q.MaxTokens = c.cfg.MaxTokens - c.written; q.MaxTokens < 1 {
		return nil, connectors.Permanent(codeMaxTokens, "the model reached its limit of %d tokens", c.cfg.MaxTokens)
	}
	hash, err := hashOf(c.agent.Connection, c.connection.Connector, q)
	if err != nil {
		return nil, err
	}
	row, err := c.journal.find(n, models.NoCall, hash)
	if err != nil {
		return nil, err
	}
	if row != nil {
		a := new(llm.Answer)
		if json.Unmarshal(row.Response, a) != nil || row.Usage == nil {
			return nil, errChanged
		}
		c.written += int(row.Usage.OutputTokens)
		c.count(*row.Usage)
		return a, nil
	}
	var a *llm.Answer
	err = c.req.Use(ctx, connectors.Burden{Connection: c.connection}, func() (err error) {
		a, err = c.say(ctx, n, hash, q)
		return err
	})
	return a, err
}

// say asks the model and keeps its answer.
func (c *conversation) say(ctx context.Context, n int, hash string, q llm.Question) (*llm.Answer, error) {
	if err := c.req.Begin(ctx); err != nil {
		return nil, err
	}
	by := c.spender(n)
	if err := c.reserve(ctx, by, q); err != nil {
		return nil, err
	}
	began := c.now()
	heard := &words{secrets: c.secrets, nowFunc: c.now, send: func(text string) { c.send(ctx, n, text) }}
	a, err := c.vendor.Ask(ctx, c.connection, by.Key, q, heard.add)
	if err != nil {
		c.unanswered(ctx, by, q, heard.size)
		return nil, err
	}
	heard.end()
	return c.keep(ctx, n, hash, by, a, began)
}

// keep writes a turn down before anything follows from it.
func (c *conversation) keep(ctx context.Context, n int, hash string, by models.Spender, a *llm.Answer, began time.Time) (*llm.Answer, error) {
	usage := c.usageOf(a)
	usage.Model = c.secrets.Text(usage.Model) // it is what the vendor says it is
	for i, call := range a.Calls {            // as the JSON they are: within the text of a text, secrets hide too well
		if arguments := json.RawMessage(call.Arguments); json.Valid(arguments) {
			a.Calls[i].Arguments = string(c.secrets.JSON(arguments))
		}
	}
	raw, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	if raw, err = c.secrets.clean(raw); err != nil {
		return nil, err
	}
	clean := new(llm.Answer) // as another attempt will read it
	if err := json.Unmarshal(raw, clean); err != nil {
		return nil, connectors.Permanent(connectors.CodeBadResponse, "the model's answer cannot be kept")
	}
	var row *models.AgentTurn
	now := c.now()
	if c.journal.ledger != nil {
		row = c.journal.row(n, models.NoCall, hash, began)
		row.Response, row.Usage, row.FinishedAt = raw, &usage, &now
	}
	c.written += int(usage.OutputTokens)
	c.count(usage)
	return clean, c.finish(ctx, row, by, usage, now)
}

func (c *conversation) finish(ctx context.Context, row *models.AgentTurn, by models.Spender, usage models.AgentUsage, now time.Time) error {
	ledger := c.ledger()
	if ledger == nil {
		return nil
	}
	ctx, done := lingering(ctx)
	defer done()
	return c.runner.patiently(ctx, func(ctx context.Context) error { return ledger.FinishAgentTurn(ctx, row, by, usage, now) })
}

// unanswered settles a turn that came to nothing. What the model said before it broke
// off is paid for, as far as one can tell. Where that cannot be recorded, what was set
// aside frees itself in time; why the turn failed says more.
func (c *conversation) unanswered(ctx context.Context, by models.Spender, q llm.Question, heard int) {
	if heard > 0 {
		u := models.AgentUsage{InputTokens: int64(sizeOf(q) / 4), OutputTokens: int64(heard/4 + 1), Model: q.Model, Estimated: true}
		price, known := c.runner.price(c.cfg, q.Model)
		u.Cost, u.CostUnknown = price.Cost(llm.Usage{Input: u.InputTokens, Output: u.OutputTokens}), !known
		c.count(u)
		_ = c.finish(ctx, nil, by, u, c.now())
		return
	}
	ledger := c.ledger()
	if ledger == nil {
		return
	}
	ctx, done := lingering(ctx)
	defer done()
	_ = c.runner.patiently(ctx, func(ctx context.Context) error { return ledger.ReleaseBudget(ctx, by) })
}

func (c *conversation) ledger() Ledger {
	if c.runner.deps.LedgerFunc == nil {
		return nil
	}
	return c.runner.deps.LedgerFunc(models.WorkspaceID(c.req.WorkspaceID))
}

func (c *conversation) usageOf(a *llm.Answer) models.AgentUsage {
	price, known := c.runner.price(c.cfg, a.Model)
	return models.AgentUsage{
		InputTokens: a.Usage.Input, OutputTokens: a.Usage.Output, Cost: price.Cost(a.Usage),
		Model: a.Model, CostUnknown: !known, Estimated: a.Usage.Estimated,
	}
}

func (c *conversation) count(u models.AgentUsage) {
	c.used.Turns++
	c.used.Model = u.Model
	c.spend(u)
}

// spend counts what a tool has used.
func (c *conversation) spend(u models.AgentUsage) {
	c.used.InputTokens += u.InputTokens
	c.used.OutputTokens += u.OutputTokens
	c.used.CostUnknown = c.used.CostUnknown || u.CostUnknown
	c.used.Estimated = c.used.Estimated || u.Estimated
	c.cost += u.Cost
}

// allows tells whether the agent's budget for one call has room for more.
func (c *conversation) allows(more models.BudgetLimit) bool {
	mine := c.cfg.Budget.PerRun.bounds()
	return (mine.Cost == models.Unlimited || c.cost+more.Cost <= mine.Cost) &&
		(mine.Tokens == models.Unlimited || c.used.InputTokens+c.used.OutputTokens+more.Tokens <= mine.Tokens)
}

// reserve sets aside what the turn may cost at most.
func (c *conversation) reserve(ctx context.Context, by models.Spender, q llm.Question) error {
	// A token has at least a byte, and hardly ever less than two.
	input := int64(sizeOf(q)/2 + 64)
	price, _ := c.runner.price(c.cfg, q.Model)
	most := models.BudgetLimit{
		Cost:   price.Cost(llm.Usage{Input: input, Output: int64(q.MaxTokens)}),
		Tokens: input + int64(q.MaxTokens),
	}
	if !c.allows(most) {
		return connectors.Permanent(codeBudgetExceeded, "the agent's budget for one call does not allow another turn")
	}
	ledger := c.ledger()
	if ledger == nil {
		return nil
	}
	now := c.now()
	return refusedBy(c.runner.patiently(ctx, func(ctx context.Context) error {
		return ledger.ReserveBudget(ctx, by, c.cfg.Budget.PerDay.bounds(), most, now, heldUntil(ctx, now))
	}))
}

func sizeOf(q llm.Question) int {
	raw, err := json.Marshal(q)
	if err != nil {
		return 0
	}
	return len(raw)
}

func (c *conversation) spender(n int) models.Spender {
	return models.Spender{Key: c.key(n, models.NoCall), Agent: c.agent.Slug, Workflow: models.WorkflowID(c.req.WorkflowID)}
}

// key names a turn, or a call of it, to the outside: the same over all attempts.
func (c *conversation) key(turn, call int) string {
	key := fmt.Sprintf("%s:turn-%d", c.req.IdempotencyKey, turn)
	if call != models.NoCall {
		key = fmt.Sprintf("%s:call-%d", key, call)
	}
	if c.journal.series > 0 {
		key = fmt.Sprintf("%s:series-%d", key, c.journal.series)
	}
	return key
}

func (c *conversation) send(ctx context.Context, turn int, text string) {
	if c.runner.deps.DeltaFunc == nil || c.req.RunID == "" || text == "" {
		return
	}
	c.runner.deps.DeltaFunc(ctx, deltas.Delta{
		Workspace: models.WorkspaceID(c.req.WorkspaceID), Run: models.RunID(c.req.RunID), Step: c.req.StepID,
		Iteration: c.req.Iteration, Attempt: c.req.Attempt, Turn: turn, Text: text,
	})
}

func (c *conversation) now() time.Time { return c.runner.now() }
