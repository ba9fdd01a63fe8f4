package connections_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connections"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/models"
)

// use opens a connection and tells how a step fared with it.
func (b *bundle) use(t *testing.T, row *models.Connection, err error) *models.Connection {
	t.Helper()
	c, failed := b.Open(t.Context(), b.ws, string(row.ID))
	require.NoError(t, failed)
	b.Used(t.Context(), b.ws, c, err)
	got, failed := b.Get(t.Context(), b.ws, row.ID)
	require.NoError(t, failed)
	return got
}

var refused = connectors.HTTPError(&http.Response{StatusCode: http.StatusUnauthorized, Body: http.NoBody})

func TestUseTellsWhetherTheOtherSideTakesAConnection(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		row := b.create(t, "http", `{"hosts":["api.example.com"]}`, map[string]string{"token": "s3cret-token"})
		require.Equal(t, models.ConnectionUnknown, row.Status)
		for _, says := range []error{
			connectors.HTTPError(&http.Response{StatusCode: http.StatusForbidden, Body: http.NoBody}),
			connectors.HTTPError(&http.Response{StatusCode: http.StatusInternalServerError, Body: http.NoBody}),
			connectors.Permanent(connectors.CodeInputInvalid, "no"), errors.New("lost"),
		} {
			got := b.use(t, row, says)
			require.Equal(t, models.ConnectionUnknown, got.Status, "%v says nothing about credentials", says)
			require.Nil(t, got.LastCheckedAt)
		}
		good := b.use(t, row, nil)
		require.Equal(t, models.ConnectionOK, good.Status)
		require.NotNil(t, good.LastCheckedAt)
		require.Equal(t, good.LastCheckedAt, b.use(t, row, nil).LastCheckedAt, "what is known is not noted again")

		bad := b.use(t, row, refused)
		require.Equal(t, models.ConnectionUnauthorized, bad.Status)
		require.Equal(t, "http_401", bad.LastError)
		require.False(t, bad.LastCheckedAt.Before(*good.LastCheckedAt))
		require.Equal(t, row.UpdatedAt, bad.UpdatedAt, "nobody has changed it")
		require.Equal(t, bad.LastCheckedAt, b.use(t, row, refused).LastCheckedAt)
		again := b.use(t, row, nil)
		require.Equal(t, models.ConnectionOK, again.Status)
		require.Empty(t, again.LastError)

		// What was said of other credentials does not count.
		before, err := b.Open(t.Context(), b.ws, string(row.ID))
		require.NoError(t, err)
		_, err = b.Update(t.Context(), b.ws, row.ID, connections.Change{Secrets: map[string]string{"token": "another-token"}})
		require.NoError(t, err)
		b.Used(t.Context(), b.ws, before, refused)
		got, err := b.Get(t.Context(), b.ws, row.ID)
		require.NoError(t, err)
		require.Equal(t, models.ConnectionUnknown, got.Status)
	})
}

func TestTheCodeThatIsNotedHoldsNoSecret(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		row := b.create(t, "http", `{"hosts":["api.example.com"]}`, map[string]string{"token": "s3cret_token"})
		got := b.use(t, row, &connectors.Error{Code: "slack_s3cret_token", Unauthorized: true})
		require.Equal(t, "slack_"+connectors.Redacted, got.LastError)
	})
}

// A token that a step was refused with does not end the access: the next one may do.
func TestAnAccessThatIsRefusedInUseIsRenewedNevertheless(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		a := newAuthServer(t)
		row := b.oauth(t, a, "authorization_code")
		b.authorise(t, a, row)
		require.Equal(t, models.ConnectionUnauthorized, b.use(t, row, refused).Status)
		require.NoError(t, connections.Age(t.Context(), b.Service, b.ws, row.ID, time.Now().UTC().Add(-time.Second)))
		asked := len(a.asked())
		_, err := b.access(t, b.Service, row)
		require.NoError(t, err)
		require.Len(t, a.asked(), asked+1)
		got, err := b.Get(t.Context(), b.ws, row.ID)
		require.NoError(t, err)
		require.Equal(t, models.ConnectionOK, got.Status)
	})
}

// A token that was revoked is known by what steps say, and not by its time.
func TestATokenThatIsRefusedInUseIsReplaced(t *testing.T) {
	t.Parallel()
	for _, grant := range []string{"authorization_code", "client_credentials"} {
		t.Run(grant, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, b *bundle) {
				a := newAuthServer(t)
				row := b.oauth(t, a, grant)
				if grant == "authorization_code" {
					b.authorise(t, a, row)
				}
				access := func() string {
					got, err := b.access(t, b.Service, row)
					require.NoError(t, err)
					return got
				}
				first := access()
				b.use(t, row, refused)
				require.Equal(t, first, access(), "of the last minute: the next would be refused as well")
				require.NoError(t, connections.Age(t.Context(), b.Service, b.ws, row.ID, time.Now().UTC().Add(30*time.Minute)))
				second := access()
				require.NotEqual(t, first, second)
				got, err := b.Get(t.Context(), b.ws, row.ID)
				require.NoError(t, err)
				require.Equal(t, models.ConnectionOK, got.Status)
				require.Equal(t, second, access())

				// Where there is no other, the one there is may still do.
				require.NoError(t, connections.Age(t.Context(), b.Service, b.ws, row.ID, time.Now().UTC().Add(30*time.Minute)))
				b.use(t, row, refused)
				a.set(func(a *authServer) { a.status, a.refuse = http.StatusBadRequest, "invalid_grant" })
				asked := len(a.asked())
				require.Equal(t, second, access())
				require.Equal(t, second, access())
				require.Len(t, a.asked(), asked+1)
			})
		})
	}
}

// Whoever is on the way to authorise a connection again is not sent back because a step
// renewed its token meanwhile.
func TestATokenThatIsReplacedLeavesAnAuthorisationAlone(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		a := newAuthServer(t)
		row := b.oauth(t, a, "authorization_code")
		b.authorise(t, a, row)
		began, err := b.Authorize(t.Context(), b.ws, row.ID, callback)
		require.NoError(t, err)
		b.age(t, row, b.Service)
		_, err = b.access(t, b.Service, row)
		require.NoError(t, err)
		back := a.agree(t, began.URL)
		_, err = b.Return(t.Context(), back.Get("state"), back.Get("code"), "")
		require.NoError(t, err)
	})
}

// A token that is known to be refused is not handed out while another process asks for
// the next one.
func TestWhoeverComesWhileARefusedTokenIsReplacedWaits(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		a, other := newAuthServer(t), b.with(t, b.ring, b.store)
		row := b.oauth(t, a, "client_credentials")
		first, err := b.access(t, b.Service, row)
		require.NoError(t, err)
		b.use(t, row, refused)
		require.NoError(t, connections.Age(t.Context(), b.Service, b.ws, row.ID, time.Now().UTC().Add(30*time.Minute)))
		hold := make(chan struct{})
		a.set(func(a *authServer) { a.hold = hold })
		got := make(chan string, 2)
		open := func(s *connections.Service) {
			token, err := b.access(t, s, row)
			if err != nil {
				token = err.Error()
			}
			got <- token
		}
		go open(b.Service)
		<-a.holding // it asks
		go open(other)
		require.Never(t, func() bool { return len(got) > 0 }, 300*time.Millisecond, 10*time.Millisecond)
		close(hold)
		second := <-got
		require.Equal(t, second, <-got)
		require.NotEqual(t, first, second)
	})
}

// While the old token still counts for a moment, that there will be no other stays known.
func TestUseDoesNotHideThatThereIsNoNextToken(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		a := newAuthServer(t)
		row := b.oauth(t, a, "authorization_code")
		b.authorise(t, a, row)
		a.set(func(a *authServer) { a.refresh = map[string]bool{} })
		b.age(t, row, b.Service)
		_, err := b.access(t, b.Service, row)
		require.NoError(t, err)
		got := b.use(t, row, nil)
		require.Equal(t, models.ConnectionUnauthorized, got.Status)
		require.Equal(t, "oauth_refused", got.LastError)
	})
}
