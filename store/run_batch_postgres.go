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

// readRows takes the rows of one statement of a bunch.
type readRows func(pgx.Rows) error

// send executes statements in one round trip. reads has, by the index of their
// statement, who is handed the rows of those that give some.
func (b *arrayBatch) send(ctx context.Context, q *pgx.Batch, reads map[int]readRows) error {
	b.store.statements.Add(int64(q.Len()))
	return b.conn.Raw(func(c any) error {
		res := c.(*stdlib.Conn).Conn().SendBatch(ctx, q)
		var err error
		for i := range q.QueuedQueries {
			if read := reads[i]; read != nil {
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

// rollback gives the connection back clean, or not at all.
func (b *arrayBatch) rollback() {
	if !b.began || b.committed {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = b.conn.Raw(func(c any) error {
		if _, err := c.(*stdlib.Conn).Conn().Exec(ctx, "ROLLBACK", pgx.QueryExecModeSimpleProtocol); err != nil {
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
	q := &pgx.Batch{}
	reads := map[int]readRows{}
	q.Queue("BEGIN")
	b.began = true
	if len(w.runs) > 0 {
		statement := lockRuns
		if w.skipHeld {
			statement = lockFreeRuns
		}
		reads[q.Len()] = scanRuns(&l.runs)
		q.Queue(statement, runKeyArgs(w.runs)...)
	}
	if len(w.steps) > 0 {
		reads[q.Len()] = scanSteps(&l.steps)
		q.Queue(loadSteps, stepKeyArgs(w.steps)...)
	}
	if len(w.payloads) > 0 {
		reads[q.Len()] = scanPayloads(&l.payloads)
		q.Queue(loadPayloads, runKeyArgs(w.payloads)...)
	}
	if err = b.send(ctx, q, reads); err == nil && w.skipHeld {
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
	q := &pgx.Batch{}
	q.Queue(findRuns, runKeyArgs(missing)...)
	return held, b.send(ctx, q, map[int]readRows{0: func(r pgx.Rows) error {
		for r.Next() {
			var k runKey
			if err := r.Scan(&k.WorkspaceID, &k.ID); err != nil {
				return err
			}
			held = append(held, k)
		}
		return nil
	}})
}

func (b *arrayBatch) payloads(ctx context.Context, keys []runKey) (rows []*models.Run, err error) {
	q := &pgx.Batch{}
	q.Queue(loadPayloads, runKeyArgs(keys)...)
	err = b.send(ctx, q, map[int]readRows{0: scanPayloads(&rows)})
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
	q := &pgx.Batch{}
	q.Queue(loadSteps, stepKeyArgs(keys)...)
	err = b.send(ctx, q, map[int]readRows{0: scanSteps(&rows)})
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

func stepKeyArgs(keys []stepKey) []any {
	return []any{
		column(keys, func(k stepKey) string { return string(k.WorkspaceID) }), column(keys, func(k stepKey) string { return string(k.RunID) }),
		column(keys, func(k stepKey) string { return k.StepID }), column(keys, func(k stepKey) int32 { return int32(k.Iteration) }),
		column(keys, func(k stepKey) bool { return k.WithInput }),
	}
}

func runKeyArgs(keys []runKey) []any {
	return []any{
		column(keys, func(k runKey) string { return string(k.WorkspaceID) }), column(keys, func(k runKey) string { return string(k.ID) }),
	}
}

// column gives one field of every row, as an array argument.
func column[R, V any](rows []R, get func(R) V) []V {
	out := make([]V, len(rows))
	for i, r := range rows {
		out[i] = get(r)
	}
	return out
}

// field is a column of a table, with the array of it that goes to the server.
type field[R any] struct {
	name  string
	typ   string // of the array's items
	cast  string // to the column's type, where it is another
	array func(rows []*R) any
}

func fieldOf[R, V any](name, typ string, get func(*R) V) field[R] {
	return field[R]{name: name, typ: typ, array: func(rows []*R) any {
		values := column(rows, get)
		if texts, ok := any(values).([]string); ok {
			for i, s := range texts {
				texts[i] = keepable(s)
			}
		}
		return values
	}}
}

// jsonField sends JSON as text: the server checks it while casting.
func jsonField[R any](name, cast string, get func(*R) json.RawMessage) field[R] {
	return field[R]{name: name, typ: "text", cast: cast, array: func(rows []*R) any {
		return column(rows, func(r *R) *string {
			raw := get(r)
			if raw == nil {
				return nil
			}
			s := string(keepableJSON(raw))
			return &s
		})
	}}
}

// marshalled gives nil for what is nil, so that the column is NULL.
func marshalled[T any](p *T) json.RawMessage {
	if p == nil {
		return nil
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic("store: " + err.Error()) // strings and numbers always marshal
	}
	return b
}

func text[T ~string](p *T) *string {
	if p == nil {
		return nil
	}
	s := keepable(string(*p))
	return &s
}

var runFields = []field[models.Run]{
	fieldOf("workspace_id", "text", func(r *models.Run) string { return string(r.WorkspaceID) }),
	fieldOf("id", "text", func(r *models.Run) string { return string(r.ID) }),
	fieldOf("workflow_id", "text", func(r *models.Run) string { return string(r.WorkflowID) }),
	fieldOf("workflow_version", "int", func(r *models.Run) int32 { return int32(r.WorkflowVersion) }),
	fieldOf("workflow_name", "text", func(r *models.Run) string { return r.WorkflowName }),
	fieldOf("status", "text", func(r *models.Run) string { return string(r.Status) }),
	fieldOf("halted", "bool", func(r *models.Run) bool { return r.Halted }),
	fieldOf("active_steps", "int", func(r *models.Run) int32 { return int32(r.ActiveSteps) }),
	fieldOf("waiting_steps", "int", func(r *models.Run) int32 { return int32(r.WaitingSteps) }),
	fieldOf("last_seq", "bigint", func(r *models.Run) int64 { return r.LastSeq }),
	fieldOf("trigger_type", "text", func(r *models.Run) string { return string(r.TriggerType) }),
	fieldOf("trigger_id", "text", func(r *models.Run) *string { return text(r.TriggerID) }),
	fieldOf("event_id", "text", func(r *models.Run) *string { return text(r.EventID) }),
	jsonField("payload", "json", func(r *models.Run) json.RawMessage { return r.Payload }),
	jsonField("output", "json", func(r *models.Run) json.RawMessage { return r.Output }),
	jsonField("error", "json", func(r *models.Run) json.RawMessage { return marshalled(r.Error) }),
	fieldOf("rerun_of", "text", func(r *models.Run) *string { return text(r.RerunOf) }),
	jsonField("metadata", "jsonb", func(r *models.Run) json.RawMessage {
		if r.Metadata == nil {
			return nil
		}
		return marshalled(&r.Metadata)
	}),
	fieldOf("created_at", "timestamptz", func(r *models.Run) time.Time { return r.CreatedAt }),
	fieldOf("depth", "int", func(r *models.Run) int32 { return int32(r.Depth) }),
	fieldOf("started_at", "timestamptz", func(r *models.Run) *time.Time { return r.StartedAt }),
	fieldOf("finished_at", "timestamptz", func(r *models.Run) *time.Time { return r.FinishedAt }),
	fieldOf("hold", "text", func(r *models.Run) string { return string(r.Hold) }),
	fieldOf("slot_key", "text", func(r *models.Run) *string { return text(r.SlotKey) }),
	fieldOf("slot_seq", "bigint", func(r *models.Run) int64 { return r.SlotSeq }),
	fieldOf("debounce_key", "text", func(r *models.Run) *string { return text(r.DebounceKey) }),
	fieldOf("from_step", "text", func(r *models.Run) string { return r.FromStep }),
	fieldOf("begin_at", "timestamptz", func(r *models.Run) *time.Time { return r.BeginAt }),
	fieldOf("deadline_at", "timestamptz", func(r *models.Run) *time.Time { return r.DeadlineAt }),
	fieldOf("paused_at", "timestamptz", func(r *models.Run) *time.Time { return r.PausedAt }),
	fieldOf("attend_at", "timestamptz", func(r *models.Run) *time.Time { return r.AttendAt }),
}

var stepFields = []field[models.Step]{
	fieldOf("workspace_id", "text", func(s *models.Step) string { return string(s.WorkspaceID) }),
	fieldOf("run_id", "text", func(s *models.Step) string { return string(s.RunID) }),
	fieldOf("step_id", "text", func(s *models.Step) string { return s.StepID }),
	fieldOf("iteration", "int", func(s *models.Step) int32 { return int32(s.Iteration) }),
	fieldOf("type", "text", func(s *models.Step) string { return string(s.Type) }),
	fieldOf("status", "text", func(s *models.Step) string { return string(s.Status) }),
	fieldOf("attempt", "int", func(s *models.Step) int32 { return int32(s.Attempt) }),
	fieldOf("crashes", "int", func(s *models.Step) int32 { return int32(s.Crashes) }),
	fieldOf("deliveries", "int", func(s *models.Step) int32 { return int32(s.Deliveries) }),
	fieldOf("due_at", "timestamptz", func(s *models.Step) *time.Time { return s.DueAt }),
	fieldOf("attend_at", "timestamptz", func(s *models.Step) *time.Time { return s.AttendAt }),
	fieldOf("lease_token", "text", func(s *models.Step) string { return s.LeaseToken }),
	fieldOf("worker_id", "text", func(s *models.Step) string { return s.WorkerID }),
	fieldOf("effect_at", "timestamptz", func(s *models.Step) *time.Time { return s.EffectAt }),
	fieldOf("arrived", "int", func(s *models.Step) int32 { return int32(s.Arrived) }),
	fieldOf("settled", "int", func(s *models.Step) int32 { return int32(s.Settled) }),
	fieldOf("iter_total", "int", func(s *models.Step) int32 { return int32(s.IterTotal) }),
	fieldOf("iter_next", "int", func(s *models.Step) int32 { return int32(s.IterNext) }),
	fieldOf("iter_active", "int", func(s *models.Step) int32 { return int32(s.IterActive) }),
	fieldOf("iter_done", "int", func(s *models.Step) int32 { return int32(s.IterDone) }),
	jsonField("input", "json", func(s *models.Step) json.RawMessage { return s.Input }),
	jsonField("output", "json", func(s *models.Step) json.RawMessage { return s.Output }),
	jsonField("error", "json", func(s *models.Step) json.RawMessage { return marshalled(s.Error) }),
	jsonField("taken", "json", func(s *models.Step) json.RawMessage {
		if s.Taken == nil {
			return nil
		}
		return marshalled(&s.Taken)
	}),
	fieldOf("reason", "text", func(s *models.Step) string { return s.Reason }),
	jsonField("usage", "json", func(s *models.Step) json.RawMessage { return s.Usage }),
	fieldOf("queued_at", "timestamptz", func(s *models.Step) *time.Time { return s.QueuedAt }),
	fieldOf("started_at", "timestamptz", func(s *models.Step) *time.Time { return s.StartedAt }),
	fieldOf("finished_at", "timestamptz", func(s *models.Step) *time.Time { return s.FinishedAt }),
	fieldOf("wake_at", "timestamptz", func(s *models.Step) *time.Time { return s.WakeAt }),
}

var logFields = []field[models.RunLog]{
	fieldOf("workspace_id", "text", func(l *models.RunLog) string { return string(l.WorkspaceID) }),
	fieldOf("run_id", "text", func(l *models.RunLog) string { return string(l.RunID) }),
	fieldOf("seq", "bigint", func(l *models.RunLog) int64 { return l.Seq }),
	fieldOf("at", "timestamptz", func(l *models.RunLog) time.Time { return l.At }),
	jsonField("lines", "json", func(l *models.RunLog) json.RawMessage { return marshalled(&l.Lines) }),
}

var (
	insertRuns  = insertSQL("runs", runFields)
	insertSteps = insertSQL("steps", stepFields)
	insertLog   = insertSQL("run_log", logFields)

	updatedRun  = only(runFields, append([]string{"workspace_id", "id"}, runMutable...))
	updatedStep = only(stepFields, append([]string{"workspace_id", "run_id", "step_id", "iteration", "input"}, stepMutable...))
	updateRuns  = updateSQL("runs", updatedRun, []string{"workspace_id", "id"}, "")
	updateSteps = updateSQL("steps", updatedStep, []string{"workspace_id", "run_id", "step_id", "iteration"}, "input")
)

// only picks fields by name, in the order of the table.
func only[R any](fields []field[R], names []string) []field[R] {
	want := map[string]bool{}
	for _, n := range names {
		want[n] = true
	}
	var out []field[R]
	for _, f := range fields {
		if want[f.name] {
			out = append(out, f)
		}
	}
	return out
}

// source is the FROM clause that makes rows of the arrays, and the columns of it.
func source[R any](fields []field[R]) (from string, columns map[string]string) {
	args, names := make([]string, len(fields)), make([]string, len(fields))
	columns = make(map[string]string, len(fields))
	for i, f := range fields {
		args[i] = fmt.Sprintf("$%d::%s[]", i+1, f.typ)
		names[i] = f.name
		columns[f.name] = "data." + f.name
		if f.cast != "" {
			columns[f.name] += "::" + f.cast
		}
	}
	return fmt.Sprintf("unnest(%s) AS data (%s)", strings.Join(args, ", "), strings.Join(names, ", ")), columns
}

func insertSQL[R any](table string, fields []field[R]) string {
	from, columns := source(fields)
	names, values := make([]string, len(fields)), make([]string, len(fields))
	for i, f := range fields {
		names[i], values[i] = f.name, columns[f.name]
	}
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s", table, strings.Join(names, ", "), strings.Join(values, ", "), from)
}

// updateSQL updates by keys. Of kept a NULL leaves the column as it is.
func updateSQL[R any](table string, fields []field[R], keys []string, kept string) string {
	from, columns := source(fields)
	isKey := map[string]bool{}
	var where, set []string
	for _, k := range keys {
		isKey[k] = true
		where = append(where, fmt.Sprintf("old.%s = data.%s", k, k))
	}
	for _, f := range fields {
		switch {
		case isKey[f.name]:
		case f.name == kept:
			set = append(set, fmt.Sprintf("%s = COALESCE(%s, old.%s)", f.name, columns[f.name], f.name))
		default:
			set = append(set, fmt.Sprintf("%s = %s", f.name, columns[f.name]))
		}
	}
	return fmt.Sprintf("UPDATE %s AS old SET %s FROM %s WHERE %s", table, strings.Join(set, ", "), from, strings.Join(where, " AND "))
}

func queue[R any](q *pgx.Batch, statement string, fields []field[R], rows []*R) {
	if len(rows) == 0 {
		return
	}
	args := make([]any, len(fields))
	for i, f := range fields {
		args[i] = f.array(rows)
	}
	q.Queue(statement, args...)
}

func (b *arrayBatch) save(ctx context.Context, c *Changes) error {
	q := &pgx.Batch{}
	if !c.empty() {
		if err := saveRare(ctx, b.conn, c); err != nil {
			return err
		}
		queue(q, insertRuns, runFields, c.NewRuns)
		queue(q, updateRuns, updatedRun, c.Runs)
		queue(q, insertSteps, stepFields, c.NewSteps)
		queue(q, updateSteps, updatedStep, c.Steps)
		queue(q, insertLog, logFields, bunches(c.Events))
	}
	reads := map[int]readRows{}
	heard := queueBusEvents(q, reads, c)
	q.Queue("COMMIT")
	if err := b.send(ctx, q, reads); err != nil {
		return err
	}
	b.committed = true
	settleUnheard(c, heard)
	return nil
}
