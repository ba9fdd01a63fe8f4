package googlesheets

import (
	"encoding/json"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/rest"
)

const (
	schemaSheet = `"spreadsheet_id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,200}$", "description": "The part of the spreadsheet's address after /d/. Default: the connection's."}`
	schemaRange = `{"type": "string", "minLength": 1, "maxLength": 300, "description": "In A1 notation, such as Leads!A:F or 'My sheet'!B2:C10; the name of a sheet alone means all of it."}`
	schemaCell  = `{"type": ["string", "number", "boolean", "null"]}`
	schemaRow   = `{"type": "array", "maxItems": 1000, "items": ` + schemaCell + `}`
	schemaRaw   = `{"type": "boolean", "default": false, "description": "Keeps text as it is. Otherwise it is read as if somebody typed it: =A1+1 becomes a formula, 3/4 a date."}`
	schemaNamed = `{"type": "object", "additionalProperties": ` + schemaCell + `, "description": "Values by the names of columns, which stand in the first row of the range."}`
	schemaRows  = `{
		"type": "object",
		"properties": {` + schemaSheet + `, "range": ` + schemaRange + `, "values": {"type": "array", "minItems": 1, "maxItems": 1000, "items": ` + schemaRow + `}, "raw": ` + schemaRaw + `},
		"required": ["range", "values"], "additionalProperties": false
	}`
	schemaDone = `{
		"type": "object",
		"properties": {
			"range":   {"type": "string", "description": "The cells that were written."},
			"rows":    {"type": "integer"},
			"cells":   {"type": "integer"}
		},
		"required": ["range", "rows", "cells"], "additionalProperties": false
	}`
)

var actions = []rest.Action{
	{
		Action: connectors.Action{
			Name:    "append_row",
			Guarded: []string{"spreadsheet_id"},
			Description: "Appends one row below the table in a range. Sheets cannot tell a repeat: where an attempt is lost after " +
				"it was sent, on_unknown of the step decides; upsert_row can be repeated.",
			Input: json.RawMessage(`{
				"type": "object",
				"properties": {` + schemaSheet + `, "range": ` + schemaRange + `, "values": ` + schemaRow + `, "row": ` + schemaNamed + `, "raw": ` + schemaRaw + `},
				"required": ["range"], "oneOf": [{"required": ["values"]}, {"required": ["row"]}], "additionalProperties": false
			}`),
			Output: json.RawMessage(schemaDone),
		},
		Do: appendRow,
	},
	{
		Action: connectors.Action{
			Name:        "append_rows",
			Guarded:     []string{"spreadsheet_id"},
			Description: "Appends rows below the table in a range, as append_row does with one.",
			Input:       json.RawMessage(schemaRows),
			Output:      json.RawMessage(schemaDone),
		},
		Do: appendRows,
	},
	{
		Action: connectors.Action{
			Name:        "read_range",
			Guarded:     []string{"spreadsheet_id"},
			Description: "Reads the values of a range, as rows and, where the first row names the columns, as objects.",
			Input: json.RawMessage(`{
				"type": "object",
				"properties": {` + schemaSheet + `, "range": ` + schemaRange + `,
					"formatted": {"type": "boolean", "default": false, "description": "Gives text as the sheet shows it, such as $1.50, instead of values."},
					"header":    {"type": "boolean", "default": true, "description": "Whether the first row names the columns."}},
				"required": ["range"], "additionalProperties": false
			}`),
			Output: json.RawMessage(`{
				"type": "object",
				"properties": {
					"range":  {"type": "string", "description": "The cells that were read."},
					"values": {"type": "array", "items": {"type": "array"}, "description": "All rows, the first one too. Empty cells at the end of a row are missing."},
					"rows":   {"type": "array", "items": {"type": "object"}, "description": "Without the first row, by the names of columns; empty where header is false."}
				},
				"required": ["range", "values", "rows"], "additionalProperties": false
			}`),
			Idempotent: true, NoEffect: true,
		},
		Do: readRange,
	},
	{
		Action: connectors.Action{
			Name:        "update_range",
			Guarded:     []string{"spreadsheet_id"},
			Description: "Writes values over a range, from its first cell on. Null leaves a cell as it is.",
			Input:       json.RawMessage(schemaRows),
			Output:      json.RawMessage(schemaDone),
			Idempotent:  true,
		},
		Do: updateRange,
	},
	{
		Action: connectors.Action{
			Name:        "clear_range",
			Guarded:     []string{"spreadsheet_id"},
			Description: "Empties the cells of a range and keeps their looks.",
			Input: json.RawMessage(`{
				"type": "object", "properties": {` + schemaSheet + `, "range": ` + schemaRange + `},
				"required": ["range"], "additionalProperties": false
			}`),
			Output:     json.RawMessage(`{"type": "object", "properties": {"range": {"type": "string"}}, "required": ["range"], "additionalProperties": false}`),
			Idempotent: true,
		},
		Do: clearRange,
	},
	{
		Action: connectors.Action{
			Name:        "lookup_row",
			Guarded:     []string{"spreadsheet_id"},
			Description: "Finds the first row that has a value in a column. The first row of the range names the columns.",
			Input: json.RawMessage(`{
				"type": "object",
				"properties": {` + schemaSheet + `, "range": ` + schemaRange + `,
					"column": {"type": "string", "minLength": 1, "maxLength": 200},
					"value":  {"type": ["string", "number", "boolean"], "description": "Compared as text, without regard to case and to space around it."}},
				"required": ["range", "column", "value"], "additionalProperties": false
			}`),
			Output: json.RawMessage(`{
				"type": "object",
				"properties": {
					"found":  {"type": "boolean"},
					"number": {"type": ["integer", "null"], "description": "The number of the row in the sheet."},
					"row":    {"type": ["object", "null"], "description": "Its values by the names of columns."}
				},
				"required": ["found", "number", "row"], "additionalProperties": false
			}`),
			Idempotent: true, NoEffect: true,
		},
		Do: lookupRow,
	},
	{
		Action: connectors.Action{
			Name:        "upsert_row",
			Guarded:     []string{"spreadsheet_id"},
			Description: "Changes the first row that has the same value in a column, or appends a row where none has. Columns that are not named stay as they are.",
			Input: json.RawMessage(`{
				"type": "object",
				"properties": {` + schemaSheet + `, "range": ` + schemaRange + `,
					"column": {"type": "string", "minLength": 1, "maxLength": 200, "description": "The column that tells rows apart; row has to have it."},
					"row":    ` + schemaNamed + `, "raw": ` + schemaRaw + `},
				"required": ["range", "column", "row"], "additionalProperties": false
			}`),
			Output: json.RawMessage(`{
				"type": "object",
				"properties": {"range": {"type": "string", "description": "The cells that were written."}, "created": {"type": "boolean"}},
				"required": ["range", "created"], "additionalProperties": false
			}`),
			Idempotent: true,
		},
		Do: upsertRow,
	},
}
