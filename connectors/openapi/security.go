package openapi

import (
	"maps"
	"slices"

	"github.com/10ex/flows/connectors"
)

// auth reads the security schemes: every way to prove who one is that a connection
// can take. Which operation wants which is left to the server, who knows it.
func (c *compiler) auth() ([]connectors.Auth, error) {
	components, _ := c.root["components"].(map[string]any)
	schemes, _ := components["securitySchemes"].(map[string]any)
	var out []connectors.Auth
	add := func(a connectors.Auth) {
		if !slices.ContainsFunc(out, func(have connectors.Auth) bool { return have.Type == a.Type }) {
			out = append(out, a) // a connection has one of a type
		}
	}
	names := slices.Sorted(maps.Keys(schemes))
	if first := c.usual(); first != "" { // the one that holds for everything goes first
		slices.SortStableFunc(names, func(a, b string) int { return rank(a == first) - rank(b == first) })
	}
	for _, name := range names {
		s, err := c.object(schemes[name])
		if err != nil {
			return nil, err
		}
		switch text(s["type"]) {
		case "apiKey":
			key := text(s["name"])
			c.secrets[text(s["in"])+" "+key] = true
			switch text(s["in"]) {
			case "header":
				add(connectors.Auth{Type: connectors.AuthHeader, Name: key})
			case "query":
				add(connectors.Auth{Type: connectors.AuthQuery, Name: key})
			}
		case "http":
			switch text(s["scheme"]) {
			case "basic", "Basic":
				add(connectors.Auth{Type: connectors.AuthBasic})
			case "bearer", "Bearer":
				add(connectors.Auth{Type: connectors.AuthBearer})
			default:
				add(connectors.Auth{Type: connectors.AuthHeader, Name: "Authorization"})
			}
		case "oauth2":
			add(oauth(s))
			add(connectors.Auth{Type: connectors.AuthBearer}) // a token got elsewhere
		case "openIdConnect":
			add(connectors.Auth{Type: connectors.AuthBearer})
		}
	}
	return out, nil
}

func rank(first bool) int {
	if first {
		return 0
	}
	return 1
}

// usual is the scheme that the document asks for first.
func (c *compiler) usual() string {
	list, _ := c.root["security"].([]any)
	for _, one := range list {
		m, _ := one.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(m)) {
			return name
		}
	}
	return ""
}

func oauth(s map[string]any) connectors.Auth {
	flows, _ := s["flows"].(map[string]any)
	for _, f := range []struct{ theirs, ours string }{
		{"authorizationCode", "authorization_code"}, {"clientCredentials", "client_credentials"},
	} {
		if flow, ok := flows[f.theirs].(map[string]any); ok {
			return connectors.Auth{
				Type: connectors.AuthOAuth2, Grant: f.ours,
				AuthorizationURL: text(flow["authorizationUrl"]), TokenURL: text(flow["tokenUrl"]),
			}
		}
	}
	return connectors.Auth{Type: connectors.AuthOAuth2}
}
