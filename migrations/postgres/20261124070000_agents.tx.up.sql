ALTER TABLE agents ADD COLUMN connection text COLLATE "C" NOT NULL DEFAULT '';
--bun:split
-- The journals of agents. Rows belong to a step and go with its run.
CREATE TABLE agent_turns (
  workspace_id text COLLATE "C" NOT NULL,
  run_id       text COLLATE "C" NOT NULL,
  step_id      text COLLATE "C" NOT NULL,
  iteration    integer NOT NULL,
  series       integer NOT NULL,
  turn         integer NOT NULL,
  call         integer NOT NULL,
  hash         text COLLATE "C" NOT NULL,
  status       text COLLATE "C" NOT NULL CHECK (status IN ('begun', 'done')),
  response     json,
  usage        json,
  created_at   timestamptz NOT NULL,
  finished_at  timestamptz,
  PRIMARY KEY (workspace_id, run_id, step_id, iteration, series, turn, call)
);
--bun:split
CREATE TABLE budgets (
  workspace_id text COLLATE "C" NOT NULL REFERENCES workspaces (id),
  scope        text COLLATE "C" NOT NULL CHECK (scope IN ('workspace', 'workflow')),
  subject      text COLLATE "C" NOT NULL,
  cost         bigint NOT NULL,
  tokens       bigint NOT NULL,
  updated_at   timestamptz NOT NULL,
  PRIMARY KEY (workspace_id, scope, subject)
);
--bun:split
-- A few rows a day, written at every turn; free space lets them stay where they are.
CREATE TABLE budget_days (
  workspace_id    text COLLATE "C" NOT NULL,
  scope           text COLLATE "C" NOT NULL CHECK (scope IN ('workspace', 'workflow', 'agent')),
  subject         text COLLATE "C" NOT NULL,
  day             text COLLATE "C" NOT NULL,
  cost_spent      bigint NOT NULL,
  cost_reserved   bigint NOT NULL,
  tokens_spent    bigint NOT NULL,
  tokens_reserved bigint NOT NULL,
  PRIMARY KEY (workspace_id, scope, subject, day)
) WITH (fillfactor = 50);
--bun:split
CREATE TABLE budget_holds (
  workspace_id text COLLATE "C" NOT NULL,
  key          text COLLATE "C" NOT NULL,
  scope        text COLLATE "C" NOT NULL CHECK (scope IN ('workspace', 'workflow', 'agent')),
  subject      text COLLATE "C" NOT NULL,
  day          text COLLATE "C" NOT NULL,
  cost         bigint NOT NULL,
  tokens       bigint NOT NULL,
  expires_at   timestamptz NOT NULL,
  PRIMARY KEY (workspace_id, key, scope)
);
--bun:split
-- Holds that nobody settled are looked for when a budget seems to be used up.
CREATE INDEX budget_holds_by_budget ON budget_holds (workspace_id, scope, subject, day, expires_at);
