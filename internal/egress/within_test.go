package egress

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWithinHoldsThroughRedirectsAndForOuterLimits(t *testing.T) {
	t.Parallel()
	evil := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request went to a host that is not allowed") })
	good := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, evil.URL, http.StatusFound)
		}
	})
	c := newClient(t, Config{AllowPrivate: true})
	at := func(server string) func(*url.URL) bool {
		return func(u *url.URL) bool { return u.Host == strings.TrimPrefix(server, "http://") }
	}
	onlyGood := Within(t.Context(), at(good.URL))
	for address, blocked := range map[string]bool{good.URL: false, good.URL + "/away": true, evil.URL: true} {
		req, err := http.NewRequestWithContext(onlyGood, http.MethodGet, address, nil)
		require.NoError(t, err)
		_, err = send(c, req)
		var refused *BlockedError
		require.Equal(t, blocked, errors.As(err, &refused), "%s: %v", address, err)
	}
	req, err := http.NewRequestWithContext(Within(onlyGood, at(evil.URL)), http.MethodGet, evil.URL, nil)
	require.NoError(t, err)
	_, err = send(c, req)
	require.ErrorContains(t, err, "not one of those allowed")
}
