package store

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/uptrace/bun/migrate"

	"github.com/10ex/flows/migrations"
	"github.com/10ex/flows/models"
)

// Migration is one step of the schema and whether this database has it.
type Migration struct {
	Name    string `json:"name"`
	Applied bool   `json:"applied"`
}

// ErrOldSchema means the database lacks migrations this binary needs.
var ErrOldSchema = errors.New("the database schema is older than this binary")

func (s *Store) migrator() (*migrate.Migrator, error) {
	files := migrations.Postgres()
	if s.dialect.embedded() {
		files = migrations.SQLite()
	}
	all := migrate.NewMigrations()
	if err := all.Discover(files); err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	// Without it a migration that failed would count as done.
	return migrate.NewMigrator(s.db, all, migrate.WithMarkAppliedOnSuccess(true)), nil
}

// Migrate brings the schema up to date and tells what it applied. Any number of
// processes may call it at once: one works, the others wait.
func (s *Store) Migrate(ctx context.Context) ([]Migration, error) {
	m, err := s.migrator()
	if err != nil {
		return nil, err
	}
	unlock, err := s.lockMigrations(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := m.Init(ctx); err != nil {
		return nil, s.err(err)
	}
	group, err := m.Migrate(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", s.err(err))
	}
	var done []Migration
	for _, one := range group.Migrations {
		done = append(done, Migration{Name: one.String(), Applied: true})
	}
	return done, nil
}

// lockMigrations holds a session lock on PostgreSQL, which ends with the
// connection whatever happens to the process; SQLite has one process, and there
// no other transaction writes meanwhile.
func (s *Store) lockMigrations(ctx context.Context) (unlock func(), err error) {
	if s.dialect.embedded() {
		s.write.Lock()
		return s.write.Unlock, nil
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, s.err(err)
	}
	// The key is of this schema: the lock is wider than a schema, and stores in
	// other schemas of the same database have no business with ours.
	var schema string
	if err := conn.QueryRowContext(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
		_ = conn.Close()
		return nil, s.err(err)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte("flows migrations " + schema))
	key := int64(h.Sum64())
	if _, err := conn.ExecContext(ctx, "SET lock_timeout = 0; SELECT pg_advisory_lock(?)", key); err != nil {
		_ = conn.Close()
		return nil, s.err(err)
	}
	return func() {
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock(?); SET lock_timeout = 5000", key)
		_ = conn.Close()
	}, nil
}

// Migrations lists every migration, oldest first.
func (s *Store) Migrations(ctx context.Context) ([]Migration, error) {
	m, err := s.migrator()
	if err != nil {
		return nil, err
	}
	if err := m.Init(ctx); err != nil {
		return nil, s.err(err)
	}
	all, err := m.MigrationsWithStatus(ctx)
	if err != nil {
		return nil, s.err(err)
	}
	out := make([]Migration, 0, len(all))
	for _, one := range all {
		out = append(out, Migration{Name: one.String(), Applied: one.IsApplied()})
	}
	return out, nil
}

// CheckSchema fails with ErrOldSchema where a migration is missing. It changes
// nothing, so a role may call it at any time.
func (s *Store) CheckSchema(ctx context.Context) error {
	m, err := s.migrator()
	if err != nil {
		return err
	}
	all, err := m.MigrationsWithStatus(ctx)
	if err != nil {
		if k := s.err(err); errors.Is(k, models.ErrUnavailable) {
			return k
		}
		return ErrOldSchema // the table of migrations is not there yet
	}
	for _, one := range all {
		if !one.IsApplied() {
			return ErrOldSchema
		}
	}
	return nil
}
