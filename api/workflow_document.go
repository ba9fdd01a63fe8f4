package api

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/10ex/flows/models"
)

// The format of an exported workflow. A format this server does not know is
// refused, rather than read half.
const (
	documentFormat  = "flows.workflow"
	documentVersion = 1
)

// WorkflowDocument is a workflow in one piece, to be kept in a file or taken to
// another workspace. It holds no id and no secret; requires names what the other
// side must have.
type WorkflowDocument struct {
	Format        string       `json:"format" enum:"flows.workflow"`
	FormatVersion int          `json:"format_version" minimum:"1" maximum:"1"`
	Name          string       `json:"name" minLength:"1" pattern:"^$|\\S" maxLength:"200"`
	Description   string       `json:"description,omitempty" maxLength:"2000"`
	Tags          []string     `json:"tags,omitempty" nullable:"false" maxItems:"50"`
	Requires      requirements `json:"requires,omitzero"`
	ExportedAt    string       `json:"exported_at,omitempty"`
	Content
}

// requirements are the agents and connectors a graph names.
type requirements struct {
	Agents     []string `json:"agents" nullable:"false"`
	Connectors []string `json:"connectors" nullable:"false"`
}

func requires(g *models.Graph) requirements {
	r := requirements{Agents: []string{}, Connectors: []string{}}
	for _, s := range g.Steps {
		if s.Agent != "" {
			r.Agents = append(r.Agents, s.Agent)
		}
		if s.Connector != "" {
			r.Connectors = append(r.Connectors, s.Connector)
		}
	}
	slices.Sort(r.Agents)
	slices.Sort(r.Connectors)
	r.Agents, r.Connectors = slices.Compact(r.Agents), slices.Compact(r.Connectors)
	return r
}

type documentAnswer struct{ Body WorkflowDocument }

func (a *API) exportWorkflow(ctx context.Context, in *WorkflowPath) (*documentAnswer, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	t := a.store.For(workspace(ctx))
	w, err := t.Workflow(ctx, id)
	if err != nil {
		return nil, err
	}
	v, err := t.Version(ctx, id, w.Version)
	if err != nil {
		return nil, err
	}
	at, err := json.Marshal(stamp(a.now()))
	if err != nil {
		return nil, err
	}
	return &documentAnswer{WorkflowDocument{
		Format: documentFormat, FormatVersion: documentVersion,
		Name: w.Name, Description: w.Description, Tags: w.Tags, Requires: requires(v.Graph), ExportedAt: string(at[1 : len(at)-1]),
		Content: Content{Graph: v.Graph, InputSchema: v.InputSchema, Output: v.Output, Settings: Settings(v.Settings)},
	}}, nil
}

type importRequest struct{ Body WorkflowDocument }

func (a *API) importWorkflow(ctx context.Context, in *importRequest) (*workflowAnswer, error) {
	tags, err := cleanTags(in.Body.Tags)
	if err != nil {
		return nil, err
	}
	v, err := a.version(ctx, in.Body.Content)
	if err != nil {
		return nil, err
	}
	return a.makeWorkflow(ctx, &models.Workflow{
		Name: in.Body.Name, Description: in.Body.Description, Status: models.WorkflowActive, Tags: tags,
	}, v)
}
