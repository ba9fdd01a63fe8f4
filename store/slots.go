package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// SlotKey is what the starts of a workflow have in common that are limited, or
// gathered, together. Kind tells which of the two.
type SlotKey struct {
	Workspace models.WorkspaceID
	Workflow  models.WorkflowID
	Kind      models.Hold
	Key       string
}

// lock is the number that is locked for the key. Two keys with one number wait for
// each other for nothing, and that is all.
func (k SlotKey) lock() int64 {
	h := fnv.New64a()
	for _, part := range []string{string(k.Workspace), string(k.Workflow), string(k.Kind), k.Key} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		_, _ = h.Write(n[:])
		_, _ = h.Write([]byte(part))
	}
	return int64(h.Sum64())
}

// SlotWant asks for a key.
type SlotWant struct {
	SlotKey
	Line int // how many of those in line are to be read
}

// Slot is what stands behind a key.
type Slot struct {
	Active  int          // runs that have begun and not ended; counted up to a little over models.MaxConcurrency
	Holder  models.RunID // the first of them
	Line    []int64      // tickets of those that wait, the first ones first
	Last    int64        // the highest ticket
	Pending models.RunID // the run that gathers starts, where there is one
}

// Slots locks keys for the rest of the transaction and tells what stands behind
// them. Whoever starts a run, or lets one begin that was held, does this first, so
// that nobody decides by what another one is changing; whoever ends a run does not,
// and is counted until it has committed: that errs on the side of the limit.
//
// It is called at most once a transaction, after the rows of runs are locked. The
// order is runs by id, then keys by number, so two of these never wait for each other
// in a circle. Keys that another transaction holds are left out where held runs are.
func (tx *RunTx) Slots(ctx context.Context, wants []SlotWant, skipHeld bool) (map[SlotKey]*Slot, error) {
	return tx.batch.slots(ctx, wants, skipHeld)
}

// In the order of the arguments, which are sorted.
const (
	lockSlots = `SELECT pg_advisory_xact_lock(want.n) FROM unnest($1::bigint[]) AS want (n)`
	trySlots  = `SELECT want.n, pg_try_advisory_xact_lock(want.n) FROM unnest($1::bigint[]) AS want (n)`
)

const slotWants = `unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::int[]) AS want (n, workspace_id, workflow_id, key, line)`

const ofSlot = `run.workspace_id = want.workspace_id AND run.workflow_id = want.workflow_id AND run.slot_key = want.key AND run.finished_at IS NULL`

const slotFacts = `
  (SELECT count(*) FROM (SELECT 1 FROM runs AS run WHERE ` + ofSlot + ` AND run.hold = '' LIMIT 1001) AS active),
  COALESCE((SELECT run.id FROM runs AS run WHERE ` + ofSlot + ` AND run.hold = '' ORDER BY run.slot_seq LIMIT 1), ''),
  COALESCE((SELECT run.slot_seq FROM runs AS run WHERE ` + ofSlot + ` AND run.hold = '' ORDER BY run.slot_seq DESC LIMIT 1), 0),
  COALESCE((SELECT run.slot_seq FROM runs AS run WHERE ` + ofSlot + ` AND run.hold = 'concurrency' ORDER BY run.slot_seq DESC LIMIT 1), 0)`

const (
	readSlots = `SELECT want.n, ` + slotFacts + ` FROM ` + slotWants
	readLines = `SELECT want.n, line.slot_seq FROM ` + slotWants + ` CROSS JOIN LATERAL (
  SELECT run.slot_seq FROM runs AS run WHERE ` + ofSlot + ` AND run.hold = 'concurrency' AND run.status = 'queued'
  ORDER BY run.slot_seq LIMIT want.line) AS line`
	readPending = `SELECT want.n, run.id FROM ` + slotWants + ` JOIN runs AS run ON run.workspace_id = want.workspace_id
  AND run.workflow_id = want.workflow_id AND run.debounce_key = want.key AND run.hold = 'debounce'`
)

func (b *arrayBatch) slots(ctx context.Context, wants []SlotWant, skipHeld bool) (map[SlotKey]*Slot, error) {
	numbers := make([]int64, len(wants))
	for i, w := range wants {
		numbers[i] = w.lock()
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	var limits, gathers []SlotWant
	for _, w := range wants {
		if w.Kind == models.HoldDebounce {
			gathers = append(gathers, w)
		} else {
			limits = append(limits, w)
		}
	}
	held := map[int64]bool{}
	found := map[SlotKey]*Slot{}
	for _, w := range wants {
		found[w.SlotKey] = &Slot{}
	}
	q := newBunch()
	if skipHeld {
		q.ask(scanAll(func(r pgx.Rows) error {
			var n int64
			var mine bool
			err := r.Scan(&n, &mine)
			held[n] = !mine
			return err
		}), trySlots, numbers)
	} else {
		q.ask(nil, lockSlots, numbers)
	}
	var n int32
	if len(limits) > 0 {
		args := slotArgs(limits)
		q.ask(scanAll(func(r pgx.Rows) error {
			var s Slot
			var line int64
			if err := r.Scan(&n, &s.Active, &s.Holder, &s.Last, &line); err != nil {
				return err
			}
			s.Last = max(s.Last, line)
			*found[limits[n].SlotKey] = s
			return nil
		}), readSlots, args...)
		q.ask(scanAll(func(r pgx.Rows) error {
			var ticket int64
			if err := r.Scan(&n, &ticket); err != nil {
				return err
			}
			s := found[limits[n].SlotKey]
			s.Line = append(s.Line, ticket)
			return nil
		}), readLines, args...)
	}
	if len(gathers) > 0 {
		q.ask(scanAll(func(r pgx.Rows) error {
			var id models.RunID
			if err := r.Scan(&n, &id); err != nil {
				return err
			}
			found[gathers[n].SlotKey].Pending = id
			return nil
		}), readPending, slotArgs(gathers)...)
	}
	if err := b.send(ctx, q); err != nil {
		return nil, err
	}
	for k, s := range found {
		slices.Sort(s.Line)
		if held[k.lock()] {
			delete(found, k)
		}
	}
	return found, nil
}

func scanAll(one func(pgx.Rows) error) readRows {
	return func(r pgx.Rows) error {
		for r.Next() {
			if err := one(r); err != nil {
				return err
			}
		}
		return nil
	}
}

func slotArgs(wants []SlotWant) []any {
	numbers := make([]int32, len(wants))
	for i := range wants {
		numbers[i] = int32(i)
	}
	return []any{
		numbers, column(wants, func(w SlotWant) string { return string(w.Workspace) }),
		column(wants, func(w SlotWant) string { return string(w.Workflow) }),
		column(wants, func(w SlotWant) string { return keepable(w.Key) }), column(wants, func(w SlotWant) int32 { return int32(w.Line) }),
	}
}

func (b valuesBatch) slots(ctx context.Context, wants []SlotWant, _ bool) (map[SlotKey]*Slot, error) {
	found := map[SlotKey]*Slot{}
	for _, w := range wants {
		s := &Slot{}
		found[w.SlotKey] = s
		if w.Kind == models.HoldDebounce {
			id, err := pending(ctx, b.tx, w.SlotKey)
			if err != nil {
				return nil, err
			}
			s.Pending = id
			continue
		}
		var line int64
		err := b.tx.NewRaw("SELECT "+slotFacts+" FROM (SELECT ? AS workspace_id, ? AS workflow_id, ? AS key) AS want",
			w.Workspace, w.Workflow, keepable(w.Key)).Scan(ctx, &s.Active, &s.Holder, &s.Last, &line)
		if err != nil {
			return nil, err
		}
		s.Last = max(s.Last, line)
		err = inLine(b.tx.NewSelect().Model((*models.Run)(nil)).Column("slot_seq"), w.SlotKey).
			Where("run.status = ?", models.RunQueued).OrderExpr("run.slot_seq").Limit(int64(w.Line)).Scan(ctx, &s.Line)
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (k SlotKey) runs(q *bun.SelectQuery) *bun.SelectQuery {
	return q.Where("run.workspace_id = ?", k.Workspace).Where("run.workflow_id = ?", k.Workflow).
		Where("run.slot_key = ?", keepable(k.Key)).Where("run.finished_at IS NULL")
}

func inLine(q *bun.SelectQuery, k SlotKey) *bun.SelectQuery {
	return k.runs(q).Where("run.hold = ?", models.HoldConcurrency)
}

func pending(ctx context.Context, db bun.IDB, k SlotKey) (models.RunID, error) {
	var ids []models.RunID
	err := db.NewSelect().Model((*models.Run)(nil)).Column("id").Where("run.workspace_id = ?", k.Workspace).
		Where("run.workflow_id = ?", k.Workflow).Where("run.debounce_key = ?", keepable(k.Key)).
		Where("run.hold = 'debounce'").Limit(1).Scan(ctx, &ids)
	if err != nil || len(ids) == 0 {
		return "", err
	}
	return ids[0], nil
}

// Pending gives the run that gathers the starts of a key, or "" where there is none.
// It may have begun a moment later.
func (s *Store) Pending(ctx context.Context, k SlotKey) (models.RunID, error) {
	id, err := pending(ctx, s.db, k)
	return id, s.err(err)
}

// slotColumns are what is read of runs of a key.
var slotColumns = []string{"workspace_id", "id", "workflow_id", "workflow_version", "status", "hold", "slot_key", "slot_seq", "rerun_of", "from_step", "created_at"}

// InLine gives the first runs that wait for a slot, in their order. Those that are
// paused are not among them: they lost their turn, not their place.
func (s *Store) InLine(ctx context.Context, k SlotKey, limit int) ([]*models.Run, error) {
	var rows []*models.Run
	err := inLine(s.db.NewSelect().Model(&rows).Column(slotColumns...), k).
		Where("run.status = ?", models.RunQueued).OrderExpr("run.slot_seq").Limit(int64(limit)).Scan(ctx)
	return rows, s.err(err)
}

// AheadInLine counts those that wait for a slot of the key in front of a ticket.
func (s *Store) AheadInLine(ctx context.Context, k SlotKey, ticket int64) (int, error) {
	n, err := inLine(s.db.NewSelect().Model((*models.Run)(nil)), k).
		Where("run.status = ?", models.RunQueued).Where("run.slot_seq < ?", ticket).Count(ctx)
	return int(n), s.err(err)
}

// SlotHolders gives the first runs that hold a slot of the key.
func (s *Store) SlotHolders(ctx context.Context, k SlotKey, limit int) ([]models.RunID, error) {
	var ids []models.RunID
	err := k.runs(s.db.NewSelect().Model((*models.Run)(nil)).Column("id")).
		Where("run.hold = ''").OrderExpr("run.slot_seq").Limit(int64(limit)).Scan(ctx, &ids)
	return ids, s.err(err)
}

// NewestOfSlot gives the run of a key that came last, whether it has begun or not,
// or nil where all have ended.
func (s *Store) NewestOfSlot(ctx context.Context, k SlotKey) (*models.Run, error) {
	var rows []*models.Run
	err := k.runs(s.db.NewSelect().Model(&rows).Column(slotColumns...)).
		Where("run.hold IN ('', 'concurrency')").OrderExpr("run.slot_seq DESC").Limit(1).Scan(ctx)
	if err != nil || len(rows) == 0 {
		return nil, s.err(err)
	}
	return rows[0], nil
}

// Outrun gives up to limit runs of a key that have not ended although at least keep
// others came later, those who hold a slot and the latest of the others first.
func (s *Store) Outrun(ctx context.Context, k SlotKey, keep, limit int) ([]models.RunID, error) {
	var rows []*models.Run
	err := k.runs(s.db.NewSelect().Model(&rows).Column("id", "hold")).
		Where("run.hold IN ('', 'concurrency')").OrderExpr("run.slot_seq DESC").Limit(int64(limit)).Offset(int64(keep)).Scan(ctx)
	if err != nil {
		return nil, s.err(err)
	}
	slices.SortStableFunc(rows, func(a, b *models.Run) int { return cmp.Compare(a.Hold, b.Hold) })
	ids := make([]models.RunID, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return ids, nil
}

// DueRuns gives up to limit runs whose time for attention has come, the most overdue
// first, of all workspaces.
func (s *Store) DueRuns(ctx context.Context, now time.Time, limit int) ([]*models.Run, error) {
	var rows []*models.Run
	err := s.db.NewSelect().Model(&rows).Column(append([]string{"finished_at", "attend_at"}, slotColumns...)...).
		Where("run.attend_at <= ?", now).OrderExpr("run.attend_at").Limit(int64(limit)).Scan(ctx)
	return rows, s.err(err)
}

// RunMark is a run's wish for attention.
type RunMark struct {
	RunRef
	At time.Time
}

// SettleRuns takes wishes for attention back, of runs that have ended or are in line:
// their key has been looked at. One that another transaction is at keeps its wish,
// and so does one that has a newer one.
func (s *Store) SettleRuns(ctx context.Context, marks []RunMark) error {
	if len(marks) == 0 {
		return nil
	}
	type markRow struct {
		WorkspaceID models.WorkspaceID `bun:"workspace_id,type:text"`
		ID          models.RunID       `bun:"id,type:text"`
		At          time.Time          `bun:"at,type:timestamptz"`
	}
	rows := make([]markRow, len(marks))
	for i, m := range marks {
		rows[i] = markRow{m.Workspace, m.Run, m.At}
	}
	return s.inTx(ctx, func(tx bun.Tx) error {
		var keys []runKey
		q := tx.NewSelect().With("mark", tx.NewValues(&rows)).Model((*models.Run)(nil)).Column("run.workspace_id", "run.id").
			Join("JOIN mark ON mark.workspace_id = run.workspace_id AND mark.id = run.id AND mark.at = run.attend_at").
			Where("run.finished_at IS NOT NULL OR run.hold = 'concurrency'").OrderExpr("run.id")
		if err := s.dialect.forUpdate(q, "NO KEY UPDATE OF run SKIP LOCKED").Scan(ctx, &keys); err != nil || len(keys) == 0 {
			return err
		}
		_, err := tx.NewUpdate().With("mark", tx.NewValues(&keys)).Model((*models.Run)(nil)).TableExpr("mark").Set("attend_at = NULL").
			Where("run.workspace_id = mark.workspace_id").Where("run.id = mark.id").Exec(ctx)
		return err
	})
}

// saveFolded writes what a later start brought to a run that has not begun.
func saveFolded(ctx context.Context, tx bun.IDB, runs []*models.Run) error {
	for _, r := range runs {
		_, err := tx.NewUpdate().Model(r).WherePK().
			Column("workflow_version", "workflow_name", "trigger_type", "trigger_id", "event_id", "payload", "metadata", "depth").Exec(ctx)
		if err != nil {
			return err
		}
	}
	return nil
}
