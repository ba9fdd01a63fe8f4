package worker_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/limits"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/tasks"
	"github.com/10ex/flows/worker"
)

// limited is a bench whose steps use a connection with limits, and a workspace that
// has its own.
func limited(t *testing.T, conn connectors.Limits, workspace limits.Limit) *bench {
	t.Helper()
	l := limits.New(limits.Config{})
	t.Cleanup(l.Close)
	b := newBenchWith(t, "", worker.Config{WorkspaceLimit: workspace}, func(d *worker.Deps) {
		d.Limits = l
		d.ConnectionFunc = func(_ context.Context, _ models.WorkspaceID, id string) (*connectors.Connection, error) {
			return &connectors.Connection{ID: id, Connector: "test", Limits: conn}, nil
		}
	})
	require.NoError(t, b.worker.Start())
	return b
}

// use has a step done with a connection; heldBy is why it was put back before.
func (b *bench) use(t *testing.T, step, action, conn, heldBy string) {
	t.Helper()
	w := b.engine.add(step, action, `{}`)
	w.Step.Connection, w.HeldBy = conn, heldBy
	one := task(step)
	if heldBy != "" {
		one.Delivery++
	}
	b.client.Enqueue(t.Context(), []tasks.Entry{{Step: one}})
}

func TestAStepOverTheLimitIsPutBackWithItsTime(t *testing.T) {
	t.Parallel()
	b := limited(t, connectors.Limits{Count: 2, Per: 2 * time.Hour}, limits.Limit{})
	for _, step := range []string{"a", "b"} {
		b.use(t, step, "echo", "conn_1", "")
		require.Equal(t, step, receive(t, b.engine.finished).Lease.Ref.Step)
	}
	b.use(t, "c", "echo", "conn_1", "")
	held := receive(t, b.engine.putBack)
	require.Equal(t, "c", held.step)
	require.InDelta(t, time.Hour, held.after, float64(time.Minute))
	require.Equal(t, "its connection allows 2 in 2h0m0s", held.why)
	b.use(t, "c", "echo", "conn_1", held.why)
	require.Equal(t, "c", receive(t, b.engine.finished).Lease.Ref.Step, "it has its turn")
	b.use(t, "d", "echo", "conn_2", "")
	require.Equal(t, "d", receive(t, b.engine.finished).Lease.Ref.Step, "other connections are not concerned")
}

func TestSoManyStepsUseAConnectionAtOnce(t *testing.T) {
	t.Parallel()
	b := limited(t, connectors.Limits{Concurrency: 1}, limits.Limit{})
	b.use(t, "a", "block", "conn_1", "")
	receive(t, b.connector.started)
	b.use(t, "b", "echo", "conn_1", "")
	held := receive(t, b.engine.putBack)
	require.Equal(t, "b", held.step)
	require.Equal(t, "its connection allows 1 at once", held.why)
	b.connector.release <- struct{}{}
	receive(t, b.engine.finished)
	b.use(t, "b", "echo", "conn_1", held.why)
	require.Equal(t, "b", receive(t, b.engine.finished).Lease.Ref.Step)
}

func TestAWorkspaceHasItsLimit(t *testing.T) {
	t.Parallel()
	b := limited(t, connectors.Limits{Count: 2, Per: 2 * time.Hour}, limits.Limit{Count: 1, Per: time.Hour})
	b.use(t, "a", "echo", "", "")
	receive(t, b.engine.finished)
	b.use(t, "b", "echo", "conn_1", "")
	held := receive(t, b.engine.putBack)
	require.Equal(t, "its workspace allows 1 in 1h0m0s", held.why)
	b.use(t, "b", "echo", "conn_1", held.why)
	receive(t, b.engine.finished)
	// Of the connection it took one beginning and not two.
	b.use(t, "c", "echo", "conn_1", "its workspace allows 1 in 1h0m0s")
	receive(t, b.engine.finished)
}

func TestEverybodyLeavesAloneWhoAskedForIt(t *testing.T) {
	t.Parallel()
	b := limited(t, connectors.Limits{}, limits.Limit{})
	b.connector.fails(connectors.RetryAfter(time.Hour, &connectors.Error{Code: "http_429", Message: "slow down", Status: 429, Retryable: true}))
	b.use(t, "a", "fail", "conn_1", "")
	require.Equal(t, time.Hour, receive(t, b.engine.finished).RetryAfter)
	for _, step := range []string{"b", "c"} {
		b.use(t, step, "echo", "conn_1", "")
		held := receive(t, b.engine.putBack)
		require.InDelta(t, time.Hour, held.after, float64(time.Minute))
		require.Equal(t, "its connection asked to be left alone for a while", held.why)
	}
	b.use(t, "d", "echo", "conn_2", "")
	require.Equal(t, "d", receive(t, b.engine.finished).Lease.Ref.Step)
}

// failure is what action fail of the test connector answers.
type failure struct {
	mu   sync.Mutex
	err  error
	done []string // keys of effects
}

func (f *failure) note(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, key)
}

func (f *failure) keys() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.done)
}

func (f *failure) fails(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *failure) answer() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}
