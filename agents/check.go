package agents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/10ex/flows/agents/llm"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/models"
)

// The connectors whose connections other kinds of agents are reached through.
const (
	slugTenex = "tenex"
	slugHTTP  = "http"
)

// fitting lists the connectors whose connections an agent of a kind can use, and tells
// whether it needs one.
func fitting(kind string) (slugs []string, required bool) {
	switch kind {
	case KindLLM:
		return []string{llm.SlugAnthropic, llm.SlugOpenAI}, true
	case KindPlatform:
		return []string{slugTenex}, true
	case KindHTTP:
		return []string{slugHTTP}, false
	}
	return nil, false
}

// Check tells what would keep an agent of a workspace from running: its config, its
// connection, and those of its tools. The error is a *ConfigError naming every fault,
// unless it could not be told.
func (r *Runner) Check(ctx context.Context, workspace string, a Agent) error {
	if err := ValidateConfig(a.Kind, a.Config); err != nil {
		return err
	}
	var faults []FieldError
	slugs, required := fitting(a.Kind)
	switch {
	case a.Connection != "":
		connector, fault, err := r.peek(ctx, workspace, a.Connection)
		switch {
		case err != nil:
			return err
		case fault != "":
			faults = append(faults, FieldError{[]string{"connection"}, fault})
		case !slices.Contains(slugs, connector):
			faults = append(faults, FieldError{[]string{"connection"}, fmt.Sprintf("must be of connector %s", strings.Join(slugs, " or "))})
		}
	case required:
		faults = append(faults, FieldError{[]string{"connection"}, fmt.Sprintf("is required, and of connector %s", strings.Join(slugs, " or "))})
	}
	if a.Kind == KindLLM {
		more, err := r.checkLLM(ctx, workspace, a)
		if err != nil {
			return err
		}
		faults = append(faults, more...)
	}
	if len(faults) > 0 {
		return &ConfigError{Fields: faults}
	}
	return nil
}

func (r *Runner) checkLLM(ctx context.Context, workspace string, a Agent) ([]FieldError, error) {
	cfg, err := parseLLMConfig(a.Config)
	if err != nil {
		return nil, err
	}
	var faults []FieldError
	if _, known := r.price(cfg, ""); !known && cfg.Budget.dollars() {
		faults = append(faults, FieldError{[]string{"config", "price"}, "is required: no price is known for the model, so a budget in dollars cannot be kept"})
	}
	names := map[string]bool{}
	for i, tc := range cfg.Tools {
		t, fault, err := r.makeTool(ctx, workspace, tc)
		if err != nil {
			return nil, err
		}
		if fault != nil {
			faults = append(faults, FieldError{toolPath(i, fault.path), fault.message})
			continue
		}
		faults = append(faults, t.misfits(i)...)
		if names[t.Name] {
			faults = append(faults, FieldError{toolPath(i, []string{"name"}), fmt.Sprintf("another tool is called %q", t.Name)})
		}
		names[t.Name] = true
		if t.cfg.Connection == "" {
			continue
		}
		connector, message, err := r.peek(ctx, workspace, t.cfg.Connection)
		switch {
		case err != nil:
			return nil, err
		case message != "":
			faults = append(faults, FieldError{toolPath(i, []string{"connection"}), message})
		case !slices.Contains(t.accounts, connector):
			faults = append(faults, FieldError{toolPath(i, []string{"connection"}), fmt.Sprintf("must be of connector %s", strings.Join(t.accounts, " or "))})
		}
	}
	return faults, nil
}

// misfits tells what of an entry could never do any good: hosts that no address has, and
// fields that the action does not take.
func (t *tool) misfits(place int) []FieldError {
	var faults []FieldError
	for i, h := range t.cfg.Hosts {
		if fault := connectors.HostFault(strings.ToLower(h)); fault != "" {
			faults = append(faults, FieldError{toolPath(place, []string{"hosts", strconv.Itoa(i)}), fault})
		}
	}
	var schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
		Additional json.RawMessage            `json:"additionalProperties"`
	}
	if json.Unmarshal(t.spec.Input, &schema) != nil || string(schema.Additional) != "false" {
		return faults
	}
	unknown := func(name, field string) {
		if _, ok := schema.Properties[field]; !ok {
			faults = append(faults, FieldError{toolPath(place, []string{name, field}), "is not a field of the action's input"})
		}
	}
	for _, field := range slices.Sorted(maps.Keys(t.cfg.Input)) {
		unknown("input", field)
	}
	for _, field := range slices.Sorted(maps.Keys(t.cfg.FromInput)) {
		unknown("from_input", field)
	}
	return faults
}

const codeConnectionGone = "connection_gone"

// peek tells of which connector a connection is, or what is wrong with it.
func (r *Runner) peek(ctx context.Context, workspace, id string) (connector, fault string, err error) {
	if r.deps.PeekFunc == nil {
		return "", "there is no such connection", nil
	}
	connector, err = r.deps.PeekFunc(ctx, models.WorkspaceID(workspace), id)
	if errors.Is(err, models.ErrNotFound) {
		return "", "there is no such connection", nil
	}
	return connector, "", err
}

// open opens a connection for use, and holds it against the connectors it has to be of.
func (r *Runner) open(ctx context.Context, workspace, id string, slugs ...string) (*connectors.Connection, error) {
	if r.deps.OpenFunc == nil {
		return nil, connectors.Permanent(codeConnectionGone, "there is no connection %s any more", id)
	}
	var c *connectors.Connection
	err := r.patiently(ctx, func(ctx context.Context) (err error) {
		c, err = r.deps.OpenFunc(ctx, models.WorkspaceID(workspace), id)
		return err
	})
	switch {
	case errors.Is(err, models.ErrNotFound):
		return nil, connectors.Permanent(codeConnectionGone, "there is no connection %s any more", id)
	case err != nil:
		return nil, err
	case len(slugs) > 0 && !slices.Contains(slugs, c.Connector):
		return nil, notOf(id, c.Connector, slugs)
	}
	return c, nil
}

func notOf(id, connector string, slugs []string) error {
	return connectors.Permanent(codeConfigInvalid, "connection %s is of connector %s, not of %s", id, connector, strings.Join(slugs, " or "))
}
