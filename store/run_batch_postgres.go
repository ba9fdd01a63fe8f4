package store

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// inRunTx runs fn in a transaction whose statements go out in three bunches:
// begin with the locks, what is read, and what is written with the commit. Each
// statement has a fixed text, with a column of all rows as one array argument,
// so the server parses and plans it once a connection. Most of what a step costs
// the database is parsing and round trips; this saves both.
func (postgres) inRunTx(ctx context.Context, s *Store, fn func(tx *RunTx) error) (err error) {
	conn, err := s.engine.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // back to the pool
	b := &arrayBatch{conn: conn, store: s}
	defer func() {
		if p := recover(); p != nil {
			b.rollback()
			panic(p)
		}
		if err != nil {
			b.rollback()
		}
	}()
	if err := fn(&RunTx{tx: conn, batch: b}); err != nil {
		return err
	}
	if !b.committed {
		return errors.New("store: the transaction was not saved")
	}
	return nil
}

// arrayBatch speaks pgx below bun, for prepared statements and pipelining.
type arrayBatch struct {
	conn      bun.Conn
	store     *Store
	began     bool
	committed bool
}

// send executes statements in one round trip. It is the end of the bunch.
func (b *arrayBatch) send(ctx context.Context, q *bunch) error {
	defer q.release()
	b.store.statements.Add(int64(q.Len()))
	return b.conn.Raw(func(c any) error {
		conn, ok := c.(*stdlib.Conn)
		if !ok {
			return driver.ErrBadConn // it is one, for there is one driver
		}
		conn.Conn().PgConn().Frontend().Send(room(len(*q.args) + q.Len()*statementRoom))
		res := conn.Conn().SendBatch(ctx, &q.Batch)
		var err error
		for i := range q.QueuedQueries {
			if read := q.reads[i]; read != nil {
				var rows pgx.Rows
				if rows, err = res.Query(); err == nil {
					err = read(rows)
					rows.Close()
					err = errors.Join(err, rows.Err())
				}
			} else {
				_, err = res.Exec()
			}
			if err != nil {
				break
			}
		}
		if e := res.Close(); err == nil {
			err = e
		}
		return err
	})
}

// statementRoom is what a statement needs beside its arrays, with many of them.
const statementRoom = 512

// rollback gives the connection back clean, or not at all.
func (b *arrayBatch) rollback() {
	if !b.began || b.committed {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = b.conn.Raw(func(c any) error {
		conn, ok := c.(*stdlib.Conn)
		if !ok {
			return driver.ErrBadConn
		}
		if _, err := conn.Conn().Exec(ctx, "ROLLBACK", pgx.QueryExecModeSimpleProtocol); err != nil {
			return driver.ErrBadConn
		}
		return nil
	})
}

const lockRunsSQL = `SELECT %s FROM unnest($1::text[], $2::text[]) AS want (workspace_id, id)
JOIN runs AS run ON run.workspace_id = want.workspace_id AND run.id = want.id`

var (
	// In the order of ids, so that two transactions never wait for each other in a
	// circle. NO KEY: nothing refers to the key of a run.
	lockRuns     = fmt.Sprintf(lockRunsSQL, prefixed("run", runColumns)) + " ORDER BY run.id FOR NO KEY UPDATE OF run"
	lockFreeRuns = lockRuns + " SKIP LOCKED"
	findRuns     = fmt.Sprintf(lockRunsSQL, "run.workspace_id, run.id")
	loadPayloads = fmt.Sprintf(lockRunsSQL, "run.workspace_id, run.id, run.payload")
	loadSteps    = "SELECT " + prefixed("step", stepColumnList) + `, CASE WHEN want.with_input THEN step.input END AS input
FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::bool[]) AS want (workspace_id, run_id, step_id, iteration, with_input)
JOIN steps AS step ON step.workspace_id = want.workspace_id AND step.run_id = want.run_id
  AND step.step_id = want.step_id AND step.iteration = want.iteration`
)

func prefixed(table string, columns []string) string {
	return table + "." + strings.Join(columns, ", "+table+".")
}

// lock sends the begin, the locks and what is foreseen together. Every statement
// sees what was committed when it began, so what follows the locks sees all that
// was done by whoever held them before.
func (b *arrayBatch) lock(ctx context.Context, w lockWants) (l locked, err error) {
	q := newBunch()
	q.ask(nil, "BEGIN")
	b.began = true
	if len(w.runs) > 0 {
		statement := lockRuns
		if w.skipHeld {
			statement = lockFreeRuns
		}
		q.ask(scanRuns(&l.runs), statement, keysOf(q, runKeyFields, w.runs)...)
	}
	if len(w.steps) > 0 {
		q.ask(scanSteps(&l.steps), loadSteps, keysOf(q, stepKeyFields, w.steps)...)
	}
	if len(w.payloads) > 0 {
		q.ask(scanPayloads(&l.payloads), loadPayloads, keysOf(q, runKeyFields, w.payloads)...)
	}
	if err = b.send(ctx, q); err == nil && w.skipHeld {
		l.held, err = b.held(ctx, w.runs, l.runs)
	}
	return l, err
}

func scanRuns(into *[]*models.Run) readRows {
	return func(r pgx.Rows) (err error) {
		for r.Next() {
			run := &models.Run{}
			var meta []byte
			if err = r.Scan(&run.WorkspaceID, &run.ID, &run.WorkflowID, &run.WorkflowVersion, &run.WorkflowName, &run.Status, &run.Halted,
				&run.ActiveSteps, &run.WaitingSteps, &run.LastSeq, &run.TriggerType, &run.TriggerID, &run.EventID,
				&run.Error, &run.RerunOf, &meta, &run.CreatedAt, &run.Depth, &run.StartedAt, &run.FinishedAt,
				&run.Hold, &run.SlotKey, &run.SlotSeq, &run.DebounceKey, &run.FromStep,
				&run.BeginAt, &run.DeadlineAt, &run.PausedAt, &run.AttendAt); err != nil {
				return err
			}
			if meta != nil {
				if err = json.Unmarshal(meta, &run.Metadata); err != nil {
					return err
				}
			}
			*into = append(*into, run)
		}
		return nil
	}
}

// held tells which of keys have a row that is none of those that were locked.
func (b *arrayBatch) held(ctx context.Context, keys []runKey, locked []*models.Run) (held []runKey, err error) {
	mine := map[runKey]bool{}
	for _, r := range locked {
		mine[runKey{r.WorkspaceID, r.ID}] = true
	}
	missing := slices.DeleteFunc(slices.Clone(keys), func(k runKey) bool { return mine[k] })
	if len(missing) == 0 {
		return nil, nil
	}
	q := newBunch()
	q.ask(func(r pgx.Rows) error {
		for r.Next() {
			var k runKey
			if err := r.Scan(&k.WorkspaceID, &k.ID); err != nil {
				return err
			}
			held = append(held, k)
		}
		return nil
	}, findRuns, keysOf(q, runKeyFields, missing)...)
	err = b.send(ctx, q)
	return held, err
}

func (b *arrayBatch) payloads(ctx context.Context, keys []runKey) (rows []*models.Run, err error) {
	q := newBunch()
	q.ask(scanPayloads(&rows), loadPayloads, keysOf(q, runKeyFields, keys)...)
	err = b.send(ctx, q)
	return rows, err
}

func scanPayloads(into *[]*models.Run) readRows {
	return func(r pgx.Rows) error {
		for r.Next() {
			run := &models.Run{}
			if err := r.Scan(&run.WorkspaceID, &run.ID, (*[]byte)(&run.Payload)); err != nil {
				return err
			}
			*into = append(*into, run)
		}
		return nil
	}
}

func (b *arrayBatch) steps(ctx context.Context, keys []stepKey) (rows []*models.Step, err error) {
	q := newBunch()
	q.ask(scanSteps(&rows), loadSteps, keysOf(q, stepKeyFields, keys)...)
	err = b.send(ctx, q)
	return rows, err
}

func scanSteps(into *[]*models.Step) readRows {
	return func(r pgx.Rows) error {
		for r.Next() {
			s := &models.Step{}
			if err := r.Scan(&s.WorkspaceID, &s.RunID, &s.StepID, &s.Iteration, &s.Type, &s.Status, &s.Attempt, &s.Crashes, &s.Deliveries,
				&s.DueAt, &s.AttendAt, &s.LeaseToken, &s.WorkerID, &s.EffectAt, &s.Arrived, &s.Settled,
				&s.IterTotal, &s.IterNext, &s.IterActive, &s.IterDone,
				(*[]byte)(&s.Output), &s.Error, &s.Taken, &s.Reason, (*[]byte)(&s.Usage),
				&s.QueuedAt, &s.StartedAt, &s.FinishedAt, &s.WakeAt, (*[]byte)(&s.Input)); err != nil {
				return err
			}
			*into = append(*into, s)
		}
		return nil
	}
}

func (b *arrayBatch) save(ctx context.Context, c *Changes) error {
	q := newBunch()
	if !c.empty() {
		if err := saveRare(ctx, b.conn, c); err != nil {
			return err
		}
		insertRuns.queue(q, c.NewRuns)
		updateRuns.queue(q, c.Runs)
		insertSteps.queue(q, c.NewSteps)
		updateSteps.queue(q, c.Steps)
		insertLog.queue(q, bunches(c.Events))
	}
	heard := queueBusEvents(q, c)
	q.ask(nil, "COMMIT")
	if err := b.send(ctx, q); err != nil {
		return err
	}
	b.committed = true
	settleUnheard(c, heard)
	return nil
}
