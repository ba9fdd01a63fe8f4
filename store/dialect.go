package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/schema"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/10ex/flows/models"
)

// dialect is every difference between the two databases that callers would
// otherwise have to know.
type dialect interface {
	bun() schema.Dialect
	embedded() bool
	// inRunTx runs fn in a transaction for WithRuns.
	inRunTx(ctx context.Context, s *Store, fn func(tx *RunTx) error) error
	// prepared fits a query with $1, $2 … to the driver, so that it is prepared once.
	prepared(query string, args []any) (string, []any)
	// waitGroups is the statement of WaitGroups.
	waitGroups() string
	// knownEvents is the statement of AddEvents that finds what is there already.
	knownEvents() string
	// listening is the statement of Listening.
	listening() string
	// claimEvents does what Tenant.ClaimEvents does, in no order.
	claimEvents(ctx context.Context, t *Tenant, events []models.EventID, now, until time.Time) ([]*models.Event, error)
	// recordMatches does what Tenant.RecordMatches does.
	recordMatches(ctx context.Context, t *Tenant, r matchRecord) error
	// renew moves the end of leases and gives the tokens of those still held.
	renew(ctx context.Context, tx bun.Tx, rows []leaseRow, worker string, until time.Time, tokens *[]string) error
	// forUpdate locks the selected rows. On SQLite a transaction that writes is
	// alone anyway (BEGIN IMMEDIATE), so there is nothing to add.
	forUpdate(q *bun.SelectQuery, mode string) *bun.SelectQuery
	// metadataHas restricts q to rows whose metadata holds key with value.
	metadataHas(q *bun.SelectQuery, key, value string) *bun.SelectQuery
	// listHas restricts q to rows whose column, a JSON list of texts, holds value.
	listHas(q *bun.SelectQuery, column, value string) *bun.SelectQuery
	// contains restricts q to rows where text is a part of one of the columns,
	// whatever the case of its letters.
	contains(q *bun.SelectQuery, text string, columns ...string) *bun.SelectQuery
	// kind tells what a driver's error means.
	kind(err error) error
}

type postgres struct{}

// openPostgres opens two pools: one for all kinds of queries, and one for the
// engine's transactions.
func openPostgres(cfg Config) (d dialect, db, engine *sql.DB, err error) {
	pc, err := pgx.ParseConfig(cfg.URL)
	if err != nil {
		return nil, nil, nil, errors.New("database url is not a valid postgres url") // the error may repeat the password
	}
	set := func(c *pgx.ConnConfig, k, v string) {
		if _, ok := c.RuntimeParams[k]; !ok {
			c.RuntimeParams[k] = v
		}
	}
	set(pc, "application_name", "flows")
	// A held lock becomes an error that is tried again, not a pool that runs dry.
	set(pc, "lock_timeout", "5000")
	set(pc, "idle_in_transaction_session_timeout", "30000")
	// Every statement finds a few rows by an index. Where the planner thinks otherwise,
	// compiling it first would cost a hundred times what running it does.
	set(pc, "jit", "off")
	ec := pc.Copy()
	// The engine can do without: it goes on with the runs that nobody holds.
	if ec.RuntimeParams["lock_timeout"] == "5000" {
		ec.RuntimeParams["lock_timeout"] = "1000"
	}
	// bun writes arguments into the statement, so each one differs and preparing
	// them by name would only fill the server's memory.
	pc.DefaultQueryExecMode = pgx.QueryExecModeExec
	// The engine's statements are few and have a fixed text: they are prepared, and
	// planned once. All find rows by their keys, so a nested loop over an index is
	// right whatever the statistics say; without these settings a plan made while a
	// table was small or never analysed would be kept, and read all of it for ever.
	ec.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	ec.StatementCacheCapacity = 64
	for _, k := range []string{"enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_incremental_sort"} {
		set(ec, k, "off")
	}
	set(ec, "plan_cache_mode", "force_generic_plan")
	return postgres{}, openPool(rereading{connector(pc)}, cfg.MaxConns), openPool(connector(ec), max(2, cfg.MaxConns/2)), nil
}

func connector(c *pgx.ConnConfig) driver.Connector {
	return stdlib.GetConnector(*c, stdlib.OptionAfterConnect(ourTypes))
}

func openPool(c driver.Connector, conns int) *sql.DB {
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db
}

// ourTypes makes a connection give times in UTC, where the driver's default is the
// zone of this host, and take array.
func ourTypes(_ context.Context, conn *pgx.Conn) error {
	conn.TypeMap().RegisterType(&pgtype.Type{
		Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
	})
	registerArrays(conn.TypeMap())
	return nil
}

func (postgres) bun() schema.Dialect { return pgDialect{pgdialect.New()} }
func (postgres) embedded() bool      { return false }

func (postgres) forUpdate(q *bun.SelectQuery, mode string) *bun.SelectQuery { return q.For(mode) }

func (postgres) metadataHas(q *bun.SelectQuery, key, value string) *bun.SelectQuery {
	return q.Where("metadata @> jsonb_build_object(?::text, ?::text)", key, value)
}

func (postgres) listHas(q *bun.SelectQuery, column, value string) *bun.SelectQuery {
	return q.Where("EXISTS (SELECT 1 FROM json_array_elements_text(?) AS item WHERE item = ?)", bun.Safe(column), value)
}

func (postgres) contains(q *bun.SelectQuery, text string, columns ...string) *bun.SelectQuery {
	return containsAny(q, "strpos(lower(?), lower(?)) > 0", text, columns)
}

// containsAny needs no pattern, in which signs of the text would have to be masked.
func containsAny(q *bun.SelectQuery, condition, text string, columns []string) *bun.SelectQuery {
	return q.WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery {
		for _, c := range columns {
			q = q.WhereOr(condition, bun.Safe(c), text)
		}
		return q
	})
}

func (postgres) kind(err error) error {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch {
		case pe.Code == "23505":
			return models.ErrConflict
		case pe.Code == "23503": // what the row would belong to is not there
			return models.ErrNotFound
		case pe.Code == "40001", pe.Code == "40P01": // serialization, deadlock
			return errTryAgain
		case pe.Code == "55P03": // lock timeout
			return errHeld
		case pe.Code[:2] == "08", pe.Code[:2] == "53", pe.Code[:2] == "57": // connection, resources, shutdown
			return models.ErrUnavailable
		}
		return nil
	}
	var ce *pgconn.ConnectError
	// Safe to retry: it was never sent, for the connection was found dead.
	if errors.As(err, &ce) || pgconn.Timeout(err) || pgconn.SafeToRetry(err) {
		return models.ErrUnavailable
	}
	return connectionKind(err)
}

type sqliteDialect struct{}

func openSQLite(cfg Config) (dialect, *sql.DB, error) {
	path := strings.TrimPrefix(cfg.URL, "sqlite:")
	if path == "" || strings.Contains(path, ":memory:") {
		return nil, nil, errors.New("sqlite url needs the path of a file")
	}
	if err := registerLower(); err != nil {
		return nil, nil, fmt.Errorf("sqlite: %w", err)
	}
	q := url.Values{"_txlock": {"immediate"}, "_timezone": {"UTC"}, "_pragma": {
		"busy_timeout(10000)", "journal_mode(WAL)",
		// NORMAL survives a killed process; only a power cut may lose the last commits.
		"synchronous(NORMAL)",
		"foreign_keys(1)", "temp_store(MEMORY)", "cache_size(-16000)",
	}}
	// In the name of a file may be what means something else in a URL.
	path = (&url.URL{Path: path}).EscapedPath()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: path, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, nil, fmt.Errorf("sqlite file: %w", err)
	}
	db.SetMaxOpenConns(cfg.MaxConns)
	db.SetMaxIdleConns(cfg.MaxConns)
	return sqliteDialect{}, db, nil
}

func (sqliteDialect) bun() schema.Dialect { return sqlDialect{sqlitedialect.New()} }
func (sqliteDialect) embedded() bool      { return true }

func (sqliteDialect) forUpdate(q *bun.SelectQuery, _ string) *bun.SelectQuery { return q }

// metadataHas looks for the text of the pair, which is ten times as fast as reading
// the JSON. It cannot be mistaken: quotes inside of a key or value are masked.
func (sqliteDialect) metadataHas(q *bun.SelectQuery, key, value string) *bun.SelectQuery {
	return q.Where("instr(metadata, ?) > 0", string(marshalled(&key))+":"+string(marshalled(&value)))
}

func (sqliteDialect) listHas(q *bun.SelectQuery, column, value string) *bun.SelectQuery {
	return q.Where("EXISTS (SELECT 1 FROM json_each(?) AS item WHERE item.value = ?)", bun.Safe(column), value)
}

func (sqliteDialect) contains(q *bun.SelectQuery, text string, columns ...string) *bun.SelectQuery {
	return containsAny(q, "instr(flows_lower(?), flows_lower(?)) > 0", text, columns)
}

// registerLower teaches SQLite the case of letters beyond ASCII. The driver keeps
// functions for the whole process.
var registerLower = sync.OnceValue(func() error {
	return sqlite.RegisterDeterministicScalarFunction("flows_lower", 1, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		text, _ := args[0].(string)
		return strings.ToLower(text), nil
	})
})

func (sqliteDialect) kind(err error) error {
	if se, ok := errors.AsType[*sqlite.Error](err); ok {
		switch se.Code() {
		case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE:
			return models.ErrConflict
		case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: // what the row would belong to is not there
			return models.ErrNotFound
		}
		switch se.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return errTryAgain
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
			return models.ErrUnavailable
		}
		return nil
	}
	return connectionKind(err)
}

// connectionKind recognises what a lost connection looks like below any driver.
func connectionKind(err error) error {
	var ne net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return nil
	case errors.As(err, &ne), errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return models.ErrUnavailable
	}
	return nil
}

// errTryAgain marks a transaction the database gave up for reasons that pass. It
// counts as unavailable where nobody tries again.
var errTryAgain = fmt.Errorf("the database gave the transaction up: %w", models.ErrUnavailable)

// errHeld marks one that has waited in vain for what another holds.
var errHeld = fmt.Errorf("another transaction holds what this one needs: %w", errTryAgain)

// err puts our kind in front of a driver's error.
func (s *Store) err(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return models.ErrNotFound
	}
	for _, ours := range []error{models.ErrNotFound, models.ErrConflict, models.ErrInvalid, models.ErrUnavailable} {
		if errors.Is(err, ours) {
			return err
		}
	}
	if kind := s.dialect.kind(err); kind != nil {
		return fmt.Errorf("%w: %w", kind, err)
	}
	return err
}

// TryAgain tells whether the same transaction may well work a moment later.
func TryAgain(err error) bool { return errors.Is(err, errTryAgain) }

// Held tells whether a transaction has waited in vain for what another holds.
func Held(err error) bool { return errors.Is(err, errHeld) }
