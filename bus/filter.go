package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/10ex/flows/engine/expression"
	"github.com/10ex/flows/models"
)

// condition is what a trigger says in expressions, compiled.
type condition struct {
	filter  *expression.Program // nil: all
	key     *expression.Program // nil: no dedupe
	window  time.Duration
	payload *expression.Template // nil: the event's data
}

// scope is what a trigger knows: it fires before there is a run.
var scope = expression.Scope{Event: true, Outside: true}

// compileCondition compiles a trigger's expressions and gathers what is wrong with
// them. Places begin with the field.
func compileCondition(trg *models.Trigger) (*condition, []models.FieldError) {
	c := &condition{}
	var errs []models.FieldError
	if trg.Filter != "" {
		c.filter, errs = program(trg.Filter, expression.Bool, errs, "filter")
	}
	if trg.Dedupe != nil {
		c.key, errs = program(trg.Dedupe.Key, expression.Any, errs, "dedupe", "key")
		var err error
		c.window, err = expression.ParseDuration(trg.Dedupe.Window)
		switch {
		case err != nil:
			errs = append(errs, models.FieldError{Loc: []any{"dedupe", "window"}, Msg: err.Error(), Type: "duration"})
		case c.window <= 0 || c.window > maxWindow:
			errs = append(errs, models.FieldError{Loc: []any{"dedupe", "window"}, Msg: "must be more than nothing and at most 366d", Type: "limit"})
		}
	}
	if len(trg.Payload) > 0 {
		t, err := expression.CompileTemplate(trg.Payload, scope)
		if err != nil {
			errs = append(errs, expressionErrors(err, "payload")...)
		}
		c.payload = t
	}
	return c, errs
}

// maxWindow bounds how long a key is remembered.
const maxWindow = 366 * 24 * time.Hour

// program compiles an expression over an event.
func program(src string, kind expression.Kind, errs []models.FieldError, loc ...any) (*expression.Program, []models.FieldError) {
	p, err := expression.Compile(expression.Bare(src), scope, kind)
	if err != nil {
		return nil, append(errs, expressionErrors(err, loc...)...)
	}
	return p, errs
}

func expressionErrors(err error, loc ...any) []models.FieldError {
	problems := expression.All(err)
	if len(problems) == 0 {
		return []models.FieldError{{Loc: loc, Msg: "the expression could not be read", Type: "expression"}}
	}
	errs := make([]models.FieldError, len(problems))
	for i, e := range problems {
		errs[i] = models.FieldError{Loc: slices.Concat(loc, e.Path), Msg: e.Words(), Type: "expression"}
	}
	return errs
}

// conditions keeps compiled triggers by what they say, so an entry never becomes
// wrong; the bound only keeps memory in check.
type conditions struct {
	mu   sync.RWMutex
	have map[conditionKey]*condition
}

type conditionKey struct {
	id models.TriggerID
	at time.Time // the last change
}

const maxConditions = 20_000

func newConditions() *conditions { return &conditions{have: map[conditionKey]*condition{}} }

// get gives a trigger's condition. One that does not compile, which creation does
// not let through, is an error.
func (c *conditions) get(trg *models.Trigger) (*condition, error) {
	key := conditionKey{trg.ID, trg.UpdatedAt}
	c.mu.RLock()
	have := c.have[key]
	c.mu.RUnlock()
	if have != nil {
		return have, nil
	}
	made, errs := compileCondition(trg)
	if len(errs) > 0 {
		return nil, errors.New(errs[0].Msg)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.have) >= maxConditions {
		clear(c.have)
	}
	c.have[key] = made
	return made, nil
}

// occasion is an event with its data decoded, once for all triggers.
type occasion struct {
	*models.Event

	vars map[string]any
	bad  error // why the data cannot be read
	read bool
}

// scope gives what expressions of a trigger may read.
func (o *occasion) scope(trg *models.Trigger) (expression.Vars, error) {
	if !o.read {
		o.read = true
		data, err := expression.Decode(o.Data)
		o.bad = err
		o.vars = eventVars(o.Event, data)
	}
	if o.bad != nil {
		return nil, o.bad
	}
	return expression.Vars{"event": o.vars, "trigger": map[string]any{"type": string(trg.Type), "id": string(trg.ID), "event": o.vars}}, nil
}

// tellsOf tells whether the event is about a run of a workflow: such a run must not start
// the next one of the same, or each would bring about several, for as long as a chain may be.
// It is asked after scope.
func (o *occasion) tellsOf(w models.WorkflowID) bool {
	data, _ := o.vars["data"].(map[string]any)
	return o.RunID != nil && strings.HasPrefix(o.Type, "flow.") && data["workflow_id"] == string(w)
}

// eventVars is an event as expressions see it.
func eventVars(e *models.Event, data any) map[string]any {
	return map[string]any{
		"id": string(e.ID), "type": e.Type, "source": e.Source, "data": data,
		"occurred_at": models.TimeText(e.OccurredAt),
	}
}

// admits tells whether the filter lets an event through, and if not, why.
func (c *condition) admits(ctx context.Context, vars expression.Vars) (ok bool, reason string, err error) {
	if c.filter == nil {
		return true, "", nil
	}
	v, err := c.filter.Eval(ctx, vars)
	if err != nil {
		return false, "the filter failed: " + evalText(err), ctx.Err()
	}
	if yes, _ := v.(bool); !yes {
		return false, "the filter is false", nil
	}
	return true, "", nil
}

// dedupeKey gives the key of an event. It is empty where the event has none, which
// makes every such event one of its own.
func (c *condition) dedupeKey(ctx context.Context, vars expression.Vars) (key, reason string, err error) {
	if c.key == nil {
		return "", "", nil
	}
	v, err := c.key.Eval(ctx, vars)
	if err != nil {
		return "", "the dedupe key failed: " + evalText(err), ctx.Err()
	}
	switch v := v.(type) {
	case nil:
		return "", "", nil
	case string:
		key = v
	default:
		raw, err := json.Marshal(v)
		if err != nil {
			return "", "the dedupe key is no value that can be compared", nil //nolint:nilerr // which is the reason
		}
		key = string(raw)
	}
	if len(key) > maxKey || strings.ContainsRune(key, 0) {
		sum := sha256.Sum256([]byte(key))
		key = "sha256:" + hex.EncodeToString(sum[:])
	}
	return key, "", nil
}

// maxKey is the longest key that is kept as it is.
const maxKey = 200

// input gives the payload of the run to start.
func (c *condition) input(ctx context.Context, vars expression.Vars, e *models.Event) (payload json.RawMessage, reason string, err error) {
	if c.payload == nil {
		return e.Data, "", nil
	}
	payload, err = c.payload.RenderJSON(ctx, vars)
	if err != nil {
		return nil, "the payload failed: " + evalText(err), ctx.Err()
	}
	return payload, "", nil
}

func evalText(err error) string {
	if e, ok := errors.AsType[*expression.Error](err); ok {
		return e.Words()
	}
	return err.Error()
}
