-- The log of runs: a row holds the lines that one transaction wrote of a run. Most
-- transactions write several, and a row costs more than what is in it.
CREATE TABLE run_log (
  workspace_id text COLLATE "C" NOT NULL,
  run_id       text COLLATE "C" NOT NULL,
  seq          bigint NOT NULL, -- of the last of its lines
  at           timestamptz NOT NULL,
  lines        json NOT NULL,
  PRIMARY KEY (workspace_id, run_id, seq)
);
--bun:split
INSERT INTO run_log (workspace_id, run_id, seq, at, lines)
SELECT workspace_id, run_id, seq, at, json_build_array(json_build_object('type', type, 'step', step_id, 'data', data)) FROM run_events;
--bun:split
DROP TABLE run_events;
