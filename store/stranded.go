package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/10ex/flows/models"
)

// StrandedMark says how far a walk over the runs that are under way has come. The
// zero value is where it begins, and where it is when it has come round.
type StrandedMark struct {
	workspace models.WorkspaceID
	status    int // of underWay
	trigger   models.TriggerType
	run       models.RunID
}

// underWay are the states of runs in which something has to be open. A paused run
// may have nothing open: what was under way has ended, and what follows waits.
var underWay = []models.RunStatus{models.RunQueued, models.RunRunning, models.RunWaiting}

// The index runs_by_status gives the runs of one workspace and state in the order
// of this walk, so that it costs what it looks at and no index of its own. A step
// over a list is open only as long as an item is. A run that is held has not begun. The inner query has a limit for
// the planner: what exists at all is sought by the key of the run, never by reading
// the table.
const strandedSQL = `SELECT page.trigger_type, page.id, page.hold = '' AND (
  SELECT 1 FROM steps AS step WHERE step.workspace_id = page.workspace_id AND step.run_id = page.id
    AND step.status IN ('queued', 'running', 'waiting') AND step.iter_total = 0 LIMIT 1
) IS NULL AS stranded
FROM (
  SELECT run.workspace_id, run.trigger_type, run.id, run.hold FROM runs AS run
  WHERE run.workflow_version > 0 AND run.workspace_id = ? AND run.status = ? AND (run.trigger_type, run.id) > (?, ?)
  ORDER BY run.trigger_type, run.id LIMIT ?
) AS page ORDER BY page.trigger_type, page.id`

// Stranded looks at up to limit runs that are under way, of one workspace and state,
// from a mark on. It gives those of which no step is queued, running or waiting: the
// run can neither go on nor end. Each is true of one moment; who acts on it has to
// look again with the run's row locked. looked is how many runs there were to look at.
func (s *Store) Stranded(ctx context.Context, from StrandedMark, limit int) (found []RunRef, looked int, next StrandedMark, err error) {
	if from.workspace == "" || from.status == len(underWay) {
		var ws models.WorkspaceID
		err := s.db.NewSelect().Model((*models.Workspace)(nil)).Column("id").
			Where("workspace.id > ?", from.workspace).OrderExpr("workspace.id").Limit(1).Scan(ctx, &ws)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, 0, StrandedMark{}, nil
		}
		if err != nil {
			return nil, 0, from, s.err(err)
		}
		from = StrandedMark{workspace: ws}
	}
	var rows []struct {
		TriggerType models.TriggerType
		ID          models.RunID
		Stranded    bool
	}
	err = s.db.NewRaw(strandedSQL, from.workspace, underWay[from.status], from.trigger, from.run, limit).Scan(ctx, &rows)
	if err != nil {
		return nil, 0, from, s.err(err)
	}
	for _, r := range rows {
		if r.Stranded {
			found = append(found, RunRef{from.workspace, r.ID})
		}
	}
	next = StrandedMark{workspace: from.workspace, status: from.status + 1}
	if len(rows) == limit {
		last := rows[limit-1]
		next = StrandedMark{workspace: from.workspace, status: from.status, trigger: last.TriggerType, run: last.ID}
	}
	return found, len(rows), next, nil
}
