package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"
)

// Config says which database to use.
type Config struct {
	// URL is postgres://… or sqlite:PATH (sqlite::memory: is not supported: its
	// connections would not see each other). Required.
	URL string
	// MaxConns bounds the connections of the pool. Default 10.
	MaxConns int
}

// Store is the database. It may be used concurrently.
type Store struct {
	db      *bun.DB
	engine  *bun.DB // for WithRuns; the same as db on SQLite
	dialect dialect
	// write lets one transaction in at a time on SQLite. The database would hold
	// the others back as well, but by making them poll.
	write      sync.Mutex
	statements atomic.Int64
}

// Open connects to the database. It does not touch the schema; see Migrate.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 10
	}
	var (
		d       dialect
		db, edb *sql.DB
		err     error
	)
	switch {
	case strings.HasPrefix(cfg.URL, "postgres://"), strings.HasPrefix(cfg.URL, "postgresql://"):
		d, db, edb, err = openPostgres(cfg)
	case strings.HasPrefix(cfg.URL, "sqlite:"):
		d, db, err = openSQLite(cfg)
		edb = db
	default:
		return nil, errors.New("database url must begin with either of postgres:// and sqlite: to name its kind")
	}
	if err != nil {
		return nil, err
	}
	s := &Store{
		db: bun.NewDB(db, d.bun(), bun.WithDiscardUnknownColumns()), engine: bun.NewDB(edb, d.bun(), bun.WithDiscardUnknownColumns()), dialect: d,
	}
	s.db = s.db.WithQueryHook(countStatements{&s.statements})
	if !d.embedded() {
		s.engine = s.engine.WithQueryHook(countStatements{&s.statements})
	} else {
		s.engine = s.db
	}
	if err := s.Ping(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// Statements counts what was sent to the database so far.
func (s *Store) Statements() int64 { return s.statements.Load() }

// countStatements counts what goes through bun; what goes past it counts itself.
type countStatements struct{ n *atomic.Int64 }

// BeforeQuery counts one statement.
func (c countStatements) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context {
	c.n.Add(1)
	return ctx
}

// AfterQuery does nothing.
func (countStatements) AfterQuery(context.Context, *bun.QueryEvent) {}

// Close ends all connections.
func (s *Store) Close() error { return errors.Join(s.engine.Close(), s.db.Close()) }

// Ping tells whether the database answers. It asks as reads do: that the server has
// ended a connection of the pool does not count.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	return s.err(s.db.QueryRowContext(ctx, "SELECT 1").Scan(&one))
}

// Embedded tells whether this is a database inside the process, which other
// processes cannot share.
func (s *Store) Embedded() bool { return s.dialect.embedded() }

// Now asks the database for the time.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if s.Embedded() {
		return time.Now().UTC(), nil // the same host and the same clock
	}
	var now time.Time
	err := s.db.QueryRowContext(ctx, "SELECT clock_timestamp()").Scan(&now)
	return now.UTC(), s.err(err)
}

// inTx runs fn in a transaction and commits it if fn returns nil. Nothing that
// waits for a network may happen in fn.
func (s *Store) inTx(ctx context.Context, fn func(tx bun.Tx) error) error {
	if s.dialect.embedded() {
		s.write.Lock()
		defer s.write.Unlock()
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return s.err(err)
	}
	// A cancelled context must not keep the connection in a half-done transaction.
	defer func() { _ = tx.Rollback() }()
	if err := fn(tx); err != nil {
		return s.err(err)
	}
	return s.err(tx.Commit())
}
