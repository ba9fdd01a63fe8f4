package connections_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/connections"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/connectors/core"
	httpconnector "github.com/10ex/flows/connectors/http"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pinned is a connector that is bound to hosts of its own.
type pinned struct{}

func (pinned) Spec() connectors.Spec {
	return connectors.Spec{
		Slug: "pinned", Name: "Pinned", Description: "Bound to its own hosts.",
		Actions: []connectors.Action{{Name: "do", Description: "Does.", Input: json.RawMessage(`{}`), Output: json.RawMessage(`{}`)}},
		Connection: &connectors.ConnectionSpec{
			Required: true, Auth: []connectors.AuthType{connectors.AuthBearer, connectors.AuthOAuth2},
			BaseURL: "https://api.pinned.example/v1", Hosts: []string{"api.pinned.example", "*.files.pinned.example"},
			Config:  json.RawMessage(`{"type":"object","properties":{"account":{"type":"string"}},"required":["account"]}`),
			Secrets: map[string]string{"signing_key": "Signs."},
			OAuth:   &connectors.Auth{TokenURL: "https://login.pinned.example/token", AuthorizationURL: "https://login.pinned.example/authorize", Scopes: []string{"read"}},
		},
	}
}

func (pinned) Do(context.Context, connectors.Request) (connectors.Response, error) {
	return connectors.Response{}, nil
}

// bundle is a service on a store of its own.
type bundle struct {
	*connections.Service
	store *store.Store
	ws    models.WorkspaceID
	ring  *seal.Ring
}

func keyOf(b byte) []byte {
	k := make([]byte, seal.KeySize)
	k[0] = b
	return k
}

func setup(t *testing.T, s *store.Store) *bundle {
	t.Helper()
	ring, err := seal.New(keyOf(1))
	require.NoError(t, err)
	b := &bundle{store: s, ring: ring, ws: models.WorkspaceID(ids.New(models.WorkspacePrefix))}
	require.NoError(t, s.CreateWorkspace(t.Context(), &models.Workspace{ID: b.ws, Name: "Acme", CreatedAt: time.Now().UTC()}))
	b.Service = b.with(t, ring, s)
	return b
}

// with makes a further service, as another process has one.
func (b *bundle) with(t *testing.T, ring *seal.Ring, s *store.Store) *connections.Service {
	t.Helper()
	guarded, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	t.Cleanup(guarded.CloseIdleConnections)
	registry, err := connectors.NewRegistry(core.Connector{}, httpconnector.New(guarded), pinned{})
	require.NoError(t, err)
	out, err := connections.New(connections.Deps{
		Store: s, Seal: ring, Egress: guarded, Log: testkit.Logger(t),
		Connectors: connectors.NewCatalogue(registry, nil),
	})
	require.NoError(t, err)
	return out
}

func (b *bundle) create(t *testing.T, connector, config string, secrets map[string]string) *models.Connection {
	t.Helper()
	c, err := b.Create(t.Context(), b.ws, connections.Draft{Connector: connector, Name: ids.New("name"), Config: json.RawMessage(config), Secrets: secrets})
	require.NoError(t, err)
	return c
}

// each runs test on every database.
func each(t *testing.T, test func(t *testing.T, b *bundle)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, s *store.Store) { test(t, setup(t, s)) })
}

func TestWhatIsKeptOpensAsItWasGiven(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		row := b.create(t, "http", `{"auth":{"type":"bearer"},"base_url":"https://API.example.com/v1/"}`, map[string]string{"token": "s3cret-token"})
		require.JSONEq(t, `{"auth":{"type":"bearer"},"base_url":"https://API.example.com/v1","hosts":["api.example.com"]}`, string(row.Config))
		require.Equal(t, []string{"token"}, row.SecretNames)
		require.NotContains(t, string(row.Secrets), "s3cret")
		got, err := b.Open(t.Context(), b.ws, string(row.ID))
		require.NoError(t, err)
		require.Equal(t, map[string]string{"token": "s3cret-token"}, got.Secrets)
		require.Equal(t, "https://API.example.com/v1", got.BaseURL)
		require.Equal(t, []string{"api.example.com"}, got.Hosts)
		require.Equal(t, connectors.AuthBearer, got.Auth.Type)

		other := models.WorkspaceID(ids.New(models.WorkspacePrefix))
		_, err = b.Open(t.Context(), other, string(row.ID))
		require.Equal(t, connections.CodeGone, connectors.AsError(err).Code)
		require.NoError(t, b.Delete(t.Context(), b.ws, row.ID))
		for _, id := range []string{string(row.ID), "", "conn_", "wf_00000000000000000000000000"} {
			_, err = b.Open(t.Context(), b.ws, id)
			require.Equal(t, connections.CodeGone, connectors.AsError(err).Code)
		}
	})
}

func TestATestSaysNothingOfSecretsThatCameMeanwhile(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		asked, answer := make(chan struct{}), make(chan struct{})
		peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, _ *http.Request) {
			close(asked)
			<-answer
			w.WriteHeader(http.StatusUnauthorized)
		})
		row := b.create(t, "http", `{"base_url":"`+peer.URL+`"}`, map[string]string{"token": "s3cret-token"})
		tested := make(chan error, 1)
		go func() { _, err := b.Test(t.Context(), b.ws, row.ID); tested <- err }()
		<-asked
		_, err := b.Update(t.Context(), b.ws, row.ID, connections.Change{Secrets: map[string]string{"token": "another-token"}})
		require.NoError(t, err)
		close(answer)
		require.NoError(t, <-tested)
		got, err := b.Get(t.Context(), b.ws, row.ID)
		require.NoError(t, err)
		require.Equal(t, models.ConnectionUnknown, got.Status)
	})
}

func TestTestTellsAndNotes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Header.Get("Authorization") != "Bearer s3cret-token":
				w.WriteHeader(http.StatusUnauthorized)
			case r.URL.Path != "/":
				w.WriteHeader(http.StatusInternalServerError)
			}
		})
		row := b.create(t, "http", `{"base_url":"`+peer.URL+`"}`, map[string]string{"token": "s3cret-token"})
		result, err := b.Test(t.Context(), b.ws, row.ID)
		require.NoError(t, err)
		require.Equal(t, &connections.Result{OK: true, Status: models.ConnectionOK}, result)
		got, err := b.Get(t.Context(), b.ws, row.ID)
		require.NoError(t, err)
		require.Equal(t, models.ConnectionOK, got.Status)
		require.NotNil(t, got.LastCheckedAt)

		_, err = b.Update(t.Context(), b.ws, row.ID, connections.Change{Secrets: map[string]string{"token": "another-token"}})
		require.NoError(t, err)
		result, err = b.Test(t.Context(), b.ws, row.ID)
		require.NoError(t, err)
		require.False(t, result.OK)
		require.Equal(t, models.ConnectionUnauthorized, result.Status)
		require.Equal(t, "http_401", result.Error.Code)
		got, err = b.Get(t.Context(), b.ws, row.ID)
		require.NoError(t, err)
		require.Equal(t, "http_401", got.LastError)
	})
}
