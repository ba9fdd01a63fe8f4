package connectors

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
)

// Registry is the set of connectors a process offers. It does not change after
// NewRegistry and is safe for concurrent use.
type Registry struct {
	specs      []Spec
	connectors map[string]Connector
	actions    map[actionID]registered
}

type actionID struct{ slug, action string }

type registered struct {
	Action
	input *Schema
}

var (
	slugForm   = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)
	actionForm = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$`)
)

// NewRegistry takes in connectors. It refuses bad or repeated names, actions
// without description and schemas that do not compile.
func NewRegistry(cs ...Connector) (*Registry, error) {
	r := &Registry{connectors: map[string]Connector{}, actions: map[actionID]registered{}}
	for _, c := range cs {
		if err := r.add(c); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(r.specs, func(a, b Spec) int { return cmp.Compare(a.Slug, b.Slug) })
	return r, nil
}

func (r *Registry) add(c Connector) error {
	spec := c.Spec()
	switch {
	case !slugForm.MatchString(spec.Slug):
		return fmt.Errorf("connector %q: slug must be lower-case letters, digits, - and _", spec.Slug)
	case r.connectors[spec.Slug] != nil:
		return fmt.Errorf("connector %s: registered twice", spec.Slug)
	case spec.Name == "" || spec.Description == "":
		return fmt.Errorf("connector %s: name and description are required", spec.Slug)
	case len(spec.Actions) == 0:
		return fmt.Errorf("connector %s: has no actions", spec.Slug)
	}
	if err := spec.Connection.check(); err != nil {
		return fmt.Errorf("connector %s connection: %w", spec.Slug, err)
	}
	for _, a := range spec.Actions {
		id := actionID{spec.Slug, a.Name}
		if !actionForm.MatchString(a.Name) {
			return fmt.Errorf("connector %s action %q: name must be lower-case words, with _ or . between them", spec.Slug, a.Name)
		}
		if _, twice := r.actions[id]; twice {
			return fmt.Errorf("connector %s action %s: listed twice", spec.Slug, a.Name)
		}
		if a.Description == "" {
			return fmt.Errorf("connector %s action %s: description is required", spec.Slug, a.Name)
		}
		input, err := CompileSchema(a.Input)
		if err != nil {
			return fmt.Errorf("connector %s action %s input: %w", spec.Slug, a.Name, err)
		}
		if _, err := CompileSchema(a.Output); err != nil {
			return fmt.Errorf("connector %s action %s output: %w", spec.Slug, a.Name, err)
		}
		r.actions[id] = registered{Action: a, input: input}
	}
	r.connectors[spec.Slug] = c
	r.specs = append(r.specs, spec)
	return nil
}

// Lookup finds a connector.
func (r *Registry) Lookup(slug string) (Connector, bool) {
	c, ok := r.connectors[slug]
	return c, ok
}

// Action finds an action of a connector.
func (r *Registry) Action(slug, action string) (Action, bool) {
	a, ok := r.actions[actionID{slug, action}]
	return a.Action, ok
}

// Specs lists all connectors by slug.
func (r *Registry) Specs() []Spec { return slices.Clone(r.specs) }

// ValidateInput returns a permanent *Error naming each field in which input does
// not fit the action's schema.
func (r *Registry) ValidateInput(slug, action string, input json.RawMessage) error {
	a, ok := r.actions[actionID{slug, action}]
	if !ok {
		return Permanent(CodeUnknownAction, "connector %q has no action %q", slug, action)
	}
	return a.input.CheckInput(input)
}

// Do checks the input, calls the action, and cleans its output so that it can be
// stored. The connector's error is passed on as it is; AsError puts it in form.
func (r *Registry) Do(ctx context.Context, slug string, req Request) (Response, error) {
	if err := r.ValidateInput(slug, req.Action, req.Input); err != nil {
		return Response{}, err
	}
	return do(ctx, r.connectors[slug], req)
}

func do(ctx context.Context, c Connector, req Request) (Response, error) {
	resp, err := c.Do(ctx, req)
	if err != nil {
		return Response{}, err
	}
	resp.Output, err = CleanJSON(orNull(resp.Output))
	return resp, err
}
