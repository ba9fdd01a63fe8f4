package store

import (
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// DB gives tests the connections below a store, to look at what it wrote.
func (s *Store) DB() *bun.DB { return s.db }

// RunsSQL is the statement behind Runs.
func (t *Tenant) RunsSQL(f RunFilter, p Page) string { return t.runsQuery(f, p).String() }

// StrandedSQL is the statement behind Stranded, for a workspace that there may be.
func (s *Store) StrandedSQL(limit int) string {
	return s.db.NewRaw(strandedSQL, "ws_1", models.RunRunning, "", "", limit).String()
}

// OnlyReads tells whether a statement is repeated when its connection ends.
func OnlyReads(query string) bool { return onlyReads(query) }

// EventsSQL is the statement behind Events.
func (t *Tenant) EventsSQL(f EventFilter, p Page) string { return t.eventsQuery(f, p).String() }

// ClaimSQL is the statement that claims events on SQLite.
func (t *Tenant) ClaimSQL(events []models.EventID, now, until time.Time) string {
	return t.claimQuery(t.s.db, events, now, until).String()
}

// IterationsSQL is the statement behind Iterations.
func (t *Tenant) IterationsSQL(f IterationFilter, after, limit int) string {
	return t.iterationsQuery(f, after, limit).String()
}

// IterationAttemptsSQL is the statement behind IterationAttempts.
func (t *Tenant) IterationAttemptsSQL(run models.RunID, step string, iterations []int) string {
	return t.iterationAttemptsQuery(run, step, iterations).String()
}
