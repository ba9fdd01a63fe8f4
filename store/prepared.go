package store

import (
	"context"
	"database/sql"
	"errors"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/10ex/flows/models"
)

// The reads that every started run takes have a fixed text, with their arguments
// beside it: PostgreSQL prepares them once a connection, where the text that bun
// writes is parsed and planned anew each time, at several times the cost.
var (
	selectRun      = "SELECT " + strings.Join(columnsOf[models.Run](), ", ") + " FROM runs WHERE workspace_id = $1 AND id = $2"
	selectWorkflow = "SELECT " + strings.Join(columnsOf[models.Workflow](), ", ") + " FROM workflows WHERE workspace_id = $1 AND id = $2"
)

// columnsOf lists the columns of a model in order.
func columnsOf[T any]() []string {
	var out []string
	for field := range reflect.TypeFor[T]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("bun"), ",")
		if name != "" && !strings.HasPrefix(name, "table:") {
			out = append(out, name)
		}
	}
	return out
}

// get reads one row into dest, a pointer to a model, by a prepared statement.
func (s *Store) get(ctx context.Context, dest any, query string, keys ...string) error {
	args := make([]any, len(keys))
	for i, k := range keys {
		if strings.ContainsRune(k, 0) || !utf8.ValidString(k) {
			return sql.ErrNoRows // no row can have such a key, and PostgreSQL does not take it
		}
		args[i] = k
	}
	query, args = s.dialect.prepared(query, args)
	s.statements.Add(1)
	rows, err := s.db.DB.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return err
		}
		return sql.ErrNoRows
	}
	if err := s.db.ScanRow(ctx, rows, dest); err != nil {
		return err
	}
	return rows.Err()
}

// errEnough ends the reading of rows well.
var errEnough = errors.New("enough rows")

// rows reads by a statement of a fixed text, on the engine's connections, whose plans
// go by indexes. Lists of text are one argument. each may end it with errEnough.
func (s *Store) rows(ctx context.Context, query string, each func(*sql.Rows) error, args ...any) error {
	for _, a := range args {
		if text, ok := a.(string); ok && (strings.ContainsRune(text, 0) || !utf8.ValidString(text)) {
			return nil // as in get
		}
	}
	query, args = s.dialect.prepared(query, args)
	s.statements.Add(1)
	rows, err := s.engine.DB.QueryContext(ctx, query, args...)
	if err != nil {
		return s.err(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := each(rows); err != nil {
			if errors.Is(err, errEnough) {
				return nil
			}
			return s.err(err)
		}
	}
	return s.err(rows.Err())
}

// listed reads rows into models as rows reads them.
func listed[T any](ctx context.Context, s *Store, query string, args ...any) (out []*T, err error) {
	err = s.rows(ctx, query, func(r *sql.Rows) error {
		one := new(T)
		out = append(out, one)
		return s.db.ScanRow(ctx, r, one)
	}, args...)
	return out, err
}

func (postgres) prepared(query string, args []any) (string, []any) {
	return query, append([]any{pgx.QueryExecModeCacheStatement}, args...)
}

// SQLite numbers its parameters with another sign.
func (sqliteDialect) prepared(query string, args []any) (string, []any) {
	for i, a := range args {
		switch v := a.(type) {
		case []string: // for json_each
			args[i] = string(marshalled(&v))
		case time.Time:
			args[i] = v.UTC().Format("2006-01-02 15:04:05.999999-07:00") // as bun writes it
		}
	}
	return strings.ReplaceAll(query, "$", "?"), args
}
