package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
)

// This file has the commands for clients, but those about runs. Each is one request
// to the server at TENEX_API_BASE.

// listed is what every list takes.
type listed struct {
	shown
	Limit int `default:"50" help:"How many rows; 0 for all." placeholder:"N"`
}

func (l listed) run(ctx context.Context, p *program, path string, query url.Values, cols []column) error {
	if l.Limit < 0 {
		return errors.New("--limit must not be negative")
	}
	r, err := p.remote()
	if err != nil {
		return err
	}
	for name, values := range query {
		if values[0] == "" {
			query.Del(name)
		}
	}
	raw, err := r.list(ctx, path, query, l.Limit)
	if err != nil {
		return err
	}
	return l.list(p, raw, cols)
}

// ask makes a request and shows the thing in the answer.
func (s shown) ask(ctx context.Context, p *program, c call, cols []column) error {
	r, err := p.remote()
	if err != nil {
		return err
	}
	raw, err := r.do(ctx, c)
	if err != nil {
		return err
	}
	return s.one(p, raw, cols)
}

type workflowsCommand struct {
	Ls      workflowsLsCommand      `cmd:"" help:"List workflows."`
	Get     workflowsGetCommand     `cmd:"" help:"Show a workflow."`
	Create  workflowsCreateCommand  `cmd:"" help:"Make a workflow of a file: the body of a request, an exported document, or a graph."`
	Export  workflowsExportCommand  `cmd:"" help:"Print a workflow as one document, to be made again with create."`
	Archive workflowsArchiveCommand `cmd:"" help:"Archive a workflow: its triggers stop, its runs stay readable."`
}

var workflowColumns = columns("ID", "id", "NAME", "name", "STATUS", "status", "VERSION", "version", "TAGS", "tags", "UPDATED", "updated_at")

type workflowsLsCommand struct {
	listed
	Status string `help:"Only those: active, paused or archived." placeholder:"STATUS"`
	Tag    string `help:"Only those with this tag."               placeholder:"TAG"`
	Q      string `help:"Only those with this in their name."     placeholder:"TEXT"   short:"q"`
}

// Run lists workflows.
func (c workflowsLsCommand) Run(ctx context.Context, p *program) error {
	return c.run(ctx, p, "/workflows", url.Values{"status": {c.Status}, "tag": {c.Tag}, "q": {c.Q}}, workflowColumns)
}

type workflowsGetCommand struct {
	shown
	ID string `arg:"" help:"The workflow."`
}

// Run shows a workflow.
func (c workflowsGetCommand) Run(ctx context.Context, p *program) error {
	return c.ask(ctx, p, call{method: http.MethodGet, path: at("workflows", c.ID)},
		append(workflowColumns, columns("CREATED", "created_at", "DESCRIPTION", "description", "STEPS", "graph.steps", "SETTINGS", "settings")...))
}

type workflowsCreateCommand struct {
	shown
	File string `help:"The file; - is the standard input."       placeholder:"FILE" required:"" short:"f"`
	Name string `help:"Its name, in place of the one in the file." placeholder:"NAME"`
}

// Run makes a workflow.
func (c workflowsCreateCommand) Run(ctx context.Context, p *program) error {
	raw, err := p.file("--file", c.File)
	if err != nil {
		return err
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(raw, &body); err != nil {
		return fmt.Errorf("--file: %s does not hold a JSON object", c.File)
	}
	path := "/workflows"
	if _, ok := body["format"]; ok {
		path += "/import"
	}
	if _, ok := body["steps"]; ok && body["graph"] == nil { // the graph alone
		body = map[string]json.RawMessage{"graph": raw}
	}
	if c.Name != "" {
		name, err := json.Marshal(c.Name)
		if err != nil {
			return err
		}
		body["name"] = name
	}
	if body["name"] == nil {
		return errors.New("--name is needed: the file has none")
	}
	return c.ask(ctx, p, call{method: http.MethodPost, path: path, body: body}, workflowColumns)
}

type workflowsExportCommand struct {
	ID string `arg:"" help:"The workflow."`
}

// Run prints a document.
func (c workflowsExportCommand) Run(ctx context.Context, p *program) error {
	return shown{"json"}.ask(ctx, p, call{method: http.MethodGet, path: at("workflows", c.ID, "export")}, nil)
}

type workflowsArchiveCommand struct {
	shown
	ID string `arg:"" help:"The workflow."`
}

// Run archives a workflow and shows it.
func (c workflowsArchiveCommand) Run(ctx context.Context, p *program) error {
	r, err := p.remote()
	if err != nil {
		return err
	}
	if _, err := r.do(ctx, call{method: http.MethodDelete, path: at("workflows", c.ID)}); err != nil {
		return err
	}
	return c.ask(ctx, p, call{method: http.MethodGet, path: at("workflows", c.ID)}, workflowColumns)
}

type triggersCommand struct {
	Ls  triggersLsCommand  `cmd:"" help:"List triggers."`
	Get triggersGetCommand `cmd:"" help:"Show a trigger."`
}

var triggerColumns = columns("ID", "id", "NAME", "name", "TYPE", "type", "TARGET", "workflow_id|url", "ON", "event_type|cron|verify",
	"ENABLED", "enabled", "LAST FIRED", "last_fired_at", "NEXT", "next_fire_at")

type triggersLsCommand struct {
	listed
	Workflow  string `help:"Only those of this workflow."              placeholder:"ID"`
	Type      string `help:"Only those: event, schedule or webhook."   placeholder:"TYPE"`
	EventType string `help:"Only those that listen for exactly this."  placeholder:"TYPE"`
	Enabled   string `help:"Only those: true or false."                placeholder:"BOOL"`
}

// Run lists triggers.
func (c triggersLsCommand) Run(ctx context.Context, p *program) error {
	return c.run(ctx, p, "/triggers",
		url.Values{"workflow_id": {c.Workflow}, "type": {c.Type}, "event_type": {c.EventType}, "enabled": {c.Enabled}}, triggerColumns)
}

type triggersGetCommand struct {
	shown
	ID string `arg:"" help:"The trigger."`
}

// Run shows a trigger.
func (c triggersGetCommand) Run(ctx context.Context, p *program) error {
	return c.ask(ctx, p, call{method: http.MethodGet, path: at("triggers", c.ID)},
		append(triggerColumns, columns("SOURCE", "source", "FILTER", "filter", "PAYLOAD", "payload", "DISABLED BECAUSE", "disabled_reason")...))
}

type eventsCommand struct {
	Send eventsSendCommand `cmd:"" help:"Send an event."`
	Ls   eventsLsCommand   `cmd:"" help:"List events."`
	Get  eventsGetCommand  `cmd:"" help:"Show an event and what became of it."`
}

type eventsSendCommand struct {
	shown
	Type       string `arg:""                                                         help:"What happened, such as lead.created."`
	Data       string `default:"{}"                                                   help:"JSON, @FILE or - for the standard input." placeholder:"JSON"`
	Source     string `help:"Where it happened."                                      placeholder:"WORD"`
	ID         string `help:"Yours for it: the same one again has no second effect."  name:"id"                                       placeholder:"ID"`
	OccurredAt string `help:"When it happened, as 2026-01-31T09:00:00Z; now if not given." placeholder:"TIME"`
}

// Run sends an event.
func (c eventsSendCommand) Run(ctx context.Context, p *program) error {
	data, err := p.given("--data", c.Data)
	if err != nil {
		return err
	}
	body := struct {
		Type       string          `json:"type"`
		ID         string          `json:"id,omitempty"`
		Source     string          `json:"source,omitempty"`
		OccurredAt string          `json:"occurred_at,omitempty"`
		Data       json.RawMessage `json:"data"`
	}{c.Type, c.ID, c.Source, c.OccurredAt, data}
	return c.ask(ctx, p, call{method: http.MethodPost, path: "/events", body: body}, columns("ID", "id", "DUPLICATE", "duplicate"))
}

var eventColumns = columns("ID", "id", "TYPE", "type", "SOURCE", "source", "OCCURRED", "occurred_at")

type eventsLsCommand struct {
	listed
	Type   string `help:"Only those of this type; lead.* for all that begin so." placeholder:"TYPE"`
	Source string `help:"Only those from there."                                placeholder:"WORD"`
	After  string `help:"Only those received after this time."                  placeholder:"TIME"`
}

// Run lists events.
func (c eventsLsCommand) Run(ctx context.Context, p *program) error {
	return c.run(ctx, p, "/events", url.Values{"type": {c.Type}, "source": {c.Source}, "created_after": {c.After}}, eventColumns)
}

type eventsGetCommand struct {
	shown
	ID string `arg:"" help:"The event."`
}

// Run shows an event and, under it, what became of it.
func (c eventsGetCommand) Run(ctx context.Context, p *program) error {
	r, err := p.remote()
	if err != nil {
		return err
	}
	raw, err := r.do(ctx, call{method: http.MethodGet, path: at("events", c.ID)})
	if err != nil {
		return err
	}
	if err := c.one(p, raw, append(eventColumns, column{"DATA", "data"})); err != nil || c.Output == "json" {
		return err
	}
	return below(p, raw, "matches", columns("TRIGGER", "trigger_id", "OUTCOME", "outcome", "RUN", "run_id", "REASON", "reason"))
}

// below shows a list inside of an answer under what was shown of it.
func below(p *program, raw json.RawMessage, field string, cols []column) error {
	var item map[string]json.RawMessage
	if err := json.Unmarshal(raw, &item); err != nil {
		return err
	}
	var rows []map[string]any
	if err := json.Unmarshal(item[field], &rows); err != nil || len(rows) == 0 {
		return nil //nolint:nilerr // nothing to show
	}
	fmt.Fprintln(p.stdout)
	return writeTable(p.stdout, rows, cols)
}

type templatesCommand struct {
	Ls      templatesLsCommand      `cmd:"" help:"List templates."`
	Get     templatesGetCommand     `cmd:"" help:"Show a template."`
	Install templatesInstallCommand `cmd:"" help:"Make a workflow, with its triggers, of a template."`
}

var templateColumns = columns("SLUG", "slug", "NAME", "name", "CATEGORY", "category", "VERSION", "version", "STARTS BY", "trigger_types")

type templatesLsCommand struct {
	listed
	Category string `help:"Only those of this category."                placeholder:"WORD"`
	Q        string `help:"Only those with this in name or description." placeholder:"TEXT" short:"q"`
}

// Run lists templates.
func (c templatesLsCommand) Run(ctx context.Context, p *program) error {
	return c.run(ctx, p, "/templates", url.Values{"category": {c.Category}, "q": {c.Q}}, templateColumns)
}

type templatesGetCommand struct {
	shown
	Slug string `arg:"" help:"The template."`
}

// Run shows a template and, under it, what it takes.
func (c templatesGetCommand) Run(ctx context.Context, p *program) error {
	r, err := p.remote()
	if err != nil {
		return err
	}
	raw, err := r.do(ctx, call{method: http.MethodGet, path: at("templates", c.Slug)})
	if err != nil {
		return err
	}
	cols := slices.Concat(templateColumns, columns("DESCRIPTION", "description", "CONNECTORS", "requires.connectors", "AGENTS", "requires.agents"))
	if err := c.one(p, raw, cols); err != nil || c.Output == "json" {
		return err
	}
	return inputs(p, raw)
}

// inputs shows what a template takes.
func inputs(p *program, raw json.RawMessage) error {
	var t struct {
		Inputs struct {
			Properties map[string]map[string]any `json:"properties"`
			Required   []string                  `json:"required"`
		} `json:"inputs"`
	}
	if err := json.Unmarshal(raw, &t); err != nil || len(t.Inputs.Properties) == 0 {
		return nil //nolint:nilerr // nothing that a table could show
	}
	rows := make([]map[string]any, 0, len(t.Inputs.Properties))
	for _, name := range slices.Sorted(maps.Keys(t.Inputs.Properties)) {
		row := t.Inputs.Properties[name]
		row["name"] = name
		for _, needed := range t.Inputs.Required {
			if needed == name {
				row["needed"] = true
			}
		}
		rows = append(rows, row)
	}
	fmt.Fprintln(p.stdout)
	return writeTable(p.stdout, rows, columns("INPUT", "name", "TYPE", "type", "NEEDED", "needed", "DEFAULT", "default", "DESCRIPTION", "description|title"))
}

type templatesInstallCommand struct {
	shown
	Slug   string   `arg:""                                                   help:"The template."`
	Name   string   `help:"The workflow's name; the template's if not given." placeholder:"NAME"`
	Inputs string   `default:"{}"                                             help:"What it takes: a JSON object, @FILE or - for the standard input." placeholder:"JSON"`
	Input  []string `help:"One thing it takes, in place of that in --inputs."  placeholder:"NAME=VALUE"                                             sep:"none"`
}

// Run makes a workflow.
func (c templatesInstallCommand) Run(ctx context.Context, p *program) error {
	raw, err := p.given("--inputs", c.Inputs)
	if err != nil {
		return err
	}
	all := map[string]any{}
	if err := json.Unmarshal(raw, &all); err != nil {
		return errors.New("--inputs must be a JSON object")
	}
	more, err := words("--input", c.Input)
	if err != nil {
		return err
	}
	maps.Copy(all, more)
	body := struct {
		Name   string         `json:"name,omitempty"`
		Inputs map[string]any `json:"inputs"`
	}{c.Name, all}
	r, err := p.remote()
	if err != nil {
		return err
	}
	made, err := r.do(ctx, call{method: http.MethodPost, path: at("templates", c.Slug, "workflows"), body: body})
	if err != nil {
		return err
	}
	if err := c.one(p, made, workflowColumns); err != nil || c.Output == "json" {
		return err
	}
	return below(p, made, "triggers", append(triggerColumns, columns("URL", "url", "SECRET, SHOWN ONCE", "secret")...))
}

type connectorsCommand struct {
	Ls connectorsLsCommand `cmd:"" help:"List connectors."`
}

type connectorsLsCommand struct{ listed }

// Run lists connectors.
func (c connectorsLsCommand) Run(ctx context.Context, p *program) error {
	return c.run(ctx, p, "/connectors", url.Values{},
		columns("SLUG", "slug", "NAME", "name", "KIND", "kind", "ACTIONS", "action_count", "DESCRIPTION", "description"))
}

type connectionsCommand struct {
	Ls connectionsLsCommand `cmd:"" help:"List connections."`
}

type connectionsLsCommand struct{ listed }

// Run lists connections.
func (c connectionsLsCommand) Run(ctx context.Context, p *program) error {
	return c.run(ctx, p, "/connections", url.Values{},
		columns("ID", "id", "NAME", "name", "CONNECTOR", "connector", "STATUS", "status", "LAST CHECKED", "last_checked_at", "LAST ERROR", "last_error"))
}

type agentsCommand struct {
	Ls agentsLsCommand `cmd:"" help:"List agents."`
}

type agentsLsCommand struct{ listed }

// Run lists agents.
func (c agentsLsCommand) Run(ctx context.Context, p *program) error {
	return c.run(ctx, p, "/agents", url.Values{},
		columns("SLUG", "slug", "NAME", "name", "KIND", "kind", "CONNECTION", "connection", "UPDATED", "updated_at"))
}

type whoamiCommand struct{ shown }

// Run tells whose key it is.
func (c whoamiCommand) Run(ctx context.Context, p *program) error {
	return c.ask(ctx, p, call{method: http.MethodGet, path: "/whoami"},
		columns("WORKSPACE", "workspace_id", "NAME", "workspace.name", "KEY", "key_prefix", "KEY NAME", "key_name", "SCOPES", "scopes", "EXPIRES", "expires_at"))
}
