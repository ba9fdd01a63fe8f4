package hubspot

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/rest"
)

const (
	schemaID         = `{"type": "string", "minLength": 1, "maxLength": 320}`
	schemaProperties = `{"type": "object", "minProperties": 1, "maxProperties": 200, "description": "By HubSpot's internal names, such as email, firstname, lifecyclestage; an empty text empties one.",
		"additionalProperties": {"type": ["string", "number", "boolean"]}}`
	schemaGive   = `{"type": "array", "maxItems": 200, "items": {"type": "string", "maxLength": 200}, "description": "Which properties to give; HubSpot's usual ones unless named."}`
	schemaBy     = `{"type": "string", "maxLength": 200, "description": "The property that id is a value of, such as email. Without it id is the record's own."}`
	schemaRecord = `
		"id":         {"type": "string"},
		"properties": {"type": "object"},
		"created_at": {"type": ["string", "null"]},
		"updated_at": {"type": ["string", "null"]}`
	required = `"required": ["id", "properties", "created_at", "updated_at"`
)

func schema(properties, names string) json.RawMessage {
	return json.RawMessage(`{"type": "object", "properties": {` + properties + `}, "required": [` + names + `], "additionalProperties": false}`)
}

func output(more, names string) json.RawMessage {
	return json.RawMessage(`{"type": "object", "properties": {` + schemaRecord + more + `}, ` + required + names + `], "additionalProperties": false}`)
}

// doing gives what an action does with its input.
func doing(do func(context.Context, *rest.Session, asked) (json.RawMessage, error)) func(context.Context, *rest.Session) (json.RawMessage, error) {
	return func(ctx context.Context, s *rest.Session) (json.RawMessage, error) {
		var in asked
		if err := s.Input(&in); err != nil {
			return nil, err
		}
		return do(ctx, s, in)
	}
}

func actions() []rest.Action {
	all := make([]rest.Action, 0, 20)
	for _, o := range []object{contacts, companies, deals} {
		all = append(all, o.actions()...)
	}
	return append(all,
		rest.Action{
			Action: connectors.Action{
				Name:        "create_note",
				Description: "Writes a note on a contact, a company or a deal.",
				Input: schema(`"body": {"type": "string", "minLength": 1, "maxLength": 65536, "description": "May hold HTML."},
					"at": {"type": "string", "format": "date-time", "description": "When it was; the step says so, for a repeat is to be the same. Such as {{ run.created_at }}."},
					`+notes.linkSchema(), `"body", "at"`),
				Output: output("", ""),
			},
			Do: doing(createNote),
		},
		rest.Action{
			Action: connectors.Action{
				Name:        "add_to_list",
				Description: "Adds records to a list that is kept by hand. Those that are in it already stay.",
				Input:       schema(schemaListInput, `"list_id", "record_ids"`),
				Output:      schema(`"changed": `+schemaIDs+`, "missing": `+schemaIDs, `"changed", "missing"`),
				Idempotent:  true,
			},
			Do: doing(membership("add")),
		},
		rest.Action{
			Action: connectors.Action{
				Name:        "remove_from_list",
				Description: "Removes records from a list that is kept by hand. Those that are not in it are removed well.",
				Input:       schema(schemaListInput, `"list_id", "record_ids"`),
				Output:      schema(`"changed": `+schemaIDs+`, "missing": `+schemaIDs, `"changed", "missing"`),
				Idempotent:  true,
			},
			Do: doing(membership("remove")),
		},
		rest.Action{
			Action: connectors.Action{
				Name:        "associate",
				Description: "Relates two records with each other, such as a contact with a deal.",
				Input:       schema(`"from_type": `+schemaType+`, "from_id": `+schemaID+`, "to_type": `+schemaType+`, "to_id": `+schemaID, `"from_type", "from_id", "to_type", "to_id"`),
				Output:      schema(`"associated": {"type": "boolean"}`, `"associated"`),
				Idempotent:  true,
			},
			Do: doing(associate),
		},
	)
}

const (
	schemaIDs       = `{"type": "array", "items": {"type": "string"}}`
	schemaType      = `{"type": "string", "enum": ["contacts", "companies", "deals", "tickets", "notes", "tasks"]}`
	schemaListInput = `"list_id": {"type": "string", "pattern": "^[0-9]{1,20}$"}, "record_ids": {"type": "array", "minItems": 1, "maxItems": 1000, "items": {"type": "string", "pattern": "^[0-9]{1,20}$"}}`
)

func (o object) linkSchema() string {
	var out []string
	for _, field := range []string{"contact_id", "company_id", "deal_id"} {
		if _, known := o.links[field]; known {
			out = append(out, `"`+field+`": {"type": "string", "pattern": "^[0-9]{1,20}$", "description": "Relates the two."}`)
		}
	}
	return strings.Join(out, ", ")
}

func (o object) actions() []rest.Action {
	all := []rest.Action{
		{
			Action: connectors.Action{
				Name:        "create_" + o.one,
				Description: "Creates a " + o.one + ". HubSpot cannot tell a repeat; where it knows of one already it says http_409.",
				Input:       schema(`"properties": `+schemaProperties+`, `+o.linkSchema(), `"properties"`),
				Output:      output("", ""),
			},
			Do: doing(o.create),
		},
		{
			Action: connectors.Action{
				Name:        "update_" + o.one,
				Description: "Changes properties of a " + o.one + "; the others stay as they are.",
				Input:       schema(`"id": `+schemaID+`, "id_property": `+schemaBy+`, "properties": `+schemaProperties, `"id", "properties"`),
				Output:      output("", ""),
				Idempotent:  true,
			},
			Do: doing(o.update),
		},
		{
			Action: connectors.Action{
				Name:        "get_" + o.one,
				Description: "Looks a " + o.one + " up by its id or another property. That there is none is no failure.",
				Input:       schema(`"id": `+schemaID+`, "id_property": `+schemaBy+`, "return_properties": `+schemaGive, `"id"`),
				Output: json.RawMessage(`{"type": "object", "properties": {"found": {"type": "boolean"}, ` +
					strings.Replace(schemaRecord, `{"type": "string"}`, `{"type": ["string", "null"]}`, 1) + `}, ` + required + `, "found"], "additionalProperties": false}`),
				Idempotent: true, NoEffect: true,
			},
			Do: doing(o.get),
		},
		{
			Action: connectors.Action{
				Name:        "search_" + o.many,
				Description: "Finds " + o.many + " that fit all filters, page by page. What was changed in the last seconds may be missing.",
				Input: schema(`"filters": {"type": "array", "maxItems": 6, "items": {
						"type": "object",
						"properties": {
							"property": {"type": "string", "minLength": 1, "maxLength": 200},
							"operator": {"type": "string", "enum": ["EQ", "NEQ", "LT", "LTE", "GT", "GTE", "IN", "NOT_IN", "HAS_PROPERTY", "NOT_HAS_PROPERTY", "CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"], "default": "EQ"},
							"value":    {"type": ["string", "number", "boolean"]},
							"values":   {"type": "array", "maxItems": 100, "items": {"type": ["string", "number"]}, "description": "Of IN and NOT_IN, in lower case."}
						},
						"required": ["property"], "additionalProperties": false}},
					"query": {"type": "string", "maxLength": 3000, "description": "Text to look for in the usual properties."},
					"sort":  {"type": "string", "maxLength": 200, "description": "A property; with - before it the largest first."},
					"return_properties": `+schemaGive+`, "limit": {"type": "integer", "minimum": 1, "maximum": 200}, "after": {"type": "string", "maxLength": 100, "description": "The after of the page before."}`, ``),
				Output: schema(`"items": {"type": "array", "items": {"type": "object", "properties": {`+schemaRecord+`}, `+required+`], "additionalProperties": false}},
					"total": {"type": ["integer", "null"]}, "after": {"type": ["string", "null"], "description": "Asks for the next page; null at the end."}`, `"items", "total", "after"`),
				Idempotent: true, NoEffect: true,
			},
			Do: doing(o.search),
		},
	}
	by, names := schemaBy, `"id", "id_property", "properties"`
	if o.unique != "" {
		by, names = `{"type": "string", "maxLength": 200, "default": "`+o.unique+`"}`, `"id", "properties"`
	}
	return append(all, rest.Action{
		Action: connectors.Action{
			Name: "upsert_" + o.one,
			Description: "Creates a " + o.one + ", or changes the one that has the value id in the property id_property, " +
				"which has to be one whose values HubSpot keeps unique.",
			Input:      schema(`"id": `+schemaID+`, "id_property": `+by+`, "properties": `+schemaProperties, names),
			Output:     output(`, "created": {"type": "boolean"}`, `, "created"`),
			Idempotent: true,
		},
		Do: doing(o.upsert),
	})
}

func createNote(ctx context.Context, s *rest.Session, in asked) (json.RawMessage, error) {
	if in.ContactID == "" && in.CompanyID == "" && in.DealID == "" {
		return nil, rest.Invalid("one of contact_id, company_id and deal_id is required")
	}
	body, err := rest.Marshal(in.Body)
	if err != nil {
		return nil, err
	}
	at, err := rest.Marshal(in.At)
	if err != nil {
		return nil, err
	}
	in.Properties = map[string]json.RawMessage{"hs_timestamp": at, "hs_note_body": body}
	return notes.create(ctx, s, in)
}

func membership(what string) func(context.Context, *rest.Session, asked) (json.RawMessage, error) {
	return func(ctx context.Context, s *rest.Session, in asked) (json.RawMessage, error) {
		path, err := rest.Path("/crm/v3/lists/{}/memberships/"+what, in.ListID)
		if err != nil {
			return nil, err
		}
		a, err := s.Send(ctx, rest.Call{Method: http.MethodPut, Path: path, Body: in.RecordIDs})
		if err != nil {
			return nil, err
		}
		// The spelling of the first one is HubSpot's.
		var out struct {
			Added   []string `json:"recordsIdsAdded"`
			Removed []string `json:"recordIdsRemoved"`
			Missing []string `json:"recordIdsMissing"`
		}
		if err := a.Decode(&out); err != nil {
			return nil, err
		}
		return rest.Marshal(map[string]any{"changed": append(append([]string{}, out.Added...), out.Removed...), "missing": append([]string{}, out.Missing...)})
	}
}

func associate(ctx context.Context, s *rest.Session, in asked) (json.RawMessage, error) {
	path, err := rest.Path("/crm/v4/objects/{}/{}/associations/default/{}/{}", in.FromType, in.FromID, in.ToType, in.ToID)
	if err != nil {
		return nil, err
	}
	if _, err := s.Send(ctx, rest.Call{Method: http.MethodPut, Path: path}); err != nil {
		return nil, err
	}
	return rest.Marshal(map[string]any{"associated": true})
}
