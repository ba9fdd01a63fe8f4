package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/10ex/flows/models"
)

// The statements of matching have a fixed text and run on the engine's connections:
// every event costs some, and they are right there before anybody has analysed a table.

const postgresListening = `SELECT named.event_type,
(SELECT true FROM triggers WHERE triggers.workspace_id = $1 AND triggers.event_type = named.event_type
  AND triggers.enabled AND triggers.type = 'event' LIMIT 1) IS NOT NULL,
(SELECT true FROM waits WHERE waits.workspace_id = $1 AND waits.event_type = named.event_type LIMIT 1) IS NOT NULL
FROM unnest($2::text[]) AS named (event_type)`

// listening is two look-ups for each type, in triggers_by_event and waits_by_event.
// EXISTS would mean the same, and allow PostgreSQL to read all of the workspace's
// instead.
func (postgres) listening() string { return postgresListening }

// eventRows is a list of where the events are whose ids are in a parameter. Each is
// looked up by the order of events_pkey, which no other index has. Asked for by equal
// keys PostgreSQL may take any index that begins with the workspace: in its statistics
// a workspace that floods it just now has no events yet, and so all of them are read
// for each.
func eventRows(ids string) string {
	return `ARRAY(SELECT (SELECT e.ctid FROM events AS e
  WHERE (e.workspace_id, e.id) >= ($1, named.id) AND (e.workspace_id, e.id) <= ($1, named.id) ORDER BY e.workspace_id, e.id LIMIT 1)
FROM unnest(` + ids + `::text[]) AS named (id))`
}

// claimEvents asks again once it has a row for itself: another may have had it.
var claimEvents = `UPDATE events SET claimed_until = $4 WHERE ctid = ANY (` + eventRows("$2") + `)
AND attend_at IS NOT NULL AND (claimed_until IS NULL OR claimed_until <= $3) RETURNING ` + strings.Join(columnsOf[models.Event](), ", ")

func (postgres) claimEvents(ctx context.Context, t *Tenant, events []models.EventID, now, until time.Time) ([]*models.Event, error) {
	return listed[models.Event](ctx, t.s, claimEvents, string(t.ws), texts(events), now, until)
}

var matchFields = []field[models.Match]{
	fieldOf("event_id", "text", func(m *models.Match) string { return string(m.EventID) }),
	fieldOf("trigger_id", "text", func(m *models.Match) string { return string(m.TriggerID) }),
	fieldOf("outcome", "text", func(m *models.Match) string { return string(m.Outcome) }),
	fieldOf("reason", "text", func(m *models.Match) string { return m.Reason }),
	fieldOf("run_id", "text", func(m *models.Match) *string { return text(m.RunID) }),
	fieldOf("delivery_id", "text", func(m *models.Match) *string { return text(m.DeliveryID) }),
	fieldOf("at", "timestamptz", func(m *models.Match) time.Time { return m.At }),
}

// recordMatches is one statement, and so one transaction and one way to the server. A
// trigger that somebody else has in hand just now is left out, so that nobody waits
// for it.
var recordMatches = func() string {
	columns, values := make([]string, len(matchFields)), make([]string, len(matchFields))
	for i, f := range matchFields {
		columns[i], values[i] = f.name, fmt.Sprintf("$%d::%s[]", i+6, f.typ)
	}
	names := strings.Join(columns, ", ")
	return `WITH kept AS (INSERT INTO event_matches (workspace_id, ` + names + `)
  SELECT $1, ` + names + ` FROM unnest(` + strings.Join(values, ", ") + `) AS data (` + names + `) ON CONFLICT DO NOTHING),
noted AS (UPDATE triggers SET last_fired_at = $4 WHERE workspace_id = $1 AND id = ANY (ARRAY(
  SELECT free.id FROM unnest($3::text[]) AS named (id) CROSS JOIN LATERAL (
    SELECT t.id FROM triggers AS t WHERE t.workspace_id = $1 AND t.id = named.id
    AND (t.last_fired_at IS NULL OR t.last_fired_at < $5) LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) AS free)))
UPDATE events SET attend_at = NULL WHERE ctid = ANY (` + eventRows("$2") + `) AND attend_at IS NOT NULL`
}()

func (d postgres) recordMatches(ctx context.Context, t *Tenant, r matchRecord) error {
	args := []any{string(t.ws), texts(r.done), texts(r.fired), r.now, r.now.Add(-firedEvery)}
	q := newBunch()
	defer q.release()
	args = append(args, rowsOf(q, matchFields, r.matches)...)
	query, args := d.prepared(recordMatches, args)
	t.s.statements.Add(1)
	_, err := t.s.engine.DB.ExecContext(ctx, query, args...)
	return t.s.err(err)
}

// texts gives ids as the driver takes them.
func texts[T ~string](ids []T) []string { return column(ids, func(id T) string { return string(id) }) }
