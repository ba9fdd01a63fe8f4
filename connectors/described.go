package connectors

import (
	"encoding/json"
	"sync"
)

// Described is the part of a registered connector that does not depend on how its
// actions are done: which there are, and what they take. It is safe for concurrent use.
type Described struct {
	spec    Spec
	byName  map[string]int // actions, by name and by what the other side calls them
	schemas func(i int) (input, output json.RawMessage)
	inputs  sync.Map // of *Schema, by place in spec.Actions
}

// Describe describes a connector that was stored. The actions come without their
// schemas, which schemas gives by place. What the other side calls an action, by the
// same place, is a name of it as well, unless another one has that name.
func Describe(stored Stored, connection *ConnectionSpec, actions []Action, theirs []string, schemas func(i int) (input, output json.RawMessage)) *Described {
	d := &Described{
		spec: Spec{
			Slug: stored.Slug, Name: stored.Name, Description: stored.Description, Actions: actions, Connection: connection,
			Kind: stored.Kind, Account: stored.Account,
		},
		byName: make(map[string]int, 2*len(actions)), schemas: schemas,
	}
	for i, a := range actions {
		d.byName[a.Name] = i
	}
	for i, name := range theirs {
		if _, taken := d.byName[name]; !taken && name != "" {
			d.byName[name] = i
		}
	}
	return d
}

// Spec describes the connector, without the schemas of its actions.
func (d *Described) Spec() Spec { return d.spec }

// Place finds an action among those of Describe. The error is a permanent *Error.
func (d *Described) Place(action string) (int, error) {
	i, ok := d.byName[action]
	if !ok {
		return 0, Permanent(CodeUnknownAction, "connector %q has no action %q", d.spec.Slug, action)
	}
	return i, nil
}

// Action finds an action with its schemas, by its name or by what the other side
// calls it.
func (d *Described) Action(name string) (Action, bool) {
	i, err := d.Place(name)
	if err != nil {
		return Action{}, false
	}
	a := d.spec.Actions[i]
	a.Input, a.Output = d.schemas(i)
	return a, true
}

// CheckInput returns a permanent *Error naming each field in which input does not fit.
func (d *Described) CheckInput(action string, input json.RawMessage) error {
	i, err := d.Place(action)
	if err != nil {
		return err
	}
	schema, ok := d.inputs.Load(i)
	if !ok {
		raw, _ := d.schemas(i)
		compiled, err := CompileForeignSchema(raw)
		if err != nil {
			return err
		}
		schema, _ = d.inputs.LoadOrStore(i, compiled)
	}
	return schema.(*Schema).CheckInput(input) //nolint:forcetypeassert // nothing else is put there
}
