package agents

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/10ex/flows/agents/llm"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/models"
)

// errChanged says that the journal is of other questions: the agent was changed since
// the attempt that wrote it.
var errChanged = errors.New("the agent was changed between two attempts")

// journal is what is known of a call of an agent from this attempt and those before.
type journal struct {
	runner *Runner
	ledger Ledger // nil: nothing is kept, as outside runs
	place  models.AgentPlace
	series int
	rows   map[[2]int]*models.AgentTurn // of the series, by turn and call
	past   []models.AgentUsage          // of the series before
	// pastTools is what tools have used in them.
	pastTools []models.AgentUsage
}

// openJournal reads what earlier attempts have written.
func (r *Runner) openJournal(ctx context.Context, req Request) (*journal, error) {
	j := &journal{runner: r, rows: map[[2]int]*models.AgentTurn{}}
	if r.deps.LedgerFunc == nil || req.RunID == "" {
		return j, nil
	}
	j.ledger = r.deps.LedgerFunc(models.WorkspaceID(req.WorkspaceID))
	j.place = models.AgentPlace{RunID: models.RunID(req.RunID), StepID: req.StepID, Iteration: models.NoIteration}
	if req.Iteration != nil {
		j.place.Iteration = *req.Iteration
	}
	var rows []*models.AgentTurn
	err := r.patiently(ctx, func(ctx context.Context) (err error) {
		rows, err = j.ledger.AgentTurns(ctx, j.place)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if row.Series > j.series {
			j.restart()
			j.series = row.Series
		}
		j.rows[[2]int{row.Turn, row.Call}] = row
	}
	return j, nil
}

// restart begins a series of its own. What the one before has cost stays known.
func (j *journal) restart() {
	for _, row := range j.rows {
		switch {
		case row.Usage == nil:
		case row.Call == models.NoCall:
			j.past = append(j.past, *row.Usage)
		default:
			j.pastTools = append(j.pastTools, *row.Usage)
		}
	}
	j.series++
	j.rows = map[[2]int]*models.AgentTurn{}
}

// find gives a row that is there, or nil. A row of another question is errChanged.
func (j *journal) find(turn, call int, hash string) (*models.AgentTurn, error) {
	row := j.rows[[2]int{turn, call}]
	if row != nil && row.Hash != hash {
		return nil, errChanged
	}
	return row, nil
}

func (j *journal) row(turn, call int, hash string, began time.Time) *models.AgentTurn {
	return &models.AgentTurn{
		RunID: j.place.RunID, StepID: j.place.StepID, Iteration: j.place.Iteration,
		Series: j.series, Turn: turn, Call: call, Hash: hash, CreatedAt: began,
	}
}

// beginCall notes an effect that is about to happen.
func (j *journal) beginCall(ctx context.Context, row *models.AgentTurn) error {
	if j.ledger == nil {
		return nil
	}
	return j.runner.patiently(ctx, func(ctx context.Context) error { return j.ledger.BeginAgentCall(ctx, row) })
}

// dropCall forgets an effect of which it is known that it did not happen.
func (j *journal) dropCall(ctx context.Context, row *models.AgentTurn) error {
	if j.ledger == nil {
		return nil
	}
	return j.runner.patiently(ctx, func(ctx context.Context) error { return j.ledger.DropAgentCall(ctx, row) })
}

// finishCall keeps what a tool gave.
func (j *journal) finishCall(ctx context.Context, row *models.AgentTurn, result llm.Result, now time.Time) error {
	if j.ledger == nil {
		return nil
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return err
	}
	row.Response, row.FinishedAt = raw, &now
	ctx, done := lingering(ctx)
	defer done()
	return j.runner.patiently(ctx, func(ctx context.Context) error { return j.ledger.FinishAgentCall(ctx, row) })
}

// hashOf is the same for the same questions.
func hashOf(parts ...any) (string, error) {
	raw, err := json.Marshal(parts)
	if err != nil {
		return "", connectors.Permanent(connectors.CodeInternal, "a question cannot be written as JSON: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}
