package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/10ex/flows/engine/expression"
	"github.com/10ex/flows/models"
)

// control is the settings of a version, compiled: how its runs are started. It is
// nil where nothing is set.
type control struct {
	timeout  time.Duration // of a run from when it begins; 0: none
	priority models.Priority

	limit  int // runs of a key that are active at once; 0: any number
	policy models.ConcurrencyPolicy
	slot   *expression.Program // the key; nil: all runs of the workflow share one

	period time.Duration // a run gathers starts until none came for that long; 0: it does not
	max    time.Duration // and not for longer than that; 0: as long as it takes
	gather *expression.Program
}

// priority is that of the runs' steps.
func (d *definition) priority() string {
	if d.control == nil {
		return ""
	}
	return string(d.control.priority)
}

// maxKey bounds the bytes of a key as it is kept. A longer one is kept as its hash.
const maxKey = 200

// settings compiles the settings of a version.
func (c *compiler) settings(raw json.RawMessage) {
	fields, ok := c.fields(raw, []string{"timeout", "concurrency", "debounce", "priority"}, "settings")
	if !ok {
		return
	}
	var s control
	s.timeout = c.period(fields["timeout"], "settings", "timeout")
	if raw, ok := fields["priority"]; ok {
		s.priority = oneOf(c, raw, models.Priorities, "settings", "priority")
	}
	if raw, ok := fields["concurrency"]; ok {
		c.concurrency(&s, raw)
	}
	if raw, ok := fields["debounce"]; ok {
		c.debounce(&s, raw)
	}
	c.def.control = &s
}

func (c *compiler) concurrency(s *control, raw json.RawMessage) {
	fields, ok := c.fields(raw, []string{"key", "limit", "policy"}, "settings", "concurrency")
	if !ok {
		c.missingObject(raw, "settings", "concurrency")
		return
	}
	s.slot = c.key(fields["key"], "settings", "concurrency", "key")
	s.policy = models.PolicyQueue
	if raw, ok := fields["policy"]; ok {
		s.policy = oneOf(c, raw, models.ConcurrencyPolicies, "settings", "concurrency", "policy")
	}
	switch raw, ok := fields["limit"]; {
	case !ok:
		c.add("missing", "concurrency needs a limit: how many runs of a key may be active at once", "settings", "concurrency", "limit")
	case json.Unmarshal(raw, &s.limit) != nil || s.limit < 1 || s.limit > models.MaxConcurrency:
		c.add("limit", fmt.Sprintf("the limit is a whole number from 1 to %d", models.MaxConcurrency), "settings", "concurrency", "limit")
	}
}

func (c *compiler) debounce(s *control, raw json.RawMessage) {
	fields, ok := c.fields(raw, []string{"key", "period", "max"}, "settings", "debounce")
	if !ok {
		c.missingObject(raw, "settings", "debounce")
		return
	}
	s.gather = c.key(fields["key"], "settings", "debounce", "key")
	if _, ok := fields["period"]; !ok {
		c.add("missing", "debounce needs a period: how long no other start has to come", "settings", "debounce", "period")
		return
	}
	s.period = c.period(fields["period"], "settings", "debounce", "period")
	s.max = c.period(fields["max"], "settings", "debounce", "max")
	if s.max > 0 && s.period > s.max {
		c.add("limit", "max is at least as long as period", "settings", "debounce", "max")
	}
}

// fields takes an object apart and refuses what it does not know. ok is false where
// there is none.
func (c *compiler) fields(raw json.RawMessage, known []string, loc ...any) (fields map[string]json.RawMessage, ok bool) {
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || string(raw) == "null" {
		return nil, false
	}
	if json.Unmarshal(raw, &fields) != nil {
		c.add("invalid", fmt.Sprintf("%v is an object", loc[len(loc)-1]), loc...)
		return nil, false
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		switch {
		case !slices.Contains(known, name):
			c.add("unknown", fmt.Sprintf("there is no %q in %v", name, loc[len(loc)-1]), append(slices.Clone(loc), name)...)
		case string(bytes.TrimSpace(fields[name])) == "null":
			delete(fields, name)
		}
	}
	return fields, len(fields) > 0
}

// missingObject refuses an object that says nothing where it has to.
func (c *compiler) missingObject(raw json.RawMessage, loc ...any) {
	if string(bytes.TrimSpace(raw)) == "{}" {
		c.add("missing", fmt.Sprintf("%v is empty", loc[len(loc)-1]), loc...)
	}
}

// period reads a duration that may be left out, but not be none.
func (c *compiler) period(raw json.RawMessage, loc ...any) time.Duration {
	if raw == nil {
		return 0
	}
	var text string
	if json.Unmarshal(raw, &text) != nil || text == "" {
		c.add("duration", "a duration is text such as 90s, 24h or 7d", loc...)
		return 0
	}
	d := c.duration(text, 0, maxPeriod, loc...)
	if d <= 0 && len(c.errs) == 0 {
		c.add("duration", "the duration must be longer than nothing", loc...)
	}
	return d
}

// maxPeriod bounds durations of settings: ten years.
const maxPeriod = 3653 * 24 * time.Hour

func oneOf[T ~string](c *compiler, raw json.RawMessage, known []T, loc ...any) (v T) {
	if json.Unmarshal(raw, &v) != nil || !slices.Contains(known, v) {
		words := make([]string, len(known))
		for i, k := range known {
			words[i] = string(k)
		}
		c.add("invalid", fmt.Sprintf("%v is one of %s", loc[len(loc)-1], strings.Join(words, ", ")), loc...)
	}
	return v
}

// key compiles the expression of a key. It is made before there is a run.
func (c *compiler) key(raw json.RawMessage, loc ...any) *expression.Program {
	if raw == nil {
		return nil
	}
	var src string
	if json.Unmarshal(raw, &src) != nil {
		c.add("invalid", "a key is text: an expression over payload", loc...)
		return nil
	}
	p := c.program(src, expression.Any, expression.Scope{}, loc...)
	if p == nil {
		return nil
	}
	if refs := p.Refs(); refs.Trigger || refs.Run || refs.Workflow || len(refs.Steps) > 0 {
		c.add("expression", "a key is made before the run is: it may read payload only", loc...)
	}
	return p
}

// keyFor gives the key that a payload has. Values of different types are different
// keys, and a missing one is a key as well.
func keyFor(p *expression.Program, payload json.RawMessage, what string) (string, error) {
	if p == nil {
		return "", nil
	}
	value, err := expression.Decode(payload)
	if err == nil {
		value, err = p.Eval(context.Background(), expression.Vars{"payload": value})
	}
	if err != nil {
		return "", &models.InvalidError{Fields: []models.FieldError{{
			Loc: []any{"payload"}, Type: "expression", Msg: fmt.Sprintf("the key of %s cannot be made: %s", what, expressionText(err)),
		}}}
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "", errors.New("a key is no JSON") // expressions give JSON
	}
	if len(text) > maxKey {
		sum := sha256.Sum256(text)
		return "sha256:" + hex.EncodeToString(sum[:]), nil
	}
	return string(text), nil
}
