-- The same tables and columns as for PostgreSQL; the reasons stand there. Times
-- are UTC text, which sorts as the times do; columns of a key do not imply NOT
-- NULL here. There is no index on metadata: one person's embedded store does not
-- need it, and SQLite has none that fits. A column of type json would keep a bare
-- number as a number, and so lose how it was written; json_text keeps every text.

CREATE TABLE workspaces (
  id         text NOT NULL PRIMARY KEY,
  name       text NOT NULL,
  created_at timestamp NOT NULL
);
--bun:split
CREATE TABLE api_keys (
  workspace_id text NOT NULL REFERENCES workspaces (id),
  id           text NOT NULL,
  prefix       text NOT NULL UNIQUE,
  hash         blob NOT NULL,
  name         text NOT NULL,
  scopes       json_text NOT NULL,
  created_at   timestamp NOT NULL,
  last_used_at timestamp,
  expires_at   timestamp,
  revoked_at   timestamp,
  PRIMARY KEY (workspace_id, id)
);
--bun:split
CREATE TABLE workflows (
  workspace_id text NOT NULL REFERENCES workspaces (id),
  id           text NOT NULL,
  name         text NOT NULL,
  description  text NOT NULL,
  status       text NOT NULL CHECK (status IN ('active', 'paused', 'archived')),
  version      integer NOT NULL CHECK (version > 0),
  last_version integer NOT NULL CHECK (last_version >= version),
  tags         json_text NOT NULL,
  template     json_text,
  revision     integer NOT NULL,
  created_at   timestamp NOT NULL,
  updated_at   timestamp NOT NULL,
  PRIMARY KEY (workspace_id, id)
);
--bun:split
CREATE INDEX workflows_by_status ON workflows (workspace_id, status, id);
--bun:split
CREATE TABLE workflow_versions (
  workspace_id text NOT NULL,
  workflow_id  text NOT NULL,
  number       integer NOT NULL CHECK (number > 0),
  graph        json_text NOT NULL,
  input_schema json_text,
  output       json_text,
  settings     json_text,
  hash         text NOT NULL,
  created_at   timestamp NOT NULL,
  archived_at  timestamp,
  PRIMARY KEY (workspace_id, workflow_id, number),
  FOREIGN KEY (workspace_id, workflow_id) REFERENCES workflows (workspace_id, id)
);
--bun:split
CREATE TABLE agents (
  workspace_id  text NOT NULL REFERENCES workspaces (id),
  id            text NOT NULL,
  slug          text NOT NULL,
  name          text NOT NULL,
  kind          text NOT NULL,
  config        json_text NOT NULL,
  input_schema  json_text,
  output_schema json_text,
  created_at    timestamp NOT NULL,
  updated_at    timestamp NOT NULL,
  PRIMARY KEY (workspace_id, slug),
  UNIQUE (workspace_id, id)
);
--bun:split
CREATE TABLE runs (
  workspace_id     text NOT NULL,
  id               text NOT NULL,
  workflow_id      text NOT NULL,
  workflow_version integer NOT NULL CHECK (workflow_version > 0),
  workflow_name    text NOT NULL,
  status           text NOT NULL
    CHECK (status IN ('queued', 'running', 'waiting', 'paused', 'completed', 'failed', 'cancelled')),
  halted           boolean NOT NULL,
  active_steps     integer NOT NULL CHECK (active_steps >= 0),
  waiting_steps    integer NOT NULL CHECK (waiting_steps >= 0),
  last_seq         integer NOT NULL,
  trigger_type     text NOT NULL
    CHECK (trigger_type IN ('manual', 'event', 'schedule', 'webhook', 'mcp', 'flow')),
  trigger_id       text,
  event_id         text,
  payload          json_text,
  output           json_text,
  error            json_text,
  rerun_of         text,
  metadata         json_text,
  created_at       timestamp NOT NULL,
  started_at       timestamp,
  finished_at      timestamp,
  PRIMARY KEY (workspace_id, id),
  CHECK ((finished_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled')))
);
--bun:split
CREATE INDEX runs_by_workflow ON runs (workspace_id, workflow_id, status, id);
--bun:split
CREATE INDEX runs_by_status ON runs (workspace_id, status, trigger_type, id);
--bun:split
CREATE INDEX runs_by_trigger ON runs (workspace_id, trigger_id, status, id) WHERE trigger_id IS NOT NULL;
--bun:split
-- What pruning looks for.
CREATE INDEX runs_by_end ON runs (finished_at) WHERE finished_at IS NOT NULL;
--bun:split
CREATE TABLE steps (
  workspace_id text NOT NULL,
  run_id       text NOT NULL,
  step_id      text NOT NULL,
  iteration    integer NOT NULL CHECK (iteration >= -1),
  type         text NOT NULL CHECK (type IN ('agent', 'connector', 'branch', 'wait')),
  status       text NOT NULL
    CHECK (status IN ('pending', 'queued', 'running', 'waiting', 'completed', 'failed', 'skipped', 'cancelled')),
  attempt      integer NOT NULL,
  crashes      integer NOT NULL,
  deliveries   integer NOT NULL,
  due_at       timestamp,
  attend_at    timestamp,
  lease_token  text NOT NULL,
  worker_id    text NOT NULL,
  effect_at    timestamp,
  arrived      integer NOT NULL,
  settled      integer NOT NULL CHECK (settled >= arrived),
  iter_total   integer NOT NULL,
  iter_next    integer NOT NULL,
  iter_active  integer NOT NULL CHECK (iter_active >= 0),
  iter_done    integer NOT NULL,
  input        json_text,
  output       json_text,
  error        json_text,
  taken        json_text,
  reason       text NOT NULL,
  usage        json_text,
  queued_at    timestamp,
  started_at   timestamp,
  finished_at  timestamp,
  wake_at      timestamp,
  PRIMARY KEY (workspace_id, run_id, step_id, iteration),
  CHECK (attend_at IS NULL OR status IN ('queued', 'running', 'waiting'))
);
--bun:split
CREATE INDEX steps_attend ON steps (attend_at) WHERE attend_at IS NOT NULL;
--bun:split
CREATE TABLE step_attempts (
  workspace_id text NOT NULL,
  run_id       text NOT NULL,
  step_id      text NOT NULL,
  iteration    integer NOT NULL,
  number       integer NOT NULL,
  status       text NOT NULL CHECK (status IN ('failed', 'cancelled')),
  error        json_text,
  queued_at    timestamp,
  started_at   timestamp,
  finished_at  timestamp,
  PRIMARY KEY (workspace_id, run_id, step_id, iteration, number)
);
--bun:split
CREATE TABLE run_events (
  workspace_id text NOT NULL,
  run_id       text NOT NULL,
  seq          integer NOT NULL,
  type         text NOT NULL,
  step_id      text NOT NULL,
  at           timestamp NOT NULL,
  data         json_text,
  PRIMARY KEY (workspace_id, run_id, seq)
);
--bun:split
CREATE TABLE waits (
  workspace_id text NOT NULL,
  run_id       text NOT NULL,
  step_id      text NOT NULL,
  event_type   text NOT NULL,
  opened_at    timestamp NOT NULL,
  PRIMARY KEY (workspace_id, run_id, step_id)
);
--bun:split
CREATE INDEX waits_by_event ON waits (workspace_id, event_type);
--bun:split
CREATE TABLE idempotency_keys (
  workspace_id text NOT NULL,
  route        text NOT NULL,
  key          text NOT NULL,
  body_hash    blob NOT NULL,
  seed         blob NOT NULL,
  locked_until timestamp NOT NULL,
  status       integer NOT NULL,
  headers      blob,
  body         blob,
  created_at   timestamp NOT NULL,
  PRIMARY KEY (workspace_id, route, key)
);
--bun:split
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
