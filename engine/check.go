package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/10ex/flows/models"
)

// Draft is a version that has not been saved.
type Draft struct {
	Graph       *models.Graph
	InputSchema json.RawMessage
	Output      json.RawMessage
	Settings    json.RawMessage
}

// Check tells everything wrong with a draft, and what is allowed but looks
// wrong. Places begin with graph, input_schema, output or settings. What passes
// can be saved and run. err is for a store that does not answer.
func (e *Engine) Check(ctx context.Context, ws models.WorkspaceID, d Draft) (errs, warnings []models.FieldError, err error) {
	def, errs := compile(&models.Version{Graph: d.Graph, InputSchema: d.InputSchema, Output: d.Output, Settings: d.Settings})
	if def != nil {
		warnings = def.look()
	}
	if d.Graph == nil || len(d.Graph.Steps) > models.MaxSteps {
		return errs, warnings, nil
	}
	missing, err := e.unknown(ctx, ws, d.Graph)
	if err != nil {
		return nil, nil, err
	}
	return append(errs, missing...), warnings, nil
}

// unknown names the agents, connectors, actions and connections of a graph that do
// not exist or do not go together.
func (e *Engine) unknown(ctx context.Context, ws models.WorkspaceID, g *models.Graph) ([]models.FieldError, error) {
	var slugs []string
	for _, s := range g.Steps {
		if s.Type == models.StepTypeAgent && s.Agent != "" {
			slugs = append(slugs, s.Agent)
		}
	}
	slices.Sort(slugs)
	slugs = slices.Compact(slugs)
	var known []string
	if len(slugs) > 0 {
		var err error
		if known, err = e.deps.Store.For(ws).KnownAgents(ctx, slugs); err != nil {
			return nil, err
		}
	}
	offered, err := e.offered(ctx, ws, g)
	if err != nil {
		return nil, err
	}
	connectors, err := e.connectorsOf(ctx, ws, g)
	if err != nil {
		return nil, err
	}
	var errs []models.FieldError
	add := func(i int, field, msg string) {
		errs = append(errs, models.FieldError{Loc: []any{"graph", "steps", i, field}, Msg: msg, Type: "unknown"})
	}
	for i, s := range g.Steps {
		if f := connectionFault(s, offered[s.Connector], connectors); f != nil {
			f.Loc = []any{"graph", "steps", i, "connection"}
			errs = append(errs, *f)
		}
		switch {
		case s.Type == models.StepTypeAgent && s.Agent != "" && !slices.Contains(known, s.Agent):
			add(i, "agent", fmt.Sprintf("there is no agent %q", s.Agent))
		case s.Type != models.StepTypeConnector || s.Connector == "":
		case !offered[s.Connector].known:
			add(i, "connector", fmt.Sprintf("there is no connector %q", s.Connector))
		case s.Action != "" && slices.Contains(offered[s.Connector].missing, s.Action):
			add(i, "action", fmt.Sprintf("connector %q has no action %q", s.Connector, s.Action))
		}
	}
	return errs, nil
}

// offer is what a connector has of what a graph asks of it.
type offer struct {
	asked   []string
	known   bool
	missing []string
	// takes lists the connectors whose connections it works with; required says that it
	// does not work where a step names none.
	takes    []string
	required bool
}

// offered asks once for each connector of a graph.
func (e *Engine) offered(ctx context.Context, ws models.WorkspaceID, g *models.Graph) (map[string]offer, error) {
	found := map[string]offer{}
	for _, s := range g.Steps {
		if s.Type != models.StepTypeConnector || s.Connector == "" {
			continue
		}
		o := found[s.Connector]
		if s.Action != "" && !slices.Contains(o.asked, s.Action) {
			o.asked = append(o.asked, s.Action)
		}
		found[s.Connector] = o
	}
	for slug, o := range found {
		var err error
		if o.known, o.missing, err = e.deps.Catalogue.Knows(ctx, string(ws), slug, o.asked); err != nil {
			return nil, err
		}
		if o.takes, o.required, err = e.deps.Catalogue.TakesConnections(ctx, string(ws), slug); err != nil {
			return nil, err
		}
		found[slug] = o
	}
	return found, nil
}

// connectorsOf tells of each connection that a graph names, and the workspace has,
// which connector it is of.
func (e *Engine) connectorsOf(ctx context.Context, ws models.WorkspaceID, g *models.Graph) (map[models.ConnectionID]string, error) {
	var named []models.ConnectionID
	for _, s := range g.Steps {
		if models.ValidID(models.ConnectionPrefix, s.Connection) {
			named = append(named, models.ConnectionID(s.Connection))
		}
	}
	slices.Sort(named)
	return e.deps.Store.For(ws).ConnectorsOf(ctx, slices.Compact(named))
}

// connectionFault says what is wrong with the connection of a step, or that it has
// none. That a step of another type names one is told elsewhere.
func connectionFault(s models.GraphStep, o offer, connectors map[models.ConnectionID]string) *models.FieldError {
	if s.Type != models.StepTypeConnector || !o.known {
		return nil
	}
	of, known := connectors[models.ConnectionID(s.Connection)]
	switch {
	case s.Connection == "" && o.required:
		return &models.FieldError{Msg: fmt.Sprintf("is required: connector %q works with a connection only", s.Connector), Type: "missing"}
	case s.Connection == "":
		return nil
	case len(o.takes) == 0:
		return &models.FieldError{Msg: fmt.Sprintf("connector %q takes no connection", s.Connector), Type: "invalid"}
	case !known:
		return &models.FieldError{Msg: fmt.Sprintf("there is no connection %q in this workspace", s.Connection), Type: "unknown"}
	case !slices.Contains(o.takes, of):
		return &models.FieldError{Msg: fmt.Sprintf("is of connector %q, and the step of %q", of, s.Connector), Type: "invalid"}
	}
	return nil
}
