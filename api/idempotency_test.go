package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store/storetest"
)

// actions lists a request for every route that obeys Idempotency-Key, with the
// status of its success.
func actions(x things) map[string]struct {
	path, body string
	status     int
} {
	type action = struct {
		path, body string
		status     int
	}
	p := func(path string) string { return at(path)(x) }
	return map[string]action{
		"create-workflow":      {"/workflows", `{"name":"Again","graph":` + passing + `}`, 201},
		"import-workflow":      {"/workflows/import", `{"format":"flows.workflow","format_version":1,"name":"Again","graph":` + passing + `}`, 201},
		"activate-version":     {p("/workflows/{wf}/versions/1/activate"), "", 200},
		"archive-version":      {p("/workflows/{wf}/versions/2/archive"), "", 200},
		"trigger-workflow":     {p("/workflows/{wf}/trigger"), `{"payload":{"a":1}}`, 202},
		"trigger-batch":        {p("/workflows/{wf}/trigger/batch"), `{"items":[{},{"payload":{"a":1}}]}`, 202},
		"bulk-runs":            {"/runs/bulk", p(`{"action":"rerun","ids":["{run}"]}`), 202},
		"pause-run":            {p("/runs/{run}/pause"), "", 200},
		"resume-run":           {p("/runs/{run}/resume"), "", 200},
		"rerun-run":            {p("/runs/{run}/rerun"), "", 202},
		"approve-step":         {p("/runs/{run}/steps/ask/approve"), "", 200},
		"reject-step":          {"", "", 200},
		"cancel-run":           {"", "", 200},
		"create-trigger":       {"/triggers", p(`{"type":"event","event_type":"lead.created","workflow_id":"{wf}"}`), 201},
		"rotate-secret":        {p("/triggers/{outbound}/rotate-secret"), "", 200},
		"redeliver":            {p("/deliveries/{delivery}/redeliver"), "", 202},
		"send-event":           {"/events", `{"type":"lead.lost","data":{}}`, 202},
		"send-events":          {"/events/batch", `{"items":[{"type":"lead.lost","data":{}},{"type":"flow.made.up","data":{}}]}`, 202},
		"publish-template":     {"/templates", p(`{"slug":"again","workflow_id":"{wf}","name":"Again"}`), 201},
		"install-template":     {p("/templates/{template}/workflows"), `{"inputs":{}}`, 201},
		"test-action":          {"/connectors/core/actions/set/test", `{"input":{"a":1}}`, 200},
		"create-connection":    {"/connections", `{"connector":"http","name":"` + ids.New("again") + `","config":{"base_url":"https://example.com"},"secrets":{"token":"s3cret"}}`, 201},
		"test-connection":      {p("/connections/{connection}/test"), "", 200},
		"authorize-connection": {p("/connections/{connection}/authorize"), "", 200},
		"register-connector":   {"/connectors", `{"slug":"` + ids.New("again") + `","kind":"openapi","server":"https://example.com","document":` + petDocument + `}`, 201},
		"refresh-connector":    {p("/connectors/{connector}/refresh"), "", 200},
		"create-agent":         {"/agents", `{"slug":"other","kind":"http","config":{"url":"https://example.com"}}`, 201},
		"test-agent":           {"/agents/robot/test", `{"input":{}}`, 200},
		"create-api-key":       {adminBase + "/api-keys", `{"name":"Again"}`, 201},
	}
}

func TestARepeatedRequestGetsTheFirstAnswerAndHasNoSecondEffect(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		for _, r := range b.api.routes() {
			if !r.has(acts) {
				continue
			}
			x := b.things(t)
			b.call(t, "DELETE", "/agents/other", "")
			got := b.call(t, "PUT", "/workflows/"+x.workflow+"/graph", `{"graph":`+passing+`}`)
			require.Equal(t, 200, got.status)
			got = b.call(t, "POST", "/workflows/"+x.workflow+"/versions/1/activate", "")
			require.Equal(t, 200, got.status, got.body)
			action, ok := actions(x)[r.name]
			require.Truef(t, ok, "%s obeys Idempotency-Key and has no case", r.name)
			switch r.name { // the same run cannot be approved and rejected
			case "reject-step":
				action.path = "/runs/" + x.run + "/steps/ask/reject"
			case "cancel-run":
				action.path = "/runs/" + x.run + "/cancel"
			case "refresh-connector": // of a document that can be read again
				peer := connectorstest.NewPeer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, petDocument) })
				slug := ids.New("read")
				got = b.call(t, "POST", "/connectors", `{"slug":"`+slug+`","kind":"openapi","server":"https://example.com","document_url":"`+peer.URL+`"}`)
				require.Equal(t, 201, got.status, got.body)
				action.path = "/connectors/" + slug + "/refresh"
			case "resume-run":
				b.call(t, "POST", "/runs/"+x.run+"/pause", "")
			}
			key := ids.New("idem")
			first := b.call(t, "POST", action.path, action.body, "Idempotency-Key", key)
			require.Equal(t, action.status, first.status, "%s: %s", r.name, first.body)
			require.Empty(t, first.header.Get("Idempotent-Replayed"), r.name)
			runs := b.call(t, "GET", "/runs?limit=200", "").body

			again := b.call(t, "POST", action.path, action.body, "Idempotency-Key", key)
			require.Equal(t, first.status, again.status, r.name)
			require.Equal(t, first.body, again.body, r.name)
			require.Equal(t, "true", again.header.Get("Idempotent-Replayed"), r.name)
			for _, h := range []string{"Location", "Etag", "Content-Type"} {
				require.Equal(t, first.header.Get(h), again.header.Get(h), r.name)
			}
			require.Equal(t, runs, b.call(t, "GET", "/runs?limit=200", "").body, "%s: no run was made or moved", r.name)

			other := b.call(t, "POST", action.path, `{"odd":1}`, "Idempotency-Key", key)
			if r.name != "activate-version" && r.name != "archive-version" && !strings.HasSuffix(r.name, "e-run") && r.name != "cancel-run" || r.name == "rerun-run" {
				require.Equal(t, 422, other.status, "%s: %s", r.name, other.body)
			}
			b.call(t, "DELETE", "/agents/robot", "")
		}
	})
}

func TestAnotherBodyUnderTheSameKeyIsRefused(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf := b.workflow(t, passing)
		path := "/workflows/" + wf + "/trigger"
		require.Equal(t, 202, b.call(t, "POST", path, `{"payload":{"a":1}}`, "Idempotency-Key", "k").status)
		got := b.call(t, "POST", path, `{"payload":{"a":2}}`, "Idempotency-Key", "k")
		require.Equal(t, 422, got.status)
		require.Equal(t, "idempotency_mismatch", got.str(t, "code"))
		require.Equal(t, 202, b.call(t, "POST", path, `{"payload":{"a":2}}`, "Idempotency-Key", "k2").status)
		other := b.workflow(t, passing)
		require.Equal(t, 202, b.call(t, "POST", "/workflows/"+other+"/trigger", `{"payload":{"a":2}}`, "Idempotency-Key", "k").status, "the route is part of the key")
		stranger := b.newKey(t, b.workspace(t), models.ScopeAll)
		require.Equal(t, 201, b.as(t, stranger, "POST", "/workflows", `{"name":"x","graph":`+passing+`}`, "Idempotency-Key", "k").status, "and the workspace")
		for _, bad := range []string{strings.Repeat("x", 256), "a\tb", "é"} {
			got := b.call(t, "POST", path, `{}`, "Idempotency-Key", bad)
			require.Equal(t, 422, got.status)
			require.Equal(t, "invalid", got.str(t, "code"))
		}
	})
}

func TestARequestThatDidNothingMayBeMadeAgain(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf := b.workflow(t, passing)
		require.Equal(t, 200, b.call(t, "PATCH", "/workflows/"+wf, `{"status":"paused"}`).status)
		got := b.call(t, "POST", "/workflows/"+wf+"/trigger", `{}`, "Idempotency-Key", "k")
		require.Equal(t, 409, got.status)
		require.Equal(t, "workflow_not_active", got.str(t, "code"))
		require.Equal(t, 200, b.call(t, "PATCH", "/workflows/"+wf, `{"status":"active"}`).status)
		require.Equal(t, 202, b.call(t, "POST", "/workflows/"+wf+"/trigger", `{}`, "Idempotency-Key", "k").status)
	})
}

// faulty fails after the effect, as a lost answer of the database does.
type faulty struct {
	Engine
	mu    sync.Mutex
	fails int
	panic bool
}

func (f *faulty) Start(ctx context.Context, req engine.StartRequest) (*models.Run, error) {
	run, err := f.Engine.Start(ctx, req)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails > 0 {
		f.fails--
		if f.panic {
			panic("secret detail")
		}
		return nil, errors.Join(errors.New("pq: secret detail"), models.ErrUnavailable)
	}
	return run, err
}

func TestARepeatAfterALostAnswerFindsWhatWasMade(t *testing.T) {
	t.Parallel()
	for name, panics := range map[string]bool{"error": false, "panic": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, options{engine: func(e Engine) Engine { return &faulty{Engine: e, fails: 1, panic: panics} }}, func(t *testing.T, b *bundle) {
				wf := b.workflow(t, passing)
				got := b.call(t, "POST", "/workflows/"+wf+"/trigger", `{}`, "Idempotency-Key", "k")
				require.GreaterOrEqual(t, got.status, 500)
				require.NotContains(t, got.body, "secret")
				got = b.call(t, "POST", "/workflows/"+wf+"/trigger", `{}`, "Idempotency-Key", "k")
				require.Equal(t, 202, got.status, got.body)
				require.Len(t, b.call(t, "GET", "/runs", "").get(t, "items"), 1)
			})
		})
	}
}

// A process may die anywhere: here it has made the workflow and not kept the answer.
func TestAWorkflowIsNotMadeTwiceAfterACrash(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		body := `{"name":"Leads","graph":` + passing + `}`
		first := b.call(t, "POST", "/workflows", body, "Idempotency-Key", "k")
		require.Equal(t, 201, first.status)
		b.forgetAnswer(t, "POST "+base+"/workflows", "k")
		again := b.call(t, "POST", "/workflows", body, "Idempotency-Key", "k")
		require.Equal(t, 201, again.status, again.body)
		require.Equal(t, first.body, again.body)
		require.Empty(t, again.header.Get("Idempotent-Replayed"))
		require.Len(t, b.call(t, "GET", "/workflows", "").get(t, "items"), 1)
	})
}

// forgetAnswer puts a kept answer back to where a crash would have left it.
func (b *bundle) forgetAnswer(t *testing.T, route, key string) {
	t.Helper()
	row, mine, err := b.store.For(b.ws).BeginRequest(t.Context(), &models.IdempotencyKey{Route: route, Key: key, BodyHash: []byte{1}, Seed: []byte{1}}, time.Now())
	require.NoError(t, err)
	require.False(t, mine)
	later := time.Now().Add(25 * time.Hour)
	want := *row
	want.LockedUntil = row.CreatedAt
	_, mine, err = b.store.For(b.ws).BeginRequest(t.Context(), &want, later)
	require.NoError(t, err)
	require.True(t, mine)
}

func TestTwoAtOnceWithOneKeyHaveOneEffect(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		wf := b.workflow(t, passing)
		var wg sync.WaitGroup
		got := make([]answer, 20)
		for i := range got {
			wg.Go(func() { got[i] = b.call(t, "POST", "/workflows/"+wf+"/trigger", `{}`, "Idempotency-Key", "k") })
		}
		wg.Wait()
		for _, a := range got {
			if a.status == 409 {
				require.Equal(t, "conflict", a.str(t, "code"))
				continue
			}
			require.Equal(t, 202, a.status, a.body)
		}
		require.Len(t, b.call(t, "GET", "/runs", "").get(t, "items"), 1)
	})
}

func TestAKeyThatWasMadeIsNotInTheDatabase(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	got := b.call(t, "POST", adminBase+"/api-keys", `{"name":"second"}`, "Idempotency-Key", "k")
	require.Equal(t, 201, got.status)
	row, mine, err := b.store.For(b.ws).BeginRequest(t.Context(), &models.IdempotencyKey{
		Route: "POST " + adminBase + "/api-keys", Key: "k", BodyHash: []byte{1}, Seed: []byte{1},
	}, time.Now())
	require.NoError(t, err)
	require.False(t, mine)
	require.NotEmpty(t, row.Body)
	require.NotContains(t, string(row.Body), got.str(t, "secret"))
	other := b.newKey(t, b.ws, models.ScopeAdmin)
	refused := b.as(t, other, "POST", adminBase+"/api-keys", `{"name":"second"}`, "Idempotency-Key", "k")
	require.Equal(t, 409, refused.status)
	require.NotContains(t, refused.body, "tnx_")
}

func TestAnEmptyKeyPromisesNothingAndIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	got := b.call(t, "POST", "/workflows", `{"name":"x","graph":`+passing+`}`, "Idempotency-Key", "")
	require.Equal(t, 422, got.status, got.body)
	require.Equal(t, "[header Idempotency-Key]", sprint(got.get(t, "errors.0.loc")))
	require.Empty(t, b.call(t, "GET", "/workflows", "").get(t, "items"))
}
