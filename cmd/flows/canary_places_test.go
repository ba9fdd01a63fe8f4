package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
)

// newTraceSink takes what is exported of traces.
func newTraceSink(t *testing.T, s *sweep) (url string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		s.look(t, "traces", r.URL.Path, string(raw))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// watchRedis looks through everything that Redis holds, over and over, for most of it is
// there for moments only.
func watchRedis(t *testing.T, s *sweep, rdb redis.UniversalClient) (end func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	require.NoError(t, rdb.HSet(ctx, control, "field", "a "+control).Err())
	var watching sync.WaitGroup
	watching.Go(func() {
		often := time.NewTicker(100 * time.Millisecond)
		defer often.Stop()
		for ctx.Err() == nil {
			dumpRedis(ctx, t, s, rdb)
			select {
			case <-often.C:
			case <-ctx.Done():
			}
		}
	})
	return func() {
		stop()
		watching.Wait()
		dumpRedis(t.Context(), t, s, rdb)
	}
}

// dumpRedis looks through every key: its name, its value as its type is read, and its dump.
func dumpRedis(ctx context.Context, t *testing.T, s *sweep, rdb redis.UniversalClient) {
	names := rdb.Scan(ctx, 0, "*", 1000).Iterator()
	for names.Next(ctx) {
		key := names.Val()
		var value any
		switch kind, _ := rdb.Type(ctx, key).Result(); kind {
		case "string":
			value, _ = rdb.Get(ctx, key).Result()
		case "list":
			value, _ = rdb.LRange(ctx, key, 0, -1).Result()
		case "set":
			value, _ = rdb.SMembers(ctx, key).Result()
		case "zset":
			value, _ = rdb.ZRange(ctx, key, 0, -1).Result()
		case "hash":
			value, _ = rdb.HGetAll(ctx, key).Result()
		case "stream":
			value, _ = rdb.XRange(ctx, key, "-", "+").Result()
		}
		raw, _ := rdb.Dump(ctx, key).Result() // some are gone by now
		s.look(t, "Redis", "key "+key, fmt.Sprint(key, " ", value, " ", raw))
	}
}

// newRedisWire stands between the product and Redis and looks through all that goes
// either way, what is published and forgotten too.
func newRedisWire(t *testing.T, s *sweep, redisURL string) (address string, end func()) {
	t.Helper()
	to, err := url.Parse(redisURL)
	require.NoError(t, err)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var pipes sync.WaitGroup
	pipe := func(from, into net.Conn) {
		defer from.Close()
		defer into.Close()
		const overlap = 4 << 10 // longer than any secret is written
		kept := ""
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				if _, err := into.Write(buf[:n]); err != nil {
					return
				}
				kept += string(buf[:n])
				if len(kept) > 1<<20 {
					s.look(t, "what goes to Redis", "a stream", kept)
					kept = kept[len(kept)-overlap:]
				}
			}
			if err != nil {
				s.look(t, "what goes to Redis", "a stream", kept)
				return
			}
		}
	}
	pipes.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := new(net.Dialer).DialContext(t.Context(), "tcp", to.Host)
			if err != nil {
				_ = conn.Close()
				continue
			}
			pipes.Go(func() { pipe(conn, upstream) })
			pipes.Go(func() { pipe(upstream, conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close() })
	through := *to
	through.Host = l.Addr().String()
	return through.String(), func() {
		_ = l.Close()
		pipes.Wait()
	}
}

// sweepPostgres looks through every column of every table.
func sweepPostgres(t *testing.T, s *sweep, address string) {
	t.Helper()
	db, err := sql.Open("pgx", address)
	require.NoError(t, err)
	defer db.Close()
	sweepTables(t, s, db, `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()`)
}

func sweepSQLite(t *testing.T, s *sweep, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	sweepTables(t, s, db, `SELECT name FROM sqlite_master WHERE type = 'table'`)
}

func sweepTables(t *testing.T, s *sweep, db *sql.DB, list string) {
	t.Helper()
	var tables []string
	rows, err := db.QueryContext(t.Context(), list)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		tables = append(tables, name)
	}
	require.NoError(t, rows.Err())
	require.Greater(t, len(tables), 15)
	for _, table := range tables {
		rows, err := db.QueryContext(t.Context(), `SELECT * FROM "`+table+`"`) //nolint:sqlclosecheck,unqueryvet // the name is the database's own, and all columns are wanted
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		for rows.Next() {
			require.NoError(t, rows.Scan(into...))
			var row strings.Builder
			for i, v := range values {
				if raw, ok := v.([]byte); ok {
					v = string(raw)
				}
				fmt.Fprintf(&row, "%s=%v\n", columns[i], v)
			}
			s.look(t, "the database", "table "+table, row.String())
		}
		require.NoError(t, rows.Err())
	}
}
