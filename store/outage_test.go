package store_test

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// gate passes connections on to a server until it is cut.
type gate struct {
	network, server string

	mu       sync.Mutex
	listener net.Listener
	conns    []net.Conn
	group    sync.WaitGroup
}

func (g *gate) open(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	g.mu.Lock()
	g.listener = l
	g.mu.Unlock()
	g.group.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial(g.network, g.server)
			if err != nil {
				_ = in.Close()
				continue
			}
			g.mu.Lock()
			g.conns = append(g.conns, in, out)
			g.mu.Unlock()
			pass := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				_, _ = to.Close(), from.Close()
			}
			g.group.Go(func() { pass(in, out) })
			g.group.Go(func() { pass(out, in) })
		}
	})
}

// cut ends every connection and refuses new ones.
func (g *gate) cut() {
	g.mu.Lock()
	_ = g.listener.Close()
	for _, c := range g.conns {
		_ = c.Close()
	}
	g.conns = nil
	g.mu.Unlock()
	g.group.Wait()
}

func TestALostDatabaseIsUnavailableAndComesBack(t *testing.T) {
	t.Parallel()
	if !testkit.HavePostgres() {
		return // SQLite has no connection to lose
	}
	ctx := context.Background()
	direct := testkit.PostgresURL(t)
	cfg, err := pgx.ParseConfig(direct)
	require.NoError(t, err)
	g := &gate{}
	g.network, g.server = pgconn.NetworkAddress(cfg.Host, cfg.Port)
	g.open(t, "127.0.0.1:0")
	t.Cleanup(g.cut)
	addr := g.listener.Addr().String()
	through, err := url.Parse(direct)
	require.NoError(t, err)
	through.Host = addr
	query := through.Query()
	query.Del("host")
	query.Del("port")
	through.RawQuery = query.Encode()

	s, err := store.Open(ctx, store.Config{URL: through.String(), MaxConns: 4})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	_, err = s.Migrate(ctx)
	require.NoError(t, err)
	a, _ := tenant(t, s)
	w, _ := createWorkflow(t, a, "Speed to lead")

	// One statement is under way, and waits for a row, when the line is cut.
	other, err := pgx.ConnectConfig(ctx, cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Close(ctx)) }()
	held, err := other.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = held.Rollback(ctx) }()
	_, err = held.Exec(ctx, "UPDATE workflows SET name = name")
	require.NoError(t, err)
	waiting := make(chan error, 1)
	go func() {
		_, err := a.UpdateWorkflow(ctx, w.ID, nil, morning, func(w *models.Workflow) error { w.Name = "lost"; return nil })
		waiting <- err
	}()
	require.Eventually(t, func() bool {
		var n int
		require.NoError(t, held.QueryRow(ctx, "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid() AND $1 = ANY(pg_blocking_pids(pid))",
			int32(other.PgConn().PID())).Scan(&n))
		return n > 0
	}, 5*time.Second, 5*time.Millisecond)
	g.cut()
	require.ErrorIs(t, <-waiting, models.ErrUnavailable)
	require.NoError(t, held.Rollback(ctx))

	for name, call := range map[string]func() error{
		"ping":        func() error { return s.Ping(ctx) },
		"now":         func() error { _, err := s.Now(ctx); return err },
		"read":        func() error { return first(a.Workflow(ctx, w.ID)) },
		"list":        func() error { return first(a.Runs(ctx, store.RunFilter{}, store.Page{})) },
		"insert":      func() error { return a.CreateAgent(ctx, newAgent("caller")) },
		"transaction": func() error { _, _, err := a.AddVersion(ctx, w.ID, nil, newVersion("2"), morning); return err },
		"returning":   func() error { return first(a.RevokeKey(ctx, "key_1", morning)) },
		"request":     func() error { _, _, err := a.BeginRequest(ctx, newRequest("k"), morning); return err },
		"runs": func() error {
			return s.WithRuns(ctx, nil, func(*store.RunTx) (*store.Changes, error) { return nil, nil })
		},
		"prune":        func() error { return first(s.PruneRuns(ctx, morning, 1)) },
		"migrate":      func() error { return first(s.Migrate(ctx)) },
		"migrations":   func() error { return first(s.Migrations(ctx)) },
		"check schema": func() error { return s.CheckSchema(ctx) },
		"open": func() error {
			_, err := store.Open(ctx, store.Config{URL: through.String()})
			return err
		},
	} {
		require.ErrorIs(t, call(), models.ErrUnavailable, name)
	}

	g.open(t, addr)
	got, err := a.Workflow(ctx, w.ID)
	require.NoError(t, err)
	require.Equal(t, "Speed to lead", got.Name)
	require.NoError(t, a.CreateAgent(ctx, newAgent("caller")), "nothing half-done stayed behind")
	require.NoError(t, s.CheckSchema(ctx))
}
