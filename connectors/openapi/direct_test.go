package openapi

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/internal/egress"
)

func TestAnOperationOfTheDocumentOfAConnection(t *testing.T) {
	t.Parallel()
	var reads atomic.Int32
	peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/openapi.json" {
			reads.Add(1)
			_, _ = io.WriteString(w, document("3.1.0", `"/x/{p}":{"post":{"operationId":"addX","parameters":[{"name":"p","in":"path","required":true,"schema":{"type":"integer"}}],"requestBody":{"content":{"application/json":{"schema":{}}}}}}`, ""))
			return
		}
		_, _ = io.WriteString(w, `{"ok":true}`)
	})
	client, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	registry, err := connectors.NewRegistry(NewDirect(NewKind(client)))
	require.NoError(t, err)
	conn := &connectors.Connection{
		ID: "conn_1", Config: json.RawMessage(`{"document_url":"` + peer.URL + `/openapi.json"}`), Auth: connectors.Auth{Type: connectors.AuthBearer},
		Hosts: []string{strings.TrimPrefix(peer.URL, "http://")}, Secrets: map[string]string{"token": "s3cret"},
	}
	do := func(action, input string) (connectors.Response, error) {
		return registry.Do(t.Context(), "openapi", connectors.Request{Action: action, Input: json.RawMessage(input), IdempotencyKey: "run_1:a", Connection: conn})
	}
	resp, err := do("list_operations", `{}`)
	require.NoError(t, err)
	require.JSONEq(t, `{"operations":[{"name":"add_x","description":"POST /x/{p}"}]}`, string(resp.Output))
	resp, err = do("call", `{"operation":"addX","parameters":{"p":7},"body":{"a":1}}`)
	require.NoError(t, err)
	require.Contains(t, string(resp.Output), `"body":{"ok":true}`)
	got := peer.Received()[1]
	require.Equal(t, "/x/7", got.Path)
	require.JSONEq(t, `{"a":1}`, got.Body)
	require.Equal(t, "Bearer s3cret", got.Header.Get("Authorization"))
	require.Equal(t, "run_1:a", got.Header.Get("Idempotency-Key"))
	require.EqualValues(t, 1, reads.Load(), "a document is not read for every call")

	_, err = do("call", `{"operation":"addX","parameters":{"p":"a"}}`)
	require.ErrorContains(t, err, "p: must be integer")
	_, err = do("call", `{"operation":"nothing"}`)
	require.Equal(t, connectors.CodeUnknownAction, connectors.AsError(err).Code)
	conn = nil
	_, err = do("call", `{"operation":"addX"}`)
	require.Equal(t, connectors.CodeNoConnection, connectors.AsError(err).Code)
}
