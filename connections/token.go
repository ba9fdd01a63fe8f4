package connections

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/models"
)

// token is what is kept, sealed, of what OAuth 2.0 gave.
type token struct {
	Access   string     `json:"access_token"`
	Refresh  string     `json:"refresh_token,omitempty"`
	IssuedAt time.Time  `json:"issued_at"`
	Expires  *time.Time `json:"expires_at,omitempty"` // nil: never, as far as is known
}

// maxMargin is how long before its end a token is replaced; of short-lived ones a
// fifth of their life.
const maxMargin = time.Minute

// fresh tells whether a token may be handed to a step that takes its time.
func (t *token) fresh(now time.Time) bool {
	if t == nil {
		return false
	}
	if t.Expires == nil {
		return true
	}
	return now.Before(t.Expires.Add(-min(maxMargin, t.Expires.Sub(t.IssuedAt)/5)))
}

// valid tells whether the other side still takes a token, as far as is known.
func (t *token) valid(now time.Time) bool {
	return t != nil && (t.Expires == nil || now.Before(*t.Expires))
}

// tokenOf opens the token of a connection; nil where it has none.
func (s *Service) tokenOf(row *models.Connection) (*token, error) {
	if row.Token == nil {
		return nil, nil //nolint:nilnil // many have none yet
	}
	t := new(token)
	return t, s.open(row, sealedToken, row.Token, t)
}

// keepToken puts a token in place of the one a connection has.
func (s *Service) keepToken(row *models.Connection, t *token) error {
	sealed, err := s.seal(row, sealedToken, t)
	if err != nil {
		return err
	}
	dropToken(row)
	row.Token, row.TokenExpiresAt = sealed, t.Expires
	return nil
}

// Codes of what went wrong at the other side's OAuth 2.0.
const (
	codeRefused     = "oauth_refused"
	codeUnavailable = "oauth_unavailable"
)

// tokenTimeout bounds one request for a token. The lease on it is longer.
const tokenTimeout = 20 * time.Second

func config(a connectors.Auth, secret, redirect string) *oauth2.Config {
	style := oauth2.AuthStyleInParams
	if a.ClientAuth == "header" {
		style = oauth2.AuthStyleInHeader
	}
	return &oauth2.Config{
		ClientID: a.ClientID, ClientSecret: secret, RedirectURL: redirect, Scopes: a.Scopes,
		Endpoint: oauth2.Endpoint{AuthURL: a.AuthorizationURL, TokenURL: a.TokenURL, AuthStyle: style},
	}
}

func options(a connectors.Auth) []oauth2.AuthCodeOption {
	var out []oauth2.AuthCodeOption
	for name, value := range a.Params {
		out = append(out, oauth2.SetAuthURLParam(name, value))
	}
	return out
}

// ask has the library speak to the token endpoint by way of the one client for the
// outside. A redirect is not followed: the body holds the secret.
func (s *Service) ask(ctx context.Context, do func(ctx context.Context) (*oauth2.Token, error)) (*token, error) {
	ctx, stop := context.WithTimeout(ctx, tokenTimeout)
	defer stop()
	got, err := do(context.WithValue(ctx, oauth2.HTTPClient, s.deps.Egress.WithoutRedirects().HTTP()))
	if err != nil {
		return nil, s.tokenError(ctx, err)
	}
	now := s.clock.Now()
	t := &token{Access: got.AccessToken, Refresh: got.RefreshToken, IssuedAt: now}
	if got.ExpiresIn > 0 {
		const century = 100 * 365 * 24 * 60 * 60
		t.Expires = new(now.Add(time.Duration(min(got.ExpiresIn, century)) * time.Second))
	}
	return t, nil
}

// exchange gets the first token for a code.
func (s *Service) exchange(ctx context.Context, a connectors.Auth, secret, redirect, code, verifier string) (*token, error) {
	return s.ask(ctx, func(ctx context.Context) (*oauth2.Token, error) {
		return config(a, secret, redirect).Exchange(ctx, code, append(options(a), oauth2.VerifierOption(verifier))...)
	})
}

// next gets the token after t, which may be nil for client_credentials.
func (s *Service) next(ctx context.Context, a connectors.Auth, secret string, t *token) (*token, error) {
	return s.ask(ctx, func(ctx context.Context) (*oauth2.Token, error) {
		if a.Grant == grantClient {
			c := config(a, secret, "")
			params := url.Values{}
			for name, value := range a.Params {
				params.Set(name, value)
			}
			return (&clientcredentials.Config{
				ClientID: c.ClientID, ClientSecret: c.ClientSecret, TokenURL: c.Endpoint.TokenURL, Scopes: c.Scopes,
				AuthStyle: c.Endpoint.AuthStyle, EndpointParams: params,
			}).Token(ctx)
		}
		return config(a, secret, "").TokenSource(ctx, &oauth2.Token{RefreshToken: t.Refresh}).Token()
	})
}

var errorWord = regexp.MustCompile(`^[a-z_]{1,40}$`)

// tokenError puts what the token endpoint said into an error that may be shown: the
// code that the standard has for it, and nothing else of the answer.
func (s *Service) tokenError(ctx context.Context, err error) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		if withURL, ok := errors.AsType[*url.Error](err); ok {
			return connectors.NetworkError(ctx, withURL.Err)
		}
		if ctx.Err() != nil {
			return connectors.NetworkError(ctx, ctx.Err())
		}
		return connectors.Retryable(codeUnavailable, "the token endpoint gave no token")
	}
	status := 0
	if refused.Response != nil {
		status = refused.Response.StatusCode
	}
	word := ""
	if errorWord.MatchString(refused.ErrorCode) {
		word = ": " + refused.ErrorCode
	}
	switch {
	case refused.ErrorCode == "temporarily_unavailable", refused.ErrorCode == "slow_down",
		status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return connectors.Retryable(codeUnavailable, "the token endpoint answered %d%s", status, word)
	}
	return connectors.Permanent(codeRefused, "the token endpoint answered %d%s", status, word)
}
