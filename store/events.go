package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
)

// EventFilter restricts a list of events. What is empty does not restrict.
type EventFilter struct {
	Type           string
	Source         string
	ReceivedAfter  *time.Time // that moment itself is left out
	ReceivedBefore *time.Time // that moment itself is left out
}

// AddEvents keeps events of the workspace, see Store.AddEvents. It sets the
// workspace.
func (t *Tenant) AddEvents(ctx context.Context, events []*models.Event) ([]models.EventID, error) {
	for _, e := range events {
		e.WorkspaceID = t.ws
	}
	return t.s.AddEvents(ctx, events)
}

// AddEvents keeps events of any workspaces, all or none, and gives the id of each.
// One whose source and external id are known already in its workspace is not kept
// again: the id is then that of the first.
func (s *Store) AddEvents(ctx context.Context, events []*models.Event) ([]models.EventID, error) {
	if len(events) == 0 {
		return nil, nil
	}
	rows := slices.Clone(events)
	for _, e := range rows {
		if err := checkText(e); err != nil {
			return nil, err
		}
	}
	// In one order, so that two who add the same do not wait for each other.
	slices.SortStableFunc(rows, func(a, b *models.Event) int {
		return cmp.Or(cmp.Compare(a.WorkspaceID, b.WorkspaceID), cmp.Compare(a.ExternalID, b.ExternalID), cmp.Compare(a.Source, b.Source))
	})
	known := make(map[eventName]models.EventID, len(rows))
	for len(rows) > 0 {
		err := s.alone(func(db bun.IDB) error {
			var added []eventName
			err := db.NewInsert().Model(&rows).On("CONFLICT (workspace_id, external_id, source) DO NOTHING").
				Returning("workspace_id, external_id, source, id").Scan(ctx, &added)
			note(known, added)
			return err
		})
		if err != nil {
			return nil, err
		}
		unknown := func(e *models.Event) bool { return known[nameOf(e)] == "" }
		rows = slices.DeleteFunc(rows, func(e *models.Event) bool { return !unknown(e) })
		if err := s.knownEvents(ctx, rows, known); err != nil {
			return nil, err
		}
		// What was there may have been removed between the two statements.
		rows = slices.DeleteFunc(rows, func(e *models.Event) bool { return !unknown(e) })
	}
	out := make([]models.EventID, len(events))
	for i, e := range events {
		out[i] = known[nameOf(e)]
	}
	return out, nil
}

// eventName is how its sender knows an event, and the id it was given.
type eventName struct {
	WorkspaceID models.WorkspaceID `bun:"workspace_id"`
	ExternalID  string             `bun:"external_id"`
	Source      string             `bun:"source"`
	ID          models.EventID     `bun:"id"`
}

func nameOf(e *models.Event) eventName {
	return eventName{WorkspaceID: e.WorkspaceID, ExternalID: e.ExternalID, Source: e.Source}
}

func note(known map[eventName]models.EventID, events []eventName) {
	for _, e := range events {
		id := e.ID
		e.ID = ""
		known[e] = id
	}
}

// knownEvents adds the ids of events that are there already.
func (s *Store) knownEvents(ctx context.Context, events []*models.Event, known map[eventName]models.EventID) error {
	if len(events) == 0 {
		return nil
	}
	names := [3][]string{}
	for _, e := range events {
		for i, part := range []string{string(e.WorkspaceID), e.ExternalID, e.Source} {
			names[i] = append(names[i], part)
		}
	}
	return s.rows(ctx, s.dialect.knownEvents(), func(r *sql.Rows) error {
		var (
			e  eventName
			id *string
		)
		if err := r.Scan(&e.WorkspaceID, &e.ExternalID, &e.Source, &id); err != nil || id == nil {
			return err
		}
		known[e] = models.EventID(*id)
		return nil
	}, names[0], names[1], names[2])
}

// knownEvents is a look-up for each by the order of the index of names, which no other
// index has: asked for by equal names PostgreSQL may read all that the workspace has
// from the source.
func (postgres) knownEvents() string {
	return `SELECT named.workspace_id, named.external_id, named.source, (SELECT e.id FROM events AS e
  WHERE (e.workspace_id, e.external_id, e.source) >= (named.workspace_id, named.external_id, named.source)
  AND (e.workspace_id, e.external_id, e.source) <= (named.workspace_id, named.external_id, named.source)
  ORDER BY e.workspace_id, e.external_id, e.source LIMIT 1)
FROM unnest($1::text[], $2::text[], $3::text[]) AS named (workspace_id, external_id, source)`
}

func (sqliteDialect) knownEvents() string {
	return `SELECT spaces.value, names.value, sources.value, (SELECT e.id FROM events AS e
  WHERE e.workspace_id = spaces.value AND e.external_id = names.value AND e.source = sources.value)
FROM json_each($1) AS spaces JOIN json_each($2) AS names ON names.key = spaces.key JOIN json_each($3) AS sources ON sources.key = spaces.key`
}

// Event gives an event.
func (t *Tenant) Event(ctx context.Context, id models.EventID) (*models.Event, error) {
	e := new(models.Event)
	err := t.mine(t.s.db.NewSelect().Model(e)).Where("event.id = ?", id).Scan(ctx)
	if err != nil {
		return nil, named("event", id, t.s.err(err))
	}
	return e, nil
}

// Events lists events without their data, the latest first.
func (t *Tenant) Events(ctx context.Context, f EventFilter, p Page) ([]*models.Event, error) {
	if err := checkText(f, p); err != nil {
		return nil, err
	}
	var rows []*models.Event
	err := t.eventsQuery(f, p).Scan(ctx, &rows)
	return rows, t.s.err(err)
}

// eventsQuery is served by
//
//	events_pkey       (workspace_id, id)          no filter
//	events_by_type    (workspace_id, type, id)    type, with or without source
//	events_by_source  (workspace_id, source, id)  source
func (t *Tenant) eventsQuery(f EventFilter, p Page) *bun.SelectQuery {
	q := t.mine(t.s.db.NewSelect().Model((*models.Event)(nil))).ExcludeColumn("data")
	if f.Type != "" {
		q = q.Where("event.type = ?", f.Type)
	}
	if f.Source != "" {
		q = q.Where("event.source = ?", f.Source)
	}
	seen := p.After
	if f.ReceivedAfter != nil {
		q = q.Where("event.id >= ?", ids.Lowest(models.EventPrefix, f.ReceivedAfter.Add(-idsBehind))).
			Where("event.received_at > ?", *f.ReceivedAfter)
	}
	if f.ReceivedBefore != nil {
		q = q.Where("event.received_at < ?", *f.ReceivedBefore)
		if bound := ids.Lowest(models.EventPrefix, f.ReceivedBefore.Add(idsAhead)); seen == "" || bound < seen {
			seen = bound
		}
	}
	if seen != "" {
		q = q.Where("event.id < ?", seen)
	}
	return q.OrderExpr("event.id DESC").Limit(int64(p.limit()))
}

// ClaimEvents gives those of the events that have not been matched yet and that nobody
// else has claimed, in the order of their ids. Until then they are the caller's alone;
// RecordMatches or FreeEvents ends that before.
func (t *Tenant) ClaimEvents(ctx context.Context, events []models.EventID, now, until time.Time) ([]*models.Event, error) {
	if len(events) == 0 {
		return nil, nil
	}
	rows, err := t.s.dialect.claimEvents(ctx, t, events, now, until)
	slices.SortFunc(rows, func(a, b *models.Event) int { return cmp.Compare(a.ID, b.ID) })
	return rows, err
}

// FreeEvents gives up what ClaimEvents has claimed until then, for it came to nothing. It
// is due at attend, if not before.
func (t *Tenant) FreeEvents(ctx context.Context, events []models.EventID, until, attend time.Time) error {
	if len(events) == 0 {
		return nil
	}
	slices.Sort(events)
	return t.s.alone(func(db bun.IDB) error {
		_, err := db.NewUpdate().Model((*models.Event)(nil)).Set("claimed_until = NULL").
			Set("attend_at = CASE WHEN attend_at > ? THEN ? ELSE attend_at END", attend, attend).
			Where("event.workspace_id = ?", t.ws).Where("event.id IN (?)", bun.List(events)).
			Where("event.claimed_until = ?", until).Exec(ctx)
		return err
	})
}

// DueEvent names an event that should have been matched by now.
type DueEvent struct {
	Workspace models.WorkspaceID `bun:"workspace_id"`
	ID        models.EventID     `bun:"id"`
	Tries     int                `bun:"tries"`
}

// TakeDueEvents gives up to limit events that were to be matched before now, counts
// another try for each, and lets them be found again a while later. Those that somebody
// has claimed are left alone. Any number of processes may do it at once: each takes
// events no other has.
func (s *Store) TakeDueEvents(ctx context.Context, now time.Time, limit int, again func(tries int) time.Duration) ([]DueEvent, error) {
	var due []DueEvent
	err := s.inTx(ctx, func(tx bun.Tx) error {
		due = nil
		q := tx.NewSelect().Model((*models.Event)(nil)).Column("workspace_id", "id", "tries").
			Where("event.attend_at <= ?", now).Where("(event.claimed_until IS NULL OR event.claimed_until <= ?)", now).
			OrderExpr("event.attend_at").Limit(int64(limit))
		if err := s.dialect.forUpdate(q, "UPDATE SKIP LOCKED").Scan(ctx, &due); err != nil || len(due) == 0 {
			return err
		}
		byTries := map[int][]DueEvent{}
		for i := range due {
			due[i].Tries++
			byTries[due[i].Tries] = append(byTries[due[i].Tries], due[i])
		}
		for tries, rows := range byTries {
			keys := make([]eventKey, len(rows))
			for i, r := range rows {
				keys[i] = eventKey{WorkspaceID: r.Workspace, ID: r.ID}
			}
			_, err := tx.NewUpdate().With("due", tx.NewValues(&keys)).Model((*models.Event)(nil)).
				Set("tries = ?", tries).Set("attend_at = ?", now.Add(again(tries))).
				Where("(event.workspace_id, event.id) IN (SELECT workspace_id, id FROM due)").Exec(ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return due, err
}

type eventKey struct {
	WorkspaceID models.WorkspaceID `bun:"workspace_id"`
	ID          models.EventID     `bun:"id"`
}
