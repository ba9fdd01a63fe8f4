// Package googlesheets is the connector of Google Sheets: it reads, appends and changes
// rows through version 4 of its API. It knows how sheets are addressed and what a row
// is; how requests get there is the matter of connectors/rest. It imports connectors,
// connectors/rest and internal/egress.
package googlesheets

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/rest"
	"github.com/10ex/flows/internal/egress"
)

// New makes the connector; client sends its requests.
func New(client *egress.Client) *rest.Connector {
	return rest.New(client, rest.Definition{
		Spec: connectors.Spec{
			Slug:        "google_sheets",
			Name:        "Google Sheets",
			Description: "Reads, appends and changes rows of spreadsheets.",
			Connection: &connectors.ConnectionSpec{
				Required: true,
				Auth:     []connectors.AuthType{connectors.AuthOAuth2, connectors.AuthBearer},
				BaseURL:  "https://sheets.googleapis.com",
				Config:   json.RawMessage(configSchema),
				OAuth: &connectors.Auth{ //nolint:gosec // G101: addresses, and no secret
					Grant: "authorization_code", AuthorizationURL: "https://accounts.google.com/o/oauth2/v2/auth", TokenURL: "https://oauth2.googleapis.com/token",
					Scopes: []string{"https://www.googleapis.com/auth/spreadsheets"},
					// Without these Google gives no token to refresh with.
					Params: map[string]string{"access_type": "offline", "prompt": "consent"},
				},
			},
		},
		Actions: actions,
		Test:    test,
	})
}

const configSchema = `{
	"type": "object",
	"properties": {
		"spreadsheet_id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,200}$", "description": "The spreadsheet of steps that name none: the part of its address after /d/."}
	}
}`

// test reads the title of the connection's spreadsheet. Without one it asks for a
// spreadsheet that does not exist: whoever is told so was let in.
func test(ctx context.Context, s *rest.Session) error {
	var cfg sheet
	if err := s.Config(&cfg); err != nil {
		return err
	}
	id := cfg.SpreadsheetID
	if id == "" {
		id = "none"
	}
	path, err := rest.Path("/v4/spreadsheets/{}", id)
	if err != nil {
		return err
	}
	_, err = s.Send(ctx, rest.Call{Method: http.MethodGet, Path: path, Query: url.Values{"fields": {"properties.title"}}, Read: true})
	if e, ok := errors.AsType[*connectors.Error](err); ok && e.Status == http.StatusNotFound && cfg.SpreadsheetID == "" {
		return nil
	}
	return err
}

// sheet names a spreadsheet.
type sheet struct {
	SpreadsheetID string `json:"spreadsheet_id"`
}

// path is the address of a range of the spreadsheet that the step or the connection
// names, with something behind it.
func (in sheet) path(s *rest.Session, cells, behind string) (string, error) {
	id := in.SpreadsheetID
	if id == "" {
		var cfg sheet
		if err := s.Config(&cfg); err != nil {
			return "", err
		}
		id = cfg.SpreadsheetID
	}
	if id == "" {
		return "", rest.Invalid("spreadsheet_id is required: neither the step nor the connection names one")
	}
	return rest.Path("/v4/spreadsheets/{}/values/{}"+behind, id, cells)
}
