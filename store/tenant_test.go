package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

// morning is the present of tests that do not care about it.
var morning = time.Date(2026, 4, 5, 6, 7, 8, 123456000, time.UTC)

// tenant makes a workspace and gives its handle.
func tenant(t *testing.T, s *store.Store) (*store.Tenant, models.WorkspaceID) {
	t.Helper()
	ws := &models.Workspace{ID: models.WorkspaceID(ids.New("ws")), Name: "Acme", CreatedAt: morning}
	require.NoError(t, s.CreateWorkspace(context.Background(), ws))
	return s.For(ws.ID), ws.ID
}

// pages reads a whole list in pages of n.
func pages[T any](t *testing.T, n int, list func(store.Page) ([]T, error), after func(T) string) []T {
	t.Helper()
	var all []T
	for p := (store.Page{Limit: n}); ; {
		rows, err := list(p)
		require.NoError(t, err)
		require.LessOrEqual(t, len(rows), n)
		if len(rows) == 0 {
			return all
		}
		all = append(all, rows...)
		p.After = after(rows[len(rows)-1])
	}
}

// conflictCode gives the code of a ConflictError, whose message is for people.
func conflictCode(t *testing.T, err error) string {
	t.Helper()
	require.ErrorIs(t, err, models.ErrConflict)
	var c *models.ConflictError
	require.ErrorAs(t, err, &c)
	require.Contains(t, c.Message, " ", "the message is a sentence")
	return c.Code
}

func TestNothingOfAnotherWorkspaceIsFound(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, wsA := tenant(t, s)
		b, _ := tenant(t, s)
		w, _ := createWorkflow(t, a, "Speed to lead")
		require.NoError(t, a.CreateAgent(ctx, newAgent("caller")))
		key := newKey("aaaaaaaa")
		require.NoError(t, a.CreateKey(ctx, key))
		run := newRun(morning)
		run.WorkspaceID, run.WorkflowID = wsA, w.ID
		save(t, s, &store.Changes{
			NewRuns: []*models.Run{run}, NewSteps: []*models.Step{newStep(run, "a", models.NoIteration, morning), newStep(run, "a", 0, morning)},
			Events: []*models.RunEvent{{WorkspaceID: wsA, RunID: run.ID, Seq: 1, Type: models.EventRunQueued, At: morning}},
			Attempts: []*models.StepAttempt{
				{WorkspaceID: wsA, RunID: run.ID, StepID: "a", Iteration: -1, Number: 1, Status: models.StepFailed},
				{WorkspaceID: wsA, RunID: run.ID, StepID: "a", Iteration: 0, Number: 1, Status: models.StepFailed},
			},
		})
		_, mine, err := a.BeginRequest(ctx, newRequest("k"), morning)
		require.NoError(t, err)
		require.True(t, mine)

		noChange := func(*models.Workflow) error { return errors.New("reached") }
		for name, call := range map[string]func() error{
			"workflow":         func() error { _, err := b.Workflow(ctx, w.ID); return err },
			"update workflow":  func() error { _, err := b.UpdateWorkflow(ctx, w.ID, nil, morning, noChange); return err },
			"add version":      func() error { _, _, err := b.AddVersion(ctx, w.ID, nil, newVersion("x"), morning); return err },
			"version":          func() error { _, err := b.Version(ctx, w.ID, 1); return err },
			"versions":         func() error { _, err := b.Versions(ctx, w.ID, store.Page{}); return err },
			"activate version": func() error { _, err := b.ActivateVersion(ctx, w.ID, 1, nil, morning); return err },
			"archive version":  func() error { _, err := b.ArchiveVersion(ctx, w.ID, 1, morning); return err },
			"agent":            func() error { _, err := b.Agent(ctx, "caller"); return err },
			"update agent":     func() error { _, err := b.UpdateAgent(ctx, "caller", morning, nil); return err },
			"delete agent":     func() error { return b.DeleteAgent(ctx, "caller") },
			"run":              func() error { _, err := b.Run(ctx, run.ID); return err },
			"revoke key":       func() error { _, err := b.RevokeKey(ctx, key.ID, morning); return err },
		} {
			require.ErrorIs(t, call(), models.ErrNotFound, name)
		}
		for name, list := range map[string]func() (int, error){
			"workflows": func() (int, error) {
				r, err := b.Workflows(ctx, store.WorkflowFilter{}, store.Page{})
				return len(r), err
			},
			"agents": func() (int, error) { r, err := b.Agents(ctx, store.Page{}); return len(r), err },
			"known":  func() (int, error) { r, err := b.KnownAgents(ctx, []string{"caller"}); return len(r), err },
			"runs":   func() (int, error) { r, err := b.Runs(ctx, store.RunFilter{}, store.Page{}); return len(r), err },
			"of workflow": func() (int, error) {
				r, err := b.Runs(ctx, store.RunFilter{WorkflowID: &w.ID}, store.Page{})
				return len(r), err
			},
			"events":   func() (int, error) { r, err := b.RunEvents(ctx, run.ID, 0, 10); return len(r), err },
			"steps":    func() (int, error) { r, err := b.Steps(ctx, run.ID); return len(r), err },
			"attempts": func() (int, error) { r, err := b.Attempts(ctx, run.ID); return len(r), err },
			"iterations": func() (int, error) {
				r, err := b.Iterations(ctx, store.IterationFilter{Run: run.ID, Step: "a"}, store.Page{})
				return len(r), err
			},
			"attempts of iterations": func() (int, error) { r, err := b.IterationAttempts(ctx, run.ID, "a", []int{0}); return len(r), err },
			"keys":                   func() (int, error) { r, err := b.Keys(ctx, store.Page{}); return len(r), err },
		} {
			n, err := list()
			require.NoError(t, err, name)
			require.Zero(t, n, name)
		}
		require.NoError(t, b.FinishRequest(ctx, newRequest("k")))
		require.NoError(t, b.AbandonRequest(ctx, newRequest("k")))
		_, mine, err = b.BeginRequest(ctx, newRequest("k"), morning)
		require.NoError(t, err)
		require.True(t, mine, "the same key of another workspace is another key")
		row, mine, err := a.BeginRequest(ctx, newRequest("k"), morning)
		require.NoError(t, err)
		require.False(t, mine)
		require.Zero(t, row.Status)
	})
}

// save writes changes as the engine does.
func save(t *testing.T, s *store.Store, c *store.Changes) {
	t.Helper()
	ctx := context.Background()
	require.NoError(t, s.WithRuns(ctx, nil, func(*store.RunTx) (*store.Changes, error) { return c, nil }))
}

func TestTextWithNULNeverReachesTheDatabase(t *testing.T) {
	t.Parallel()
	const nul = "a\x00b"
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, _ := tenant(t, s)
		w, v := createWorkflow(t, a, "Speed to lead")
		require.NoError(t, a.CreateAgent(ctx, newAgent("caller")))

		bad, good := newWorkflow(nul), newVersion("g")
		deep := newVersion("deep")
		deep.Graph.Steps[0].Input = json.RawMessage(`{"a":[{"b":"\\\u0000"}]}`)
		named := newVersion("named")
		named.Graph.Steps[0].Name = nul
		tagged := newWorkflow("tagged")
		tagged.Tags = []string{nul}
		agent := newAgent("other")
		agent.Config = json.RawMessage(`{"url":"\u0000"}`)
		key := newKey("bbbbbbbb")
		key.Name = nul
		request := newRequest(nul)
		id := models.WorkflowID("wf_" + nul)
		for name, err := range map[string]error{
			"name":      a.CreateWorkflow(ctx, bad, good),
			"deep":      a.CreateWorkflow(ctx, newWorkflow("ok"), deep),
			"graph":     second(a.AddVersion(ctx, w.ID, nil, named, morning)),
			"tags":      a.CreateWorkflow(ctx, tagged, newVersion("x")),
			"update":    first(a.UpdateWorkflow(ctx, w.ID, nil, morning, func(w *models.Workflow) error { w.Description = nul; return nil })),
			"tag":       first(a.Workflows(ctx, store.WorkflowFilter{Tag: nul}, store.Page{})),
			"query":     first(a.Workflows(ctx, store.WorkflowFilter{Query: nul}, store.Page{})),
			"after":     first(a.Workflows(ctx, store.WorkflowFilter{}, store.Page{After: nul})),
			"agent":     a.CreateAgent(ctx, agent),
			"agent's":   first(a.UpdateAgent(ctx, "caller", morning, func(g *models.Agent) error { g.Name = nul; return nil })),
			"slugs":     first(a.KnownAgents(ctx, []string{nul})),
			"key":       a.CreateKey(ctx, key),
			"workspace": s.CreateWorkspace(ctx, &models.Workspace{ID: "ws_x", Name: nul}),
			"metadata":  first(a.Runs(ctx, store.RunFilter{Metadata: map[string]string{"k": nul}}, store.Page{})),
			"workflow":  first(a.Runs(ctx, store.RunFilter{WorkflowID: &id}, store.Page{})),
			"request":   second(a.BeginRequest(ctx, request, morning)),
			"broken":    a.CreateAgent(ctx, &models.Agent{Slug: "broken", Config: json.RawMessage(`{"a":`)}),
		} {
			require.ErrorIs(t, err, models.ErrInvalid, name)
		}
		for name, err := range map[string]error{
			"workflow":  first(a.Workflow(ctx, id)),
			"version":   first(a.Version(ctx, id, 1)),
			"versions":  first(a.Versions(ctx, id, store.Page{})),
			"agent":     first(a.Agent(ctx, nul)),
			"delete":    a.DeleteAgent(ctx, nul),
			"run":       first(a.Run(ctx, nul)),
			"prefix":    first(s.KeyByPrefix(ctx, nul)),
			"revoke":    first(a.RevokeKey(ctx, nul, morning)),
			"workspace": first(s.Workspace(ctx, nul)),
		} {
			require.ErrorIs(t, err, models.ErrNotFound, name)
		}

		// What only looks like it is kept as it is.
		agent.Config = json.RawMessage(`{"url":"\\u0000"}`)
		require.NoError(t, a.CreateAgent(ctx, agent))
		kept, err := a.Agent(ctx, "other")
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(agent, kept))
		same, err := a.Version(ctx, w.ID, 1)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(v, same))
		list, err := a.Workflows(ctx, store.WorkflowFilter{}, store.Page{})
		require.NoError(t, err)
		require.Len(t, list, 1, "nothing half-done stays behind")
	})
}

func first[T any](_ T, err error) error          { return err }
func second[T, U any](_ T, _ U, err error) error { return err }

func TestKeys(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, _ := tenant(t, s)
		var made []*models.APIKey
		for _, prefix := range []string{"aaaaaaaa", "bbbbbbbb", "cccccccc"} {
			k := newKey(prefix)
			require.NoError(t, a.CreateKey(ctx, k))
			made = append([]*models.APIKey{k}, made...)
		}
		require.Equal(t, models.CodeConflict, conflictCode(t, a.CreateKey(ctx, newKey("aaaaaaaa"))))
		require.ErrorIs(t, s.For("ws_nowhere").CreateKey(ctx, newKey("dddddddd")), models.ErrNotFound)

		got, err := s.KeyByPrefix(ctx, "bbbbbbbb")
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(made[1], got))
		_, err = s.KeyByPrefix(ctx, "zzzzzzzz")
		require.ErrorIs(t, err, models.ErrNotFound)

		list := pages(t, 2, func(p store.Page) ([]*models.APIKey, error) { return a.Keys(ctx, p) }, func(k *models.APIKey) string { return string(k.ID) })
		for _, k := range list {
			require.Nil(t, k.Hash, "no list needs it")
			k.Hash = made[0].Hash
		}
		require.Empty(t, cmp.Diff(made, list))

		later := morning.Add(time.Minute)
		require.NoError(t, s.TouchKeys(ctx, nil, later))
		require.NoError(t, s.TouchKeys(ctx, []models.KeyID{made[0].ID, made[1].ID, "key_nowhere"}, later))
		require.NoError(t, s.TouchKeys(ctx, []models.KeyID{made[0].ID}, morning), "an older time changes nothing")
		got, err = s.KeyByPrefix(ctx, made[0].Prefix)
		require.NoError(t, err)
		require.Equal(t, &later, got.LastUsedAt)

		for _, at := range []time.Time{later, later.Add(time.Hour)} {
			prefix, err := a.RevokeKey(ctx, made[2].ID, at)
			require.NoError(t, err)
			require.Equal(t, "aaaaaaaa", prefix)
		}
		got, err = s.KeyByPrefix(ctx, "aaaaaaaa")
		require.NoError(t, err)
		require.Equal(t, &later, got.RevokedAt, "the first time counts")
		_, err = a.RevokeKey(ctx, "key_nowhere", later)
		require.ErrorIs(t, err, models.ErrNotFound)
	})
}

func newKey(prefix string) *models.APIKey {
	expires := morning.Add(24 * time.Hour)
	return &models.APIKey{
		ID: models.KeyID(ids.New("key")), Prefix: prefix, Hash: []byte{0, 1, 2, 255}, Name: "CI", CreatedAt: morning,
		Scopes: []models.Scope{models.ScopeRunsRead, models.ScopeAdmin}, ExpiresAt: &expires,
	}
}

func TestWorkspaces(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		_, first := tenant(t, s)
		_, second := tenant(t, s)
		all, err := s.Workspaces(ctx)
		require.NoError(t, err)
		require.Len(t, all, 2)
		require.Equal(t, []models.WorkspaceID{first, second}, []models.WorkspaceID{all[0].ID, all[1].ID})
		one, err := s.Workspace(ctx, first)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(&models.Workspace{ID: first, Name: "Acme", CreatedAt: morning}, one))
		_, err = s.Workspace(ctx, "ws_nowhere")
		require.ErrorIs(t, err, models.ErrNotFound)
		require.Equal(t, models.CodeConflict, conflictCode(t, s.CreateWorkspace(ctx, one)))
	})
}

func TestAgents(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, _ := tenant(t, s)
		var slugs []string
		for _, slug := range []string{"m", "z", "a", "c", "b"} { // not in the order of their making
			require.NoError(t, a.CreateAgent(ctx, newAgent(slug)))
			slugs = append(slugs, slug)
		}
		require.Equal(t, models.CodeConflict, conflictCode(t, a.CreateAgent(ctx, newAgent("m"))))
		require.ErrorIs(t, s.For("ws_nowhere").CreateAgent(ctx, newAgent("m")), models.ErrNotFound)

		list := pages(t, 2, func(p store.Page) ([]*models.Agent, error) { return a.Agents(ctx, p) }, func(g *models.Agent) string { return string(g.ID) })
		var got []string
		for _, g := range list {
			got = append(got, g.Slug)
		}
		slices.Reverse(got)
		require.Equal(t, slugs, got)

		known, err := a.KnownAgents(ctx, []string{"c", "nope", "a", "c"})
		require.NoError(t, err)
		require.Equal(t, []string{"a", "c"}, known)
		known, err = a.KnownAgents(ctx, nil)
		require.NoError(t, err)
		require.Empty(t, known)

		later := morning.Add(time.Minute)
		want, err := a.Agent(ctx, "c")
		require.NoError(t, err)
		same, err := a.UpdateAgent(ctx, "c", later, func(*models.Agent) error { return nil })
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(want, same), "nothing changed, so the time did not either")
		change := func(g *models.Agent) error {
			g.Name, g.Slug, g.ID = "Caller", "stolen", "agt_other"
			g.Config, g.OutputSchema = nil, json.RawMessage(`{"type":"object"}`)
			return nil
		}
		want.Name, want.Config, want.OutputSchema, want.UpdatedAt = "Caller", json.RawMessage(`{}`), json.RawMessage(`{"type":"object"}`), later
		changed, err := a.UpdateAgent(ctx, "c", later, change)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(want, changed))
		kept, err := a.Agent(ctx, "c")
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(want, kept))

		require.NoError(t, a.DeleteAgent(ctx, "c"))
		require.ErrorIs(t, a.DeleteAgent(ctx, "c"), models.ErrNotFound)
		rest, err := a.Agents(ctx, store.Page{After: string(kept.ID)})
		require.NoError(t, err)
		require.Len(t, rest, 3, "a page goes on where an agent was that is gone")
	})
}

func newAgent(slug string) *models.Agent {
	return &models.Agent{
		ID: models.AgentID(ids.New("agt")), Slug: slug, Name: "Agent " + slug, Kind: "http",
		Config: json.RawMessage(`{"url":"https://example.com/?q=it's","n":12345678901234567890}`), CreatedAt: morning, UpdatedAt: morning,
	}
}
