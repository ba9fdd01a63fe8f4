// Package core is the connector of actions that touch nothing outside: giving a
// value a name in the flow, and failing on purpose. It imports connectors only.
package core

import (
	"context"
	"encoding/json"

	"github.com/10ex/flows/connectors"
)

// Connector is the core connector. The zero value works.
type Connector struct{}

var _ connectors.Connector = Connector{}

// Spec describes the connector.
func (Connector) Spec() connectors.Spec {
	return connectors.Spec{
		Slug:        "core",
		Name:        "Core",
		Description: "Building blocks that touch nothing outside the flow.",
		Actions: []connectors.Action{
			{
				Name:        "set",
				Description: "Gives its input as its output, so that later steps can refer to it.",
				Input:       json.RawMessage(`{"description": "Any value."}`),
				Output:      json.RawMessage(`{"description": "The input, unchanged."}`),
				Idempotent:  true,
				NoEffect:    true,
			},
			{
				Name:        "fail",
				Description: "Fails with the given message.",
				Input: json.RawMessage(`{
					"type": "object",
					"properties": {
						"message":   {"type": "string", "minLength": 1, "maxLength": 2000, "description": "What went wrong, for people."},
						"code":      {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,63}$", "default": "failed", "description": "What went wrong, for machines."},
						"retryable": {"type": "boolean", "default": false, "description": "Whether the step's retry policy applies."}
					},
					"required": ["message"],
					"additionalProperties": false
				}`),
				Output:     json.RawMessage(`false`),
				Idempotent: true,
				NoEffect:   true,
			},
		},
	}
}

// Do performs one action.
func (Connector) Do(ctx context.Context, r connectors.Request) (connectors.Response, error) {
	if err := ctx.Err(); err != nil {
		return connectors.Response{}, connectors.NetworkError(ctx, err)
	}
	switch r.Action {
	case "set":
		return connectors.Response{Output: r.Input}, nil
	case "fail":
		return connectors.Response{}, fail(r.Input)
	}
	return connectors.Response{}, connectors.Permanent(connectors.CodeUnknownAction, "connector %q has no action %q", "core", r.Action)
}

func fail(input json.RawMessage) error {
	in := struct {
		Code      string `json:"code"`
		Message   string `json:"message"`
		Retryable bool   `json:"retryable"`
	}{Code: "failed"}
	if err := json.Unmarshal(input, &in); err != nil {
		return connectors.Permanent(connectors.CodeInputInvalid, "the input is not valid")
	}
	return &connectors.Error{Code: in.Code, Message: in.Message, Retryable: in.Retryable}
}
