-- What starts runs, and who is told of them: triggers, the events they wait for,
-- what became of each event, ticks of schedules and deliveries of webhooks.

-- Who sent an event knows it by source and external id; the same twice is one.
CREATE TABLE events (
  workspace_id text NOT NULL,
  id           text NOT NULL,
  external_id  text NOT NULL,
  source       text NOT NULL,
  type         text NOT NULL,
  data         json_text NOT NULL,
  occurred_at  timestamp NOT NULL,
  received_at  timestamp NOT NULL,
  run_id       text,
  trigger_id   text,
  depth        integer NOT NULL CHECK (depth >= 0),
  attend_at    timestamp,
  tries        integer NOT NULL,
  PRIMARY KEY (workspace_id, id),
  UNIQUE (workspace_id, external_id, source)
);
--bun:split
CREATE INDEX events_by_type ON events (workspace_id, type, id);
--bun:split
CREATE INDEX events_by_source ON events (workspace_id, source, id);
--bun:split
-- Those that have not been matched yet.
CREATE INDEX events_attend ON events (attend_at) WHERE attend_at IS NOT NULL;
--bun:split
-- What pruning looks for.
CREATE INDEX events_by_age ON events (received_at);
--bun:split
CREATE TABLE event_matches (
  workspace_id text NOT NULL,
  event_id     text NOT NULL,
  trigger_id   text NOT NULL,
  outcome      text NOT NULL CHECK (outcome IN ('fired', 'ignored')),
  reason       text NOT NULL,
  run_id       text,
  delivery_id  text,
  at           timestamp NOT NULL,
  PRIMARY KEY (workspace_id, event_id, trigger_id)
);
--bun:split
CREATE TABLE triggers (
  workspace_id     text NOT NULL REFERENCES workspaces (id),
  id               text NOT NULL,
  name             text NOT NULL,
  type             text NOT NULL CHECK (type IN ('event', 'schedule', 'webhook')),
  target_type      text NOT NULL CHECK (target_type IN ('workflow', 'webhook')),
  workflow_id      text,
  source           text NOT NULL,
  event_type       text NOT NULL,
  filter           text NOT NULL,
  payload          json_text,
  dedupe           json_text,
  cron             text NOT NULL,
  timezone         text NOT NULL,
  missed           text NOT NULL CHECK (missed IN ('', 'skip', 'latest', 'all')),
  url              text NOT NULL,
  token_hash       blob UNIQUE,
  verify           text NOT NULL CHECK (verify IN ('', 'none', '10ex', 'standard', 'github', 'stripe', 'slack')),
  secret           blob,
  old_secret       blob,
  old_secret_until timestamp,
  enabled          boolean NOT NULL,
  disabled_reason  text NOT NULL,
  last_fired_at    timestamp,
  next_fire_at     timestamp,
  created_at       timestamp NOT NULL,
  updated_at       timestamp NOT NULL,
  PRIMARY KEY (workspace_id, id),
  CHECK ((target_type = 'workflow') = (workflow_id IS NOT NULL)),
  CHECK (target_type = 'workflow' OR type = 'event')
);
--bun:split
-- An event asks for its own type and for every pattern that covers it.
CREATE INDEX triggers_by_event ON triggers (workspace_id, event_type, id) WHERE enabled AND type = 'event';
--bun:split
CREATE INDEX triggers_due ON triggers (next_fire_at) WHERE enabled AND type = 'schedule' AND next_fire_at IS NOT NULL;
--bun:split
CREATE INDEX triggers_by_workflow ON triggers (workspace_id, workflow_id, id) WHERE workflow_id IS NOT NULL;
--bun:split
-- A key that started something, and until when it starts nothing more.
CREATE TABLE trigger_keys (
  workspace_id text NOT NULL,
  trigger_id   text NOT NULL,
  key          text NOT NULL,
  event_id     text NOT NULL,
  until        timestamp NOT NULL,
  PRIMARY KEY (workspace_id, trigger_id, key)
);
--bun:split
CREATE INDEX trigger_keys_by_end ON trigger_keys (until);
--bun:split
-- One row a due tick, made by whichever scheduler comes first.
CREATE TABLE schedule_ticks (
  workspace_id text NOT NULL,
  trigger_id   text NOT NULL,
  due_at       timestamp NOT NULL,
  outcome      text NOT NULL CHECK (outcome IN ('pending', 'fired', 'ignored')),
  reason       text NOT NULL,
  run_id       text,
  attend_at    timestamp,
  created_at   timestamp NOT NULL,
  PRIMARY KEY (workspace_id, trigger_id, due_at),
  CHECK ((attend_at IS NOT NULL) = (outcome = 'pending'))
);
--bun:split
CREATE INDEX schedule_ticks_attend ON schedule_ticks (attend_at) WHERE attend_at IS NOT NULL;
--bun:split
CREATE INDEX schedule_ticks_by_age ON schedule_ticks (created_at);
--bun:split
CREATE TABLE deliveries (
  workspace_id text NOT NULL,
  id           text NOT NULL,
  trigger_id   text NOT NULL,
  event_id     text NOT NULL,
  status       text NOT NULL CHECK (status IN ('pending', 'sending', 'delivered', 'failed', 'cancelled')),
  attempts     integer NOT NULL CHECK (attempts >= 0),
  round        integer NOT NULL CHECK (round >= 0),
  last_code    integer,
  last_error   text NOT NULL,
  attend_at    timestamp,
  lease_token  text NOT NULL,
  created_at   timestamp NOT NULL,
  finished_at  timestamp,
  PRIMARY KEY (workspace_id, id),
  UNIQUE (workspace_id, trigger_id, event_id),
  CHECK ((attend_at IS NOT NULL) = (status IN ('pending', 'sending')))
);
--bun:split
CREATE INDEX deliveries_by_trigger ON deliveries (workspace_id, trigger_id, id);
--bun:split
CREATE INDEX deliveries_attend ON deliveries (attend_at) WHERE attend_at IS NOT NULL;
--bun:split
CREATE TABLE delivery_attempts (
  workspace_id text NOT NULL,
  delivery_id  text NOT NULL,
  number       integer NOT NULL CHECK (number > 0),
  code         integer,
  error        text NOT NULL,
  snippet      text NOT NULL,
  duration_ms  integer NOT NULL,
  at           timestamp NOT NULL,
  PRIMARY KEY (workspace_id, delivery_id, number)
);
--bun:split
CREATE TABLE templates (
  workspace_id  text NOT NULL REFERENCES workspaces (id),
  slug          text NOT NULL,
  version       integer NOT NULL CHECK (version > 0),
  name          text NOT NULL,
  description   text NOT NULL,
  category      text NOT NULL,
  status        text NOT NULL CHECK (status IN ('published', 'draft', 'deprecated')),
  trigger_types json_text NOT NULL,
  document      json_text NOT NULL,
  created_at    timestamp NOT NULL,
  PRIMARY KEY (workspace_id, slug, version)
);
--bun:split
-- A chain of flows that start each other ends at a depth.
ALTER TABLE runs ADD COLUMN depth integer NOT NULL DEFAULT 0;
--bun:split
-- What a wait compares the event with, where its condition is such a comparison;
-- empty where only the condition itself can tell. attend_at is set until events from
-- before the wait have been looked at.
ALTER TABLE waits ADD COLUMN match_key text NOT NULL DEFAULT '';
--bun:split
ALTER TABLE waits ADD COLUMN attend_at timestamp;
--bun:split
DROP INDEX waits_by_event;
--bun:split
CREATE INDEX waits_by_event ON waits (workspace_id, event_type, match_key);
--bun:split
CREATE INDEX waits_attend ON waits (attend_at) WHERE attend_at IS NOT NULL;
