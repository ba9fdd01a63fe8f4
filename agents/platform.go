package agents

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/models"
)

// Where the platform starts, shows and cancels runs of its agents, below the base
// address of the connection. The addresses themselves are not public, so this is the
// one place to change.
const (
	platformStart  = "/api/v1/agents/{}/runs"
	platformShow   = "/api/v1/agents/runs/{}"
	platformCancel = "/api/v1/agents/runs/{}/cancel"
)

// Codes of an agent of the platform that came to no good end.
const (
	codeAgentFailed    = "agent_failed"
	codeAgentCancelled = "agent_cancelled"
)

// platformEnds maps what the platform calls the end of a run. Anything else goes on,
// a run that waits for somebody's approval, too.
var platformEnds = map[string]string{
	"completed": "", "succeeded": "", "success": "", "done": "", "finished": "",
	"failed": codeAgentFailed, "error": codeAgentFailed, "errored": codeAgentFailed,
	"cancelled": codeAgentCancelled, "canceled": codeAgentCancelled, "rejected": codeAgentCancelled,
}

// platformConfig is the config of kind platform, checked.
type platformConfig struct {
	Agent   string          `json:"agent"`
	Crew    string          `json:"crew"` // another word for Agent
	Options json.RawMessage `json:"options"`
	Timeout string          `json:"timeout"`

	timeout time.Duration // 0: none of its own
}

var platformConfigSchema = connectors.MustCompileSchema(`{
	"type": "object",
	"properties": {
		"agent":   {"type": "string", "minLength": 1, "maxLength": 200},
		"crew":    {"type": "string", "minLength": 1, "maxLength": 200},
		"options": {"type": "object"},
		"timeout": {"type": "string"}
	},
	"additionalProperties": false
}`)

func parsePlatformConfig(raw json.RawMessage) (platformConfig, error) {
	var cfg platformConfig
	if found := platformConfigSchema.Check(raw); len(found) > 0 {
		return cfg, schemaFaults(found)
	}
	bad := func(field, message string) error {
		return &ConfigError{Fields: []FieldError{{Path: []string{"config", field}, Message: message}}}
	}
	if err := json.Unmarshal(raw, &cfg); err != nil {
		return cfg, &ConfigError{Fields: []FieldError{{Path: []string{"config"}, Message: "is not valid"}}}
	}
	if cfg.Agent == "" {
		cfg.Agent = cfg.Crew
	} else if cfg.Crew != "" {
		return cfg, bad("crew", "cannot stand beside agent")
	}
	if cfg.Agent == "" {
		return cfg, bad("agent", "is required")
	}
	if cfg.Timeout != "" {
		var err error
		if cfg.timeout, err = connectors.ParseTimeout(cfg.Timeout); err != nil {
			return cfg, bad("timeout", err.Error())
		}
	}
	return cfg, nil
}

// platformRun is a run as the platform tells of it.
type platformRun struct {
	ID      json.RawMessage `json:"id"`
	RunID   json.RawMessage `json:"run_id"`
	Status  string          `json:"status"`
	Output  json.RawMessage `json:"output"`
	Outputs json.RawMessage `json:"outputs"`
	Result  json.RawMessage `json:"result"`
	Error   json.RawMessage `json:"error"`
	Reason  string          `json:"reason"`
	Usage   *struct {
		InputTokens  int64   `json:"input_tokens"`
		OutputTokens int64   `json:"output_tokens"`
		Cost         float64 `json:"cost"`
		Model        string  `json:"model"`
	} `json:"usage"`

	retryAfter time.Duration
}

func (p *platformRun) id() string {
	for _, raw := range []json.RawMessage{p.RunID, p.ID} {
		var text string
		if json.Unmarshal(raw, &text) == nil && text != "" {
			return text
		}
		if s := strings.TrimSpace(string(raw)); s != "" && s != "null" && s[0] >= '0' && s[0] <= '9' {
			return s
		}
	}
	return ""
}

// output is what the run gave: whichever field has it.
func (p *platformRun) output() json.RawMessage {
	for _, raw := range []json.RawMessage{p.Output, p.Result, p.Outputs} {
		if len(raw) > 0 && string(raw) != "null" {
			return raw
		}
	}
	return json.RawMessage("null")
}

func (p *platformRun) reason() string {
	var text string
	var object struct {
		Message string `json:"message"`
		Detail  string `json:"detail"`
	}
	switch {
	case json.Unmarshal(p.Error, &text) == nil && text != "":
	case json.Unmarshal(p.Error, &object) == nil && object.Message != "":
		text = object.Message
	case object.Detail != "":
		text = object.Detail
	default:
		text = p.Reason
	}
	if text == "" {
		return "without a reason"
	}
	return openText(text, 500)
}

// platform follows one agent of the platform.
type platform struct {
	runner     *Runner
	cfg        platformConfig
	req        Request
	connection *connectors.Connection
	journal    *journal
	burden     connectors.Burden
}

// runPlatform starts a run on the platform, or finds the one that an earlier attempt
// has started, and follows it to its end.
func (r *Runner) runPlatform(ctx context.Context, a Agent, req Request) (Response, error) {
	cfg, err := parsePlatformConfig(a.Config)
	if err != nil {
		return Response{}, connectors.Permanent(codeConfigInvalid, "the agent's %s", err.Error())
	}
	if cfg.timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, cfg.timeout, errAgentTimeout)
		defer stop()
	}
	hidden := secretsOf(req)
	p := &platform{runner: r, cfg: cfg, req: req}
	if p.connection, err = r.open(ctx, req.WorkspaceID, a.Connection, slugTenex); err != nil {
		return Response{}, err
	}
	hidden.Watch(p.connection)
	resp, err := p.follow(ctx)
	if errors.Is(context.Cause(ctx), errAgentTimeout) && err != nil {
		err = connectors.Permanent(connectors.CodeTimeout, "the agent did not finish within %s", cfg.Timeout)
	}
	resp.Output = hidden.JSON(resp.Output)
	return resp, hidden.error(err)
}

const (
	rowStarted   = 1 // the journal's row that holds the id of the run
	rowCancelled = 2 // and the one that says that it was cancelled from here
)

func (p *platform) follow(ctx context.Context) (Response, error) {
	var err error
	if p.journal, err = p.runner.openJournal(ctx, p.req); err != nil {
		return Response{}, err
	}
	if p.journal.rows[[2]int{rowCancelled, models.NoCall}] != nil {
		p.journal.restart() // what was cancelled does not come to an end of its own
	}
	hash, err := hashOf(p.connection.ID, p.cfg, p.req.Input)
	if err != nil {
		return Response{}, err
	}
	row, err := p.journal.find(rowStarted, models.NoCall, hash)
	if errors.Is(err, errChanged) {
		p.journal.restart()
	}
	p.burden = connectors.Burden{Connection: p.connection, Again: row != nil}
	var resp Response
	err = p.req.Use(ctx, p.burden, func() (err error) {
		resp, err = p.toTheEnd(ctx, hash, row)
		return err
	})
	return resp, err
}

// toTheEnd follows the run that the journal's row tells of, or a new one.
func (p *platform) toTheEnd(ctx context.Context, hash string, row *models.AgentTurn) (Response, error) {
	var run *platformRun
	var err error
	if row != nil {
		run = &platformRun{ID: row.Response}
	} else if run, err = p.start(ctx, hash); err != nil {
		return Response{}, err
	}
	id := run.id()
	if id == "" {
		return Response{}, connectors.Permanent(connectors.CodeBadResponse, "the platform did not say which run it started")
	}
	resp, err := p.poll(ctx, id, run)
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), connectors.ErrHandedOver) {
		p.cancel(ctx, id, hash)
	}
	return resp, err
}

func (p *platform) start(ctx context.Context, hash string) (*platformRun, error) {
	body := map[string]any{"inputs": p.req.Input}
	if len(p.cfg.Options) > 0 {
		body["options"] = p.cfg.Options
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, connectors.Permanent(connectors.CodeInputInvalid, "the input cannot be written as JSON")
	}
	if err := p.req.Begin(ctx); err != nil {
		return nil, err
	}
	key := p.req.IdempotencyKey
	if p.journal.series > 0 { // the one before was another run
		key = fmt.Sprintf("%s:series-%d", key, p.journal.series)
	}
	run, err := p.ask(ctx, http.MethodPost, platformPath(platformStart, p.cfg.Agent), key, raw)
	if err != nil {
		return nil, err
	}
	if p.connection.Redactor().Text(run.id()) != run.id() { // it is kept, and shown where requests are traced
		return nil, connectors.Permanent(connectors.CodeBadResponse, "the platform calls its run by what must not be kept")
	}
	id, err := json.Marshal(run.id())
	if err != nil || p.journal.ledger == nil || run.id() == "" {
		return run, nil //nolint:nilerr // a text can always be written
	}
	return run, p.note(ctx, rowStarted, hash, id)
}

// note writes a line of the journal.
func (p *platform) note(ctx context.Context, turn int, hash string, what json.RawMessage) error {
	now := p.runner.now()
	row := p.journal.row(turn, models.NoCall, hash, now)
	row.Response, row.FinishedAt = what, &now
	ctx, done := lingering(ctx)
	defer done()
	return p.runner.patiently(ctx, func(ctx context.Context) error { return p.journal.ledger.FinishAgentCall(ctx, row) })
}

// poll looks at a run until it has ended.
func (p *platform) poll(ctx context.Context, id string, run *platformRun) (Response, error) {
	wait, faults := firstPoll, 0
	for {
		if code, ended := platformEnds[strings.ToLower(run.Status)]; ended {
			return p.ended(code, run)
		}
		pause := run.retryAfter
		if pause == 0 {
			pause, wait = wait, min(wait*3/2, maxPoll)
		}
		if run.Status == "" && run.retryAfter == 0 && faults == 0 {
			pause = 0 // nothing is known of it yet
		}
		if err := p.runner.sleep(ctx, pause); err != nil {
			return Response{}, connectors.NetworkError(ctx, err)
		}
		next, err := p.ask(ctx, http.MethodGet, platformPath(platformShow, id), "", nil)
		if err == nil && next.Status == "" {
			err = connectors.Retryable(connectors.CodeBadResponse, "the platform did not say how far the run is")
		}
		if err != nil {
			e := connectors.AsError(err)
			if faults++; !e.Retryable || faults >= maxPollFaults || ctx.Err() != nil {
				return Response{}, err
			}
			p.req.Heed(ctx, p.burden, err)
			run = &platformRun{retryAfter: e.RetryAfter}
			continue
		}
		run, faults = next, 0
	}
}

func (p *platform) ended(code string, run *platformRun) (Response, error) {
	var resp Response
	if u := run.Usage; u != nil {
		resp.Usage = &connectors.Usage{InputTokens: u.InputTokens, OutputTokens: u.OutputTokens, Cost: u.Cost, Model: u.Model, Turns: 1}
	}
	switch code {
	case codeAgentFailed:
		return resp, connectors.Permanent(code, "the agent failed: %s", run.reason())
	case codeAgentCancelled:
		return resp, connectors.Permanent(code, "the agent was stopped on the platform: %s", run.reason())
	}
	output, err := connectors.CleanJSON(run.output())
	resp.Output = output
	return resp, err
}

// cancel ends a run that nobody waits for any more. Should that fail, it ends by
// itself; another attempt finds it, for nothing says then that it was cancelled.
func (p *platform) cancel(ctx context.Context, id, hash string) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer stop()
	if _, err := p.ask(ctx, http.MethodPost, platformPath(platformCancel, id), "", nil); err != nil || p.journal.ledger == nil {
		return
	}
	_ = p.note(ctx, rowCancelled, hash, json.RawMessage("true"))
}

func platformPath(path, value string) string {
	return strings.Replace(path, "{}", url.PathEscape(value), 1)
}

func (p *platform) ask(ctx context.Context, method, path, key string, body []byte) (*platformRun, error) {
	at, err := p.connection.URL(path)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(body))
	if err != nil {
		return nil, connectors.Permanent(codeConfigInvalid, "the connection's base_url is not valid")
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	if err := p.connection.Authorize(req); err != nil {
		return nil, err
	}
	resp, err := p.runner.client.Do(req)
	if err != nil {
		return nil, connectors.NetworkError(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, connectors.HTTPError(resp)
	}
	run := &platformRun{retryAfter: connectors.ParseRetryAfter(resp.Header, time.Now())}
	if resp.StatusCode == http.StatusNoContent {
		return run, nil
	}
	raw, err := readJSON(ctx, resp)
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(raw, run) != nil {
		return nil, connectors.Permanent(connectors.CodeBadResponse, "the platform's answer is not what it is known to send")
	}
	return run, nil
}
