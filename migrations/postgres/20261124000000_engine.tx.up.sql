-- Ids are compared byte by byte (COLLATE "C"): they are made to sort that way,
-- and it is faster than any locale. JSON that is only carried is json, which
-- keeps what was written; jsonb is used where it is searched.

CREATE TABLE workspaces (
  id         text COLLATE "C" PRIMARY KEY,
  name       text NOT NULL,
  created_at timestamptz NOT NULL
);
--bun:split
CREATE TABLE api_keys (
  workspace_id text COLLATE "C" NOT NULL REFERENCES workspaces (id),
  id           text COLLATE "C" NOT NULL,
  prefix       text COLLATE "C" NOT NULL UNIQUE,
  hash         bytea NOT NULL,
  name         text NOT NULL,
  scopes       json NOT NULL,
  created_at   timestamptz NOT NULL,
  last_used_at timestamptz,
  expires_at   timestamptz,
  revoked_at   timestamptz,
  PRIMARY KEY (workspace_id, id)
);
--bun:split
CREATE TABLE workflows (
  workspace_id text COLLATE "C" NOT NULL REFERENCES workspaces (id),
  id           text COLLATE "C" NOT NULL,
  name         text NOT NULL,
  description  text NOT NULL,
  status       text COLLATE "C" NOT NULL CHECK (status IN ('active', 'paused', 'archived')),
  version      integer NOT NULL CHECK (version > 0),
  last_version integer NOT NULL CHECK (last_version >= version),
  tags         json NOT NULL,
  template     json,
  revision     bigint NOT NULL,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL,
  PRIMARY KEY (workspace_id, id)
);
--bun:split
CREATE INDEX workflows_by_status ON workflows (workspace_id, status, id);
--bun:split
CREATE TABLE workflow_versions (
  workspace_id text COLLATE "C" NOT NULL,
  workflow_id  text COLLATE "C" NOT NULL,
  number       integer NOT NULL CHECK (number > 0),
  graph        json NOT NULL,
  input_schema json,
  output       json,
  settings     json,
  hash         text COLLATE "C" NOT NULL,
  created_at   timestamptz NOT NULL,
  archived_at  timestamptz,
  PRIMARY KEY (workspace_id, workflow_id, number),
  FOREIGN KEY (workspace_id, workflow_id) REFERENCES workflows (workspace_id, id)
);
--bun:split
CREATE TABLE agents (
  workspace_id  text COLLATE "C" NOT NULL REFERENCES workspaces (id),
  id            text COLLATE "C" NOT NULL,
  slug          text COLLATE "C" NOT NULL,
  name          text NOT NULL,
  kind          text COLLATE "C" NOT NULL,
  config        json NOT NULL,
  input_schema  json,
  output_schema json,
  created_at    timestamptz NOT NULL,
  updated_at    timestamptz NOT NULL,
  PRIMARY KEY (workspace_id, slug),
  UNIQUE (workspace_id, id)
);
--bun:split
-- The tables below are written on every transition and carry no foreign keys:
-- a check per row would lock the parent again, and the engine, their only
-- writer, holds the run's row when it writes its children. Free space in the
-- pages lets the many small updates of a run stay where the row is.
CREATE TABLE runs (
  workspace_id     text COLLATE "C" NOT NULL,
  id               text COLLATE "C" NOT NULL,
  workflow_id      text COLLATE "C" NOT NULL,
  workflow_version integer NOT NULL CHECK (workflow_version > 0),
  workflow_name    text NOT NULL,
  status           text COLLATE "C" NOT NULL
    CHECK (status IN ('queued', 'running', 'waiting', 'paused', 'completed', 'failed', 'cancelled')),
  halted           boolean NOT NULL,
  active_steps     integer NOT NULL CHECK (active_steps >= 0),
  waiting_steps    integer NOT NULL CHECK (waiting_steps >= 0),
  last_seq         bigint NOT NULL,
  trigger_type     text COLLATE "C" NOT NULL
    CHECK (trigger_type IN ('manual', 'event', 'schedule', 'webhook', 'mcp', 'flow')),
  trigger_id       text COLLATE "C",
  event_id         text COLLATE "C",
  payload          json,
  output           json,
  error            json,
  rerun_of         text COLLATE "C",
  metadata         jsonb,
  created_at       timestamptz NOT NULL,
  started_at       timestamptz,
  finished_at      timestamptz,
  PRIMARY KEY (workspace_id, id),
  CHECK ((finished_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled')))
) WITH (fillfactor = 70);
--bun:split
-- The condition is true of every run. Lists repeat it, and the engine does not: so
-- these indexes cannot serve the engine's look-ups by key, which the planner would
-- take them for while the table is small, and keep to in a prepared plan.
CREATE INDEX runs_by_workflow ON runs (workspace_id, workflow_id, status, id) WHERE workflow_version > 0;
--bun:split
CREATE INDEX runs_by_status ON runs (workspace_id, status, trigger_type, id) WHERE workflow_version > 0;
--bun:split
CREATE INDEX runs_by_trigger ON runs (workspace_id, trigger_id, status, id) WHERE trigger_id IS NOT NULL;
--bun:split
-- Every search reads the list of what has not been sorted in yet, so it is short.
CREATE INDEX runs_by_metadata ON runs USING gin (metadata jsonb_path_ops)
  WITH (gin_pending_list_limit = 128) WHERE metadata IS NOT NULL;
--bun:split
-- What pruning looks for.
CREATE INDEX runs_by_end ON runs (finished_at) WHERE finished_at IS NOT NULL;
--bun:split
CREATE TABLE steps (
  workspace_id text COLLATE "C" NOT NULL,
  run_id       text COLLATE "C" NOT NULL,
  step_id      text COLLATE "C" NOT NULL,
  iteration    integer NOT NULL CHECK (iteration >= -1),
  type         text COLLATE "C" NOT NULL CHECK (type IN ('agent', 'connector', 'branch', 'wait')),
  status       text COLLATE "C" NOT NULL
    CHECK (status IN ('pending', 'queued', 'running', 'waiting', 'completed', 'failed', 'skipped', 'cancelled')),
  attempt      integer NOT NULL,
  crashes      integer NOT NULL,
  deliveries   integer NOT NULL,
  due_at       timestamptz,
  attend_at    timestamptz,
  lease_token  text COLLATE "C" NOT NULL,
  worker_id    text COLLATE "C" NOT NULL,
  effect_at    timestamptz,
  arrived      integer NOT NULL,
  settled      integer NOT NULL CHECK (settled >= arrived),
  iter_total   integer NOT NULL,
  iter_next    integer NOT NULL,
  iter_active  integer NOT NULL CHECK (iter_active >= 0),
  iter_done    integer NOT NULL,
  input        json,
  output       json,
  error        json,
  taken        json,
  reason       text NOT NULL,
  usage        json,
  queued_at    timestamptz,
  started_at   timestamptz,
  finished_at  timestamptz,
  wake_at      timestamptz,
  PRIMARY KEY (workspace_id, run_id, step_id, iteration),
  CHECK (attend_at IS NULL OR status IN ('queued', 'running', 'waiting'))
) WITH (fillfactor = 70);
--bun:split
-- The one list of what may need attention: queued and not claimed, leases, waits.
CREATE INDEX steps_attend ON steps (attend_at) WHERE attend_at IS NOT NULL;
--bun:split
CREATE TABLE step_attempts (
  workspace_id text COLLATE "C" NOT NULL,
  run_id       text COLLATE "C" NOT NULL,
  step_id      text COLLATE "C" NOT NULL,
  iteration    integer NOT NULL,
  number       integer NOT NULL,
  status       text COLLATE "C" NOT NULL CHECK (status IN ('failed', 'cancelled')),
  error        json,
  queued_at    timestamptz,
  started_at   timestamptz,
  finished_at  timestamptz,
  PRIMARY KEY (workspace_id, run_id, step_id, iteration, number)
);
--bun:split
CREATE TABLE run_events (
  workspace_id text COLLATE "C" NOT NULL,
  run_id       text COLLATE "C" NOT NULL,
  seq          bigint NOT NULL,
  type         text COLLATE "C" NOT NULL,
  step_id      text COLLATE "C" NOT NULL,
  at           timestamptz NOT NULL,
  data         json,
  PRIMARY KEY (workspace_id, run_id, seq)
);
--bun:split
CREATE TABLE waits (
  workspace_id text COLLATE "C" NOT NULL,
  run_id       text COLLATE "C" NOT NULL,
  step_id      text COLLATE "C" NOT NULL,
  event_type   text COLLATE "C" NOT NULL,
  opened_at    timestamptz NOT NULL,
  PRIMARY KEY (workspace_id, run_id, step_id)
);
--bun:split
CREATE INDEX waits_by_event ON waits (workspace_id, event_type);
--bun:split
CREATE TABLE idempotency_keys (
  workspace_id text COLLATE "C" NOT NULL,
  route        text COLLATE "C" NOT NULL,
  key          text COLLATE "C" NOT NULL,
  body_hash    bytea NOT NULL,
  seed         bytea NOT NULL,
  locked_until timestamptz NOT NULL,
  status       integer NOT NULL,
  headers      bytea,
  body         bytea,
  created_at   timestamptz NOT NULL,
  PRIMARY KEY (workspace_id, route, key)
);
--bun:split
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
