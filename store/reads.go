package store

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/stdlib"
)

// rereading makes connections of which a server may have ended any at any time, by
// a restart or on somebody's order: that shows only when the next statement is
// answered. What only reads is then asked again on another connection.
type rereading struct{ driver.Connector }

// Connect makes a connection.
func (c rereading) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	pg, ok := conn.(*stdlib.Conn)
	if !ok {
		return nil, fmt.Errorf("store: a connection is a %T", conn)
	}
	return rereadConn{pg}, nil
}

type rereadConn struct{ *stdlib.Conn }

// QueryContext asks, and fails with driver.ErrBadConn where the connection ended
// before the first row of a SELECT came: database/sql then asks again, up to twice
// on connections of the pool and at last on a new one. Within a transaction it does
// not. What writes is not repeated: it may have been done.
func (c rereadConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.Conn.QueryContext(ctx, query, args)
	// A connection is closed by its user's context as well, and then nobody waits.
	if err != nil && c.Conn.Conn().IsClosed() && ctx.Err() == nil && onlyReads(query) {
		return nil, fmt.Errorf("%w: %w", driver.ErrBadConn, err)
	}
	return rows, err
}

// onlyReads tells whether a statement of this package certainly changes nothing.
// Those that lock rows are in transactions.
func onlyReads(query string) bool {
	return strings.HasPrefix(strings.TrimLeft(query, "( \n\t"), "SELECT ")
}
