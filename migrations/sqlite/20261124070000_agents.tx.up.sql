ALTER TABLE agents ADD COLUMN connection text NOT NULL DEFAULT '';
--bun:split
-- The journals of agents. Rows belong to a step and go with its run.
CREATE TABLE agent_turns (
  workspace_id text NOT NULL,
  run_id       text NOT NULL,
  step_id      text NOT NULL,
  iteration    integer NOT NULL,
  series       integer NOT NULL,
  turn         integer NOT NULL,
  call         integer NOT NULL,
  hash         text NOT NULL,
  status       text NOT NULL CHECK (status IN ('begun', 'done')),
  response     json_text,
  usage        json_text,
  created_at   timestamp NOT NULL,
  finished_at  timestamp,
  PRIMARY KEY (workspace_id, run_id, step_id, iteration, series, turn, call)
);
--bun:split
CREATE TABLE budgets (
  workspace_id text NOT NULL REFERENCES workspaces (id),
  scope        text NOT NULL CHECK (scope IN ('workspace', 'workflow')),
  subject      text NOT NULL,
  cost         integer NOT NULL,
  tokens       integer NOT NULL,
  updated_at   timestamp NOT NULL,
  PRIMARY KEY (workspace_id, scope, subject)
);
--bun:split
-- A few rows a day, written at every turn.
CREATE TABLE budget_days (
  workspace_id    text NOT NULL,
  scope           text NOT NULL CHECK (scope IN ('workspace', 'workflow', 'agent')),
  subject         text NOT NULL,
  day             text NOT NULL,
  cost_spent      integer NOT NULL,
  cost_reserved   integer NOT NULL,
  tokens_spent    integer NOT NULL,
  tokens_reserved integer NOT NULL,
  PRIMARY KEY (workspace_id, scope, subject, day)
);
--bun:split
CREATE TABLE budget_holds (
  workspace_id text NOT NULL,
  key          text NOT NULL,
  scope        text NOT NULL CHECK (scope IN ('workspace', 'workflow', 'agent')),
  subject      text NOT NULL,
  day          text NOT NULL,
  cost         integer NOT NULL,
  tokens       integer NOT NULL,
  expires_at   timestamp NOT NULL,
  PRIMARY KEY (workspace_id, key, scope)
);
--bun:split
-- Holds that nobody settled are looked for when a budget seems to be used up.
CREATE INDEX budget_holds_by_budget ON budget_holds (workspace_id, scope, subject, day, expires_at);
