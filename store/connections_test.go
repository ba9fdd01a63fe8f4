package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

func newConnection(name string) *models.Connection {
	return &models.Connection{
		ID: models.ConnectionID(ids.New(models.ConnectionPrefix)), Connector: "http", Name: name, Config: json.RawMessage(`{"b":1,"a":[1.50]}`),
		Secrets: []byte{0, 1, 255}, SecretNames: []string{"token"}, Status: models.ConnectionUnknown, CreatedAt: morning, UpdatedAt: morning,
	}
}

func TestConnectionsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, ws := tenant(t, s)
		c := newConnection("CRM")
		c.Token, c.TokenExpiresAt, c.TokenVersion = []byte{9}, new(morning), 7
		c.StateHash, c.Pending, c.StateExpiresAt = []byte("hash"), []byte{8}, new(morning)
		c.LastCheckedAt, c.LastError = new(morning), "http_401"
		require.NoError(t, a.CreateConnection(ctx, c))
		got, err := a.Connection(ctx, c.ID)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(c, got))
		require.Equal(t, ws, got.WorkspaceID)
		got, err = s.ConnectionByState(ctx, []byte("hash"))
		require.NoError(t, err)
		require.Equal(t, c.ID, got.ID)
		_, err = s.ConnectionByState(ctx, []byte("other"))
		require.ErrorIs(t, err, models.ErrNotFound)

		require.ErrorIs(t, a.CreateConnection(ctx, newConnection("CRM")), models.ErrConflict, "the name is taken")
		other := newConnection("Mail")
		other.Secrets, other.SecretNames = nil, nil
		require.NoError(t, a.CreateConnection(ctx, other))
		for name, tc := range map[string]struct {
			filter store.ConnectionFilter
			want   int
		}{
			"all": {store.ConnectionFilter{}, 2}, "connector": {store.ConnectionFilter{Connector: "http"}, 2}, "none": {store.ConnectionFilter{Connector: "slack"}, 0},
			"status": {store.ConnectionFilter{Status: models.ConnectionOK}, 0}, "both": {store.ConnectionFilter{Connector: "http", Status: models.ConnectionUnknown}, 2},
		} {
			rows, err := a.Connections(ctx, tc.filter, store.Page{})
			require.NoError(t, err, name)
			require.Len(t, rows, tc.want, name)
		}
		page, err := a.Connections(ctx, store.ConnectionFilter{}, store.Page{Limit: 1})
		require.NoError(t, err)
		require.Equal(t, other.ID, page[0].ID, "the newest first")

		changed, err := a.UpdateConnection(ctx, c.ID, func(c *models.Connection) error {
			c.ID, c.WorkspaceID, c.Connector = "conn_x", "ws_x", "slack"
			c.Name, c.Token, c.TokenExpiresAt, c.StateHash = "Sales", nil, nil, nil
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, c.ID, changed.ID)
		require.Equal(t, "http", changed.Connector, "whose account it is does not change")
		got, err = a.Connection(ctx, c.ID)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(changed, got))
		require.Nil(t, got.Token)
		stop := errors.New("stop")
		_, err = a.UpdateConnection(ctx, c.ID, func(c *models.Connection) error { c.Name = "x"; return stop })
		require.ErrorIs(t, err, stop)
		_, err = a.UpdateConnection(ctx, c.ID, func(c *models.Connection) error { c.Name = "Mail"; return nil })
		require.ErrorIs(t, err, models.ErrConflict)
		_, err = a.UpdateConnection(ctx, c.ID, func(c *models.Connection) error { c.Name = "a\x00"; return nil })
		require.ErrorIs(t, err, models.ErrInvalid)

		known, err := a.ConnectorsOf(ctx, []models.ConnectionID{c.ID, "conn_none"})
		require.NoError(t, err)
		require.Equal(t, map[models.ConnectionID]string{c.ID: "http"}, known)
		known, err = a.ConnectorsOf(ctx, nil)
		require.NoError(t, err)
		require.Empty(t, known)
		require.NoError(t, a.DeleteConnection(ctx, c.ID))
		require.ErrorIs(t, a.DeleteConnection(ctx, c.ID), models.ErrNotFound)
	})
}

func TestConnectionsOfAnotherWorkspaceAreNotThere(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, _ := tenant(t, s)
		b, _ := tenant(t, s)
		c := newConnection("CRM")
		require.NoError(t, a.CreateConnection(ctx, c))
		require.NoError(t, b.CreateConnection(ctx, newConnection("CRM")), "a name is of one workspace")
		for name, err := range map[string]error{
			"get":    first(b.Connection(ctx, c.ID)),
			"update": first(b.UpdateConnection(ctx, c.ID, func(*models.Connection) error { return errors.New("reached") })),
			"delete": b.DeleteConnection(ctx, c.ID),
		} {
			require.ErrorIs(t, err, models.ErrNotFound, name)
		}
		known, err := b.ConnectorsOf(ctx, []models.ConnectionID{c.ID})
		require.NoError(t, err)
		require.Empty(t, known)
	})
}

func TestSealedRowsArePagedOverAllWorkspaces(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		want := 0
		for range 3 {
			a, _ := tenant(t, s)
			for _, name := range []string{"a", "b"} {
				require.NoError(t, a.CreateConnection(ctx, newConnection(name)))
				want++
			}
			open := newConnection("open")
			open.Secrets = nil
			require.NoError(t, a.CreateConnection(ctx, open))
		}
		seen := map[models.ConnectionID]bool{}
		var after *models.Connection
		for {
			rows, err := s.SealedConnections(ctx, after, 2)
			require.NoError(t, err)
			if len(rows) == 0 {
				break
			}
			for _, r := range rows {
				require.False(t, seen[r.ID])
				seen[r.ID], after = true, r
			}
		}
		require.Len(t, seen, want)
	})
}
