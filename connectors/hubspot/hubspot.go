// Package hubspot is the connector of HubSpot: contacts, companies and deals, notes on
// them, and lists, through version 3 of its CRM API. It knows how HubSpot's objects are
// asked for; how requests get there is the matter of connectors/rest. It imports
// connectors, connectors/rest and internal/egress.
package hubspot

import (
	"context"
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
			Slug:        "hubspot",
			Name:        "HubSpot",
			Description: "Works with the contacts, companies, deals, notes and lists of a HubSpot account.",
			Connection: &connectors.ConnectionSpec{
				Required: true,
				// bearer is the token of a private app.
				Auth:    []connectors.AuthType{connectors.AuthBearer, connectors.AuthOAuth2},
				BaseURL: "https://api.hubapi.com",
				OAuth: &connectors.Auth{ //nolint:gosec // G101: addresses, and no secret
					Grant: "authorization_code", AuthorizationURL: "https://app.hubspot.com/oauth/authorize", TokenURL: "https://api.hubapi.com/oauth/v1/token",
					ClientAuth: "body",
					Scopes: []string{
						"oauth", "crm.objects.contacts.read", "crm.objects.contacts.write", "crm.objects.companies.read", "crm.objects.companies.write",
						"crm.objects.deals.read", "crm.objects.deals.write", "crm.lists.read", "crm.lists.write",
					},
				},
			},
		},
		Actions: actions(),
		Test: func(ctx context.Context, s *rest.Session) error {
			_, err := s.Send(ctx, rest.Call{Method: http.MethodGet, Path: objects + "/contacts", Query: url.Values{"limit": {"1"}}, Read: true})
			return err
		},
	})
}

// objects is below what the records of HubSpot are.
const objects = "/crm/v3/objects"
