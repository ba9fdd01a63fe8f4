-- Connectors that workspaces have registered. id is new for every registration: one
-- that takes the slug of another which was deleted is not the same, whatever their
-- versions. compiled is what a kind of connectors has made of the description.
CREATE TABLE connectors (
  workspace_id text NOT NULL REFERENCES workspaces (id),
  slug         text NOT NULL,
  id           text NOT NULL,
  kind         text NOT NULL CHECK (kind IN ('openapi', 'mcp')),
  name         text NOT NULL,
  description  text NOT NULL,
  config       json_text NOT NULL,
  version      integer NOT NULL CHECK (version > 0),
  action_count integer NOT NULL CHECK (action_count > 0),
  compiled     blob NOT NULL,
  created_at   timestamp NOT NULL,
  updated_at   timestamp NOT NULL,
  PRIMARY KEY (workspace_id, slug),
  UNIQUE (workspace_id, id)
);
