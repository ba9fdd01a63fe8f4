package api

import (
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/10ex/flows/models"
)

// The types below describe models.Graph for OpenAPI and for checking the shape of
// what clients send; a test holds their fields to those of the model. What shape
// cannot say is checked by the engine.

type graphShape struct {
	Steps []stepShape `json:"steps" nullable:"false" minItems:"1" maxItems:"1000"`
	Edges []edgeShape `json:"edges,omitempty" nullable:"false" maxItems:"5000" doc:"What follows what"`
}

type stepShape struct {
	ID   string    `json:"id" pattern:"^[a-zA-Z][a-zA-Z0-9_-]{0,63}$" doc:"The author's name for the step, unique in the graph"`
	Type string    `json:"type" enum:"agent,connector,branch,wait"`
	Name string    `json:"name,omitempty" pattern:"^$|\\S" doc:"For people"`
	Join joinShape `json:"join,omitzero"`
	If   string    `json:"if,omitempty" doc:"An expression; false skips the step"`

	Agent      string          `json:"agent,omitempty" doc:"Slug of an agent"`
	Connector  string          `json:"connector,omitempty" doc:"Slug of a connector"`
	Action     string          `json:"action,omitempty" doc:"An action of the connector"`
	Connection string          `json:"connection,omitempty" doc:"Id of a connection"`
	Input      json.RawMessage `json:"input,omitempty" doc:"A template of the step's input"`

	Retry       retryShape `json:"retry,omitzero"`
	OnUnknown   string     `json:"on_unknown,omitempty" enum:"retry,fail,ask" doc:"Of a connector step, where an effect may or may not have happened; if not given, retry decides"`
	Timeout     string     `json:"timeout,omitempty" doc:"A duration, such as 90s, 24h or 7d"`
	Foreach     string     `json:"foreach,omitempty" doc:"An expression that gives a list"`
	MaxParallel int        `json:"max_parallel,omitempty" minimum:"1" maximum:"100" doc:"Iterations at once; 10 if not given"`

	Mode string `json:"mode,omitempty" doc:"Of a branch: first or all"`

	For      string        `json:"for,omitempty" doc:"A duration to wait"`
	Until    string        `json:"until,omitempty" doc:"A time, or an expression that gives one"`
	Event    eventWait     `json:"event,omitzero"`
	Approval approvalShape `json:"approval,omitzero"`
}

type retryShape struct {
	MaxAttempts int     `json:"max_attempts,omitempty" minimum:"1" maximum:"100" doc:"3 if not given"`
	Initial     string  `json:"initial,omitempty" doc:"The first pause; 1s if not given"`
	Multiplier  float64 `json:"multiplier,omitempty" doc:"2 if not given"`
	Max         string  `json:"max,omitempty" doc:"The longest pause; 1m if not given"`
	Jitter      bool    `json:"jitter,omitempty" doc:"true if not given"`
}

type eventWait struct {
	Type    string `json:"type" maxLength:"200" pattern:"^(\\*|[A-Za-z0-9][A-Za-z0-9_.:/-]*\\*?)$" doc:"Exact, or a beginning with * after it"`
	Match   string `json:"match,omitempty" doc:"An expression over event"`
	Timeout string `json:"timeout,omitempty"`
}

type approvalShape struct {
	Prompt    string   `json:"prompt,omitempty" doc:"A template"`
	Timeout   string   `json:"timeout,omitempty"`
	Assignees []string `json:"assignees,omitempty" nullable:"false"`
}

type edgeShape struct {
	From    string `json:"from"`
	To      string `json:"to"`
	When    string `json:"when,omitempty" doc:"An expression; only on edges from a branch"`
	Default bool   `json:"default,omitempty" doc:"Taken where no other edge of the branch is"`
	On      string `json:"on,omitempty" enum:"success,error,timeout,rejected"`
}

type joinShape struct{}

// Schema gives the three spellings of a join.
func (joinShape) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: "When a step with several incoming edges runs",
		OneOf: []*huma.Schema{
			{Type: huma.TypeString, Enum: []any{"all", "any"}},
			{
				Type:     huma.TypeObject,
				Required: []string{"count"}, AdditionalProperties: false,
				Properties: map[string]*huma.Schema{"count": {Type: huma.TypeInteger, Minimum: new(1.0)}},
			},
		},
	}
}

var graphType = reflect.TypeFor[models.Graph]()

// registerShapes makes the shapes stand for the models in every schema.
func registerShapes(r huma.Registry) {
	for model, shape := range map[reflect.Type]reflect.Type{
		reflect.TypeFor[models.Graph]():        reflect.TypeFor[graphShape](),
		reflect.TypeFor[models.GraphStep]():    reflect.TypeFor[stepShape](),
		reflect.TypeFor[models.Join]():         reflect.TypeFor[joinShape](),
		reflect.TypeFor[models.Retry]():        reflect.TypeFor[retryShape](),
		reflect.TypeFor[models.EventWait]():    reflect.TypeFor[eventWait](),
		reflect.TypeFor[models.ApprovalWait](): reflect.TypeFor[approvalShape](),
		reflect.TypeFor[models.Edge]():         reflect.TypeFor[edgeShape](),
		reflect.TypeFor[models.Settings]():     reflect.TypeFor[settingsShape](),
		reflect.TypeFor[models.Concurrency]():  reflect.TypeFor[concurrencyShape](),
		reflect.TypeFor[models.Debounce]():     reflect.TypeFor[debounceShape](),
	} {
		r.RegisterTypeAlias(model, shape)
	}
}

// graphSchemaName is what the checker of bodies calls the schema of a graph.
const graphSchemaName = "graph"

// decodeGraph checks the shape of a graph and reads it.
func (a *API) decodeGraph(raw json.RawMessage) (*models.Graph, []models.FieldError) {
	if p := scanBody(raw); p != nil {
		return nil, p.Errors
	}
	if found := a.bodies.checkValue(graphSchemaName, raw, "graph"); len(found) > 0 {
		return nil, found
	}
	g := new(models.Graph)
	if err := json.Unmarshal(raw, g); err != nil {
		return nil, []models.FieldError{{Loc: []any{"graph"}, Msg: "has a number that its field cannot hold", Type: "invalid"}}
	}
	return g, nil
}
