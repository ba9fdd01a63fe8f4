-- Connectors that workspaces have registered. id is new for every registration: one
-- that takes the slug of another which was deleted is not the same, whatever their
-- versions. compiled is what a kind of connectors has made of the description.
CREATE TABLE connectors (
  workspace_id text COLLATE "C" NOT NULL REFERENCES workspaces (id),
  slug         text COLLATE "C" NOT NULL,
  id           text COLLATE "C" NOT NULL,
  kind         text COLLATE "C" NOT NULL CHECK (kind IN ('openapi', 'mcp')),
  name         text NOT NULL,
  description  text NOT NULL,
  config       json NOT NULL,
  version      integer NOT NULL CHECK (version > 0),
  action_count integer NOT NULL CHECK (action_count > 0),
  compiled     bytea NOT NULL,
  created_at   timestamptz NOT NULL,
  updated_at   timestamptz NOT NULL,
  PRIMARY KEY (workspace_id, slug),
  UNIQUE (workspace_id, id)
);
