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

// RenewLeases moves the end of leases to until, in one statement, and gives the
// tokens of those still held. It takes no lock on runs: only the attend_at of
// rows whose token matches changes.
func (s *Store) RenewLeases(ctx context.Context, worker string, leases []HeldLease, until time.Time) (map[string]bool, error) {
	rows := make([]leaseRow, len(leases))
	for i, l := range leases {
		rows[i] = leaseRow{l.Workspace, l.Run, l.Step, l.Iteration, l.Token}
	}
	var tokens []string
	err := s.inTx(ctx, func(tx bun.Tx) error {
		return tx.NewUpdate().With("held", tx.NewValues(&rows)).Model((*models.Step)(nil)).TableExpr("held").
			Set("attend_at = ?", until).
			Where("step.workspace_id = held.workspace_id").Where("step.run_id = held.run_id").
			Where("step.step_id = held.step_id").Where("step.iteration = held.iteration").
			Where("step.lease_token = held.token").Where("step.status = ?", models.StepRunning).
			Where("step.worker_id = ?", worker).
			Returning("lease_token").Scan(ctx, &tokens)
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
