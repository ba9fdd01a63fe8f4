package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// AgentTurns gives the journal of a step, in the order in which it was written.
func (t *Tenant) AgentTurns(ctx context.Context, at models.AgentPlace) ([]*models.AgentTurn, error) {
	var rows []*models.AgentTurn
	err := t.mine(t.s.db.NewSelect().Model(&rows)).Where("run_id = ?", at.RunID).Where("step_id = ?", at.StepID).
		Where("iteration = ?", at.Iteration).OrderExpr("series, turn, call").Scan(ctx)
	return rows, t.s.err(err)
}

// BeginAgentCall notes that a tool is about to have an effect. To note it again changes
// nothing.
func (t *Tenant) BeginAgentCall(ctx context.Context, row *models.AgentTurn) error {
	row.WorkspaceID, row.Status, row.Response = t.ws, models.AgentTurnBegun, nil
	return t.s.alone(func(db bun.IDB) error {
		_, err := db.NewInsert().Model(row).On("CONFLICT DO NOTHING").Exec(ctx)
		return err
	})
}

// DropAgentCall forgets a call that had no effect, unless it is done.
func (t *Tenant) DropAgentCall(ctx context.Context, row *models.AgentTurn) error {
	row.WorkspaceID = t.ws
	return t.s.alone(func(db bun.IDB) error {
		_, err := db.NewDelete().Model(row).WherePK().Where("status = ?", models.AgentTurnBegun).Exec(ctx)
		return err
	})
}

// FinishAgentCall keeps what a tool gave.
func (t *Tenant) FinishAgentCall(ctx context.Context, row *models.AgentTurn) error {
	row.WorkspaceID, row.Status = t.ws, models.AgentTurnDone
	return t.s.alone(func(db bun.IDB) error {
		_, err := db.NewInsert().Model(row).On("CONFLICT (workspace_id, run_id, step_id, iteration, series, turn, call) DO UPDATE").
			Set("hash = EXCLUDED.hash").Set("status = EXCLUDED.status").Set("response = EXCLUDED.response").Set("usage = EXCLUDED.usage").
			Set("finished_at = EXCLUDED.finished_at").Where("agent_turn.status = ?", models.AgentTurnBegun).Exec(ctx)
		return err
	})
}

// FinishAgentTurn keeps what a model gave, and in the same transaction takes it from
// the budgets, so that what is known is paid and what is paid is known. A turn that is
// there already, as written by this call before its answer was lost, stays and is not
// paid twice; with another hash it is a conflict. row is nil where nothing is kept.
func (t *Tenant) FinishAgentTurn(ctx context.Context, row *models.AgentTurn, by models.Spender, spent models.AgentUsage, now time.Time) error {
	return t.s.inTx(ctx, func(tx bun.Tx) error {
		if row != nil {
			row.WorkspaceID, row.Status = t.ws, models.AgentTurnDone
			res, err := tx.NewInsert().Model(row).On("CONFLICT DO NOTHING").Exec(ctx)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n == 0 {
				if err == nil {
					err = t.sameTurn(ctx, tx, row)
				}
				return err
			}
		}
		return t.pay(ctx, tx, by, models.BudgetLimit{Cost: spent.Cost, Tokens: spent.InputTokens + spent.OutputTokens}, now)
	})
}

func (t *Tenant) sameTurn(ctx context.Context, tx bun.Tx, row *models.AgentTurn) error {
	have := &models.AgentTurn{
		WorkspaceID: t.ws, RunID: row.RunID, StepID: row.StepID, Iteration: row.Iteration,
		Series: row.Series, Turn: row.Turn, Call: row.Call,
	}
	if err := tx.NewSelect().Model(have).WherePK().Scan(ctx); err != nil {
		return err
	}
	if have.Hash != row.Hash || string(have.Response) != string(row.Response) {
		return models.Conflict(models.CodeConflict, "turn %d of step %q was taken by another", row.Turn, row.StepID)
	}
	return nil
}

// RunUsage gives what is known of the usage of each step of a run that has any.
func (t *Tenant) RunUsage(ctx context.Context, run models.RunID) ([]*models.Step, error) {
	var rows []*models.Step
	err := t.mine(t.s.db.NewSelect().Model(&rows)).Column("step_id", "iteration", "usage").
		Where("run_id = ?", run).Where("usage IS NOT NULL").Scan(ctx)
	return rows, t.s.err(err)
}
