package store

import (
	"context"
	"database/sql"
)

// Plan gives the plan of one of the statements of waits.go, of matching, and of the
// writing of events about runs, as the engine's connections make it.
func (s *Store) Plan(ctx context.Context, which string, args ...any) (lines []string, err error) {
	query := map[string]string{
		"groups": s.dialect.waitGroups(), "of group": waitsOfGroup, "of type": waitsOfType,
		"events": eventsOfType, "events of types": eventsOfTypes, "types": typesLike, "write": insertBusEvents,
		"listening": s.dialect.listening(), "listeners": selectListeners, "claim": claimEvents, "known": s.dialect.knownEvents(), "record": recordMatches,
	}[which]
	how := "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) "
	if s.Embedded() {
		how = "EXPLAIN QUERY PLAN "
	}
	err = s.rows(ctx, how+query, func(r *sql.Rows) error {
		var line string
		dest := []any{&line}
		if s.Embedded() {
			var id, parent, unused int
			dest = []any{&id, &parent, &unused, &line}
		}
		err := r.Scan(dest...)
		lines = append(lines, line)
		return err
	}, args...)
	return lines, err
}
