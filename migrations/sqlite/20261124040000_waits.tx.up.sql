-- An event looks for the waits of its type and each of its keys, a page at a time.
DROP INDEX waits_by_event;
--bun:split
CREATE INDEX waits_by_event ON waits (workspace_id, event_type, match_key, run_id, step_id);
