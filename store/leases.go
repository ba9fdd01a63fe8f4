package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// HeldLease is a step a worker believes to hold.
type HeldLease struct {
	StepRef
	Token string
}

type leaseRow struct {
	WorkspaceID models.WorkspaceID `bun:"workspace_id,type:text"`
	RunID       models.RunID       `bun:"run_id,type:text"`
	StepID      string             `bun:"step_id,type:text"`
	Iteration   int                `bun:"iteration,type:integer"`
	Token       string             `bun:"token,type:text"`
}

type stepRow struct {
	WorkspaceID models.WorkspaceID `bun:"workspace_id,type:text"`
	RunID       models.RunID       `bun:"run_id,type:text"`
	StepID      string             `bun:"step_id,type:text"`
	Iteration   int                `bun:"iteration,type:integer"`
}

// RenewLeases moves the end of leases to until, in one statement, and gives the
// tokens of those still held. It takes no lock on runs.
func (s *Store) RenewLeases(ctx context.Context, worker string, leases []HeldLease, until time.Time) (map[string]bool, error) {
	rows := make([]leaseRow, len(leases))
	for i, l := range leases {
		rows[i] = leaseRow{l.Workspace, l.Run, l.Step, l.Iteration, l.Token}
	}
	var tokens []string
	err := s.inTx(ctx, func(tx bun.Tx) error {
		return s.dialect.renew(ctx, tx, rows, worker, until, &tokens)
	})
	if err != nil {
		return nil, err
	}
	kept := make(map[string]bool, len(tokens))
	for _, t := range tokens {
		kept[t] = true
	}
	return kept, nil
}

// LeasedSteps gives the status of each of the steps of leases that is still there, by
// the token of the lease.
func (s *Store) LeasedSteps(ctx context.Context, leases []HeldLease) (map[string]models.StepStatus, error) {
	keys := make([]stepRow, len(leases))
	for i, l := range leases {
		keys[i] = stepRow{l.Workspace, l.Run, l.Step, l.Iteration}
	}
	var rows []*models.Step
	err := s.db.NewSelect().With("held", s.db.NewValues(&keys)).Model(&rows).
		Column("step.workspace_id", "step.run_id", "step.step_id", "step.iteration", "step.status").
		Where("(step.workspace_id, step.run_id, step.step_id, step.iteration) IN (SELECT workspace_id, run_id, step_id, iteration FROM held)").Scan(ctx)
	if err != nil {
		return nil, s.err(err)
	}
	found := make(map[stepRow]models.StepStatus, len(rows))
	for _, r := range rows {
		found[stepRow{r.WorkspaceID, r.RunID, r.StepID, r.Iteration}] = r.Status
	}
	out := make(map[string]models.StepStatus, len(found))
	for i, l := range leases {
		if status, ok := found[keys[i]]; ok {
			out[l.Token] = status
		}
	}
	return out, nil
}

const heldSteps = `steps AS step JOIN held ON step.workspace_id = held.workspace_id AND step.run_id = held.run_id
  AND step.step_id = held.step_id AND step.iteration = held.iteration AND step.lease_token = held.token
WHERE step.status = 'running' AND step.worker_id = ?`

// renew passes over rows that a transaction of the engine is writing just now:
// waiting for them would be waiting in another order than the engine's, and two
// such could wait for each other. They are still held, and renewed by the next
// beat if it is needed then.
func (postgres) renew(ctx context.Context, tx bun.Tx, rows []leaseRow, worker string, until time.Time, tokens *[]string) error {
	return tx.NewRaw(`WITH held (?) AS (?), free AS (
  SELECT step.workspace_id, step.run_id, step.step_id, step.iteration FROM `+heldSteps+`
  FOR NO KEY UPDATE OF step SKIP LOCKED
), renewed AS (
  UPDATE steps AS old SET attend_at = ? FROM free
  WHERE old.workspace_id = free.workspace_id AND old.run_id = free.run_id AND old.step_id = free.step_id AND old.iteration = free.iteration
)
SELECT step.lease_token FROM `+heldSteps,
		bun.Safe("workspace_id, run_id, step_id, iteration, token"), tx.NewValues(&rows), worker, until, worker).Scan(ctx, tokens)
}

func (sqliteDialect) renew(ctx context.Context, tx bun.Tx, rows []leaseRow, worker string, until time.Time, tokens *[]string) error {
	return tx.NewUpdate().With("held", tx.NewValues(&rows)).Model((*models.Step)(nil)).TableExpr("held").
		Set("attend_at = ?", until).
		Where("step.workspace_id = held.workspace_id").Where("step.run_id = held.run_id").
		Where("step.step_id = held.step_id").Where("step.iteration = held.iteration").
		Where("step.lease_token = held.token").Where("step.status = ?", models.StepRunning).
		Where("step.worker_id = ?", worker).
		Returning("lease_token").Scan(ctx, tokens)
}

// TakeOver makes everything that was under way due for attention at now: leases
// end, and what is queued is delivered again. It is for a store that only one
// process can have open, when that process starts: whoever held a lease is gone,
// and so is the queue.
func (s *Store) TakeOver(ctx context.Context, now time.Time) error {
	return s.alone(func(db bun.IDB) error {
		_, err := db.NewUpdate().Model((*models.Step)(nil)).Set("attend_at = ?", now).
			Where("status IN (?)", bun.List([]models.StepStatus{models.StepRunning, models.StepQueued})).Where("attend_at IS NOT NULL").Exec(ctx)
		if err != nil {
			return err
		}
		_, err = db.NewUpdate().Model((*models.Delivery)(nil)).Set("attend_at = ?", now).Where("status = ?", models.DeliverySending).Exec(ctx)
		return err
	})
}

// Postpone lets steps that ask for attention do so again at until, and not before.
func (s *Store) Postpone(ctx context.Context, refs []StepRef, until time.Time) error {
	return s.inTx(ctx, func(tx bun.Tx) error {
		for _, r := range refs {
			_, err := tx.NewUpdate().Model((*models.Step)(nil)).Set("attend_at = ?", until).
				Where("workspace_id = ?", r.Workspace).Where("run_id = ?", r.Run).Where("step_id = ?", r.Step).
				Where("iteration = ?", r.Iteration).Where("attend_at IS NOT NULL").Exec(ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// DueStep is a step that needs attention.
type DueStep struct {
	StepRef
	Status models.StepStatus
}

// DueSteps gives up to limit steps whose time for attention has come, the most
// overdue first, of all workspaces.
func (s *Store) DueSteps(ctx context.Context, now time.Time, limit int) ([]DueStep, error) {
	var rows []*models.Step
	err := s.db.NewSelect().Model(&rows).Column("workspace_id", "run_id", "step_id", "iteration", "status").
		Where("attend_at <= ?", now).OrderExpr("attend_at").Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, s.err(err)
	}
	due := make([]DueStep, len(rows))
	for i, r := range rows {
		due[i] = DueStep{
			StepRef: StepRef{RunRef: RunRef{r.WorkspaceID, r.RunID}, Step: r.StepID, Iteration: r.Iteration}, Status: r.Status,
		}
	}
	return due, nil
}
