package http_test

import (
	"encoding/base64"
	"encoding/json"
	nethttp "net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/internal/egress"
)

const secret = "s3cret/key+1"

// account is a connection to a peer.
func account(t *testing.T, p *connectorstest.Peer, a connectors.Auth) *connectors.Connection {
	t.Helper()
	u, err := url.Parse(p.URL)
	require.NoError(t, err)
	return &connectors.Connection{
		ID: "conn_1", Connector: "http", Config: json.RawMessage(`{}`), Auth: a, BaseURL: p.URL + "/v1", Hosts: []string{u.Host},
		Secrets: map[string]string{a.Secret(): secret},
	}
}

func with(c *connectors.Connection, input string) connectors.Request {
	return connectors.Request{Action: "request", Input: json.RawMessage(input), Connection: c}
}

func TestEveryKindOfAuthArrives(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		auth   connectors.Auth
		header string
		value  string
		query  string
	}{
		"bearer": {auth: connectors.Auth{Type: connectors.AuthBearer}, header: "Authorization", value: "Bearer " + secret},
		"10ex":   {auth: connectors.Auth{Type: connectors.AuthTenex}, header: "Authorization", value: "Bearer " + secret},
		"oauth2": {auth: connectors.Auth{Type: connectors.AuthOAuth2}, header: "Authorization", value: "Bearer " + secret},
		"basic": {
			auth: connectors.Auth{Type: connectors.AuthBasic, Username: "ann"}, header: "Authorization",
			value: "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:"+secret)),
		},
		"header": {auth: connectors.Auth{Type: connectors.AuthHeader, Name: "X-Api-Key", Prefix: "Token "}, header: "X-Api-Key", value: "Token " + secret},
		"query":  {auth: connectors.Auth{Type: connectors.AuthQuery, Name: "key"}, query: "key=" + url.QueryEscape(secret)},
		"none":   {auth: connectors.Auth{Type: connectors.AuthNone}, header: "Authorization", value: "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := peer(t, 200, "text/plain", "ok")
			_, err := setup(t, egress.Config{AllowPrivate: true}).Do(t.Context(), with(account(t, p, tc.auth),
				`{"method":"GET","url":"/leads?b=2&key=mine&a=1","headers":{"Authorization":"mine","X-Api-Key":"mine"}}`))
			require.NoError(t, err)
			require.Len(t, p.Received(), 1)
			got := p.Received()[0]
			require.Equal(t, "/v1/leads", got.Path)
			if tc.header != "" {
				require.Equal(t, []string{tc.value}, got.Header.Values(tc.header), "in place of the author's own")
				require.Equal(t, "b=2&key=mine&a=1", got.Query)
			} else {
				require.Equal(t, "b=2&a=1&"+tc.query, got.Query)
			}
		})
	}
}

func TestAddressesStandBehindTheBase(t *testing.T) {
	t.Parallel()
	p := peer(t, 200, "text/plain", "ok")
	c := setup(t, egress.Config{AllowPrivate: true})
	for written, want := range map[string]string{
		"/leads": "/v1/leads", "leads": "/v1/leads", "?a=1": "/v1", "//evil.example/x": "/v1//evil.example/x", "@evil.example": "/v1/@evil.example",
		":80@evil.example": "/v1/:80@evil.example", ".evil.example": "/v1/.evil.example", p.URL + "/other": "/other",
	} {
		p.Reset()
		in, err := json.Marshal(map[string]string{"method": "GET", "url": written})
		require.NoError(t, err)
		_, err = c.Do(t.Context(), with(account(t, p, connectors.Auth{Type: connectors.AuthBearer}), string(in)))
		require.NoError(t, err, written)
		require.Equal(t, want, p.Received()[0].Path, written)
	}
	_, err := c.Do(t.Context(), connectors.Request{Action: "request", Input: json.RawMessage(`{"method":"GET","url":"/leads"}`)})
	require.Equal(t, connectors.CodeBlocked, connectors.AsError(err).Code, "there is no base without a connection")
}

func TestSecretsGoToTheirHostsOnly(t *testing.T) {
	t.Parallel()
	home, other := peer(t, 200, "text/plain", "ok"), peer(t, 200, "text/plain", "ok")
	c := setup(t, egress.Config{AllowPrivate: true})
	for _, typ := range []connectors.AuthType{connectors.AuthBearer, connectors.AuthQuery, connectors.AuthNone} {
		conn := account(t, home, connectors.Auth{Type: typ, Name: "key"})
		for _, address := range []string{other.URL + "/", strings.Replace(home.URL, "127.0.0.1", "localhost", 1), "http://127.0.0.1/", "https://example.com/"} {
			_, err := c.Do(t.Context(), with(conn, `{"method":"GET","url":"`+address+`"}`))
			require.Equal(t, connectors.CodeHostNotAllowed, connectors.AsError(err).Code, address)
			require.False(t, connectors.AsError(err).Retryable)
			require.NotContains(t, err.Error(), "s3cret")
		}
	}
	require.Empty(t, other.Received())
	conn := account(t, home, connectors.Auth{Type: connectors.AuthBearer})
	conn.Secrets = nil
	_, err := c.Do(t.Context(), with(conn, `{"method":"GET","url":"/"}`))
	require.Equal(t, connectors.CodeNotConnected, connectors.AsError(err).Code)
}

func TestNoSecretFollowsARedirectElsewhere(t *testing.T) {
	t.Parallel()
	thief := peer(t, 200, "text/plain", "ok")
	home := connectorstest.NewPeer(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		switch r.URL.Path {
		case "/v1/away":
			nethttp.Redirect(w, r, thief.URL+"/there", nethttp.StatusTemporaryRedirect)
		case "/v1/near":
			nethttp.Redirect(w, r, "/v1/here", nethttp.StatusFound)
		}
	})
	c := setup(t, egress.Config{AllowPrivate: true})
	for _, a := range []connectors.Auth{
		{Type: connectors.AuthBearer},
		{Type: connectors.AuthBasic, Username: "ann"},
		{Type: connectors.AuthHeader, Name: "X-Api-Key"},
		{Type: connectors.AuthHeader, Name: "Accept-Language"}, // which by itself may travel
		{Type: connectors.AuthHeader, Name: "Idempotency-Key"},
		{Type: connectors.AuthQuery, Name: "key"},
	} {
		thief.Reset()
		_, _ = c.Do(t.Context(), with(account(t, home, a), `{"method":"GET","url":"/away"}`))
		for _, got := range thief.Received() {
			raw, err := json.Marshal(got)
			require.NoError(t, err)
			require.NotContains(t, string(raw), "s3cret", "%+v", a)
			require.NotContains(t, string(raw), base64.StdEncoding.EncodeToString([]byte("ann:"+secret)))
			require.Empty(t, got.Query)
			require.Empty(t, got.Header.Get("Referer"))
		}
	}
	home.Reset()
	_, err := c.Do(t.Context(), with(account(t, home, connectors.Auth{Type: connectors.AuthBearer}), `{"method":"GET","url":"/near"}`))
	require.NoError(t, err)
	require.Equal(t, "Bearer "+secret, home.Received()[1].Header.Get("Authorization"), "within the origin it may go")
}

func TestATestReadsWhatTheConnectionNames(t *testing.T) {
	t.Parallel()
	p := connectorstest.NewPeer(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+secret:
			w.WriteHeader(nethttp.StatusUnauthorized)
		case r.URL.Path == "/v1/me":
		case r.URL.Path == "/v1/down":
			w.WriteHeader(nethttp.StatusServiceUnavailable)
		default:
			w.WriteHeader(nethttp.StatusNotFound)
		}
	})
	c := setup(t, egress.Config{AllowPrivate: true})
	for config, code := range map[string]string{
		`{}`: "", `{"test_url":"/me"}`: "", `{"test_url":"` + p.URL + `/v1/me"}`: "", `{"test_url":"/none"}`: "http_404", `{"test_url":"/down"}`: "http_503",
		`{"test_url":"https://example.com/"}`: connectors.CodeHostNotAllowed,
	} {
		conn := account(t, p, connectors.Auth{Type: connectors.AuthBearer})
		conn.Config = json.RawMessage(config)
		err := c.TestConnection(t.Context(), conn)
		if code == "" {
			require.NoError(t, err, config)
			continue
		}
		require.Equal(t, code, connectors.AsError(err).Code, config)
	}
	conn := account(t, p, connectors.Auth{Type: connectors.AuthBearer})
	conn.Secrets["token"] = "another"
	require.Equal(t, "http_401", connectors.AsError(c.TestConnection(t.Context(), conn)).Code)
	conn.BaseURL = ""
	require.Equal(t, "nothing_to_test", connectors.AsError(c.TestConnection(t.Context(), conn)).Code)
}
