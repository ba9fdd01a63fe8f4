package api

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store/storetest"
)

// pathOf fills a route's path with ids that name nothing.
func pathOf(r route) string {
	return strings.NewReplacer("{id}", "wf_00000000000000000000000000", "{n}", "1", "{step}", "ask", "{slug}", "nobody", "{action}", "nothing").Replace(r.path)
}

func TestEveryRouteNeedsItsScopeAndNoOther(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	keys := map[models.Scope]string{}
	for _, s := range models.Scopes {
		keys[s] = b.newKey(t, b.ws, s)
	}
	for _, r := range b.api.routes() {
		for _, s := range models.Scopes {
			got := b.as(t, keys[s], r.method, pathOf(r), "")
			allowed := r.scope == "" || s == r.scope || s == models.ScopeAll
			if !allowed {
				require.Equalf(t, 403, got.status, "%s with %s", r.name, s)
				require.Equal(t, "forbidden_scope", got.str(t, "code"))
				require.Contains(t, got.str(t, "detail"), string(r.scope))
				continue
			}
			require.NotContainsf(t, []int{401, 403, 500}, got.status, "%s with %s: %s", r.name, s, got.body)
		}
		got := b.as(t, "", r.method, pathOf(r), "")
		require.Equal(t, 401, got.status, r.name)
	}
}

func TestReadingScopesReadOnly(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	asks := []string{"validate-workflow", "test-trigger"} // they change nothing
	for _, r := range b.api.routes() {
		reads := r.scope == models.ScopeFlowsRead || r.scope == models.ScopeRunsRead
		require.Equalf(t, reads || r.scope == "", !r.has(acts) && (r.method == "GET" || slices.Contains(asks, r.name)) && r.scope != models.ScopeAdmin, r.name)
		require.Equalf(t, r.method == "POST" && !slices.Contains(asks, r.name), r.has(acts), "%s: a POST that acts obeys Idempotency-Key", r.name)
		require.True(t, r.scope == "" || slices.Contains(models.Scopes, r.scope))
	}
}

func TestWhateverIsWrongWithAKeyTheAnswerIsTheSame(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		expired := b.keyWith(t, func(k *models.APIKey) { k.ExpiresAt = new(k.CreatedAt.Add(-1)) })
		revoked := b.keyWith(t, func(k *models.APIKey) { k.RevokedAt = new(k.CreatedAt) })
		want := ""
		for name, header := range map[string]string{
			"none": "", "empty": "Bearer ", "basic": "Basic abc", "malformed": "Bearer tnx_short", "not a key": "Bearer hello",
			"unknown":      "Bearer tnx_AAAAAAAA_" + strings.Repeat("a", 32),
			"wrong secret": "Bearer " + b.key[:len(b.key)-4] + "0000",
			"expired":      "Bearer " + expired, "revoked": "Bearer " + revoked, "NUL": "Bearer tnx_AAAA\u00e9AAA_",
		} {
			got := b.as(t, "", "GET", "/whoami", "", "Authorization", header)
			require.Equal(t, 401, got.status, name)
			require.Equal(t, "Bearer", got.header.Get("WWW-Authenticate"), name)
			require.Equal(t, problemType, got.header.Get("Content-Type"), name)
			body := requestIDPart.ReplaceAllString(got.body, "")
			if want == "" {
				want = body
			}
			require.Equal(t, want, body, name)
		}
		require.Equal(t, 200, b.as(t, "", "GET", "/whoami", "", "Authorization", "bearer "+b.key).status, "the scheme's case does not matter")
	})
}
