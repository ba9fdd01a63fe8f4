package agents

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/10ex/flows/agents/llm"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/models"
)

// Tools are the actions that agents may use. *connectors.Catalogue is one.
type Tools interface {
	Find(ctx context.Context, workspace, slug string) (connectors.Connector, bool, error)
	Action(ctx context.Context, workspace, slug, action string) (connectors.Action, bool, error)
	ValidateInput(ctx context.Context, workspace, slug, action string, input json.RawMessage) error
	Do(ctx context.Context, slug string, req connectors.Request) (connectors.Response, error)
}

// toolConfig is an entry of config.tools: "slug.action", or an object.
type toolConfig struct {
	Action      string `json:"action"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Connection  string `json:"connection"`
	// Input are fields of the action's input that the model neither sees nor sets.
	Input map[string]json.RawMessage `json:"input"`
	// FromInput are such fields, too, with where in the agent's input they are.
	FromInput map[string]string `json:"from_input"`
	// Hosts are those that http.request may be sent to.
	Hosts []string `json:"hosts"`
}

// UnmarshalJSON takes both forms.
func (c *toolConfig) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		return json.Unmarshal(raw, &c.Action)
	}
	type plain toolConfig
	return json.Unmarshal(raw, (*plain)(c))
}

func (c *toolConfig) split() (slug, action string) {
	slug, action, _ = strings.Cut(c.Action, ".")
	return slug, action
}

// fixes tells whether a field is not the model's to set.
func (c *toolConfig) fixes(field string) bool {
	_, fixed := c.Input[field]
	_, taken := c.FromInput[field]
	return fixed || taken
}

// tool is an action as a model may use it.
type tool struct {
	llm.Tool
	cfg          toolConfig
	slug, action string
	spec         connectors.Action
	connector    connectors.Connector
	connection   *connectors.Connection
	accounts     []string // the connectors whose connections it works with
	fixed        map[string]json.RawMessage
	hidden       []string // guarded fields that nobody sets: the action does without
	wrapped      bool     // the action takes no object, so its input is the field value
}

// fixes tells whether a field is not the model's to set.
func (t *tool) fixes(field string) bool {
	return t.cfg.fixes(field) || slices.Contains(t.hidden, field)
}

// toolFault is what is wrong with an entry of config.tools.
type toolFault struct {
	path    []string
	message string
}

// fieldURL is the field of an action's input by which a host is chosen.
const fieldURL = "url"

// makeTool puts an entry together, without its connection.
func (r *Runner) makeTool(ctx context.Context, ws string, cfg toolConfig) (*tool, *toolFault, error) {
	t := &tool{cfg: cfg}
	t.slug, t.action = cfg.split()
	if r.deps.Tools == nil || t.action == "" {
		return nil, &toolFault{nil, "must name an action as connector.action"}, nil
	}
	connector, known, err := r.deps.Tools.Find(ctx, ws, t.slug)
	if err != nil {
		return nil, nil, err
	}
	if known {
		t.spec, known, err = r.deps.Tools.Action(ctx, ws, t.slug, t.action)
	}
	switch {
	case err != nil:
		return nil, nil, err
	case !known:
		return nil, &toolFault{[]string{"action"}, fmt.Sprintf("there is no action %q", cfg.Action)}, nil
	}
	t.connector = connector
	spec := connector.Spec()
	t.accounts = spec.Accounts()
	if t.cfg.Connection == "" {
		t.cfg.Connection = spec.Account
	}
	if fault := t.guarded(spec.Connection); fault != nil {
		return nil, fault, nil
	}
	if t.Input, t.wrapped, err = toolSchema(t.spec.Input, t.fixes); err != nil {
		return nil, &toolFault{nil, "the action's schema cannot be shown to a model"}, nil //nolint:nilerr // it is told
	}
	t.Name, t.Description = cfg.Name, cfg.Description
	if t.Name == "" {
		t.Name = toolName(cfg.Action)
	}
	if t.Description == "" {
		t.Description = t.spec.Description
	}
	return t, nil, nil
}

// guarded refuses a tool with which the model could choose where something goes.
func (t *tool) guarded(spec *connectors.ConnectionSpec) *toolFault {
	switch {
	case spec == nil && t.cfg.Connection != "":
		return &toolFault{[]string{"connection"}, "the action takes none"}
	case spec != nil && spec.Required && t.cfg.Connection == "":
		return &toolFault{[]string{"connection"}, "is required: the action works through a connection only"}
	}
	required := requiredOf(t.spec.Input)
	for _, field := range t.spec.Guarded {
		switch {
		case t.cfg.fixes(field):
		case field == fieldURL && (len(t.cfg.Hosts) > 0 || t.cfg.Connection != ""):
		case field == fieldURL:
			return &toolFault{[]string{"hosts"}, "is required, or a connection: a model does not choose the host"}
		case !slices.Contains(required, field):
			t.hidden = append(t.hidden, field)
		default:
			return &toolFault{[]string{"input", field}, "has to be set here or in from_input: a model does not choose it"}
		}
	}
	return nil
}

// requiredOf lists the fields that an action does not go without.
func requiredOf(schema json.RawMessage) []string {
	var s struct {
		Required []string `json:"required"`
	}
	if json.Unmarshal(schema, &s) != nil {
		return nil
	}
	return s.Required
}

// toolName makes a name that vendors take.
func toolName(action string) string {
	const most = 64
	name := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
			return c
		}
		return '_'
	}, action)
	if len(name) > most {
		sum := sha256.Sum256([]byte(action))
		name = name[:most-9] + "_" + hex.EncodeToString(sum[:4])
	}
	return name
}

// toolSchema is the schema of an action's input as a model sees it: of an object, and
// without the fields that are not its to set.
func toolSchema(raw json.RawMessage, fixed func(string) bool) (shown json.RawMessage, wrapped bool, err error) {
	var schema map[string]json.RawMessage
	if json.Unmarshal(raw, &schema) != nil || !ofObjects(schema["type"]) {
		if len(raw) == 0 {
			raw = json.RawMessage("true")
		}
		shown, err := json.Marshal(map[string]any{
			"type": "object", "properties": map[string]json.RawMessage{"value": raw}, "required": []string{"value"}, "additionalProperties": false,
		})
		return shown, true, err
	}
	schema["type"] = json.RawMessage(`"object"`)
	var properties map[string]json.RawMessage
	if schema["properties"] != nil {
		if err := json.Unmarshal(schema["properties"], &properties); err != nil {
			return nil, false, err
		}
		for name := range properties {
			if fixed(name) {
				delete(properties, name)
			}
		}
		if schema["properties"], err = json.Marshal(properties); err != nil {
			return nil, false, err
		}
	} else {
		schema["properties"] = json.RawMessage(`{}`) // some servers want it
	}
	var required []string
	if schema["required"] != nil {
		if err := json.Unmarshal(schema["required"], &required); err != nil {
			return nil, false, err
		}
		required = slices.DeleteFunc(required, fixed)
		delete(schema, "required")
		if len(required) > 0 {
			if schema["required"], err = json.Marshal(required); err != nil {
				return nil, false, err
			}
		}
	}
	shown, err = json.Marshal(schema)
	return shown, false, err
}

func ofObjects(typ json.RawMessage) bool {
	var one string
	var many []string
	return json.Unmarshal(typ, &one) == nil && one == "object" ||
		json.Unmarshal(typ, &many) == nil && slices.Contains(many, "object")
}

// fill takes from the agent's input what the entry says.
func (t *tool) fill(input json.RawMessage) error {
	t.fixed = map[string]json.RawMessage{}
	maps.Copy(t.fixed, t.cfg.Input)
	for field, path := range t.cfg.FromInput {
		value := input
		for name := range strings.SplitSeq(path, ".") {
			var object map[string]json.RawMessage
			if json.Unmarshal(value, &object) != nil || object[name] == nil {
				return connectors.Permanent(connectors.CodeInputInvalid, "the input has no %q, which tool %q takes as %q", path, t.Name, field)
			}
			value = object[name]
		}
		t.fixed[field] = value
	}
	return nil
}

// input makes the action's input of what the model wrote. The error is for the model.
func (t *tool) input(arguments string) (json.RawMessage, error) {
	if strings.TrimSpace(arguments) == "" {
		arguments = "{}"
	}
	raw, err := connectors.CleanJSON([]byte(arguments))
	if err != nil {
		return nil, connectors.Permanent(connectors.CodeInputInvalid, "the arguments are not valid JSON")
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil || fields == nil {
		return nil, connectors.Permanent(connectors.CodeInputInvalid, "the arguments must be a JSON object")
	}
	if t.wrapped {
		if len(fields) != 1 || fields["value"] == nil {
			return nil, connectors.Permanent(connectors.CodeInputInvalid, "the arguments must have the one field value")
		}
		return fields["value"], nil
	}
	for field := range fields {
		if t.fixes(field) {
			return nil, connectors.Permanent(connectors.CodeInputInvalid, "%s: is not a known field", field)
		}
	}
	maps.Copy(fields, t.fixed)
	return json.Marshal(fields)
}

// limits tells where the tool's requests may go, or nil where that is not asked: the
// action's own connector knows.
func (t *tool) limits() func(*url.URL) bool {
	if !slices.Contains(t.spec.Guarded, fieldURL) || t.cfg.fixes(fieldURL) {
		return nil
	}
	return func(u *url.URL) bool {
		if t.connection != nil && t.connection.Allows(u) {
			return true
		}
		return slices.ContainsFunc(t.cfg.Hosts, func(host string) bool { return connectors.MatchesHost(host, u) })
	}
}

// checkHost refuses an input that leads to another host than the entry allows.
func (t *tool) checkHost(input json.RawMessage) error {
	allowed := t.limits()
	if allowed == nil {
		return nil
	}
	var in struct {
		URL string `json:"url"`
	}
	if json.Unmarshal(input, &in) != nil {
		return nil //nolint:nilerr // which the schema finds
	}
	u, err := egress.ParseURL(in.URL)
	if err != nil && t.connection != nil && strings.HasPrefix(in.URL, "/") {
		return nil // below the base address of the connection
	}
	if err != nil {
		return connectors.Permanent(connectors.CodeInputInvalid, "url: %s", err.Error())
	}
	if !allowed(u) {
		return connectors.Permanent(connectors.CodeHostNotAllowed, "this tool may not be used at %s", u.Hostname())
	}
	return nil
}

// burden is what a call of the tool uses.
func (t *tool) burden(req Request) connectors.Burden {
	b := connectors.Burden{Connection: t.connection}
	if placed, ok := t.connector.(connectors.Placed); ok && b.Connection == nil {
		b.Host = placed.Host(req)
	}
	return b
}

// maxResult bounds what a model is shown of what a tool gave.
const maxResult = 64 << 10

const (
	codeOutcomeUnknown = "outcome_unknown"
	codeUnknownTool    = "unknown_tool"
)

// use does one call of a turn, or finds what came of it in an earlier attempt. An
// error ends the attempt; what the model can mend is in the result.
func (c *conversation) use(ctx context.Context, turn, index int, call llm.Call) (llm.Result, error) {
	hash, err := hashOf(call.Name, call.Arguments)
	if err != nil {
		return llm.Result{}, err
	}
	row, err := c.journal.find(turn, index, hash)
	if err != nil {
		return llm.Result{}, err
	}
	if row != nil && row.Status == models.AgentTurnDone {
		var result llm.Result
		if err := json.Unmarshal(row.Response, &result); err != nil {
			return llm.Result{}, errChanged
		}
		if row.Usage != nil {
			c.spend(*row.Usage)
		}
		return result, nil
	}
	began := c.now()
	fresh := c.journal.row(turn, index, hash, began)
	var result llm.Result
	if row != nil { // it was about to happen when its worker was lost
		result = unknownOutcome(call)
	} else if result, err = c.do(ctx, turn, index, call, fresh); err != nil {
		return llm.Result{}, err
	}
	return result, c.journal.finishCall(ctx, fresh, result, c.now())
}

func (c *conversation) do(ctx context.Context, turn, index int, call llm.Call, row *models.AgentTurn) (llm.Result, error) {
	if index >= maxCalls {
		return failed(call, connectors.AsError(connectors.Permanent(connectors.CodeInputInvalid, "a turn may have at most %d calls", maxCalls))), nil
	}
	i := slices.IndexFunc(c.tools, func(t *tool) bool { return t.Name == call.Name })
	if i < 0 {
		return failed(call, connectors.AsError(connectors.Permanent(codeUnknownTool, "there is no tool %q", openText(call.Name, 64)))), nil
	}
	t := c.tools[i]
	input, err := t.input(call.Arguments)
	if err == nil {
		err = c.runner.deps.Tools.ValidateInput(ctx, c.req.WorkspaceID, t.slug, t.action, input)
	}
	if err == nil {
		err = t.checkHost(input)
	}
	if err != nil {
		return c.judge(ctx, call, err)
	}
	if allowed := t.limits(); allowed != nil {
		ctx = egress.Within(ctx, allowed)
	}
	req := c.req
	req.Action, req.Input, req.Connection, req.Agent = t.action, input, t.connection, c.agent.Slug
	req.IdempotencyKey = c.key(turn, index)
	if priced, ok := t.connector.(connectors.Priced); ok {
		if most := priced.Most(req); most != nil && !c.allows(boundsOf(*most)) {
			return c.judge(ctx, call, connectors.Permanent(codeBudgetExceeded, "the agent's budget for one call does not allow what this may cost"))
		}
	}
	began := false // something that must not be done twice
	req.BeforeEffect = func(ctx context.Context) error {
		if err := c.req.Begin(ctx); err != nil || t.spec.Idempotent || t.spec.NoEffect {
			return err
		}
		began = true
		return c.journal.beginCall(ctx, row)
	}
	var resp connectors.Response
	err = c.req.Use(ctx, t.burden(req), func() (err error) {
		resp, err = c.runner.deps.Tools.Do(ctx, t.slug, req)
		return err
	})
	if e, ok := errors.AsType[*connectors.Error](err); ok && began && e.OutcomeUnknown() && ctx.Err() == nil {
		return unknownOutcome(call), nil
	}
	if err != nil {
		result, err := c.judge(ctx, call, err)
		if err != nil && ctx.Err() == nil {
			// It is known what came of it, so the next attempt may do it again. Where that
			// cannot be noted, it finds out first.
			_ = c.journal.dropCall(ctx, row)
		}
		return result, err
	}
	if resp.Usage != nil {
		row.Usage = new(usageOf(*resp.Usage))
		c.spend(*row.Usage)
	}
	output, err := c.secrets.clean(resp.Output)
	if err != nil {
		return c.judge(ctx, call, err)
	}
	return llm.Result{ID: call.ID, Content: openText(string(output), maxResult)}, nil
}

// judge tells the model what it can do something about. What may pass by itself ends
// the attempt instead: the next one begins with this call.
func (c *conversation) judge(ctx context.Context, call llm.Call, err error) (llm.Result, error) {
	var e *connectors.Error
	if !errors.As(err, &e) || e.Retryable || ctx.Err() != nil {
		return llm.Result{}, err
	}
	return failed(call, connectors.AsError(c.secrets.error(e))), nil
}

func unknownOutcome(call llm.Call) llm.Result {
	return failed(call, connectors.AsError(connectors.Permanent(codeOutcomeUnknown,
		"it is not known whether this call took effect: find out before doing it again")))
}

func failed(call llm.Call, e *connectors.Error) llm.Result {
	raw, err := json.Marshal(map[string]any{"error": e})
	if err != nil {
		raw = []byte(`{"error":{}}`)
	}
	return llm.Result{ID: call.ID, Content: string(raw), Failed: true}
}
