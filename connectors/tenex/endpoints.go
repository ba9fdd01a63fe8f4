package tenex

import "net/http"

const (
	schemaID     = `{"type": ["string", "integer"], "maxLength": 200, "minLength": 1}`
	schemaFields = `
		"email":         {"type": ["string", "null"], "format": "email", "maxLength": 320},
		"first_name":    {"type": ["string", "null"], "maxLength": 200},
		"last_name":     {"type": ["string", "null"], "maxLength": 200},
		"phone":         {"type": ["string", "null"], "maxLength": 50},
		"title":         {"type": ["string", "null"], "maxLength": 200, "description": "What the lead does there."},
		"company":       {"type": ["string", "null"], "maxLength": 200},
		"domain":        {"type": ["string", "null"], "maxLength": 255, "description": "The company's, such as example.com."},
		"linkedin_url":  {"type": ["string", "null"], "maxLength": 500},
		"status":        {"type": ["string", "null"], "maxLength": 100, "description": "Such as Lead, Connected, Meeting Booked, Not Interested."},
		"source":        {"type": ["string", "null"], "maxLength": 100, "description": "Where the lead came from."},
		"score":         {"type": ["number", "null"]},
		"owner_id":      {"type": ["string", "null"], "maxLength": 200},
		"tags":          {"type": "array", "maxItems": 100, "items": {"type": "string", "maxLength": 100}},
		"custom_fields": {"type": "object", "description": "Fields of your own, by name."}`
	schemaLead = `{
		"type": "object",
		"properties": {"lead_id": {"type": "string"}, "lead": {"type": "object", "description": "The lead as the platform gives it."}},
		"required": ["lead_id", "lead"], "additionalProperties": false
	}`
	schemaPage = `{
		"type": "object",
		"properties": {"items": {"type": "array", "items": {"type": "object"}}, "next_cursor": {"type": ["string", "null"], "description": "Asks for the next page; null at the end."}},
		"required": ["items", "next_cursor"], "additionalProperties": false
	}`
	schemaPaging = `
		"limit":  {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
		"cursor": {"type": "string", "maxLength": 2000, "description": "The next_cursor of the page before."}`
)

// changed is the schema of what giveChange gives.
func changed(name, otherwise string) string {
	return `{
		"type": "object",
		"properties": {"lead_id": {"type": "string"}, "` + name + `": {"type": "string"}, "changed": {"type": "boolean", "description": "False where ` + otherwise + `."}},
		"required": ["lead_id", "` + name + `", "changed"], "additionalProperties": false
	}`
}

// made is the schema of what giveMade gives.
func made(name string) string {
	return `{
		"type": "object", "properties": {"` + name + `_id": {"type": "string"}, "` + name + `": {"type": "object"}},
		"required": ["` + name + `_id", "` + name + `"], "additionalProperties": false
	}`
}

// input is the schema of an input.
func input(properties, more string) string {
	if more != "" {
		more = ", " + more
	}
	return `{"type": "object", "properties": {` + properties + `}, "additionalProperties": false` + more + `}`
}

var endpoints = []endpoint{
	{
		name: "crm.create_lead", method: http.MethodPost, path: "/api/v1/crm/leads",
		description: "Creates a lead. An email that another lead has is refused (http_409): crm.upsert_lead changes that one instead.",
		input:       input(schemaFields, `"minProperties": 1`), output: schemaLead, give: giveLead,
	},
	{
		name: "crm.upsert_lead", method: http.MethodPost, path: "/api/v1/crm/leads/upsert", idempotent: true,
		description: "Creates a lead, or changes the one that has the email. Fields that are not given stay as they are.",
		input:       input(schemaFields, `"required": ["email"]`), output: schemaLead, give: giveLead,
	},
	{
		name: "crm.update_lead", method: http.MethodPatch, path: "/api/v1/crm/leads/{}", in: []string{"lead_id"}, idempotent: true,
		description: "Changes fields of a lead. Fields that are not given stay as they are, null empties one.",
		input:       input(`"lead_id": `+schemaID+`, `+schemaFields, `"required": ["lead_id"], "minProperties": 2`), output: schemaLead, give: giveLead,
	},
	{
		name: "crm.get_lead", method: http.MethodGet, path: "/api/v1/crm/leads/{}", in: []string{"lead_id"},
		description: "Looks a lead up by its id.",
		input:       input(`"lead_id": `+schemaID, `"required": ["lead_id"]`), output: schemaLead, give: giveLead,
	},
	{
		name: "crm.find_leads", method: http.MethodGet, path: "/api/v1/crm/leads",
		description: "Lists the leads that fit everything given, newest first, page by page.",
		input: input(`"email": {"type": "string", "maxLength": 320}, "status": {"type": "string", "maxLength": 100}, "source": {"type": "string", "maxLength": 100},
			"segment_id": `+schemaID+`, "min_score": {"type": "number"}, "created_after": {"type": "string", "format": "date-time"},`+schemaPaging, ""),
		output: schemaPage, give: giveList,
	},
	{
		name: "crm.enrich_lead", method: http.MethodPost, path: "/api/v1/crm/leads/{}/enrich", in: []string{"lead_id"},
		description: "Looks up what is publicly known of a lead and adds it. It may cost credits.",
		input:       input(`"lead_id": `+schemaID+`, "fields": {"type": "array", "maxItems": 100, "items": {"type": "string", "maxLength": 100}, "description": "What to look up; all of it unless given."}`, `"required": ["lead_id"]`),
		output:      schemaLead, give: giveLead,
	},
	{
		name: "crm.add_note", method: http.MethodPost, path: "/api/v1/crm/leads/{}/notes", in: []string{"lead_id"},
		description: "Writes a note on a lead.",
		input:       input(`"lead_id": `+schemaID+`, "text": {"type": "string", "minLength": 1, "maxLength": 20000}`, `"required": ["lead_id", "text"]`),
		output:      made("note"), give: giveMade("note"),
	},
	{
		name: "crm.create_task", method: http.MethodPost, path: "/api/v1/crm/leads/{}/tasks", in: []string{"lead_id"},
		description: "Makes a task about a lead.",
		input: input(`"lead_id": `+schemaID+`, "title": {"type": "string", "minLength": 1, "maxLength": 500}, "text": {"type": "string", "maxLength": 20000},
			"due_at": {"type": "string", "format": "date-time"}, "owner_id": {"type": "string", "maxLength": 200}`, `"required": ["lead_id", "title"]`),
		output: made("task"), give: giveMade("task"),
	},
	{
		name: "crm.list_segments", method: http.MethodGet, path: "/api/v1/crm/lists",
		description: "Lists the segments, page by page.",
		input:       input(schemaPaging, ""), output: schemaPage, give: giveList,
	},
	{
		name: "crm.add_to_segment", method: http.MethodPost, path: "/api/v1/crm/lists/{}/leads", in: []string{"segment_id"}, idempotent: true,
		description: "Puts a lead into a segment. One that is in it already stays there.",
		input:       input(`"lead_id": `+schemaID+`, "segment_id": `+schemaID, `"required": ["lead_id", "segment_id"]`),
		output:      changed("segment_id", "it was in it already"), give: giveChange("lead_id", "segment_id"),
		settled: []string{"already_in_segment", "already_member", "already_exists", "duplicate"},
	},
	{
		name: "crm.remove_from_segment", method: http.MethodDelete, path: "/api/v1/crm/lists/{}/leads/{}", in: []string{"segment_id", "lead_id"}, idempotent: true,
		description: "Takes a lead out of a segment. One that is not in it is taken out well.",
		input:       input(`"lead_id": `+schemaID+`, "segment_id": `+schemaID, `"required": ["lead_id", "segment_id"]`),
		output:      changed("segment_id", "it was not in it"), give: giveChange("lead_id", "segment_id"), absent: true,
	},
	{
		name: "sequences.list", method: http.MethodGet, path: "/api/v1/marketing/sequences",
		description: "Lists the email sequences, page by page.",
		input:       input(`"status": {"type": "string", "maxLength": 100},`+schemaPaging, ""), output: schemaPage, give: giveList,
	},
	{
		name: "sequences.add_lead", method: http.MethodPost, path: "/api/v1/marketing/sequences/{}/leads", in: []string{"sequence_id"}, idempotent: true,
		description: "Puts a lead into an email sequence, which then writes to them. One that is in it already goes on where they are.",
		input: input(`"lead_id": `+schemaID+`, "sequence_id": `+schemaID+`, "start_at": {"type": "string", "format": "date-time", "description": "Not before; at once unless given."},
			"variables": {"type": "object", "description": "What the emails may refer to."}`, `"required": ["lead_id", "sequence_id"]`),
		output: changed("sequence_id", "it was in it already"), give: giveChange("lead_id", "sequence_id"),
		settled: []string{"already_enrolled", "already_in_sequence", "already_exists", "duplicate"},
	},
	{
		name: "sequences.remove_lead", method: http.MethodDelete, path: "/api/v1/marketing/sequences/{}/leads/{}", in: []string{"sequence_id", "lead_id"}, idempotent: true,
		description: "Takes a lead out of an email sequence, which then writes to them no more. One that is not in it is taken out well.",
		input:       input(`"lead_id": `+schemaID+`, "sequence_id": `+schemaID, `"required": ["lead_id", "sequence_id"]`),
		output:      changed("sequence_id", "it was not in it"), give: giveChange("lead_id", "sequence_id"), absent: true,
	},
	{
		name: "voice.start_call", method: http.MethodPost, path: "/api/v1/voice/calls", guarded: []string{"phone"},
		description: "Has a voice agent call a lead. How the call went comes as an event, agent.run.completed.",
		input: input(`"lead_id": `+schemaID+`, "phone": {"type": "string", "maxLength": 50, "description": "The lead's own unless given."},
			"agent": {"type": "string", "maxLength": 200, "default": "voice-lead-qualifier"}, "objective": {"type": "string", "maxLength": 4000}`, `"required": ["lead_id"]`),
		output: made("call"), give: giveMade("call"),
	},
}
