package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

type runsCommand struct {
	Ls      runsLsCommand      `cmd:"" help:"List runs."`
	Get     runsGetCommand     `cmd:"" help:"Show a run."`
	Trace   runsTraceCommand   `cmd:"" help:"Tell what became of every step of a run."`
	Trigger runsTriggerCommand `cmd:"" help:"Start a run."`
	Watch   runsWatchCommand   `cmd:"" help:"Follow a run to its end; fails if the run does."`
	Why     runsWhyCommand     `cmd:"" help:"Tell what a run is waiting for."`
	Cancel  runsCancelCommand  `cmd:"" help:"End a run."`
	Pause   runsPauseCommand   `cmd:"" help:"Let a run start nothing new."`
	Resume  runsResumeCommand  `cmd:"" help:"Let a paused run go on."`
	Rerun   runsRerunCommand   `cmd:"" help:"Start a run like an earlier one."`
	Approve runsApproveCommand `cmd:"" help:"Approve a step that waits for it."`
	Reject  runsRejectCommand  `cmd:"" help:"Reject a step that waits for approval."`
}

var runColumns = columns("ID", "id", "WORKFLOW", "workflow_id", "VERSION", "workflow_version", "STATUS", "status",
	"STARTED BY", "trigger.type", "CREATED", "created_at", "FINISHED", "finished_at")

// wholeRun are the fields of a run that a list leaves out.
var wholeRun = append(runColumns, columns("ERROR", "error.message", "AT STEP", "error.step_id", "RERUN OF", "rerun_of",
	"METADATA", "metadata", "PAYLOAD", "payload", "OUTPUT", "output", "USAGE", "usage")...)

type runsLsCommand struct {
	listed
	Workflow    string   `help:"Only those of this workflow."                            placeholder:"ID"`
	Status      []string `help:"Only those: queued, running, waiting, paused, completed, failed or cancelled; several with commas." placeholder:"STATUS"`
	TriggerType []string `help:"Only those started so: manual, event, schedule, webhook, mcp or flow; several with commas."         placeholder:"TYPE"`
	Trigger     string   `help:"Only those started by this trigger."                     placeholder:"ID"`
	After       string   `help:"Only those made after this time."                        placeholder:"TIME"`
	Before      string   `help:"Only those made before this time."                       placeholder:"TIME"`
	Metadata    []string `help:"Only those that were given this."                        placeholder:"NAME=VALUE" sep:"none"`
}

// Run lists runs.
func (c runsLsCommand) Run(ctx context.Context, p *program) error {
	query := url.Values{
		"workflow_id": {c.Workflow}, "status": {strings.Join(c.Status, ",")}, "trigger_type": {strings.Join(c.TriggerType, ",")},
		"trigger_id": {c.Trigger}, "created_after": {c.After}, "created_before": {c.Before},
	}
	for _, pair := range c.Metadata {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("--metadata is %q: it must be NAME=VALUE", pair)
		}
		query.Set("metadata."+name, value)
	}
	return c.run(ctx, p, "/runs", query, runColumns)
}

// aRun is what every command about one run takes.
type aRun struct {
	shown
	ID string `arg:"" help:"The run."`
}

// act does something to the run and shows it.
func (c aRun) act(ctx context.Context, p *program, verb string) error {
	return c.ask(ctx, p, call{method: http.MethodPost, path: at("runs", c.ID, verb)}, runColumns)
}

type runsGetCommand struct{ aRun }

// Run shows a run.
func (c runsGetCommand) Run(ctx context.Context, p *program) error {
	return c.ask(ctx, p, call{method: http.MethodGet, path: at("runs", c.ID)}, wholeRun)
}

type runsTraceCommand struct {
	aRun
	Step   string   `help:"The items of this step, which goes over a list, instead of the steps." placeholder:"STEP"`
	Status []string `help:"With --step: only items that are pending, queued, running, waiting, completed, failed or cancelled; several with commas." placeholder:"STATUS"`
	Limit  int      `default:"50" help:"With --step: how many items; 0 for all." placeholder:"N"`
}

// Run shows the steps of a run, or the items of one.
func (c runsTraceCommand) Run(ctx context.Context, p *program) error {
	switch {
	case c.Step != "":
		return listed{c.shown, c.Limit}.run(ctx, p, at("runs", c.ID, "steps", c.Step, "iterations"), url.Values{"status": {strings.Join(c.Status, ",")}},
			columns("ITEM", "iteration", "STATUS", "status", "ATTEMPT", "attempt", "STARTED", "started_at", "FINISHED", "finished_at",
				"SAYS", "error.message|reason|output", "INPUT", "input"))
	case len(c.Status) > 0:
		return errors.New("--status needs --step: it chooses among the items of one")
	}
	r, err := p.remote()
	if err != nil {
		return err
	}
	raw, err := r.do(ctx, call{method: http.MethodGet, path: at("runs", c.ID, "steps")})
	if err != nil {
		return err
	}
	return c.list(p, raw, columns("STEP", "id", "TYPE", "type", "STATUS", "status", "ATTEMPT", "attempt",
		"STARTED", "started_at", "FINISHED", "finished_at", "SAYS", "error.message|reason|output"))
}

type runsWhyCommand struct{ aRun }

// Run tells what a run is waiting for.
func (c runsWhyCommand) Run(ctx context.Context, p *program) error {
	r, err := p.remote()
	if err != nil {
		return err
	}
	raw, err := r.do(ctx, call{method: http.MethodGet, path: at("runs", c.ID, "why")})
	switch {
	case err != nil:
		return err
	case c.Output == "json":
		return p.printRaw(raw)
	}
	var why struct {
		Summary string `json:"summary"`
	}
	if err := json.Unmarshal(raw, &why); err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, plain(why.Summary))
	return below(p, raw, "waiting_on", columns("STEP", "step_id", "FOR", "kind", "SINCE", "since", "UNTIL", "until", "DETAIL", "detail"))
}

type runsCancelCommand struct{ aRun }

// Run cancels a run.
func (c runsCancelCommand) Run(ctx context.Context, p *program) error { return c.act(ctx, p, "cancel") }

type runsPauseCommand struct{ aRun }

// Run pauses a run.
func (c runsPauseCommand) Run(ctx context.Context, p *program) error { return c.act(ctx, p, "pause") }

type runsResumeCommand struct{ aRun }

// Run resumes a run.
func (c runsResumeCommand) Run(ctx context.Context, p *program) error { return c.act(ctx, p, "resume") }

// started is what the commands take that start a run.
type started struct {
	Payload        string `help:"What the run works on: JSON, @FILE or - for the standard input."   placeholder:"JSON"`
	Version        *int   `help:"The version of the workflow; the current one if not given."        name:"workflow-version" placeholder:"N"`
	IdempotencyKey string `help:"Repeating the command with the same one starts nothing new."       placeholder:"WORD"`
	Watch          bool   `help:"Follow the run to its end, as runs watch does."                     short:"w"`
}

// startBody is the body of a request to start a run.
type startBody struct {
	Payload  json.RawMessage   `json:"payload,omitempty"`
	Version  *int              `json:"version,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	FromStep string            `json:"from_step,omitempty"`
}

// start starts a run and shows it, or follows it.
func (c started) start(ctx context.Context, p *program, s shown, path string, body startBody) error {
	body.Version = c.Version
	if c.Payload != "" {
		var err error
		if body.Payload, err = p.given("--payload", c.Payload); err != nil {
			return err
		}
	}
	header := http.Header{}
	if c.IdempotencyKey != "" {
		header.Set("Idempotency-Key", c.IdempotencyKey)
	}
	r, err := p.remote()
	if err != nil {
		return err
	}
	raw, err := r.do(ctx, call{method: http.MethodPost, path: path, body: body, header: header})
	if err != nil {
		return err
	}
	if !c.Watch {
		return s.one(p, raw, runColumns)
	}
	var run struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(raw, &run); err != nil {
		return err
	}
	return watchRun(ctx, p, s, r, run.ID)
}

type runsTriggerCommand struct {
	shown
	started
	Workflow string   `arg:""                                  help:"The workflow."`
	Metadata []string `help:"Something to find the run by."    placeholder:"NAME=VALUE" sep:"none"`
}

// Run starts a run.
func (c runsTriggerCommand) Run(ctx context.Context, p *program) error {
	body := startBody{Metadata: map[string]string{}}
	for _, pair := range c.Metadata {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("--metadata is %q: it must be NAME=VALUE", pair)
		}
		body.Metadata[name] = value
	}
	return c.start(ctx, p, c.shown, at("workflows", c.Workflow, "trigger"), body)
}

type runsRerunCommand struct {
	aRun
	started
	FromStep string `help:"Keep the outputs of everything before this step." placeholder:"STEP"`
}

// Run starts a run like an earlier one.
func (c runsRerunCommand) Run(ctx context.Context, p *program) error {
	return c.start(ctx, p, c.shown, at("runs", c.ID, "rerun"), startBody{FromStep: c.FromStep})
}

// decision is what the commands take that answer a step.
type decision struct {
	aRun
	Step    string `arg:""                                                        help:"The step that waits."`
	Comment string `help:"Why, for people."                                       placeholder:"TEXT"`
	Data    string `help:"Part of the step's output: JSON, @FILE or - for the standard input." placeholder:"JSON"`
}

func (c decision) decide(ctx context.Context, p *program, verb string) error {
	body := struct {
		Comment string          `json:"comment,omitempty"`
		Data    json.RawMessage `json:"data,omitempty"`
	}{Comment: c.Comment}
	if c.Data != "" {
		var err error
		if body.Data, err = p.given("--data", c.Data); err != nil {
			return err
		}
	}
	return c.ask(ctx, p, call{method: http.MethodPost, path: at("runs", c.ID, "steps", c.Step, verb), body: body}, runColumns)
}

type runsApproveCommand struct{ decision }

// Run approves a step.
func (c runsApproveCommand) Run(ctx context.Context, p *program) error {
	return c.decide(ctx, p, "approve")
}

type runsRejectCommand struct{ decision }

// Run rejects a step.
func (c runsRejectCommand) Run(ctx context.Context, p *program) error {
	return c.decide(ctx, p, "reject")
}

type runsWatchCommand struct{ aRun }

// Run follows a run.
func (c runsWatchCommand) Run(ctx context.Context, p *program) error {
	r, err := p.remote()
	if err != nil {
		return err
	}
	return watchRun(ctx, p, c.shown, r, c.ID)
}
