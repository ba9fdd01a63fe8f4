package api

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/deltas"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
	"github.com/10ex/flows/tasks"
)

// finish does an iteration of a step as a worker does.
func (b *bundle) finish(t *testing.T, run, step string, iteration int, usage string, failure *models.StepError) {
	t.Helper()
	work, err := b.engine.Claim(t.Context(), engine.ClaimRequest{Worker: "w1", Task: tasks.Step{
		Workspace: string(b.ws), Run: run, Step: step, Iteration: iteration, Attempt: 1,
	}})
	require.NoError(t, err)
	require.NotNil(t, work)
	req := engine.FinishRequest{Lease: work.Lease, Output: json.RawMessage(`1`), Error: failure}
	if usage != "" {
		req.Usage = json.RawMessage(usage)
	}
	_, err = b.engine.Finish(t.Context(), req)
	require.NoError(t, err)
}

func TestAStepOverAListShowsWhatAllItsIterationsUsed(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		run := b.run(t, `{"steps":[
			{"id":"ask","type":"connector","connector":"core","action":"set","foreach":"[1, 2, 3]","input":{}},
			{"id":"one","type":"connector","connector":"core","action":"set","input":{}}]}`)
		usage := func(in int, model string) string {
			return fmt.Sprintf(`{"input_tokens":%d,"output_tokens":1,"cost":0.1,"turns":2,"model":%q,"estimated":%t}`, in, model, in == 20)
		}
		b.finish(t, run, "one", models.NoIteration, usage(7, "small"), nil)
		b.finish(t, run, "ask", 0, usage(10, "small"), nil)
		trace := func() []any { return b.call(t, "GET", "/runs/"+run+"/steps", "").get(t, "items").([]any) }
		of := func(step string) any {
			for _, item := range trace() {
				if item := item.(map[string]any); item["id"] == step {
					return item["usage"]
				}
			}
			return nil
		}
		require.Equal(t, map[string]any{"input_tokens": 10.0, "output_tokens": 1.0, "cost": 0.1, "turns": 2.0, "model": "small"}, of("ask"), "while it runs")
		b.finish(t, run, "ask", 1, usage(20, "small"), nil)
		require.Equal(t, map[string]any{"input_tokens": 30.0, "output_tokens": 2.0, "cost": 0.2, "turns": 4.0, "model": "small", "estimated": true}, of("ask"))
		b.finish(t, run, "ask", 2, usage(30, "large"), &models.StepError{Code: "x", Message: "no"})
		require.Equal(t, map[string]any{"input_tokens": 60.0, "output_tokens": 3.0, "cost": 0.3, "turns": 6.0, "estimated": true}, of("ask"), "what failed has cost, too")
		require.Equal(t, 7.0, of("one").(map[string]any)["input_tokens"])
		whole := b.call(t, "GET", "/runs/"+run, "").get(t, "usage").(map[string]any)
		require.Equal(t, map[string]any{"input_tokens": 67.0, "output_tokens": 4.0, "cost": 0.4, "turns": 8.0, "estimated": true}, whole)
	})
}

// talkative starts runs in which a model has said something before whoever started
// them has the answer.
type talkative struct {
	Engine
	said func(run models.RunID)
}

func (e *talkative) Start(ctx context.Context, req engine.StartRequest) (*models.Run, error) {
	run, err := e.Engine.Start(ctx, req)
	if err == nil {
		e.said(run.ID)
	}
	return run, err
}

func (e *talkative) Rerun(ctx context.Context, ref store.RunRef, req engine.RerunRequest) (*models.Run, error) {
	run, err := e.Engine.Rerun(ctx, ref, req)
	if err == nil {
		e.said(run.ID)
	}
	return run, err
}

// counted counts who listens.
type counted struct {
	Deltas
	open atomic.Int64
}

func (c *counted) Watch(ws models.WorkspaceID, run models.RunID) (<-chan deltas.Delta, func()) {
	said, stop := c.Deltas.Watch(ws, run)
	c.open.Add(1)
	return said, func() {
		stop()
		c.open.Add(-1)
	}
}

func TestWhoStartsARunAsAStreamHearsWhatIsSaidFromTheBeginning(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		e, ears := &talkative{}, &counted{}
		b := setup(t, s, options{
			engine: func(inner Engine) Engine { e.Engine = inner; return e },
			deps:   func(d *Deps) { ears.Deltas = d.Deltas; d.Deltas = ears },
		})
		e.said = func(run models.RunID) {
			b.deltas.Publish(deltas.Delta{Workspace: b.ws, Run: run, Step: "ask", Attempt: 1, Turn: 1, Text: "at once"})
		}
		wf := b.workflow(t, waiting)
		address := b.listen(t)
		first := ""
		for _, path := range []func() string{func() string { return "/workflows/" + wf + "/trigger" }, func() string { return "/runs/" + first + "/rerun" }} {
			c := b.connect(t, address, "POST", path(), "Accept", "text/event-stream")
			require.Equal(t, 200, c.resp.StatusCode)
			first = c.resp.Header.Get("Location")[len(base+"/runs/"):]
			require.Equal(t, 200, b.call(t, "POST", "/runs/"+first+"/cancel", "").status)
			var heard []string
			for _, event := range c.rest() {
				if event.event == "step.delta" {
					heard = append(heard, event.data)
				}
			}
			require.Len(t, heard, 1)
			require.Contains(t, heard[0], "at once")
		}
		// Nobody listens on behalf of a start that came to nothing, or whose answer is plain.
		require.Equal(t, 404, b.call(t, "POST", "/workflows/wf_01jx0000000000000000000000/trigger", "", "Accept", "text/event-stream").status)
		require.Equal(t, 202, b.call(t, "POST", "/workflows/"+wf+"/trigger", "").status)
		require.Eventually(t, func() bool { return ears.open.Load() == 0 }, 20*time.Second, 5*time.Millisecond)
	})
}
