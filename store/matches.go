package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// Matches tells what became of an event, in the order of the triggers' ids; of at
// most limit triggers.
func (t *Tenant) Matches(ctx context.Context, event models.EventID, limit int) ([]*models.Match, error) {
	var rows []*models.Match
	err := t.mine(t.s.db.NewSelect().Model(&rows)).Where("match.event_id = ?", event).
		OrderExpr("match.trigger_id").Limit(int64(limit)).Scan(ctx)
	return rows, t.s.err(err)
}

// RecordMatches keeps what became of events and notes when triggers last fired. A
// match that is there already stays as it is. The events that are done need not be
// matched any more.
func (t *Tenant) RecordMatches(ctx context.Context, matches []*models.Match, done []models.EventID, now time.Time) error {
	if len(matches)+len(done) == 0 {
		return nil
	}
	var fired []models.TriggerID
	for _, m := range matches {
		m.WorkspaceID = t.ws
		if err := checkText(m); err != nil {
			return err
		}
		if m.Outcome == models.MatchFired {
			fired = append(fired, m.TriggerID)
		}
	}
	// In one order, so that two who write the same do not wait for each other.
	slices.SortFunc(matches, func(a, b *models.Match) int {
		return cmp.Or(cmp.Compare(a.EventID, b.EventID), cmp.Compare(a.TriggerID, b.TriggerID))
	})
	return t.s.inTx(ctx, func(tx bun.Tx) error {
		if len(matches) > 0 {
			if _, err := tx.NewInsert().Model(&matches).On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
				return err
			}
		}
		if err := t.noteFired(ctx, tx, fired, now); err != nil {
			return err
		}
		return t.settle(ctx, tx, done)
	})
}

// firedEvery is how exactly it is known when a trigger last fired, so that one that
// fires all the time is not written all the time.
const firedEvery = time.Second

// noteFired sets when triggers last fired. One that somebody else has in hand just
// now is left out, so that nobody waits for it.
func (t *Tenant) noteFired(ctx context.Context, tx bun.Tx, fired []models.TriggerID, now time.Time) error {
	if len(fired) == 0 {
		return nil
	}
	slices.Sort(fired)
	var free []models.TriggerID
	q := t.mine(tx.NewSelect().Model((*models.Trigger)(nil))).Column("id").
		Where("trigger.id IN (?)", bun.List(slices.Compact(fired))).
		Where("(trigger.last_fired_at IS NULL OR trigger.last_fired_at < ?)", now.Add(-firedEvery))
	if err := t.s.dialect.forUpdate(q, "NO KEY UPDATE SKIP LOCKED").Scan(ctx, &free); err != nil || len(free) == 0 {
		return err
	}
	// Not in one statement: the rows to lock would be found by their keys, and those to
	// change by reading all of the workspace.
	_, err := tx.NewUpdate().Model((*models.Trigger)(nil)).Set("last_fired_at = ?", now).
		Where("trigger.workspace_id = ?", t.ws).Where("trigger.id IN (?)", bun.List(free)).Exec(ctx)
	return err
}

func (t *Tenant) settle(ctx context.Context, tx bun.Tx, events []models.EventID) error {
	if len(events) == 0 {
		return nil
	}
	slices.Sort(events)
	_, err := tx.NewUpdate().Model((*models.Event)(nil)).Set("attend_at = NULL").
		Where("event.workspace_id = ?", t.ws).Where("event.id IN (?)", bun.List(events)).
		Where("event.attend_at IS NOT NULL").Exec(ctx)
	return err
}

// Listening tells which of the event types triggers and waits of runs name.
func (t *Tenant) Listening(ctx context.Context, types []string) (triggers, waits []string, err error) {
	if len(types) == 0 {
		return nil, nil, nil
	}
	var found []listening
	if err := t.listeningQuery(types).Scan(ctx, &found); err != nil {
		return nil, nil, t.s.err(err)
	}
	for _, f := range found {
		if f.Trigger {
			triggers = append(triggers, f.EventType)
		}
		if f.Wait {
			waits = append(waits, f.EventType)
		}
	}
	return triggers, waits, nil
}

type listening struct {
	EventType string `bun:"event_type"`
	Trigger   bool   `bun:"trigger"`
	Wait      bool   `bun:"wait"`
}

// listeningQuery is two look-ups for each type, in triggers_by_event and
// waits_by_event. EXISTS would mean the same, and allow PostgreSQL to read all of
// the workspace's instead.
func (t *Tenant) listeningQuery(types []string) *bun.RawQuery {
	rows := make([]struct {
		EventType string `bun:"event_type"`
	}, len(types))
	for i, typ := range types {
		rows[i].EventType = typ
	}
	return t.s.db.NewRaw(`WITH named (event_type) AS (?) SELECT event_type,
(SELECT 1 FROM triggers WHERE triggers.workspace_id = ? AND triggers.event_type = named.event_type
  AND triggers.enabled AND triggers.type = 'event' LIMIT 1) IS NOT NULL AS "trigger",
(SELECT 1 FROM waits WHERE waits.workspace_id = ? AND waits.event_type = named.event_type LIMIT 1) IS NOT NULL AS "wait"
FROM named`, t.s.db.NewValues(&rows), t.ws, t.ws)
}

// KeyClaim asks whether an event may fire a trigger that fires once for a key
// within a window.
type KeyClaim struct {
	Trigger models.TriggerID
	Key     string
	Event   models.EventID
	At      time.Time // when the event came
	Until   time.Time // the end of the window it would open
}

// ClaimKeys gives for each claim who has the key: the event itself, or the one that
// opened the window it falls into. The claims must name different keys. The same
// claim again has the same answer.
func (t *Tenant) ClaimKeys(ctx context.Context, claims []KeyClaim) ([]models.TriggerKey, error) {
	if len(claims) == 0 {
		return nil, nil
	}
	order := make([]int, len(claims))
	for i := range order {
		order[i] = i
	}
	// In one order, so that two who claim the same do not wait for each other.
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(claims[a].Trigger, claims[b].Trigger), cmp.Compare(claims[a].Key, claims[b].Key))
	})
	out := make([]models.TriggerKey, len(claims))
	err := t.s.inTx(ctx, func(tx bun.Tx) error {
		for _, i := range order {
			c := claims[i]
			row := models.TriggerKey{WorkspaceID: t.ws, TriggerID: c.Trigger, Key: c.Key, EventID: c.Event, Until: c.Until}
			if err := checkText(row); err != nil {
				return err
			}
			// A window that is over is the new one's; the row is locked either way, and
			// given back as it is then.
			err := tx.NewInsert().Model(&row).On("CONFLICT (workspace_id, trigger_id, key) DO UPDATE").
				Set("event_id = CASE WHEN trigger_key.until <= ? THEN EXCLUDED.event_id ELSE trigger_key.event_id END", c.At).
				Set("until = CASE WHEN trigger_key.until <= ? THEN EXCLUDED.until ELSE trigger_key.until END", c.At).
				Returning("event_id, until").Scan(ctx)
			if err != nil {
				return err
			}
			out[i] = row
		}
		return nil
	})
	return out, err
}

// FreeKey gives up a key that an event has claimed, for nothing came of it.
func (t *Tenant) FreeKey(ctx context.Context, trigger models.TriggerID, key string, event models.EventID) error {
	return t.s.alone(func(db bun.IDB) error {
		_, err := db.NewDelete().Model((*models.TriggerKey)(nil)).Where("workspace_id = ?", t.ws).
			Where("trigger_id = ?", trigger).Where("key = ?", key).Where("event_id = ?", event).Exec(ctx)
		return err
	})
}

// PruneTriggerKeys forgets up to limit keys whose windows ended before, and tells
// how many. Any number of processes may do it at once.
func (s *Store) PruneTriggerKeys(ctx context.Context, before time.Time, limit int) (int, error) {
	var keys []*models.TriggerKey
	err := s.inTx(ctx, func(tx bun.Tx) error {
		q := tx.NewSelect().Model(&keys).Column("workspace_id", "trigger_id", "key").
			Where("until < ?", before).OrderExpr("until").Limit(int64(limit))
		if err := s.dialect.forUpdate(q, "UPDATE SKIP LOCKED").Scan(ctx); err != nil || len(keys) == 0 {
			return err
		}
		_, err := tx.NewDelete().Model(&keys).WherePK().Exec(ctx)
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(keys), nil
}

// TriggerKey gives what is remembered of a key.
func (t *Tenant) TriggerKey(ctx context.Context, trigger models.TriggerID, key string) (*models.TriggerKey, error) {
	k := new(models.TriggerKey)
	err := t.mine(t.s.db.NewSelect().Model(k)).Where("trigger_key.trigger_id = ?", trigger).Where("trigger_key.key = ?", key).Scan(ctx)
	if err != nil {
		return nil, t.s.err(err)
	}
	return k, nil
}
