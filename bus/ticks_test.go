package bus_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
	"github.com/10ex/flows/tasks"
)

// calendar is a store with a workflow and schedules for it, and any number of
// schedulers at it.
type calendar struct {
	t     *testing.T
	store *store.Store
	clock *clock.Fake
	ws    models.WorkspaceID
	wf    models.WorkflowID
}

type noDeliveries struct{}

func (noDeliveries) Enqueue(context.Context, []engine.Delivery) {}
func (noDeliveries) Notify(context.Context, []engine.Notice)    {}
func (noDeliveries) EnqueueJobs(context.Context, []tasks.Job)   {}

func (noDeliveries) Knows(_ context.Context, _, connector string, actions []string) (known bool, missing []string, err error) {
	return connector == "core", slices.DeleteFunc(slices.Clone(actions), func(a string) bool { return a == "set" }), nil
}

// TakesConnections says no.
func (noDeliveries) TakesConnections(context.Context, string, string) (of []string, required bool, err error) {
	return nil, false, nil
}

func eachCalendar(t *testing.T, test func(t *testing.T, c *calendar)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		c := &calendar{
			t: t, store: s, clock: clock.NewFake(time.Date(2026, 5, 4, 8, 59, 30, 0, time.UTC)),
			ws: models.WorkspaceID(ids.New(models.WorkspacePrefix)), wf: models.WorkflowID(ids.New(models.WorkflowPrefix)),
		}
		ctx, now := t.Context(), c.clock.Now()
		require.NoError(t, s.CreateWorkspace(ctx, &models.Workspace{ID: c.ws, Name: "test", CreatedAt: now}))
		w := &models.Workflow{ID: c.wf, Name: "wf", Status: models.WorkflowActive, Version: 1, LastVersion: 1, Tags: []string{}, Revision: 1, CreatedAt: now, UpdatedAt: now}
		g := &models.Graph{Steps: []models.GraphStep{{ID: "a", Type: models.StepTypeConnector, Connector: "core", Action: "set"}}}
		require.NoError(t, s.For(c.ws).CreateWorkflow(ctx, w, &models.Version{WorkflowID: c.wf, Number: 1, Graph: g, CreatedAt: now}))
		test(t, c)
	})
}

// scheduler is one more process at the store. wrap may stand between it and its
// engine.
func (c *calendar) scheduler(wrap func(bus.Engine) bus.Engine) *bus.Bus {
	e, err := engine.New(engine.Deps{
		Store: c.store, Clock: c.clock, Enqueuer: noDeliveries{}, Notifier: noDeliveries{}, Catalogue: noDeliveries{},
	}, engine.Config{})
	require.NoError(c.t, err)
	c.t.Cleanup(func() { require.NoError(c.t, e.Close(context.Background())) })
	var asked bus.Engine = e
	if wrap != nil {
		asked = wrap(e)
	}
	b, err := bus.New(bus.Deps{Store: c.store, Engine: asked, Clock: c.clock, Jobs: noDeliveries{}}, bus.Config{})
	require.NoError(c.t, err)
	return b
}

func (c *calendar) schedule(b *bus.Bus, cron string, missed models.MissedPolicy) *models.Trigger {
	made, err := b.CreateTrigger(c.t.Context(), c.ws, &models.Trigger{
		Type: models.TriggerOnSchedule, WorkflowID: &c.wf, Cron: cron, Missed: missed, Enabled: true,
		Payload: []byte(`{"due":"{{ event.occurred_at }}"}`),
	})
	require.NoError(c.t, err)
	return made.Trigger
}

func (c *calendar) ticks(trg *models.Trigger) []*models.Tick {
	ticks, err := c.store.For(c.ws).Ticks(c.t.Context(), trg.ID, time.Time{}, 1000)
	require.NoError(c.t, err)
	return ticks
}

func (c *calendar) runs(trg *models.Trigger) []*models.Run {
	runs, err := c.store.For(c.ws).Runs(c.t.Context(), store.RunFilter{TriggerID: &trg.ID}, store.Page{Limit: 1000})
	require.NoError(c.t, err)
	return runs
}

func TestManySchedulersFireEachTickOnce(t *testing.T) {
	t.Parallel()
	eachCalendar(t, func(t *testing.T, c *calendar) {
		const schedulers, triggers = 3, 100
		var all []*models.Trigger
		var busses []*bus.Bus
		for range schedulers {
			busses = append(busses, c.scheduler(nil))
		}
		for range triggers {
			all = append(all, c.schedule(busses[0], "* * * * *", ""))
		}
		for minute := range 3 {
			c.clock.Advance(time.Minute)
			var wg sync.WaitGroup
			start := make(chan struct{})
			for _, b := range busses {
				wg.Go(func() {
					<-start
					for more := true; more; {
						var err error
						_, more, err = b.FireDue(context.Background(), 7)
						require.NoError(t, err)
					}
				})
			}
			close(start)
			wg.Wait()
			for _, trg := range all {
				require.Len(t, c.runs(trg), minute+1)
			}
		}
		for _, trg := range all {
			ticks, runs := c.ticks(trg), c.runs(trg)
			require.Len(t, ticks, 3)
			for _, tick := range ticks {
				require.Equal(t, models.TickFired, tick.Outcome)
				i := slices.IndexFunc(runs, func(r *models.Run) bool { return r.ID == *tick.RunID })
				require.GreaterOrEqual(t, i, 0)
				require.Equal(t, models.TriggerSchedule, runs[i].TriggerType)
				run, err := c.store.For(c.ws).Run(t.Context(), *tick.RunID)
				require.NoError(t, err)
				require.JSONEq(t, fmt.Sprintf(`{"due":%q}`, models.TimeText(tick.DueAt)), string(run.Payload))
			}
		}
	})
}

// failing is an engine of a process that dies: before or after the run is started.
type failing struct {
	bus.Engine
	after bool
}

func (f failing) Start(ctx context.Context, req engine.StartRequest) (*models.Run, error) {
	if f.after {
		if _, err := f.Engine.Start(ctx, req); err != nil {
			return nil, err
		}
	}
	return nil, models.ErrUnavailable
}

func TestATickOfASchedulerThatDiedIsFiredByAnother(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("after the start %t", after), func(t *testing.T) {
			t.Parallel()
			eachCalendar(t, func(t *testing.T, c *calendar) {
				dies := c.scheduler(func(e bus.Engine) bus.Engine { return failing{e, after} })
				lives := c.scheduler(nil)
				trg := c.schedule(lives, "0 9 * * *", "")
				c.clock.Advance(time.Minute)
				_, _, err := dies.FireDue(t.Context(), 10)
				require.ErrorIs(t, err, models.ErrUnavailable)
				require.Equal(t, models.TickPending, c.ticks(trg)[0].Outcome)

				fired, _, err := lives.FireDue(t.Context(), 10)
				require.NoError(t, err)
				require.Zero(t, fired, "it is the other's for a while")
				c.clock.Advance(20 * time.Second)
				fired, _, err = lives.FireDue(t.Context(), 10)
				require.NoError(t, err)
				require.Equal(t, 1, fired)
				require.Len(t, c.runs(trg), 1)
				require.Equal(t, models.TickFired, c.ticks(trg)[0].Outcome)
			})
		})
	}
}

func TestTicksThatStartNothingSayWhy(t *testing.T) {
	t.Parallel()
	eachCalendar(t, func(t *testing.T, c *calendar) {
		b, ctx := c.scheduler(nil), t.Context()
		late := c.schedule(b, "0 9 * * *", models.MissedSkip)
		c.clock.Advance(2 * time.Hour)
		_, _, err := b.FireDue(ctx, 10)
		require.NoError(t, err)
		require.Equal(t, models.TickIgnored, c.ticks(late)[0].Outcome)
		require.Contains(t, c.ticks(late)[0].Reason, "nobody was there")
		require.Empty(t, c.runs(late))

		paused := c.schedule(b, "* * * * *", "")
		_, err = c.store.For(c.ws).UpdateWorkflow(ctx, c.wf, nil, c.clock.Now(), func(w *models.Workflow) error {
			w.Status = models.WorkflowPaused
			return nil
		})
		require.NoError(t, err)
		c.clock.Advance(time.Minute)
		_, _, err = b.FireDue(ctx, 10)
		require.NoError(t, err)
		tick := c.ticks(paused)[0]
		require.Equal(t, models.TickIgnored, tick.Outcome)
		require.Contains(t, tick.Reason, "paused")
	})
}

func TestChangingATriggerKeepsItsNextTickUnlessTheScheduleChanges(t *testing.T) {
	t.Parallel()
	eachCalendar(t, func(t *testing.T, c *calendar) {
		b, ctx := c.scheduler(nil), t.Context()
		trg := c.schedule(b, "0 9 * * *", "")
		c.clock.Advance(time.Minute) // it is due, and nobody has looked yet
		due := *trg.NextFireAt
		after, err := b.UpdateTrigger(ctx, c.ws, trg.ID, func(t *models.Trigger) error { t.Name = "mornings"; return nil })
		require.NoError(t, err)
		require.Equal(t, due, *after.NextFireAt)

		after, err = b.UpdateTrigger(ctx, c.ws, trg.ID, func(t *models.Trigger) error { t.Enabled = false; return nil })
		require.NoError(t, err)
		require.Nil(t, after.NextFireAt)
		_, _, err = b.FireDue(ctx, 10)
		require.NoError(t, err)
		require.Empty(t, c.ticks(trg))

		c.clock.Advance(time.Hour)
		after, err = b.UpdateTrigger(ctx, c.ws, trg.ID, func(t *models.Trigger) error { t.Enabled = true; return nil })
		require.NoError(t, err)
		require.Equal(t, due.Add(24*time.Hour), *after.NextFireAt, "what was due while it was disabled is not made up for")
		_, err = b.UpdateTrigger(ctx, c.ws, trg.ID, func(t *models.Trigger) error { t.Cron = "61 * * * *"; return nil })
		var invalid *models.InvalidError
		require.ErrorAs(t, err, &invalid)
		require.Equal(t, []any{"cron"}, invalid.Fields[0].Loc)
	})
}
