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

// ListenersSQL is the statement behind Listeners.
func (t *Tenant) ListenersSQL(eventType string, after models.TriggerID, limit int) string {
	return t.listenersQuery(eventType, after, limit).String()
}

// ListeningSQL is the statement behind Listening.
func (t *Tenant) ListeningSQL(types []string) string { return t.listeningQuery(types).String() }

// EventsSQL is the statement behind Events.
func (t *Tenant) EventsSQL(f EventFilter, p Page) string { return t.eventsQuery(f, p).String() }

// ClaimSQL is the statement that claims events.
func (t *Tenant) ClaimSQL(events []models.EventID, now, until time.Time) string {
	return t.claimQuery(t.s.db, events, now, until).String()
}

// KnownSQL is the statement that finds events which are there already.
func (t *Tenant) KnownSQL(external ...string) string {
	names := make([]eventName, len(external))
	for i, e := range external {
		names[i] = eventName{WorkspaceID: t.ws, ExternalID: e, Source: "crm"}
	}
	return t.s.knownQuery(names).String()
}
