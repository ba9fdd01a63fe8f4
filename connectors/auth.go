package connectors

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/10ex/flows/internal/egress"
)

// AuthType is a way to prove who one is.
type AuthType string

// The ways to prove who one is, and the secrets each takes.
const (
	AuthNone   AuthType = "none"
	AuthBearer AuthType = "bearer" // token
	AuthBasic  AuthType = "basic"  // password
	AuthHeader AuthType = "header" // value
	AuthQuery  AuthType = "query"  // value
	// AuthTenex is a key of the 10ex platform: api_key.
	AuthTenex AuthType = "10ex"
	// AuthOAuth2 takes client_secret; access_token is got with it and kept fresh
	// before a connection is handed to a connector.
	AuthOAuth2 AuthType = "oauth2"
)

// AuthTypes lists every way there is.
var AuthTypes = []AuthType{AuthNone, AuthBearer, AuthBasic, AuthHeader, AuthQuery, AuthTenex, AuthOAuth2}

// Names of secrets.
const (
	SecretToken        = "token"
	SecretPassword     = "password"
	SecretValue        = "value"
	SecretAPIKey       = "api_key"
	SecretClientSecret = "client_secret"
	SecretAccessToken  = "access_token"
)

// Auth is the part "auth" of a connection's config: all that is not secret.
type Auth struct {
	Type AuthType `json:"type"`
	// Name is the header or query parameter that carries the value.
	Name string `json:"name,omitempty"`
	// Prefix stands in front of the value of a header, such as "Token ".
	Prefix string `json:"prefix,omitempty"`
	// Username is that of basic.
	Username string `json:"username,omitempty"`

	// Grant of OAuth 2.0: authorization_code or client_credentials.
	Grant            string            `json:"grant,omitempty"`
	AuthorizationURL string            `json:"authorization_url,omitempty"`
	TokenURL         string            `json:"token_url,omitempty"`
	ClientID         string            `json:"client_id,omitempty"`
	ClientAuth       string            `json:"client_auth,omitempty"` // where the secret goes: body, the default, or header
	Scopes           []string          `json:"scopes,omitempty"`
	Params           map[string]string `json:"params,omitempty"` // sent along to both addresses
}

// Secret is the name of the secret that the other side must be shown.
func (a Auth) Secret() string {
	switch a.Type {
	case AuthBearer:
		return SecretToken
	case AuthBasic:
		return SecretPassword
	case AuthHeader, AuthQuery:
		return SecretValue
	case AuthTenex:
		return SecretAPIKey
	case AuthOAuth2:
		return SecretAccessToken
	case AuthNone:
	}
	return ""
}

// CodeNotConnected is the code of an action whose connection has no credentials yet:
// it has to be authorised first.
const CodeNotConnected = "not_connected"

func (a Auth) apply(req *http.Request, secrets map[string]string) error {
	secret := secrets[a.Secret()]
	if secret == "" && a.Type != AuthBasic { // some use the name alone
		return Permanent(CodeNotConnected, "the connection has no %s yet", a.Secret())
	}
	switch a.Type {
	case AuthBearer, AuthTenex, AuthOAuth2:
		req.Header.Set("Authorization", "Bearer "+secret)
	case AuthBasic:
		req.SetBasicAuth(a.Username, secret)
	case AuthHeader:
		if egress.Travels(a.Name) {
			return Permanent(CodeInputInvalid, "header %q follows redirects and may hold no secret", a.Name)
		}
		req.Header.Set(a.Name, a.Prefix+secret)
	case AuthQuery:
		var query strings.Builder
		for pair := range strings.SplitSeq(req.URL.RawQuery, "&") {
			name, _, _ := strings.Cut(pair, "=")
			if decoded, err := url.QueryUnescape(name); pair != "" && (err != nil || decoded != a.Name) {
				query.WriteString(pair + "&") // as it was written, and all but one of the same name
			}
		}
		req.URL.RawQuery = query.String() + url.QueryEscape(a.Name) + "=" + url.QueryEscape(secret)
	case AuthNone:
	}
	return nil
}
