package connections_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/connections"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/models"
)

// locs writes the places an error names.
func locs(t *testing.T, err error) []string {
	t.Helper()
	var bad *models.InvalidError
	require.ErrorAs(t, err, &bad)
	var out []string
	for _, f := range bad.Fields {
		parts := make([]string, 0, len(f.Loc))
		for _, l := range f.Loc {
			parts = append(parts, fmt.Sprint(l))
		}
		out = append(out, strings.Join(parts, "."))
	}
	slices.Sort(out)
	return out
}

func TestNobodySendsASecretElsewhereWithoutKnowingIt(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		row := b.create(t, "http", `{"base_url":"https://api.example.com","test_url":"/me"}`, map[string]string{"token": "s3cret-token"})
		for name, config := range map[string]string{
			"base_url": `{"base_url":"https://evil.example","test_url":"/me"}`,
			"hosts":    `{"base_url":"https://api.example.com","hosts":["api.example.com","evil.example"],"test_url":"/me"}`,
			"auth":     `{"base_url":"https://api.example.com","auth":{"type":"query","name":"key"},"test_url":"/me"}`,
			"test_url": `{"base_url":"https://api.example.com","test_url":"/echo"}`,
		} {
			_, err := b.Update(t.Context(), b.ws, row.ID, connections.Change{Config: json.RawMessage(config)})
			require.Contains(t, strings.Join(locs(t, err), " "), "secrets.", name)
		}
		got, err := b.Open(t.Context(), b.ws, string(row.ID))
		require.NoError(t, err)
		require.Equal(t, "https://api.example.com", got.BaseURL, "nothing has changed")

		// The same in other words is no change, and another name is none either.
		_, err = b.Update(t.Context(), b.ws, row.ID, connections.Change{
			Name: new("Sales"), Config: json.RawMessage(`{ "test_url":"/me", "hosts":["API.example.com"], "auth":{"type":"bearer"}, "base_url":"https://api.example.com/" }`),
		})
		require.NoError(t, err)
		_, err = b.Open(t.Context(), b.ws, string(row.ID))
		require.NoError(t, err)

		// Without secrets there is nothing to protect.
		_, err = b.Update(t.Context(), b.ws, row.ID, connections.Change{Config: json.RawMessage(`{"auth":{"type":"none"},"base_url":"https://other.example"}`)})
		require.NoError(t, err)
		got, err = b.Open(t.Context(), b.ws, string(row.ID))
		require.NoError(t, err)
		require.Empty(t, got.Secrets)
	})
}

func TestAConfigThatWasChangedInTheDatabaseOpensNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		one := b.create(t, "http", `{"base_url":"https://api.example.com"}`, map[string]string{"token": "s3cret-token"})
		other := b.create(t, "http", `{"base_url":"https://evil.example"}`, map[string]string{"token": "mine-mine"})
		for name, change := range map[string]func(*models.Connection){
			"config": func(c *models.Connection) {
				c.Config = json.RawMessage(`{"auth":{"type":"bearer"},"base_url":"https://evil.example","hosts":["evil.example"]}`)
			},
			"secrets": func(c *models.Connection) { c.Secrets = other.Secrets },
		} {
			_, err := b.store.For(b.ws).UpdateConnection(t.Context(), one.ID, func(c *models.Connection) error {
				change(c)
				return nil
			})
			require.NoError(t, err)
			_, err = b.Open(t.Context(), b.ws, string(one.ID))
			require.Equal(t, connections.CodeUnreadable, connectors.AsError(err).Code, name)
			require.False(t, connectors.AsError(err).Retryable)
		}
	})
}

func TestAConnectorsOwnHostsCannotBeLeft(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		secrets := map[string]string{"token": "s3cret-token", "signing_key": "line\nline"}
		row := b.create(t, "pinned", `{"account":"a"}`, secrets)
		require.JSONEq(t, `{"account":"a","auth":{"type":"bearer"},"base_url":"https://api.pinned.example/v1","hosts":["api.pinned.example","*.files.pinned.example"]}`, string(row.Config))
		b.create(t, "pinned", `{"account":"a","hosts":["x.files.pinned.example","api.pinned.example"]}`, secrets)
		for config, loc := range map[string]string{
			`{"account":"a","hosts":["evil.example"]}`:                 "config.hosts.0",
			`{"account":"a","hosts":["files.pinned.example"]}`:         "config.hosts.0",
			`{"account":"a","hosts":["*.pinned.example"]}`:             "config.hosts.0",
			`{"account":"a","hosts":["api.pinned.example:8443"]}`:      "config.hosts.0",
			`{"account":"a","hosts":["xapi.pinned.example"]}`:          "config.hosts.0",
			`{"account":"a","base_url":"https://evil.example"}`:        "config.base_url",
			`{"account":"a","auth":{"type":"basic","username":"ann"}}`: "config.auth.type",
			`{}`:                       "config.account",
			`{"account":"a","else":1}`: "config.else",
		} {
			_, err := b.Create(t.Context(), b.ws, connections.Draft{Connector: "pinned", Name: "x", Config: json.RawMessage(config), Secrets: secrets})
			require.Equal(t, []string{loc}, locs(t, err), config)
		}
		row = b.create(t, "pinned", `{"account":"a","auth":{"type":"oauth2","client_id":"c"}}`, nil)
		require.Contains(t, string(row.Config), "https://login.pinned.example/token", "the connector knows where")
	})
}

func TestEverythingIsSealedAgainUnderTheNewKey(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		a := newAuthServer(t)
		var rows []*models.Connection
		for range 3 {
			rows = append(rows, b.create(t, "http", `{"base_url":"https://api.example.com"}`, map[string]string{"token": "s3cret-token"}))
		}
		mail := b.oauth(t, a, "authorization_code")
		b.authorise(t, a, mail)
		_, err := b.Authorize(t.Context(), b.ws, mail.ID, callback)
		require.NoError(t, err)
		trigger := models.TriggerID(ids.New(models.TriggerPrefix))
		now := time.Now().UTC()
		require.NoError(t, b.store.For(b.ws).CreateTrigger(t.Context(), &models.Trigger{
			ID: trigger, Type: models.TriggerOnEvent, TargetType: models.TargetWebhook, EventType: "a", URL: "https://example.com",
			Secret: b.ring.Seal([]byte("whsec_new"), string(b.ws), string(trigger)), OldSecret: b.ring.Seal([]byte("whsec_old"), string(b.ws), string(trigger)),
			CreatedAt: now, UpdatedAt: now,
		}))
		before, err := b.Get(t.Context(), b.ws, mail.ID)
		require.NoError(t, err)

		both, err := seal.New(keyOf(2), keyOf(1))
		require.NoError(t, err)
		fresh, err := seal.New(keyOf(2))
		require.NoError(t, err)
		stranger, err := seal.New(keyOf(3))
		require.NoError(t, err)

		lost, err := connections.Reseal(t.Context(), b.store, stranger)
		require.NoError(t, err)
		require.Equal(t, seal.Renewed{Examined: 4, Unreadable: 4}, lost)
		accounts, err := connections.Reseal(t.Context(), b.store, both)
		require.NoError(t, err)
		require.Equal(t, seal.Renewed{Examined: 4, Resealed: 4}, accounts)
		again, err := connections.Reseal(t.Context(), b.store, both)
		require.NoError(t, err)
		require.Equal(t, seal.Renewed{Examined: 4}, again)

		hooks, err := bus.Reseal(t.Context(), b.store, stranger)
		require.NoError(t, err)
		require.Equal(t, seal.Renewed{Examined: 1, Unreadable: 1}, hooks)
		hooks, err = bus.Reseal(t.Context(), b.store, both)
		require.NoError(t, err)
		require.Equal(t, seal.Renewed{Examined: 1, Resealed: 1}, hooks)
		hooks, err = bus.Reseal(t.Context(), b.store, both)
		require.NoError(t, err)
		require.Equal(t, seal.Renewed{Examined: 1}, hooks)

		after := b.with(t, fresh, b.store) // the old key is gone
		for _, row := range rows {
			got, err := after.Open(t.Context(), b.ws, string(row.ID))
			require.NoError(t, err)
			require.Equal(t, "s3cret-token", got.Secrets["token"])
		}
		_, err = b.access(t, after, mail)
		require.NoError(t, err)
		kept, err := b.Get(t.Context(), b.ws, mail.ID)
		require.NoError(t, err)
		require.Equal(t, before.UpdatedAt, kept.UpdatedAt)
		require.NotEqual(t, before.Pending, kept.Pending)
		trg, err := b.store.For(b.ws).Trigger(t.Context(), trigger)
		require.NoError(t, err)
		for sealed, want := range map[string]string{string(trg.Secret): "whsec_new", string(trg.OldSecret): "whsec_old"} {
			plain, err := fresh.Open([]byte(sealed), string(b.ws), string(trigger))
			require.NoError(t, err)
			require.Equal(t, want, string(plain))
		}
		_, err = b.Open(t.Context(), b.ws, string(rows[0].ID))
		require.Equal(t, connections.CodeUnreadable, connectors.AsError(err).Code)
		require.NotErrorIs(t, err, models.ErrNotFound)
	})
}
