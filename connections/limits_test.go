package connections_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connections"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/models"
)

func TestLimitsAreNoMatterOfSecrets(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		const base = `{"auth":{"type":"bearer"},"base_url":"https://api.example.com"`
		row := b.create(t, "http", base+`,"limits":{"count":5,"per":"1s"}}`, map[string]string{"token": "s3cret-token"})
		open := func() connectors.Limits {
			got, err := b.Open(t.Context(), b.ws, string(row.ID))
			require.NoError(t, err)
			require.Equal(t, "s3cret-token", got.Secrets["token"])
			return got.Limits
		}
		require.Equal(t, connectors.Limits{Count: 5, Per: time.Second}, open())
		for limits, want := range map[string]connectors.Limits{
			`,"limits":{"concurrency":2}`:                        {Concurrency: 2},
			`,"limits":{"count":100,"per":"1d","concurrency":1}`: {Count: 100, Per: 24 * time.Hour, Concurrency: 1},
			``: {},
		} {
			_, err := b.Update(t.Context(), b.ws, row.ID, connections.Change{Config: json.RawMessage(base + limits + "}")})
			require.NoError(t, err, limits)
			require.Equal(t, want, open(), limits)
		}
		_, err := b.Update(t.Context(), b.ws, row.ID, connections.Change{Config: json.RawMessage(`{"auth":{"type":"bearer"},"base_url":"https://evil.example.com","limits":{"concurrency":2}}`)})
		require.Error(t, err, "somewhere else is another matter")
		for limits, field := range map[string]string{
			`{"count":5}`:              "limits",
			`{"per":"1s"}`:             "limits",
			`{"count":0,"per":"1s"}`:   "count",
			`{"count":1,"per":"soon"}`: "per",
			`{"count":1,"per":"2d"}`:   "per",
			`{"concurrency":-1}`:       "concurrency",
			`{"burst":1,"per":"1s"}`:   "limits",
			`{"concurrency":"a few"}`:  "concurrency",
			`[]`:                       "limits",
		} {
			_, err := b.Create(t.Context(), b.ws, connections.Draft{
				Connector: "http", Name: "n", Config: json.RawMessage(base + `,"limits":` + limits + `}`), Secrets: map[string]string{"token": "s3cret-token"},
			})
			var invalid *models.InvalidError
			require.ErrorAs(t, err, &invalid, limits)
			require.Contains(t, invalid.Fields[0].Loc, any(field), limits)
		}
	})
}
