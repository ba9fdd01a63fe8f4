package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/10ex/flows/models"
)

// Most events about runs are heard by nobody, and matching them would cost more than
// writing them. So whether anybody listens is asked by the transaction that writes
// them, last of all: a trigger that was there before, also one made a moment ago by
// another process, is seen. Not seen is one whose own transaction has not ended yet;
// a wait that is opened in such a one looks back later, see engine.LookBack.

// EventTypePatterns gives every event type that a listener may name to hear of
// events of type typ: itself, and every beginning of it with * after it.
func EventTypePatterns(typ string) []string {
	out := []string{typ}
	for i := 0; i <= len(typ); i++ {
		if i == len(typ) || utf8.RuneStart(typ[i]) {
			out = append(out, typ[:i]+"*")
		}
	}
	return out
}

// Every type of an event about a run lies between these two, and so does every
// pattern that covers one, but for those that are shorter.
const (
	lifecycleFrom = "flow"
	lifecycleTo   = "flox"
)

var lifecycleShort = []string{"*", "f*", "fl*", "flo*"}

var busEventFields = []field[models.Event]{
	fieldOf("workspace_id", "text", func(e *models.Event) string { return string(e.WorkspaceID) }),
	fieldOf("id", "text", func(e *models.Event) string { return string(e.ID) }),
	fieldOf("external_id", "text", func(e *models.Event) string { return e.ExternalID }),
	fieldOf("source", "text", func(e *models.Event) string { return e.Source }),
	fieldOf("type", "text", func(e *models.Event) string { return e.Type }),
	jsonField("data", "json", func(e *models.Event) json.RawMessage { return e.Data }),
	fieldOf("occurred_at", "timestamptz", func(e *models.Event) time.Time { return e.OccurredAt }),
	fieldOf("received_at", "timestamptz", func(e *models.Event) time.Time { return e.ReceivedAt }),
	fieldOf("run_id", "text", func(e *models.Event) *string { return text(e.RunID) }),
	fieldOf("trigger_id", "text", func(e *models.Event) *string { return text(e.TriggerID) }),
	fieldOf("depth", "int", func(e *models.Event) int32 { return int32(e.Depth) }),
	fieldOf("attend_at", "timestamptz", func(e *models.Event) *time.Time { return e.AttendAt }),
	fieldOf("tries", "int", func(e *models.Event) int32 { return int32(e.Tries) }),
}

// insertBusEvents writes events and gives the ids of those that somebody listens
// for. A look at the few places of the index where such a listener can be comes
// first, once a workspace: where there is none, which is most of the time, that is
// all. Subqueries with a limit are evaluated row by row, by the index, whatever the
// planner believes of the tables.
var insertBusEvents = func() string {
	from, columns := source(busEventFields)
	names, values := make([]string, len(busEventFields)), make([]string, len(busEventFields))
	for i, f := range busEventFields {
		names[i], values[i] = f.name, columns[f.name]
	}
	n := len(busEventFields)
	anybody := func(condition string) string {
		one := func(table, rest string) string {
			return "(SELECT true FROM " + table + " AS l WHERE l.workspace_id = w.id AND " + condition + rest + " LIMIT 1)"
		}
		return "COALESCE(" + one("triggers", " AND l.enabled AND l.type = 'event'") + ", " + one("waits", "") + ", false)"
	}
	values[slices.Index(names, "attend_at")] = "CASE WHEN (data.workspace_id, data.type) IN (SELECT id, type FROM heard) THEN data.attend_at END"
	return fmt.Sprintf(`WITH w AS MATERIALIZED (SELECT w.id FROM unnest($%d::text[]) AS w (id) WHERE %s OR %s),
heard AS MATERIALIZED (SELECT w.id, cover.type FROM w CROSS JOIN unnest($%d::text[], $%d::text[]) AS cover (type, pattern) WHERE %s),
kept AS (INSERT INTO events (%s) SELECT %s FROM %s RETURNING id, attend_at)
SELECT id FROM kept WHERE attend_at IS NOT NULL`,
		n+1, anybody("l.event_type >= '"+lifecycleFrom+"' AND l.event_type < '"+lifecycleTo+"'"),
		"COALESCE((SELECT true FROM unnest('{"+strings.Join(lifecycleShort, ",")+"}'::text[]) AS short (pattern) WHERE "+
			anybody("l.event_type = short.pattern")+" LIMIT 1), false)",
		n+2, n+3, anybody("l.event_type = cover.pattern"),
		strings.Join(names, ", "), strings.Join(values, ", "), from)
}()

// queueBusEvents queues the events of c. What it gives is filled in when they are
// written: those that somebody listens for.
func queueBusEvents(q *bunch, c *Changes) (heard map[models.EventID]bool) {
	if c == nil || len(c.BusEvents) == 0 {
		return nil
	}
	heard = map[models.EventID]bool{}
	read := func(r pgx.Rows) error {
		for r.Next() {
			var id models.EventID
			if err := r.Scan(&id); err != nil {
				return err
			}
			heard[id] = true
		}
		return nil
	}
	args := rowsOf(q, busEventFields, c.BusEvents)
	workspaces := column(c.BusEvents, func(e *models.Event) string { return string(e.WorkspaceID) })
	slices.Sort(workspaces)
	types, patterns := covers(c.BusEvents)
	q.ask(read, insertBusEvents, append(args, slices.Compact(workspaces), types, patterns)...)
	return heard
}

// covers pairs the types of events with the patterns that cover each.
func covers(events []*models.Event) (types, patterns []string) {
	seen := map[string]bool{}
	for _, e := range events {
		if seen[e.Type] {
			continue
		}
		seen[e.Type] = true
		for _, p := range EventTypePatterns(e.Type) {
			types, patterns = append(types, e.Type), append(patterns, p)
		}
	}
	return types, patterns
}

func settleUnheard(c *Changes, heard map[models.EventID]bool) {
	if c == nil {
		return
	}
	for _, e := range c.BusEvents {
		if !heard[e.ID] {
			e.AttendAt = nil
		}
	}
}

// saveBusEvents does what insertBusEvents does.
func (b valuesBatch) saveBusEvents(ctx context.Context, c *Changes) error {
	if len(c.BusEvents) == 0 {
		return nil
	}
	type cover struct {
		WorkspaceID models.WorkspaceID `bun:"workspace_id"`
		Type        string             `bun:"type"`
		Pattern     string             `bun:"pattern"`
	}
	var covered []cover
	seen := map[cover]bool{}
	for _, e := range c.BusEvents {
		k := cover{WorkspaceID: e.WorkspaceID, Type: e.Type}
		if seen[k] {
			continue
		}
		seen[k] = true
		for _, p := range EventTypePatterns(e.Type) {
			covered = append(covered, cover{e.WorkspaceID, e.Type, p})
		}
	}
	var found []cover
	err := b.tx.NewRaw(`WITH cover (workspace_id, type, pattern) AS (?) SELECT DISTINCT workspace_id, type FROM cover WHERE
EXISTS (SELECT 1 FROM triggers AS l WHERE l.workspace_id = cover.workspace_id AND l.event_type = cover.pattern AND l.enabled AND l.type = 'event')
OR EXISTS (SELECT 1 FROM waits AS l WHERE l.workspace_id = cover.workspace_id AND l.event_type = cover.pattern)`,
		b.tx.NewValues(&covered)).Scan(ctx, &found)
	if err != nil {
		return err
	}
	heard := map[cover]bool{}
	for _, f := range found {
		heard[f] = true
	}
	for _, e := range c.BusEvents {
		if !heard[cover{WorkspaceID: e.WorkspaceID, Type: e.Type}] {
			e.AttendAt = nil
		}
	}
	return insertAll(ctx, b.tx, c.BusEvents)
}
