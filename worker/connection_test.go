package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/worker"
)

// lines is where a log goes that is looked at.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestAStepGetsItsConnectionAndGivesNoneOfItsSecrets(t *testing.T) {
	t.Parallel()
	const secret = "a secret of the connector" // which the connector panics with
	var log lines
	asked := make(chan string, 100)
	answers := []error{models.ErrUnavailable}
	b := newBenchWith(t, "", worker.Config{}, func(d *worker.Deps) {
		d.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		d.ConnectionFunc = func(_ context.Context, ws models.WorkspaceID, id string) (*connectors.Connection, error) {
			asked <- string(ws) + " " + id
			switch id {
			case "conn_gone":
				return nil, connectors.Permanent("connection_gone", "there is no connection %q here, or no longer", id)
			case "conn_other":
				return &connectors.Connection{ID: id, Connector: "other", Secrets: map[string]string{"token": secret}}, nil
			case "conn_later":
				if len(answers) > 0 {
					err := answers[0]
					answers = answers[1:]
					return nil, err
				}
			}
			return &connectors.Connection{ID: id, Connector: "test", Secrets: map[string]string{"token": secret}}, nil
		}
	})
	require.NoError(t, b.worker.Start())
	do := func(step, action, connection string) engine.FinishRequest {
		w := b.engine.add(step, action, `{"echo":"`+secret+`","a secret of the connector":1}`)
		w.Step.Connection = connection
		require.True(t, b.worker.Offer(t.Context(), task(step)))
		return <-b.engine.finished
	}
	got := do("ok", "echo", "conn_1")
	require.Nil(t, got.Error)
	require.JSONEq(t, `{"echo":"[redacted]","[redacted]":1}`, string(got.Output))
	require.Equal(t, "ws_1 conn_1", <-asked, "it is looked for in the workspace of the run")

	got = do("later", "echo", "conn_later")
	require.Nil(t, got.Error, "that the database is away costs no attempt")
	got = do("none", "echo", "")
	require.Contains(t, string(got.Output), secret, "who uses no connection has no secret")
	for connection, code := range map[string]string{"conn_gone": "connection_gone", "conn_other": "wrong_connection"} {
		got = do("fails "+connection, "echo", connection)
		require.Equal(t, code, got.Error.Code)
		require.False(t, got.Error.Retryable)
	}
	require.NotContains(t, log.String(), secret)
	got = do("panics", "panic", "conn_1")
	require.Equal(t, "internal", got.Error.Code)
	raw, err := json.Marshal(got)
	require.NoError(t, err)
	require.NotContains(t, string(raw), secret)
	require.Contains(t, log.String(), "[redacted]")
	require.NotContains(t, log.String(), secret)
}

func TestWithoutConnectionsAStepThatNamesOneFails(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", worker.Config{})
	require.NoError(t, b.worker.Start())
	w := b.engine.add("a", "echo", `{}`)
	w.Step.Connection = "conn_1"
	require.True(t, b.worker.Offer(t.Context(), task("a")))
	require.Equal(t, "connection_gone", (<-b.engine.finished).Error.Code)
}
