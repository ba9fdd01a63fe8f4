package connections_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connections"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/models"
)

// authServer is a server of OAuth 2.0 that holds its clients to the standard.
type authServer struct {
	URL string

	mu         sync.Mutex
	codes      map[string]url.Values // what was asked for at the front, by code
	refresh    map[string]bool       // refresh tokens that still count; each counts once
	made       int
	requests   []url.Values
	headers    []http.Header
	lifetime   int
	refuse     string        // the error to answer with
	status     int           // and its status
	hold       chan struct{} // if set, answers wait for it
	holding    chan struct{}
	redirectTo string
}

const clientSecret = "cl13nt-s3cret"

func newAuthServer(t *testing.T) *authServer {
	t.Helper()
	a := &authServer{codes: map[string]url.Values{}, refresh: map[string]bool{}, lifetime: 3600, holding: make(chan struct{}, 100)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", a.token)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	a.URL = srv.URL
	return a
}

// agree is somebody saying yes at the address; it gives the address they come back to.
func (a *authServer) agree(t *testing.T, address string) url.Values {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	q := u.Query()
	require.Equal(t, "code", q.Get("response_type"))
	require.Equal(t, "client", q.Get("client_id"))
	require.Equal(t, "S256", q.Get("code_challenge_method"))
	require.NotEmpty(t, q.Get("code_challenge"))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.made++
	code := fmt.Sprintf("code-%d", a.made)
	a.codes[code] = q
	return url.Values{"code": {code}, "state": {q.Get("state")}}
}

func (a *authServer) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	a.mu.Lock()
	a.requests, a.headers = append(a.requests, r.PostForm), append(a.headers, r.Header.Clone())
	hold, status, refuse, elsewhere := a.hold, a.status, a.refuse, a.redirectTo
	a.mu.Unlock()
	if hold != nil {
		a.holding <- struct{}{}
		<-hold
	}
	if elsewhere != "" {
		http.Redirect(w, r, elsewhere, http.StatusTemporaryRedirect)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	fail := func(status int, word string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": word, "error_description": "you sent " + r.PostForm.Get("client_secret")})
	}
	id, secret, inHeader := r.BasicAuth()
	if !inHeader {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	switch {
	case status != 0:
		fail(status, refuse)
		return
	case id != "client" || secret != clientSecret:
		fail(http.StatusUnauthorized, "invalid_client")
		return
	}
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		asked, ok := a.codes[r.PostForm.Get("code")]
		delete(a.codes, r.PostForm.Get("code"))
		sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
		if !ok || asked.Get("redirect_uri") != r.PostForm.Get("redirect_uri") ||
			asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) {
			fail(http.StatusBadRequest, "invalid_grant")
			return
		}
	case "refresh_token":
		old := r.PostForm.Get("refresh_token")
		if !a.refresh[old] {
			fail(http.StatusBadRequest, "invalid_grant")
			return
		}
		delete(a.refresh, old)
	case "client_credentials":
	default:
		fail(http.StatusBadRequest, "unsupported_grant_type")
		return
	}
	a.made++
	next := fmt.Sprintf("refresh-%d", a.made)
	a.refresh[next] = true
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": fmt.Sprintf("access-%d", a.made), "token_type": "Bearer", "expires_in": a.lifetime, "refresh_token": next,
	})
}

func (a *authServer) set(change func(a *authServer)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a)
}

func (a *authServer) asked() []url.Values {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests
}

func (b *bundle) oauth(t *testing.T, a *authServer, grant string) *models.Connection {
	t.Helper()
	front := ""
	if grant == "authorization_code" {
		front = `"authorization_url":"` + a.URL + `/authorize?tenant=1",`
	}
	return b.create(t, "http", `{"auth":{"type":"oauth2","grant":"`+grant+`",`+front+`"token_url":"`+a.URL+`/token","client_id":"client",
		"scopes":["read","write"],"params":{"audience":"crm"}},"base_url":"https://api.example.com"}`, map[string]string{"client_secret": clientSecret})
}

const callback = "https://flows.example/api/v1/flows/oauth/callback"

// authorise takes a connection through the whole way.
func (b *bundle) authorise(t *testing.T, a *authServer, row *models.Connection) {
	t.Helper()
	began, err := b.Authorize(t.Context(), b.ws, row.ID, callback)
	require.NoError(t, err)
	back := a.agree(t, began.URL)
	_, err = b.Return(t.Context(), back.Get("state"), back.Get("code"), "")
	require.NoError(t, err)
}

func (b *bundle) access(t *testing.T, s *connections.Service, row *models.Connection) (string, error) {
	t.Helper()
	c, err := s.Open(t.Context(), b.ws, string(row.ID))
	if err != nil {
		return "", err
	}
	return c.Secrets[connectors.SecretAccessToken], nil
}

func TestAConnectionIsAuthorisedByACodeWithProofOfItsOrigin(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		a := newAuthServer(t)
		row := b.oauth(t, a, "authorization_code")
		require.False(t, connections.Connected(row))
		_, err := b.access(t, b.Service, row)
		require.Equal(t, "not_connected", connectors.AsError(err).Code)
		require.False(t, connectors.AsError(err).Retryable)

		began, err := b.Authorize(t.Context(), b.ws, row.ID, callback)
		require.NoError(t, err)
		u, err := url.Parse(began.URL)
		require.NoError(t, err)
		require.Equal(t, "1", u.Query().Get("tenant"))
		require.Equal(t, "crm", u.Query().Get("audience"))
		require.Equal(t, "read write", u.Query().Get("scope"))
		require.Equal(t, callback, u.Query().Get("redirect_uri"))
		require.Empty(t, u.Query().Get("client_secret"))
		require.WithinDuration(t, time.Now().Add(10*time.Minute), began.ExpiresAt, time.Minute)
		kept, err := b.Get(t.Context(), b.ws, row.ID)
		require.NoError(t, err)
		require.NotContains(t, string(kept.StateHash)+string(kept.Pending), u.Query().Get("state"))

		back := a.agree(t, began.URL)
		got, err := b.Return(t.Context(), back.Get("state"), back.Get("code"), "")
		require.NoError(t, err)
		require.Equal(t, models.ConnectionOK, got.Status)
		require.True(t, connections.Connected(got))
		access, err := b.access(t, b.Service, row)
		require.NoError(t, err)
		require.Equal(t, "access-2", access)
		require.NotContains(t, string(got.Token), "access-2")
		require.Len(t, a.asked(), 1)
		require.Equal(t, "crm", a.asked()[0].Get("audience"))

		_, err = b.Return(t.Context(), back.Get("state"), back.Get("code"), "")
		require.ErrorIs(t, err, connections.ErrDenied, "the state counts once")
		require.Len(t, a.asked(), 1)
	})
}

func TestWhatComesBackHasToFitWhatWasBegun(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		a := newAuthServer(t)
		row := b.oauth(t, a, "authorization_code")
		begin := func() url.Values {
			began, err := b.Authorize(t.Context(), b.ws, row.ID, callback)
			require.NoError(t, err)
			return a.agree(t, began.URL)
		}
		first := begin()
		second := begin()
		for name, q := range map[string]url.Values{"none": {}, "guessed": {"state": {"x"}, "code": {"y"}}, "an earlier one": first} {
			_, err := b.Return(t.Context(), q.Get("state"), q.Get("code"), "")
			require.ErrorIs(t, err, connections.ErrDenied, name)
		}
		_, err := b.Return(t.Context(), second.Get("state"), "", "access_denied")
		require.ErrorIs(t, err, connections.ErrDenied)
		_, err = b.Return(t.Context(), second.Get("state"), second.Get("code"), "")
		require.ErrorIs(t, err, connections.ErrDenied, "a no is final")
		require.Empty(t, a.asked())

		// The code of somebody else's browser does not fit the verifier.
		mine := begin()
		other := b.oauth(t, a, "authorization_code")
		began, err := b.Authorize(t.Context(), b.ws, other.ID, callback)
		require.NoError(t, err)
		theirs := a.agree(t, began.URL)
		_, err = b.Return(t.Context(), mine.Get("state"), theirs.Get("code"), "")
		require.ErrorContains(t, err, "invalid_grant")
		require.NotContains(t, err.Error(), clientSecret)

		late := begin()
		_, err = b.store.For(b.ws).UpdateConnection(t.Context(), row.ID, func(c *models.Connection) error {
			c.StateExpiresAt = new(time.Now().UTC().Add(-time.Second))
			return nil
		})
		require.NoError(t, err)
		_, err = b.Return(t.Context(), late.Get("state"), late.Get("code"), "")
		require.ErrorIs(t, err, connections.ErrDenied, "it is too late")

		moved := begin()
		_, err = b.Update(t.Context(), b.ws, row.ID, connections.Change{
			Config:  json.RawMessage(`{"auth":{"type":"oauth2","client_id":"client","authorization_url":"https://evil.example/a","token_url":"https://evil.example/t"},"base_url":"https://api.example.com"}`),
			Secrets: map[string]string{"client_secret": "another"},
		})
		require.NoError(t, err)
		_, err = b.Return(t.Context(), moved.Get("state"), moved.Get("code"), "")
		require.ErrorIs(t, err, connections.ErrDenied, "the connection is another one by now")
	})
}

func (b *bundle) age(t *testing.T, row *models.Connection, s *connections.Service) {
	t.Helper()
	// Time passes for the token: it is written again as one that ends soon.
	require.NoError(t, connections.Age(t.Context(), s, b.ws, row.ID, time.Now().UTC().Add(5*time.Second)))
}

func TestManyOpenersInTwoProcessesAskForOneToken(t *testing.T) {
	t.Parallel()
	for _, grant := range []string{"authorization_code", "client_credentials"} {
		t.Run(grant, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, b *bundle) {
				a := newAuthServer(t)
				row := b.oauth(t, a, grant)
				if grant == "authorization_code" {
					b.authorise(t, a, row)
					b.age(t, row, b.Service)
				}
				before := len(a.asked())
				services := []*connections.Service{b.Service, b.with(t, b.ring, b.store)}
				var all sync.WaitGroup
				got, errs := make([]string, 32), make([]error, 32)
				for i := range got {
					all.Go(func() { got[i], errs[i] = b.access(t, services[i%2], row) })
				}
				all.Wait()
				for i := range got {
					require.NoError(t, errs[i])
				}
				require.Len(t, a.asked(), before+1, "one asked for all")
				again, err := b.access(t, services[1], row)
				require.NoError(t, err)
				require.Len(t, a.asked(), before+1)
				for i := range got {
					if got[i] != again {
						require.Equal(t, "access-2", got[i], "who did not wait had a token that still counted")
					}
				}
			})
		})
	}
}

func TestWhoeverWaitsForATokenThatIsGoneGetsTheNext(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		a := newAuthServer(t)
		row := b.oauth(t, a, "client_credentials")
		hold := make(chan struct{})
		a.set(func(a *authServer) { a.hold = hold })
		other := b.with(t, b.ring, b.store)
		var all sync.WaitGroup
		got, errs := make([]string, 8), make([]error, 8)
		for i := range got {
			s := b.Service
			if i%2 == 1 {
				s = other
			}
			all.Go(func() { got[i], errs[i] = b.access(t, s, row) })
		}
		<-a.holding
		ctx, stop := context.WithCancel(t.Context())
		stop()
		_, err := b.Open(ctx, b.ws, string(row.ID))
		require.Error(t, err, "who is told to stop does not wait")
		close(hold)
		all.Wait()
		for i := range got {
			require.NoError(t, errs[i])
			require.Equal(t, "access-1", got[i])
		}
		require.Len(t, a.asked(), 1)
	})
}

func TestATokenThatIsRefusedEndsTheConnection(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		a := newAuthServer(t)
		row := b.oauth(t, a, "authorization_code")
		b.authorise(t, a, row)
		a.set(func(a *authServer) { a.refresh = map[string]bool{} }) // somebody took the access back
		b.age(t, row, b.Service)
		got, err := b.access(t, b.Service, row)
		require.NoError(t, err, "the token still counts for a moment")
		require.Equal(t, "access-2", got)
		kept, err := b.Get(t.Context(), b.ws, row.ID)
		require.NoError(t, err)
		require.Equal(t, models.ConnectionUnauthorized, kept.Status)
		require.Equal(t, "oauth_refused", kept.LastError)
		require.NoError(t, connections.Age(t.Context(), b.Service, b.ws, row.ID, time.Now().UTC().Add(-time.Second)))
		asked := len(a.asked())
		for range 3 {
			_, err = b.access(t, b.Service, row)
			require.Equal(t, "not_connected", connectors.AsError(err).Code)
			require.False(t, connectors.AsError(err).Retryable)
			require.NotContains(t, err.Error(), clientSecret)
		}
		require.Len(t, a.asked(), asked, "a refusal is not asked for again and again")
		result, err := b.Test(t.Context(), b.ws, row.ID)
		require.NoError(t, err)
		require.False(t, result.OK)
		require.Equal(t, models.ConnectionUnauthorized, result.Status)
		require.Len(t, a.asked(), asked+1, "but by who tests it")
		b.authorise(t, a, row)
		_, err = b.access(t, b.Service, row)
		require.NoError(t, err)
	})
}

func TestAServerInTroubleIsAskedAgainLater(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		a := newAuthServer(t)
		row := b.oauth(t, a, "client_credentials")
		a.set(func(a *authServer) { a.status, a.refuse = 503, "temporarily_unavailable" })
		_, err := b.access(t, b.Service, row)
		require.Equal(t, "oauth_unavailable", connectors.AsError(err).Code)
		require.True(t, connectors.AsError(err).Retryable)
		require.NotContains(t, err.Error(), clientSecret)
		kept, err := b.Get(t.Context(), b.ws, row.ID)
		require.NoError(t, err)
		require.Equal(t, models.ConnectionFailing, kept.Status)
		a.set(func(a *authServer) { a.status = 0 })
		_, err = b.access(t, b.Service, row)
		require.NoError(t, err)
		kept, err = b.Get(t.Context(), b.ws, row.ID)
		require.NoError(t, err)
		require.Equal(t, models.ConnectionOK, kept.Status)
	})
}

func TestTheClientsSecretFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		a, thief := newAuthServer(t), newAuthServer(t)
		a.set(func(a *authServer) { a.redirectTo = thief.URL + "/token" })
		_, err := b.access(t, b.Service, b.oauth(t, a, "client_credentials"))
		require.Equal(t, "not_connected", connectors.AsError(err).Code)
		require.Empty(t, thief.asked())
	})
}
