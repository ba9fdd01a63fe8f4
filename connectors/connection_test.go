package connectors_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
)

func TestHostsMatchWhatTheyName(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern, address string
		want             bool
	}{
		{"api.example.com", "https://api.example.com/x", true},
		{"api.example.com", "https://API.EXAMPLE.COM./x", true},
		{"api.example.com", "https://api.example.com:443/", true},
		{"api.example.com", "http://api.example.com:80/", true},
		{"api.example.com", "https://api.example.com:8443/", false},
		{"api.example.com", "https://api.example.com:80/", false},
		{"api.example.com:8443", "https://api.example.com:8443/", true},
		{"api.example.com:8443", "https://api.example.com/", false},
		{"api.example.com:443", "https://api.example.com/", true},
		{"api.example.com", "https://api.example.com.evil.example/", false},
		{"api.example.com", "https://evil-api.example.com/", false},
		{"*.example.com", "https://a.b.example.com/", true},
		{"*.example.com", "https://example.com/", false},
		{"*.example.com", "https://evilexample.com/", false},
		{"*.example.com:8443", "https://a.example.com:8443/", true},
		{"*", "https://example.com/", false},
		{"*.", "https://example.com/", false},
		{"", "https://example.com/", false},
		{"[::1]:8443", "https://[::1]:8443/", true},
		{"[::1]", "https://[::1]/", true},
		{"127.0.0.1", "http://127.0.0.1/", true},
	} {
		u, err := url.Parse(tc.address)
		require.NoError(t, err)
		require.Equal(t, tc.want, connectors.MatchesHost(tc.pattern, u), "%s %s", tc.pattern, tc.address)
	}
}

func TestASecretOfASecureAddressGoesInNoClear(t *testing.T) {
	t.Parallel()
	c := &connectors.Connection{
		ID: "conn_1", Auth: connectors.Auth{Type: connectors.AuthBearer}, Hosts: []string{"api.example.com"}, Secrets: map[string]string{"token": "s3cret"},
	}
	for base, want := range map[string]bool{"https://api.example.com": false, "HTTPS://api.example.com/v1": false, "http://api.example.com": true, "": true} {
		c.BaseURL = base
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://api.example.com/", nil)
		require.NoError(t, err)
		if err = c.Authorize(req); want {
			require.NoError(t, err)
			require.Equal(t, "Bearer s3cret", req.Header.Get("Authorization"))
			continue
		}
		require.Equal(t, connectors.CodeHostNotAllowed, connectors.AsError(err).Code, base)
		require.Empty(t, req.Header)
	}
}

func TestWithoutASecretNothingIsSent(t *testing.T) {
	t.Parallel()
	for _, typ := range connectors.AuthTypes {
		c := &connectors.Connection{Auth: connectors.Auth{Type: typ, Name: "X-Key", Username: "ann"}, Hosts: []string{"api.example.com"}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/", nil)
		require.NoError(t, err)
		err = c.Authorize(req)
		if typ == connectors.AuthNone || typ == connectors.AuthBasic {
			require.NoError(t, err)
			continue
		}
		require.Equal(t, connectors.CodeNotConnected, connectors.AsError(err).Code, typ)
	}
	var none *connectors.Connection
	require.NoError(t, none.Authorize(nil))
}
