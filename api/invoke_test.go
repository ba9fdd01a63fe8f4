package api

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store/storetest"
)

func TestACallFromWithinNeedsADoor(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	ctx := context.WithValue(t.Context(), callerKey{}, &models.APIKey{WorkspaceID: b.ws, Scopes: []models.Scope{models.ScopeAll}})
	_, err := b.api.Invoke(ctx, Call{Operation: "whoami"})
	require.ErrorContains(t, err, "door")
	require.False(t, b.api.Allows(t.Context(), "whoami"), "nobody asks")
}

func TestADoorLeadsToOperations(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		var unknown, nameless error
		var allowed bool
		b.api.Open("/api/door", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, unknown = b.api.Invoke(r.Context(), Call{Operation: "fly"})
			_, nameless = b.api.Invoke(r.Context(), Call{Operation: "get-run"})
			allowed = b.api.Allows(r.Context(), "create-workflow")
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			answer, err := b.api.Invoke(r.Context(), Call{
				Operation: "create-workflow", Body: body, Header: map[string]string{headerIdempotency: "k"},
			})
			if err != nil {
				t.Error(err)
				return
			}
			w.Header().Set("X-Replayed", answer.Header.Get(headerReplayed))
			w.WriteHeader(answer.Status)
			if _, err = w.Write(answer.Body); err != nil {
				t.Error(err)
			}
		}))
		ask := func(key string) answer {
			return b.as(t, key, "POST", "/api/door", `{"name":"Leads","graph":`+passing+`}`, "X-Request-Id", "mine")
		}
		first := ask(b.key)
		require.Equal(t, 201, first.status, first.body)
		require.Equal(t, "mine", first.header.Get("X-Request-Id"))
		require.ErrorContains(t, unknown, "fly")
		require.ErrorContains(t, nameless, "id")
		require.True(t, allowed)
		again := ask(b.key)
		require.Equal(t, first.body, again.body)
		require.Equal(t, "true", again.header.Get("X-Replayed"))
		refused := ask(b.newKey(t, b.ws, models.ScopeFlowsRead))
		require.Equal(t, 403, refused.status)
		require.Equal(t, "mine", refused.str(t, "request_id"))
		require.False(t, allowed)
		require.Equal(t, 401, ask("").status)
		require.Equal(t, 405, b.call(t, "GET", "/api/door", "").status)
	})
}

func TestAPathIsFilledWithNamesOnly(t *testing.T) {
	t.Parallel()
	r := route{name: "x", path: "/a/{id}/b/{step}"}
	for id, want := range map[string]string{
		"wf_1": "/a/wf_1/b/s", "": "/a/-/b/s", "..": "/a/-/b/s", "x/y": "/a/-/b/s", "x?y": "/a/-/b/s", "x#": "/a/-/b/s", "%2f": "/a/-/b/s", "{step}": "/a/-/b/s",
		"crm.create_lead": "/a/crm.create_lead/b/s", ".": "/a/-/b/s", ".a": "/a/-/b/s", "a.": "/a/-/b/s", "a..b": "/a/-/b/s",
	} {
		got, err := r.at(map[string]string{"id": id, "step": "s"})
		require.NoError(t, err)
		require.Equal(t, want, got, id)
	}
}
