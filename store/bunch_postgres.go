package store

import (
	"sync"

	"github.com/jackc/pgx/v5"
)

// readRows takes the rows of one statement of a bunch.
type readRows func(pgx.Rows) error

// bunch is statements that go out together.
type bunch struct {
	pgx.Batch
	// reads has, by the index of their statement, who is handed the rows of those
	// that give some.
	reads map[int]readRows
	// args holds the arrays of all statements, one after the other.
	args *[]byte
}

// Buffers of arguments are used again, but for those that something huge went through.
var argBuffers = sync.Pool{New: func() any { return new([]byte) }}

const keptArgBuffer = 1 << 20

func newBunch() *bunch {
	return &bunch{reads: map[int]readRows{}, args: argBuffers.Get().(*[]byte)} //nolint:forcetypeassert // the pool holds nothing else
}

// release gives the memory of the arguments back. They must have been sent.
func (q *bunch) release() {
	if cap(*q.args) <= keptArgBuffer {
		*q.args = (*q.args)[:0]
		argBuffers.Put(q.args)
	}
	q.args = nil
}

// ask queues a statement whose rows read takes; nil where it gives none.
func (q *bunch) ask(read readRows, statement string, args ...any) {
	if read != nil {
		q.reads[q.Len()] = read
	}
	q.Queue(statement, args...)
}

// arrays makes arguments of the fields of n rows.
func arrays[R any](q *bunch, fields []field[R], n int, row func(int) *R) []any {
	args, out := make([]array, len(fields)), make([]any, len(fields), len(fields)+3)
	buf := *q.args
	for i, f := range fields {
		from := len(buf)
		buf = f.array(buf, n, row)
		args[i].binary = buf[from:len(buf):len(buf)]
		args[0].room += len(args[i].binary)
		out[i] = &args[i]
	}
	*q.args = buf
	return out
}

func rowsOf[R any](q *bunch, fields []field[R], rows []*R) []any {
	return arrays(q, fields, len(rows), func(i int) *R { return rows[i] })
}

func keysOf[R any](q *bunch, fields []field[R], keys []R) []any {
	return arrays(q, fields, len(keys), func(i int) *R { return &keys[i] })
}
