-- The log of runs: a row holds the lines that one transaction wrote of a run. Most
-- transactions write several, and a row costs more than what is in it.
CREATE TABLE run_log (
  workspace_id text NOT NULL,
  run_id       text NOT NULL,
  seq          integer NOT NULL, -- of the last of its lines
  at           timestamp NOT NULL,
  lines        json_text NOT NULL,
  PRIMARY KEY (workspace_id, run_id, seq)
);
--bun:split
INSERT INTO run_log (workspace_id, run_id, seq, at, lines)
SELECT workspace_id, run_id, seq, at, json_array(json_object('type', type, 'step', step_id, 'data', json(CAST(data AS text)))) FROM run_events;
--bun:split
DROP TABLE run_events;
