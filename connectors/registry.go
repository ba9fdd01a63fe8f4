package connectors

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"sync"
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
	// input is compiled when it is first asked for: there are many, one takes 20 kB, and
	// only a process that does the action needs it.
	input func() (*Schema, error)
}

var (
	slugForm   = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)
	actionForm = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$`)
)

// NewRegistry takes in connectors. It refuses bad or repeated names and actions
// without description. Whether schemas compile is left to Check.
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
		r.actions[id] = registered{Action: a, input: sync.OnceValues(func() (*Schema, error) {
			s, err := CompileSchema(a.Input)
			if err != nil {
				return nil, fmt.Errorf("connector %s action %s input: %w", spec.Slug, a.Name, err)
			}
			return s, nil
		})}
	}
	r.connectors[spec.Slug] = c
	r.specs = append(r.specs, spec)
	return nil
}

// Check compiles every schema, and tells which one cannot be. Tests do that for all
// connectors there are, so that a process need not do it each time it starts.
func (r *Registry) Check() error {
	for id, a := range r.actions {
		if _, err := a.input(); err != nil {
			return err
		}
		if _, err := CompileSchema(a.Output); err != nil {
			return fmt.Errorf("connector %s action %s output: %w", id.slug, id.action, err)
		}
	}
	for _, s := range r.specs {
		if s.Connection == nil || len(s.Connection.Config) == 0 {
			continue
		}
		if _, err := CompileSchema(s.Connection.Config); err != nil {
			return fmt.Errorf("connector %s connection config: %w", s.Slug, err)
		}
	}
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
	schema, err := a.input()
	if err != nil {
		return err
	}
	return schema.CheckInput(input)
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
