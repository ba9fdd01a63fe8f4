package store

import (
	"context"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// RunRef names a run.
type RunRef struct {
	Workspace models.WorkspaceID
	Run       models.RunID
}

// StepRef names a step of a run, or an iteration of it.
type StepRef struct {
	RunRef
	Step      string
	Iteration int
}

// RunTx is a transaction that holds the rows of some runs, locked. Who holds a
// run's row is the only one who changes its steps.
type RunTx struct {
	tx    bun.IDB
	batch runBatch
	// Runs are the rows that exist, without payload and output.
	Runs map[RunRef]*models.Run
	// Held are those that exist and that another transaction holds. There are none
	// where the locks were waited for.
	Held map[RunRef]bool
	// Foreseen are the rows of Wants.Steps that exist. They were read with the locks
	// in hand; those of runs in Held are to be ignored.
	Foreseen []*models.Step
}

// Wants is what a transaction locks and reads to begin with. What is foreseen
// here costs no round trip of its own.
type Wants struct {
	Runs     []RunRef
	Steps    []StepWant
	Payloads []RunRef // of those in Runs
	// SkipHeld leaves out rows that another transaction holds instead of waiting.
	SkipHeld bool
}

// runBatch is how each database reads and writes many rows at once.
type runBatch interface {
	// lock begins: rows that another transaction holds are waited for, or left out
	// with their keys given.
	lock(ctx context.Context, w lockWants) (locked, error)
	payloads(ctx context.Context, keys []runKey) ([]*models.Run, error)
	steps(ctx context.Context, keys []stepKey) ([]*models.Step, error)
	// slots locks keys and tells what stands behind each, see RunTx.Slots.
	slots(ctx context.Context, wants []SlotWant, skipHeld bool) (map[SlotKey]*Slot, error)
	// save is the last thing to happen: it may commit.
	save(ctx context.Context, c *Changes) error
}

// runColumns are the ones the engine reads of every run it touches.
var runColumns = []string{
	"workspace_id", "id", "workflow_id", "workflow_version", "workflow_name", "status", "halted", "active_steps", "waiting_steps",
	"last_seq", "trigger_type", "trigger_id", "event_id", "error", "rerun_of", "metadata", "created_at", "depth", "started_at", "finished_at",
	"hold", "slot_key", "slot_seq", "debounce_key", "from_step", "begin_at", "deadline_at", "paused_at", "attend_at",
}

// lockWants is Wants in keys of rows.
type lockWants struct {
	runs     []runKey
	steps    []stepKey
	payloads []runKey
	skipHeld bool
}

// locked is what a transaction begins with.
type locked struct {
	runs     []*models.Run
	held     []runKey
	steps    []*models.Step
	payloads []*models.Run
}

// WithRuns runs fn in one transaction with the rows of refs locked, in the order
// of their ids, so that two of these never wait for each other in a circle, and
// then saves what fn returns. Refs without a row are not in tx.Runs.
func (s *Store) WithRuns(ctx context.Context, refs []RunRef, fn func(tx *RunTx) (*Changes, error)) error {
	return s.WithWants(ctx, Wants{Runs: refs}, fn)
}

// WithWants is WithRuns for callers who know more of what they will need.
func (s *Store) WithWants(ctx context.Context, w Wants, fn func(tx *RunTx) (*Changes, error)) error {
	return s.err(s.dialect.inRunTx(ctx, s, func(tx *RunTx) error {
		tx.Runs, tx.Held = make(map[RunRef]*models.Run, len(w.Runs)), map[RunRef]bool{}
		l, err := tx.batch.lock(ctx, lockWants{
			runs: runKeys(w.Runs), steps: stepKeys(w.Steps), payloads: runKeys(w.Payloads), skipHeld: w.SkipHeld,
		})
		if err != nil {
			return err
		}
		for _, k := range l.held {
			tx.Held[RunRef{k.WorkspaceID, k.ID}] = true
		}
		for _, r := range l.runs {
			tx.Runs[RunRef{r.WorkspaceID, r.ID}] = r
		}
		tx.Foreseen = l.steps
		tx.addPayloads(l.payloads)
		c, err := fn(tx)
		if err != nil {
			return err
		}
		return tx.batch.save(ctx, c)
	}))
}

type runKey struct {
	WorkspaceID models.WorkspaceID `bun:"workspace_id,type:text"`
	ID          models.RunID       `bun:"id,type:text"`
}

func runKeys(refs []RunRef) []runKey {
	keys := make([]runKey, len(refs))
	for i, r := range refs {
		keys[i] = runKey{r.Workspace, r.Run}
	}
	slices.SortFunc(keys, func(a, b runKey) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return slices.Compact(keys)
}

// LoadPayloads fills in the payloads of locked runs.
func (tx *RunTx) LoadPayloads(ctx context.Context, refs []RunRef) error {
	rows, err := tx.batch.payloads(ctx, runKeys(refs))
	if err != nil {
		return err
	}
	tx.addPayloads(rows)
	return nil
}

func (tx *RunTx) addPayloads(rows []*models.Run) {
	for _, r := range rows {
		if have := tx.Runs[RunRef{r.WorkspaceID, r.ID}]; have != nil {
			have.Payload = r.Payload
		}
	}
}

type stepKey struct {
	WorkspaceID models.WorkspaceID `bun:"workspace_id,type:text"`
	RunID       models.RunID       `bun:"run_id,type:text"`
	StepID      string             `bun:"step_id,type:text"`
	Iteration   int                `bun:"iteration,type:integer"`
	WithInput   bool               `bun:"with_input,type:boolean"`
}

// StepWant asks for a step's row, and for its input if Input is set.
type StepWant struct {
	StepRef
	Input bool
}

// Steps gives the rows of wants that exist.
func (tx *RunTx) Steps(ctx context.Context, wants []StepWant) ([]*models.Step, error) {
	if len(wants) == 0 {
		return nil, nil
	}
	return tx.batch.steps(ctx, stepKeys(wants))
}

func stepKeys(wants []StepWant) []stepKey {
	keys := make([]stepKey, len(wants))
	for i, w := range wants {
		keys[i] = stepKey{w.Workspace, w.Run, w.Step, w.Iteration, w.Input}
	}
	return keys
}

// OpenSteps gives every row of a run that has not ended, iterations included.
func (tx *RunTx) OpenSteps(ctx context.Context, ref RunRef) ([]*models.Step, error) {
	return tx.runSteps(ctx, ref, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("step.status IN (?)", bun.List([]models.StepStatus{
			models.StepPending, models.StepQueued, models.StepRunning, models.StepWaiting,
		}))
	})
}

// AllSteps gives the row of every step of a run, without iterations.
func (tx *RunTx) AllSteps(ctx context.Context, ref RunRef) ([]*models.Step, error) {
	return tx.runSteps(ctx, ref, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("step.iteration = ?", models.NoIteration)
	})
}

// Iterations gives every iteration of a step over a list, in order.
func (tx *RunTx) Iterations(ctx context.Context, ref RunRef, step string) ([]*models.Step, error) {
	return tx.runSteps(ctx, ref, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("step.step_id = ?", step).Where("step.iteration >= 0").OrderExpr("step.iteration")
	})
}

// IterationBytes tells how large the outputs of a step's iterations are together.
func (tx *RunTx) IterationBytes(ctx context.Context, ref RunRef, step string) (n int64, err error) {
	err = tx.tx.NewSelect().Model((*models.Step)(nil)).ColumnExpr("COALESCE(SUM(octet_length(CAST(step.output AS text))), 0)").
		Where("step.workspace_id = ?", ref.Workspace).Where("step.run_id = ?", ref.Run).
		Where("step.step_id = ?", step).Where("step.iteration >= 0").Scan(ctx, &n)
	return n, err
}

func (tx *RunTx) runSteps(ctx context.Context, ref RunRef, with func(*bun.SelectQuery) *bun.SelectQuery) ([]*models.Step, error) {
	var rows []*models.Step
	q := tx.tx.NewSelect().Model(&rows).
		Where("step.workspace_id = ?", ref.Workspace).Where("step.run_id = ?", ref.Run)
	return rows, with(stepColumns(q)).Scan(ctx)
}

var stepColumnList = []string{
	"workspace_id", "run_id", "step_id", "iteration", "type", "status", "attempt", "crashes", "deliveries", "due_at", "attend_at",
	"lease_token", "worker_id", "effect_at", "arrived", "settled", "iter_total", "iter_next", "iter_active", "iter_done",
	"output", "error", "taken", "reason", "usage", "queued_at", "started_at", "finished_at", "wake_at",
}

// stepColumns leaves out the input: only who executes a step needs it.
func stepColumns(q *bun.SelectQuery) *bun.SelectQuery {
	for _, c := range stepColumnList {
		q = q.ColumnExpr("step.?", bun.Ident(c))
	}
	return q
}

// Changes is what one transaction writes. Rows in Runs and Steps exist; of them
// only what may change after they were made is written. A nil input of a step in
// Steps leaves the input as it is.
type Changes struct {
	NewRuns     []*models.Run
	Runs        []*models.Run
	NewSteps    []*models.Step
	Steps       []*models.Step
	Attempts    []*models.StepAttempt
	Events      []*models.RunEvent
	NewWaits    []*models.Wait
	ClosedWaits []StepRef
	// Folded are runs in Runs that a later start has changed: what it brought is
	// written as well.
	Folded []*models.Run
	// BusEvents are events about runs. Where nobody listens for one its AttendAt is
	// set to nil: it is kept, and need not be matched.
	BusEvents []*models.Event
}

// empty tells whether there is nothing to write.
func (c *Changes) empty() bool {
	return c == nil || len(c.NewRuns)+len(c.Runs)+len(c.NewSteps)+len(c.Steps)+len(c.Attempts)+len(c.Events)+len(c.NewWaits)+len(c.ClosedWaits)+len(c.BusEvents) == 0
}

// What of a row may change after it was made.
var (
	runMutable = []string{
		"status", "halted", "active_steps", "waiting_steps", "last_seq", "output", "error", "started_at", "finished_at",
		"hold", "slot_key", "slot_seq", "begin_at", "deadline_at", "paused_at", "attend_at",
	}
	stepMutable = []string{
		"status", "attempt", "crashes", "deliveries", "due_at", "attend_at", "lease_token", "worker_id", "effect_at",
		"arrived", "settled", "iter_total", "iter_next", "iter_active", "iter_done",
		"output", "error", "taken", "reason", "usage", "queued_at", "started_at", "finished_at", "wake_at",
	}
)

// insertBatch keeps one statement's text at a sensible size.
const insertBatch = 1000

// insertAll writes rows as they are. Nothing is read back into them: they share times,
// which others may be reading.
func insertAll[T any](ctx context.Context, tx bun.IDB, rows []*T) error {
	for batch := range slices.Chunk(rows, insertBatch) {
		if _, err := tx.NewInsert().Model(&batch).Returning("NULL").Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// saveRare writes what most transactions do not have.
func saveRare(ctx context.Context, tx bun.IDB, c *Changes) error {
	if err := insertAll(ctx, tx, c.Attempts); err != nil {
		return err
	}
	if err := insertAll(ctx, tx, c.NewWaits); err != nil {
		return err
	}
	if err := saveFolded(ctx, tx, c.Folded); err != nil {
		return err
	}
	if len(c.ClosedWaits) == 0 {
		return nil
	}
	keys := make([]waitKey, len(c.ClosedWaits))
	for i, w := range c.ClosedWaits {
		keys[i] = waitKey{w.Workspace, w.Run, w.Step}
	}
	_, err := tx.NewRaw("DELETE FROM waits WHERE (workspace_id, run_id, step_id) IN (?)", tx.NewValues(&keys)).Exec(ctx)
	return err
}

type waitKey struct {
	WorkspaceID models.WorkspaceID `bun:"workspace_id,type:text"`
	RunID       models.RunID       `bun:"run_id,type:text"`
	StepID      string             `bun:"step_id,type:text"`
}
