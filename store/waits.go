package store

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
)

// This file finds waits for events, and events for waits. There may be very many of
// either, so every statement goes by an index whatever the statistics say: with a
// fixed text, on the engine's connections.

// EventRef names an event.
type EventRef struct {
	Workspace models.WorkspaceID
	Event     models.EventID
}

// Events gives those of the events that are still there.
func (tx *RunTx) Events(ctx context.Context, refs []EventRef) (map[EventRef]*models.Event, error) {
	keys := make([]eventKey, len(refs))
	for i, r := range refs {
		keys[i] = eventKey{r.Workspace, r.Event}
	}
	var rows []*models.Event
	err := tx.tx.NewSelect().With("want", tx.tx.NewValues(&keys)).Model(&rows).
		Join("JOIN want ON want.workspace_id = event.workspace_id AND want.id = event.id").Scan(ctx)
	found := make(map[EventRef]*models.Event, len(rows))
	for _, e := range rows {
		found[EventRef{e.WorkspaceID, e.ID}] = e
	}
	return found, err
}

// WaitGroup is what waits have in common that an event looks for together.
type WaitGroup struct {
	EventType string
	MatchKey  string
}

// WaitGroups tells which groups there are of some types, by the keys an event has
// and the empty one. Types that nobody waits for cost a look each.
func (t *Tenant) WaitGroups(ctx context.Context, types, keys []string) ([]WaitGroup, error) {
	var out []WaitGroup
	err := t.s.rows(ctx, t.s.dialect.waitGroups(), func(r *sql.Rows) error {
		var g WaitGroup
		if err := r.Scan(&g.EventType, &g.MatchKey); err != nil {
			return err
		}
		out = append(out, g)
		return nil
	}, string(t.ws), types, append([]string{""}, keys...))
	return out, err
}

const (
	postgresWaitGroups = `WITH t AS MATERIALIZED (SELECT t.event_type FROM unnest($2::text[]) AS t (event_type)
  WHERE (SELECT true FROM waits AS w WHERE w.workspace_id = $1 AND w.event_type = t.event_type ORDER BY w.match_key LIMIT 1))
SELECT t.event_type, k.match_key FROM t CROSS JOIN unnest($3::text[]) AS k (match_key)
WHERE (SELECT true FROM waits AS w WHERE w.workspace_id = $1 AND w.event_type = t.event_type AND w.match_key = k.match_key LIMIT 1)`

	sqliteWaitGroups = `WITH t AS MATERIALIZED (SELECT t.value AS event_type FROM json_each($2) AS t
  WHERE EXISTS (SELECT 1 FROM waits AS w WHERE w.workspace_id = $1 AND w.event_type = t.value))
SELECT t.event_type, k.value FROM t CROSS JOIN json_each($3) AS k
WHERE EXISTS (SELECT 1 FROM waits AS w WHERE w.workspace_id = $1 AND w.event_type = t.event_type AND w.match_key = k.value)`
)

func (postgres) waitGroups() string      { return postgresWaitGroups }
func (sqliteDialect) waitGroups() string { return sqliteWaitGroups }

// WaitPlace is where a page of waits ends.
type WaitPlace struct {
	MatchKey string
	Run      models.RunID
	Step     string
}

// waitsFrom reads waits of a type in the order of waits_by_event, with the time their
// runs were created.
const waitsFrom = `SELECT run_id, step_id, event_type, match_key, opened_at, attend_at FROM waits
WHERE workspace_id = $1 AND event_type = $2`

const (
	waitsOfGroup = waitsFrom + ` AND match_key = $3 AND (run_id, step_id) > ($4, $5) ORDER BY run_id, step_id LIMIT 100`
	waitsOfType  = waitsFrom + ` AND (match_key, run_id, step_id) > ($3, $4, $5) ORDER BY match_key, run_id, step_id LIMIT 100`
)

// WaitsPage is how many waits a page of them has.
const WaitsPage = 100

// WaitsOfGroup gives a page of the waits of a group.
func (t *Tenant) WaitsOfGroup(ctx context.Context, g WaitGroup, after WaitPlace) ([]*models.Wait, error) {
	return t.waits(ctx, waitsOfGroup, g.EventType, g.MatchKey, string(after.Run), after.Step)
}

// WaitsOfType gives a page of the waits of a type, whatever their keys.
func (t *Tenant) WaitsOfType(ctx context.Context, eventType string, after WaitPlace) ([]*models.Wait, error) {
	return t.waits(ctx, waitsOfType, eventType, after.MatchKey, string(after.Run), after.Step)
}

func (t *Tenant) waits(ctx context.Context, query string, args ...any) (out []*models.Wait, err error) {
	err = t.s.rows(ctx, query, func(r *sql.Rows) error {
		w := &models.Wait{WorkspaceID: t.ws}
		if err := r.Scan(&w.RunID, &w.StepID, &w.EventType, &w.MatchKey, &w.OpenedAt, &w.AttendAt); err != nil {
			return err
		}
		out = append(out, w)
		return nil
	}, append([]any{string(t.ws)}, args...)...)
	return out, err
}

// Wait gives a wait and when its run was created; nil where it is open no more.
func (t *Tenant) Wait(ctx context.Context, run models.RunID, step string) (w *models.Wait, runCreated time.Time, err error) {
	err = t.s.rows(ctx, `SELECT w.event_type, w.match_key, w.opened_at, w.attend_at, r.created_at FROM waits AS w
JOIN runs AS r ON r.workspace_id = w.workspace_id AND r.id = w.run_id
WHERE w.workspace_id = $1 AND w.run_id = $2 AND w.step_id = $3`, func(r *sql.Rows) error {
		w = &models.Wait{WorkspaceID: t.ws, RunID: run, StepID: step}
		return r.Scan(&w.EventType, &w.MatchKey, &w.OpenedAt, &w.AttendAt, &runCreated)
	}, string(t.ws), string(run), step)
	return w, runCreated, err
}

// AttendWait sets when a wait must look back again, nil: never. One that is open no
// more, or does not look back, stays as it is.
func (t *Tenant) AttendWait(ctx context.Context, run models.RunID, step string, at *time.Time) error {
	return t.s.alone(func(db bun.IDB) error {
		_, err := db.NewUpdate().Model((*models.Wait)(nil)).Set("attend_at = ?", at).Where("workspace_id = ?", t.ws).
			Where("run_id = ?", run).Where("step_id = ?", step).Where("attend_at IS NOT NULL").Exec(ctx)
		return err
	})
}

// DropWait forgets a wait.
func (t *Tenant) DropWait(ctx context.Context, run models.RunID, step string) error {
	return t.s.alone(func(db bun.IDB) error {
		_, err := db.NewDelete().Model((*models.Wait)(nil)).Where("workspace_id = ?", t.ws).Where("run_id = ?", run).Where("step_id = ?", step).Exec(ctx)
		return err
	})
}

// TakeDueWaits gives up to limit waits that should have looked back by now, which are
// the caller's until then. Any number of processes may do it at once.
func (s *Store) TakeDueWaits(ctx context.Context, now, until time.Time, limit int) ([]*models.Wait, error) {
	var due []*models.Wait
	err := s.inTx(ctx, func(tx bun.Tx) error {
		due = nil
		q := tx.NewSelect().Model(&due).Where("attend_at <= ?", now).OrderExpr("attend_at").Limit(int64(limit))
		if err := s.dialect.forUpdate(q, "NO KEY UPDATE SKIP LOCKED").Scan(ctx); err != nil || len(due) == 0 {
			return err
		}
		keys := make([]waitKey, len(due))
		for i, w := range due {
			keys[i] = waitKey{w.WorkspaceID, w.RunID, w.StepID}
		}
		_, err := tx.NewRaw("UPDATE waits SET attend_at = ? WHERE (workspace_id, run_id, step_id) IN (?)", until, tx.NewValues(&keys)).Exec(ctx)
		return err
	})
	return due, err
}

// eventsBehind is by how much the time in an event's id may be before the one it was
// received: a request that is repeated keeps the ids of its first try.
const eventsBehind = time.Minute

// EventsPage bounds a page of events for a wait.
const (
	EventsPage      = 200
	eventsPageBytes = 2 << 20
)

// EventsFor gives a page of the events a wait may be for, which were received at from
// or later, in the order they were: those of an event type, or of all that begin with
// what stands in front of a *. more is false where that was the last one.
func (t *Tenant) EventsFor(ctx context.Context, eventType string, from time.Time, after models.EventID) (page []*models.Event, more bool, err error) {
	if first := models.EventID(ids.Lowest(models.EventPrefix, from.Add(-eventsBehind))); after < first {
		after = first
	}
	query, args := eventsOfType, []any{string(t.ws), eventType, string(after), from}
	if prefix, ok := strings.CutSuffix(eventType, "*"); ok {
		if query, args, err = t.eventsLike(ctx, prefix, after, from); err != nil || query == "" {
			return nil, false, err
		}
	}
	size := 0
	err = t.s.rows(ctx, query, func(r *sql.Rows) error {
		if size > eventsPageBytes {
			more = true
			return errEnough
		}
		e := &models.Event{WorkspaceID: t.ws}
		var data []byte
		if err := r.Scan(&e.ID, &e.Source, &e.Type, &data, &e.OccurredAt, &e.ReceivedAt, &e.RunID, &e.Depth); err != nil {
			return err
		}
		e.Data, size = data, size+len(data)
		page = append(page, e)
		return nil
	}, args...)
	return page, more || len(page) == EventsPage, err
}

const eventsFrom = `SELECT id, source, type, data, occurred_at, received_at, run_id, depth FROM events WHERE workspace_id = $1`

const (
	eventsOfType = eventsFrom + ` AND type = $2 AND id > $3 AND received_at >= $4 ORDER BY type, id LIMIT 200`
	// Without an index for the type: where there are too many types to ask for each.
	eventsOfAny = eventsFrom + ` AND substr(type, 1, $2) = $3 AND id > $4 AND received_at >= $5 ORDER BY id LIMIT 200`
	// A page of each type, and of those together: each is in order by its index.
	eventsOfTypes = `SELECT e.id, e.source, e.type, e.data, e.occurred_at, e.received_at, e.run_id, e.depth
FROM unnest($2::text[]) AS t (type) CROSS JOIN LATERAL (` + eventsFrom + ` AND type = t.type AND id > $3 AND received_at >= $4 ORDER BY id LIMIT 200) AS e
ORDER BY e.id LIMIT 200`
	// The types there are, from one to the next by the index.
	typesLike = `WITH RECURSIVE t (type) AS (
  SELECT (SELECT min(type) FROM events WHERE workspace_id = $1 AND type >= $2)
  UNION ALL
  SELECT (SELECT min(e.type) FROM events AS e WHERE e.workspace_id = $1 AND e.type > t.type) FROM t WHERE substr(t.type, 1, $3) = $2
) SELECT type FROM t WHERE substr(type, 1, $3) = $2 LIMIT 101`
)

// mostTypes is how many types are asked for one by one.
const mostTypes = 100

// eventsLike gives the statement for a page of the events whose types begin with
// prefix; none where there are none.
func (t *Tenant) eventsLike(ctx context.Context, prefix string, after models.EventID, from time.Time) (query string, args []any, err error) {
	letters := len([]rune(prefix))
	byOrder := []any{string(t.ws), letters, prefix, string(after), from}
	if t.s.Embedded() {
		return eventsOfAny, byOrder, nil
	}
	var types []string
	err = t.s.rows(ctx, typesLike, func(r *sql.Rows) error {
		var typ string
		if err := r.Scan(&typ); err != nil {
			return err
		}
		types = append(types, typ)
		return nil
	}, string(t.ws), prefix, letters)
	switch {
	case err != nil || len(types) == 0:
		return "", nil, err
	case len(types) > mostTypes:
		return eventsOfAny, byOrder, nil
	}
	return eventsOfTypes, []any{string(t.ws), types, string(after), from}, nil
}
