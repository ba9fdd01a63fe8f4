package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

func newWorkflow(name string, tags ...string) *models.Workflow {
	return &models.Workflow{
		ID: models.WorkflowID(ids.New("wf")), Name: name, Status: models.WorkflowActive, Tags: tags, CreatedAt: morning, UpdatedAt: morning,
	}
}

func newVersion(hash string) *models.Version {
	return &models.Version{
		Hash: hash, CreatedAt: morning, InputSchema: json.RawMessage(`{"type":"object"}`),
		Graph: &models.Graph{
			Steps: []models.GraphStep{{ID: "a", Type: models.StepTypeConnector, Connector: "core", Action: "set", Input: json.RawMessage(`{"it's":"\\ {{ payload.x }} ?"}`)}},
			Edges: []models.Edge{},
		},
	}
}

func createWorkflow(t *testing.T, a *store.Tenant, name string, tags ...string) (*models.Workflow, *models.Version) {
	t.Helper()
	w, v := newWorkflow(name, tags...), newVersion("1")
	require.NoError(t, a.CreateWorkflow(context.Background(), w, v))
	return w, v
}

func TestWorkflowIsGivenBackAsItWasMade(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, ws := tenant(t, s)
		w, v := newWorkflow("Speed to lead", "sales", "b2b"), newVersion("1")
		w.Template = &models.TemplateRef{Slug: "speed-to-lead", Version: 2}
		require.NoError(t, a.CreateWorkflow(ctx, w, v))
		require.Equal(t, ws, w.WorkspaceID)
		require.Equal(t, []int{1, 1, 1}, []int{w.Version, w.LastVersion, v.Number})
		got, err := a.Workflow(ctx, w.ID)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(w, got))
		require.Equal(t, morning, got.CreatedAt, "times are given back in UTC")
		version, err := a.Version(ctx, w.ID, 1)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(v, version))

		again := newWorkflow("Other")
		again.ID = w.ID
		require.Equal(t, models.CodeConflict, conflictCode(t, a.CreateWorkflow(ctx, again, newVersion("1"))))
		require.ErrorIs(t, s.For("ws_nowhere").CreateWorkflow(ctx, newWorkflow("x"), newVersion("1")), models.ErrNotFound)
		for _, n := range []int{-1, 0, 2, 1 << 40} {
			_, err = a.Version(ctx, w.ID, n)
			require.ErrorIs(t, err, models.ErrNotFound)
		}
	})
}

func TestWorkflowsAreFiltered(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, _ := tenant(t, s)
		create := func(name, description string, status models.WorkflowStatus, tags ...string) {
			w := newWorkflow(name, tags...)
			w.Description, w.Status = description, status
			require.NoError(t, a.CreateWorkflow(ctx, w, newVersion("1")))
		}
		create("Speed to Lead", "Calls at once", models.WorkflowActive, "sales", "b2b")
		create("Win back", "50% off_now", models.WorkflowPaused, "sales")
		create("ÄRGER melden", "", models.WorkflowActive, "it's", `"quoted"`)
		create("Old", "speedy", models.WorkflowArchived)
		create("Straße", "", models.WorkflowActive)

		for name, tc := range map[string]struct {
			filter store.WorkflowFilter
			want   []string
		}{
			"all":               {store.WorkflowFilter{}, []string{"Straße", "Old", "ÄRGER melden", "Win back", "Speed to Lead"}},
			"one status":        {store.WorkflowFilter{Statuses: []models.WorkflowStatus{models.WorkflowPaused}}, []string{"Win back"}},
			"statuses":          {store.WorkflowFilter{Statuses: []models.WorkflowStatus{"active", "paused"}}, []string{"Straße", "ÄRGER melden", "Win back", "Speed to Lead"}},
			"tag":               {store.WorkflowFilter{Tag: "sales"}, []string{"Win back", "Speed to Lead"}},
			"part of a tag":     {store.WorkflowFilter{Tag: "sale"}, nil},
			"tag with quote":    {store.WorkflowFilter{Tag: "it's"}, []string{"ÄRGER melden"}},
			"tag with quotes":   {store.WorkflowFilter{Tag: `"quoted"`}, []string{"ÄRGER melden"}},
			"name in any case":  {store.WorkflowFilter{Query: "sPEED"}, []string{"Old", "Speed to Lead"}},
			"beyond ASCII":      {store.WorkflowFilter{Query: "ärger"}, []string{"ÄRGER melden"}},
			"sharp s":           {store.WorkflowFilter{Query: "RAß"}, []string{"Straße"}},
			"percent":           {store.WorkflowFilter{Query: "0% o"}, []string{"Win back"}},
			"percent is itself": {store.WorkflowFilter{Query: "5%f"}, nil},
			"underscore":        {store.WorkflowFilter{Query: "f_n"}, []string{"Win back"}},
			"no underscore":     {store.WorkflowFilter{Query: "e_d"}, nil},
			"backslash":         {store.WorkflowFilter{Query: `\`}, nil},
			"together":          {store.WorkflowFilter{Query: "speed", Tag: "b2b", Statuses: []models.WorkflowStatus{"active"}}, []string{"Speed to Lead"}},
			"together, none":    {store.WorkflowFilter{Query: "speed", Tag: "b2b", Statuses: []models.WorkflowStatus{"paused"}}, nil},
		} {
			rows := pages(t, 2, func(p store.Page) ([]*models.Workflow, error) { return a.Workflows(ctx, tc.filter, p) },
				func(w *models.Workflow) string { return string(w.ID) })
			var got []string
			for _, w := range rows {
				got = append(got, w.Name)
			}
			require.Equal(t, tc.want, got, name)
		}
	})
}

func TestUpdateWorkflow(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, _ := tenant(t, s)
		w, _ := createWorkflow(t, a, "Speed to lead", "sales")
		later := morning.Add(time.Minute)

		same, err := a.UpdateWorkflow(ctx, w.ID, &w.Revision, later, func(w *models.Workflow) error { w.Name = "Speed to lead"; return nil })
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(w, same), "nothing changed, so revision and time did not either")

		change := func(w *models.Workflow) error {
			w.Name, w.Description, w.Status = "Faster", "d", models.WorkflowPaused
			w.Tags[0] = "ops"
			w.ID, w.WorkspaceID, w.Version, w.LastVersion, w.Revision = "wf_other", "ws_other", 7, 8, 99
			return nil
		}
		got, err := a.UpdateWorkflow(ctx, w.ID, &w.Revision, later, change)
		require.NoError(t, err)
		w.Name, w.Description, w.Status, w.Tags, w.Revision, w.UpdatedAt = "Faster", "d", models.WorkflowPaused, []string{"ops"}, 2, later
		require.Empty(t, cmp.Diff(w, got))

		old := int64(1)
		_, err = a.UpdateWorkflow(ctx, w.ID, &old, later, func(*models.Workflow) error { return errors.New("reached") })
		require.ErrorIs(t, err, models.ErrPrecondition)
		refused := errors.New("no")
		_, err = a.UpdateWorkflow(ctx, w.ID, nil, later, func(w *models.Workflow) error { w.Name = "lost"; return refused })
		require.ErrorIs(t, err, refused)
		_, err = a.UpdateWorkflow(ctx, "wf_nowhere", nil, later, change)
		require.ErrorIs(t, err, models.ErrNotFound)
		kept, err := a.Workflow(ctx, w.ID)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(w, kept))
	})
}

func TestNoUpdateIsLost(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, _ := tenant(t, s)
		w, _ := createWorkflow(t, a, "0")
		const writers, times = 8, 10
		var group sync.WaitGroup
		errs := make(chan error, writers*times)
		for range writers {
			group.Go(func() {
				for range times {
					_, err := a.UpdateWorkflow(ctx, w.ID, nil, morning, func(w *models.Workflow) error {
						n, err := strconv.Atoi(w.Name)
						w.Name = strconv.Itoa(n + 1)
						return err
					})
					errs <- err
				}
			})
		}
		group.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		got, err := a.Workflow(ctx, w.ID)
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(writers*times), got.Name)
		require.EqualValues(t, 1+writers*times, got.Revision)
	})
}

func TestVersions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, _ := tenant(t, s)
		w, v1 := createWorkflow(t, a, "Speed to lead")
		later := morning.Add(time.Minute)

		got, v, err := a.AddVersion(ctx, w.ID, &w.Revision, newVersion("1"), later)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(w, got), "the same content makes no version")
		require.Empty(t, cmp.Diff(v1, v))

		for n := 2; n <= 4; n++ {
			got, v, err = a.AddVersion(ctx, w.ID, nil, newVersion(strconv.Itoa(n)), later)
			require.NoError(t, err)
			require.Equal(t, []int{n, n, n, n}, []int{got.Version, got.LastVersion, int(got.Revision), v.Number})
			require.Equal(t, []time.Time{later, later}, []time.Time{got.UpdatedAt, v.CreatedAt})
		}
		old := int64(1)
		_, _, err = a.AddVersion(ctx, w.ID, &old, newVersion("x"), later)
		require.ErrorIs(t, err, models.ErrPrecondition)

		list := pages(t, 2, func(p store.Page) ([]*models.Version, error) { return a.Versions(ctx, w.ID, p) }, func(v *models.Version) string { return strconv.Itoa(v.Number) })
		require.Len(t, list, 4)
		for i, v := range list {
			require.Equal(t, 4-i, v.Number)
			require.Nil(t, v.Graph)
			require.Nil(t, v.InputSchema)
		}
		for _, after := range []string{"x", "-", "1e3", "99999999999"} {
			_, err = a.Versions(ctx, w.ID, store.Page{After: after})
			require.ErrorIs(t, err, models.ErrInvalid)
		}

		back, err := a.ActivateVersion(ctx, w.ID, 2, &got.Revision, later)
		require.NoError(t, err)
		require.Equal(t, []int{2, 4, 5}, []int{back.Version, back.LastVersion, int(back.Revision)})
		_, err = a.ActivateVersion(ctx, w.ID, 1, &got.Revision, later)
		require.ErrorIs(t, err, models.ErrPrecondition)
		same, err := a.ActivateVersion(ctx, w.ID, 2, nil, later.Add(time.Minute))
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(back, same))
		next, v, err := a.AddVersion(ctx, w.ID, nil, newVersion("5"), later)
		require.NoError(t, err)
		require.Equal(t, []int{5, 5, 5}, []int{next.Version, next.LastVersion, v.Number}, "no number is used twice")

		_, err = a.ArchiveVersion(ctx, w.ID, 5, later)
		require.Equal(t, models.CodeInvalidState, conflictCode(t, err), "the current one stays")
		for _, at := range []time.Time{later, later.Add(time.Hour)} {
			archived, err := a.ArchiveVersion(ctx, w.ID, 3, at)
			require.NoError(t, err)
			require.Equal(t, &later, archived.ArchivedAt, "the first time counts")
		}
		_, err = a.ActivateVersion(ctx, w.ID, 3, nil, later)
		require.Equal(t, models.CodeVersionArchived, conflictCode(t, err))
		for _, n := range []int{0, 6} {
			_, err = a.ArchiveVersion(ctx, w.ID, n, later)
			require.ErrorIs(t, err, models.ErrNotFound)
			_, err = a.ActivateVersion(ctx, w.ID, n, nil, later)
			require.ErrorIs(t, err, models.ErrNotFound)
		}

		_, err = a.UpdateWorkflow(ctx, w.ID, nil, later, func(w *models.Workflow) error { w.Status = models.WorkflowArchived; return nil })
		require.NoError(t, err)
		_, err = a.ActivateVersion(ctx, w.ID, 2, nil, later)
		require.Equal(t, models.CodeInvalidState, conflictCode(t, err))
		_, _, err = a.AddVersion(ctx, w.ID, nil, newVersion("6"), later)
		require.Equal(t, models.CodeInvalidState, conflictCode(t, err))
		v, err = a.Version(ctx, w.ID, 3)
		require.NoError(t, err)
		require.NotNil(t, v.Graph, "what is archived stays readable")
	})
}

func TestVersionsMadeAtOnceGetDifferentNumbers(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx := context.Background()
		a, _ := tenant(t, s)
		w, _ := createWorkflow(t, a, "Speed to lead")
		const writers = 16
		var group sync.WaitGroup
		numbers, errs := make(chan int, writers), make(chan error, writers)
		for i := range writers {
			group.Go(func() {
				_, v, err := a.AddVersion(ctx, w.ID, nil, newVersion("v"+strconv.Itoa(i)), morning)
				errs <- err
				if err == nil {
					numbers <- v.Number
				}
			})
		}
		group.Wait()
		close(errs)
		close(numbers)
		for err := range errs {
			require.NoError(t, err)
		}
		seen := map[int]bool{}
		for n := range numbers {
			seen[n] = true
		}
		require.Len(t, seen, writers)
		got, err := a.Workflow(ctx, w.ID)
		require.NoError(t, err)
		require.Equal(t, []int{writers + 1, writers + 1}, []int{got.Version, got.LastVersion})
	})
}
