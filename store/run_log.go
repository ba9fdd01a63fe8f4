package store

import (
	"context"

	"github.com/10ex/flows/models"
)

// bunches puts lines of logs into rows: those of one run and moment that follow
// each other make one.
func bunches(events []*models.RunEvent) []*models.RunLog {
	var rows []*models.RunLog
	for _, e := range events {
		line := models.RunLine{Type: e.Type, StepID: e.StepID, Data: e.Data}
		if n := len(rows); n > 0 {
			last := rows[n-1]
			if last.RunID == e.RunID && last.WorkspaceID == e.WorkspaceID && last.Seq+1 == e.Seq && last.At.Equal(e.At) {
				last.Seq, last.Lines = e.Seq, append(last.Lines, line)
				continue
			}
		}
		rows = append(rows, &models.RunLog{WorkspaceID: e.WorkspaceID, RunID: e.RunID, Seq: e.Seq, At: e.At, Lines: []models.RunLine{line}})
	}
	return rows
}

// eventsOf gives the lines of rows again, those with a number above after and limit
// of them at most.
func eventsOf(rows []*models.RunLog, after int64, limit int) []*models.RunEvent {
	var events []*models.RunEvent
	for _, row := range rows {
		first := row.Seq - int64(len(row.Lines)) + 1
		for i, line := range row.Lines {
			seq := first + int64(i)
			if seq <= after {
				continue
			}
			if len(events) == limit {
				return events
			}
			e := &models.RunEvent{
				WorkspaceID: row.WorkspaceID, RunID: row.RunID, Seq: seq, At: row.At, Type: line.Type, StepID: line.StepID,
			}
			if string(line.Data) != "null" {
				e.Data = line.Data
			}
			events = append(events, e)
		}
	}
	return events
}

// RunEvents gives the log of a run, oldest first, from the line that follows after.
func (t *Tenant) RunEvents(ctx context.Context, run models.RunID, after int64, limit int) ([]*models.RunEvent, error) {
	limit = Page{Limit: limit}.limit()
	var rows []*models.RunLog // no fewer lines than rows
	err := t.mine(t.s.db.NewSelect().Model(&rows)).Where("run_log.run_id = ?", run).Where("run_log.seq > ?", after).
		OrderExpr("run_log.seq").Limit(int64(limit)).Scan(ctx)
	return eventsOf(rows, after, limit), t.s.err(err)
}
