-- Control over how runs start: one at a time, once a period, and not for longer
-- than they may.

-- hold says why a queued run has not begun. slot_key is the key that limits how many
-- runs are active at once, and slot_seq the order in which they came: it counts
-- within the runs of a key that have not ended. begin_at is when a run that gathers
-- starts begins, deadline_at when one that goes on for too long is ended, and
-- attend_at when the sweep must look: either of them is due, or a run has ended
-- whose slot has not been handed on. from_step is where a rerun that is held begins.
ALTER TABLE runs
  ADD COLUMN hold         text COLLATE "C" NOT NULL DEFAULT '' CHECK (hold IN ('', 'concurrency', 'debounce')),
  ADD COLUMN slot_key     text COLLATE "C",
  ADD COLUMN slot_seq     bigint NOT NULL DEFAULT 0,
  ADD COLUMN debounce_key text COLLATE "C",
  ADD COLUMN from_step    text COLLATE "C" NOT NULL DEFAULT '',
  ADD COLUMN begin_at     timestamptz,
  ADD COLUMN deadline_at  timestamptz,
  ADD COLUMN paused_at    timestamptz,
  ADD COLUMN attend_at    timestamptz;
--bun:split
CREATE INDEX runs_attend ON runs (attend_at) WHERE attend_at IS NOT NULL;
--bun:split
-- Who holds a slot of a key, and who is in line for one.
CREATE INDEX runs_by_slot ON runs (workspace_id, workflow_id, slot_key, hold, slot_seq)
  WHERE slot_key IS NOT NULL AND finished_at IS NULL;
--bun:split
CREATE INDEX runs_by_debounce ON runs (workspace_id, workflow_id, debounce_key) WHERE hold = 'debounce';
