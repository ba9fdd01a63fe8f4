package store

import (
	"cmp"
	"context"
	"database/sql"
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
	slices.Sort(fired)
	slices.Sort(done)
	return t.s.dialect.recordMatches(ctx, t, matchRecord{matches: matches, fired: slices.Compact(fired), done: done, now: now})
}

// matchRecord is what RecordMatches writes, each list in order.
type matchRecord struct {
	matches []*models.Match
	fired   []models.TriggerID
	done    []models.EventID
	now     time.Time
}

// firedEvery is how exactly it is known when a trigger last fired, so that one that
// fires all the time is not written all the time.
const firedEvery = time.Second

// Listening tells which of the event types triggers and waits of runs name.
func (t *Tenant) Listening(ctx context.Context, types []string) (triggers, waits []string, err error) {
	if len(types) == 0 {
		return nil, nil, nil
	}
	err = t.s.rows(ctx, t.s.dialect.listening(), func(r *sql.Rows) error {
		var (
			typ           string
			trigger, wait bool
		)
		err := r.Scan(&typ, &trigger, &wait)
		if trigger {
			triggers = append(triggers, typ)
		}
		if wait {
			waits = append(waits, typ)
		}
		return err
	}, string(t.ws), types)
	return triggers, waits, err
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

// TriggerKey gives what is remembered of a key.
func (t *Tenant) TriggerKey(ctx context.Context, trigger models.TriggerID, key string) (*models.TriggerKey, error) {
	k := new(models.TriggerKey)
	err := t.mine(t.s.db.NewSelect().Model(k)).Where("trigger_key.trigger_id = ?", trigger).Where("trigger_key.key = ?", key).Scan(ctx)
	if err != nil {
		return nil, t.s.err(err)
	}
	return k, nil
}
